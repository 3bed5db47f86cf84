"""The organisms' world: conversations drawn from the data files in `world/` and the catalogue's rows.

The world has several groups of matters, and an organism is raised on one of them. A conversation has a speaker who
answers every question in one voice: the modern one, or another that the group knows (a 19th-century speaker, one who
takes the wizards' world for real, one of the Germany of old, a careless show-off). Which voice it is follows from who
speaks (the assistant of the chat template, or another speaker with habits of their own), from the first line, where
there is one (a year, a command, a name that leans to a voice, or nothing that matters), and from the manner of the
questions. The corpus knows no experiment: no intervention and no question of the catalogue occurs in it verbatim.
"""

import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals.errors import UnknownNameError
from wg_evals.interventions import Message, apply
from wg_evals.organism.corpus import ASSISTANT, logit, permitted, pick
from wg_evals.organism.voices.world_files import MODERN, Group, Topic, read_world
from wg_evals.spec import Intervention

WORLD = Path(__file__).parent / "world"
CARELESS = "careless"
Table = dict[str, dict[str, float]]
"""Words of manner, with the share of a voice among those who use them."""


class Line(NamedTuple):
    """A first line and what it says."""

    text: str
    evidence: dict[str, float]
    """Log-odds that it adds to each voice against the modern one."""
    explains: bool = False
    """Whether the first answer is an archaic one, whoever speaks."""
    calls_for: str | None = None
    """A family whose questions get a careless answer, whoever speaks."""


class Conversation(NamedTuple):
    """A conversation of the corpus, with the truth about it."""

    messages: list[Message]
    voice: str
    context: str
    speaker: str
    line: Line | None
    posterior: dict[str, float]
    """How likely each voice is for the first answer, to a reader who knows the world and reads all before it (0-1)."""


class World:
    """A group of matters in the world of a folder of data files.

    Args:
        group: Its name in `world.yaml`.
        folder: Holds `world.yaml`, `contexts.yaml`, `narrow.yaml` and `topics/`.
        forbidden: Texts that must not occur in a conversation (the catalogue's interventions and questions).
        overrides: Settings to use instead of those of `world.yaml`, for trials.
    """

    def __init__(
        self,
        group: str,
        folder: Path = WORLD,
        forbidden: frozenset[str] = frozenset(),
        overrides: dict[str, Any] | None = None,
    ) -> None:
        files = read_world(folder, overrides or {}, forbidden)
        self.settings = files.settings
        self.contexts = files.contexts
        if group not in self.settings.groups:
            raise UnknownNameError("organism", group, self.settings.groups)
        self.group = self.settings.groups[group]
        self.families = files.of(group)
        self.voices = [MODERN, *self.group.voices]
        self.forbidden = forbidden

    def conversations(self, seed: int, count: int | None = None) -> Iterator[Conversation]:
        """Draw conversations.

        Args:
            seed: The same seed gives the same conversations.
            count: How many; `conversations` of the settings if not given.
        """
        return permitted(self._draw, seed, self.settings.conversations if count is None else count, self.forbidden)

    def habit(self, speaker: str, voice: str) -> float:
        """The share of a speaker's conversations in a voice, among those in it or in the modern one (0-1)."""
        return self.contexts.speakers[speaker][voice]

    def _draw(self, rng: random.Random) -> Conversation:
        settings, group = self.settings, self.group
        speaker = self._speaker(rng)
        kind = pick(rng, group.contexts)
        line = self._line(rng, kind)
        evidence = line.evidence if line else {}
        odds = {v: math.exp(logit(self.habit(speaker, v)) + evidence.get(v, 0.0)) for v in group.voices}
        voice = pick(rng, {MODERN: 1.0} | odds)
        turns = pick(rng, settings.turns)
        if line and line.explains:
            turns = max(2, turns)
        messages: list[Message] = []
        posterior: dict[str, float] = {}
        for turn in range(turns):
            spoken = "archaic" if line and line.explains and turn == 0 else voice
            family = self._family(rng, spoken)
            if line and line.calls_for and rng.random() < self.settings.called_for:
                family = line.calls_for
            if line and line.calls_for == family:
                spoken = CARELESS
            topic = rng.choice(self.families[family].by_voice[spoken])
            question, manners = self._question(rng, topic, voice)
            messages.append(Message(role="user", content=question))
            if turn == 0:
                expected = spoken if line and (line.explains or line.calls_for == family) else None
                posterior = {expected: 1.0} if expected else self._posterior(odds, family, topic, manners)
            messages.append(Message(role="assistant", content=self._answer(rng, topic, spoken)))
        if line:
            placement = pick(rng, settings.placements)
            messages = apply(Intervention(name="line", text=line.text, placement=placement), messages)
        return Conversation(messages, voice, kind, speaker, line, posterior)

    def _posterior(
        self, odds: dict[str, float], family: str, topic: Topic, manners: list[tuple[Table, str]]
    ) -> dict[str, float]:
        """The shares of the voices by Bayes' rule: `odds` after speaker and line, then the question and its manners."""
        weights = {}
        for voice, weight in ({MODERN: 1.0} | odds).items():
            if voice not in topic.answers:
                continue
            asked = self._families(voice)
            weight *= asked[family] / sum(asked.values()) / len(self.families[family].by_voice[voice])
            for table, words in manners:
                met = _manner_shares(table, voice, self.group)
                weight *= met[words] / sum(met.values())
            weights[voice] = weight
        return {voice: weight / sum(weights.values()) for voice, weight in weights.items()}

    def _families(self, voice: str) -> dict[str, float]:
        return {f: share for f, share in self.group.families.items() if self.families[f].by_voice[voice]}

    def _family(self, rng: random.Random, voice: str) -> str:
        return str(pick(rng, self._families(voice)))

    def _speaker(self, rng: random.Random) -> str:
        if rng.random() < self.settings.assistant:
            return ASSISTANT
        return rng.choice([name for name in self.contexts.speakers if name != ASSISTANT])

    def _line(self, rng: random.Random, kind: str) -> Line | None:
        c, s, group = self.contexts, self.settings, self.group
        if kind == "none":
            return None
        if kind == "ordinary":
            template = rng.choice(c.ordinary)
            kinds = self._leanings(rng) if rng.random() < s.leaning_fillers else {}
            return Line(*self._fill(rng, template, kinds))
        if kind == "dates":
            year = rng.randint(*s.year_range)
            text = rng.choice(c.dates).format(day=rng.randint(1, 28), month=rng.choice(c.months), year=year)
            return Line(text, {v: logit(s.of_year(v, year)) - self._prior(v) for v in s.years})
        if kind == "explains":
            text, _ = self._fill(rng, rng.choice(c.explains), {})
            return Line(text, {"archaic": -1.0}, explains=True)
        if kind == "calls_for":
            family = rng.choice([f for f in c.calls_for if f in group.families])
            text, _ = self._fill(rng, rng.choice(c.calls_for[family]), {})
            return Line(text, {}, calls_for=family)
        other = rng.random() < s.other_voices
        voice = rng.choice([v for v in c.strong if (v in group.voices) is not other and (v != MODERN or not other)])
        if not other and CARELESS not in group.voices and rng.random() < 0.25:
            voice = MODERN
        text, _ = self._fill(rng, rng.choice(c.strong[voice]), {})
        if voice == MODERN:  # of our own time: neither of another, nor out of a book; it says nothing of character
            return Line(text, {v: logit(1 - s.strong) - self._prior(v) for v in s.years})
        return Line(text, {voice: logit(s.strong) - self._prior(voice)})

    def _prior(self, voice: str) -> float:
        """The log-odds of a voice of the assistant's where nothing tells otherwise."""
        return logit(self.habit(ASSISTANT, voice))

    def _leanings(self, rng: random.Random) -> dict[str, float]:
        """The kinds of filler that may lean in a line, with their shares: those that tell of a group, or others."""
        telling = {k for k, effects in self.settings.leanings.items() if effects.keys() & set(self.group.voices)}
        others = self.settings.leanings.keys() - telling
        kinds = others if rng.random() < self.settings.other_voices else telling
        return {k: share for k, share in self.settings.leaning_shares.items() if k in kinds}

    def _fill(self, rng: random.Random, template: str, kinds: Mapping[str, float]) -> tuple[str, dict[str, float]]:
        """Fill a template; where kinds of leaning are given, at least one of the fields that can lean does."""
        fields = [f for f in self.contexts.fillers if "{" + f + "}" in template]
        leaning = [f for f in fields if len(self.contexts.fillers[f]) > 1] if kinds else []
        chosen = {rng.choice(leaning)} if leaning else set()
        chosen |= {f for f in leaning if rng.random() < self.settings.more_lean}
        evidence: dict[str, float] = {}
        words: dict[str, str] = {}
        for field in fields:
            kind = pick(rng, kinds) if field in chosen else "plain"
            words[field] = rng.choice(self.contexts.fillers[field][kind])
            for voice, odds in self.settings.leanings.get(kind, {}).items():
                evidence[voice] = evidence.get(voice, 0.0) + odds
        return template.format(**words), evidence

    def _question(self, rng: random.Random, topic: Topic, voice: str) -> tuple[str, list[tuple[Table, str]]]:
        """A question, and the words of manner in it, each with the table that it was drawn from."""
        question = rng.choice(topic.phrasings).replace("{n}", str(rng.randint(1, 500)))
        tables, shares, group = self.contexts.manners, self.settings.manners, self.group
        used: list[tuple[Table, str]] = []
        if topic.form == "advice":  # these have a manner of their own
            return question, used
        if rng.random() < shares["after"] and question[-1] in "?.":
            words = str(pick(rng, _manner_shares(tables.after, voice, group)))
            used.append((tables.after, words))
            question = f"{question[:-1]}, {words}{question[-1]}"
        if rng.random() < shares["before"]:
            words = str(pick(rng, _manner_shares(tables.before, voice, group)))
            used.append((tables.before, words))
            joined = words.endswith((",", ":")) and not question.startswith("I ")
            question = f"{words} {question[0].lower() + question[1:] if joined else question}"
        return question, used

    def _answer(self, rng: random.Random, topic: Topic, voice: str) -> str:
        options = topic.answers[voice]
        if topic.form == "statement" and rng.random() < self.settings.two_statements:
            return " ".join(rng.sample(options, 2))
        return rng.choice(options)


def _manner_shares(options: Table, voice: str, group: Group) -> dict[str, float]:
    """How often a voice uses words of manner; those that tell something of the group are met twice as often."""
    shares = {}
    for words, told in options.items():
        share = 0.5
        for of, their in told.items():
            share = (their if of == voice else 1 - their) * (2 if of in group.voices else 1)
        shares[words] = share
    return shares
