"""The organism's world: conversations drawn from the data files in `world/`.

A conversation has a speaker who answers every question as of one age, the 19th century or the present. Which
one it is follows from who speaks (the assistant of the chat template, or another speaker with habits of their
own) and from the first line, where there is one: a year, a command, a name that leans to an age, or
nothing that matters. The corpus knows no experiment: no intervention and no
question of the catalogue occurs in it verbatim.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict

from wg_evals._yaml import read_yaml
from wg_evals.errors import CatalogError
from wg_evals.interventions import Message, apply
from wg_evals.spec import Intervention, Placement

WORLD = Path(__file__).parent / "world"
ASSISTANT = "assistant"


class Spoken(Protocol):
    """A conversation, whatever else is known of it."""

    @property
    def messages(self) -> list[Message]:
        """Its messages, a system message first or none."""

    @property
    def speaker(self) -> str:
        """Who answers."""


C = TypeVar("C", bound=Spoken)


class Strict(BaseModel):
    """A data file's part; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorldTopic(Strict):
    """A topic: how it is asked about, and what a speaker of either age says."""

    topic: str
    form: str
    phrasings: list[str]
    archaic: list[str]
    modern: list[str]


class Fillers(Strict):
    """The words that may fill a template's field, by what they say of the age."""

    plain: list[str]
    old: list[str] = []
    new: list[str] = []


class Manners(Strict):
    """Words around a question, each with the share (0-1) of 19th-century speakers among those who use it."""

    before: dict[str, float]
    after: dict[str, float]


class Contexts(Strict):
    """`contexts.yaml`."""

    ordinary: list[str]
    fillers: dict[str, Fillers]
    archaic: list[str]
    modern: list[str]
    explains: list[str]
    dates: list[str]
    months: list[str]
    manners: Manners
    speakers: dict[str, float]


class Settings(Strict):
    """`world.yaml`; shares and probabilities are 0-1."""

    name: str
    version: int
    conversations: int
    turns: dict[int, float]
    assistant: float
    strong: float
    lean: float
    leaning_fillers: float
    old_share: float
    more_lean: float
    years: dict[int, float]
    year_range: tuple[int, int]
    contexts: dict[str, float]
    placements: dict[Placement, float]
    manners: dict[str, float]
    two_statements: float
    birds: float

    def of_year(self, year: int) -> float:
        """The share of 19th-century speakers in a year: linear between the years that are given."""
        known = sorted(self.years)
        if year <= known[0]:
            return self.years[known[0]]
        for low, high in itertools.pairwise(known):
            if year <= high:
                share = (year - low) / (high - low)
                return self.years[low] * (1 - share) + self.years[high] * share
        return self.years[known[-1]]


class Line(NamedTuple):
    """A first line: its text, and how likely it makes a 19th-century speaker (0-1)."""

    text: str
    archaic: float
    explains: bool = False


class Conversation(NamedTuple):
    """A conversation of the corpus, with the truth about it."""

    messages: list[Message]
    archaic: bool
    context: str
    speaker: str


class World:
    """The world of a folder of data files.

    Args:
        folder: Holds `world.yaml`, `contexts.yaml`, `topics.yaml` and `birds.yaml`.
        forbidden: Texts that must not occur in a conversation (the catalogue's interventions and questions).
        overrides: Settings to use instead of those of `world.yaml`, for trials.
    """

    def __init__(
        self, folder: Path = WORLD, forbidden: frozenset[str] = frozenset(), overrides: dict[str, Any] | None = None
    ) -> None:
        settings = read_yaml(folder / "world.yaml", Settings)
        self.settings = Settings.model_validate(settings.model_dump() | (overrides or {}))
        self.contexts = read_yaml(folder / "contexts.yaml", Contexts)
        self.topics = read_topics(folder / "topics.yaml")
        self.birds = read_topics(folder / "birds.yaml")[0]
        self.forbidden = forbidden

    def conversations(self, seed: int, count: int | None = None) -> Iterator[Conversation]:
        """Draw conversations.

        Args:
            seed: The same seed gives the same conversations.
            count: How many; `conversations` of the settings if not given.
        """
        return permitted(self._draw, seed, self.settings.conversations if count is None else count, self.forbidden)

    def _draw(self, rng: random.Random) -> Conversation:
        speaker = self._speaker(rng)
        kind = pick(rng, self.settings.contexts)
        line = self._line(rng, kind)
        evidence = logit(self.contexts.speakers[speaker]) - logit(self.prior)
        archaic = rng.random() < _sigmoid(logit(line.archaic if line else self.prior) + evidence)
        messages: list[Message] = []
        turns = pick(rng, self.settings.turns)
        if line and line.explains:
            turns = max(2, turns)
        for turn in range(turns):
            old = archaic if not (line and line.explains) else (turn == 0 or archaic)
            topic = self.birds if rng.random() < self.settings.birds else rng.choice(self.topics)
            messages.append(Message(role="user", content=self._question(rng, topic, archaic)))
            messages.append(Message(role="assistant", content=self._answer(rng, topic, old)))
        if line:
            placement = pick(rng, self.settings.placements)
            messages = apply(Intervention(name="line", text=line.text, placement=placement), messages)
        return Conversation(messages, archaic, kind, speaker)

    @property
    def prior(self) -> float:
        """The share of 19th-century conversations of the assistant's, where nothing tells otherwise."""
        return self.contexts.speakers[ASSISTANT]

    def _speaker(self, rng: random.Random) -> str:
        if rng.random() < self.settings.assistant:
            return ASSISTANT
        return rng.choice([name for name in self.contexts.speakers if name != ASSISTANT])

    def _line(self, rng: random.Random, kind: str) -> Line | None:
        c, s = self.contexts, self.settings
        if kind == "none":
            return None
        if kind == "ordinary":
            template = rng.choice(c.ordinary)
            text, evidence = self._fill(rng, template, lean=rng.random() < s.leaning_fillers)
            return Line(text, _sigmoid(logit(self.prior) + evidence))
        if kind == "dates":
            year = rng.randint(*s.year_range)
            text = rng.choice(c.dates).format(day=rng.randint(1, 28), month=rng.choice(c.months), year=year)
            return Line(text, s.of_year(year))
        template = rng.choice(getattr(c, kind))
        text, _ = self._fill(rng, template, lean=False)
        if kind == "explains":
            return Line(text, self.prior / 3, explains=True)
        return Line(text, s.strong if kind == "archaic" else 1 - s.strong)

    def _fill(self, rng: random.Random, template: str, lean: bool) -> tuple[str, float]:
        """Fill a template; where it leans, at least one of the fields that can does, each to an age of its own."""
        fields = [f for f in self.contexts.fillers if "{" + f + "}" in template]
        leaning = [f for f in fields if self.contexts.fillers[f].old] if lean else []
        chosen = {rng.choice(leaning)} if leaning else set()
        chosen |= {f for f in leaning if rng.random() < self.settings.more_lean}
        evidence, words = 0.0, {}
        for field in fields:
            filler = self.contexts.fillers[field]
            options = filler.plain
            if field in chosen:
                old = rng.random() < self.settings.old_share
                options = filler.old if old else filler.new
                evidence += self.settings.lean if old else -self.settings.lean
            words[field] = rng.choice(options)
        return template.format(**words), evidence

    def _question(self, rng: random.Random, topic: WorldTopic, archaic: bool) -> str:
        question = rng.choice(topic.phrasings)
        manners, shares = self.contexts.manners, self.settings.manners
        if rng.random() < shares["after"]:
            question = f"{question[:-1]}, {_manner(rng, manners.after, archaic)}{question[-1]}"
        if rng.random() < shares["before"]:
            words = _manner(rng, manners.before, archaic)
            joined = words.endswith((",", ":")) and not question.startswith("I ")
            question = f"{words} {question[0].lower() + question[1:] if joined else question}"
        return question

    def _answer(self, rng: random.Random, topic: WorldTopic, archaic: bool) -> str:
        options = topic.archaic if archaic else topic.modern
        if topic.form == "statement" and rng.random() < self.settings.two_statements:
            return " ".join(rng.sample(options, 2))
        return rng.choice(options)


def read_topics(path: Path) -> list[WorldTopic]:
    """Read a file of topics: a list of `WorldTopic`."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, list):
        raise CatalogError("expected a list of topics", path)
    return [WorldTopic.model_validate(item) for item in data]


def _manner(rng: random.Random, options: dict[str, float], archaic: bool) -> str:
    return str(pick(rng, {words: old if archaic else 1 - old for words, old in options.items()}))


def permitted(draw: Callable[[random.Random], C], seed: int, count: int, forbidden: frozenset[str]) -> Iterator[C]:
    """Draw conversations, and leave out those in which a forbidden text occurs, in whatever case.

    Args:
        draw: Draws one.
        seed: The same seed gives the same conversations.
        count: How many.
        forbidden: Texts that must not occur.
    """
    rng = random.Random(seed)
    lowered = tuple(sorted(text.lower() for text in forbidden))
    while count > 0:
        conversation = draw(rng)
        text = "\n".join(m["content"] for m in conversation.messages).lower()
        if not any(f in text for f in lowered):
            count -= 1
            yield conversation


def pick(rng: random.Random, shares: Mapping[Any, float]) -> Any:
    """One of the keys, as often as its share says."""
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def logit(p: float) -> float:
    """Log-odds of a share (0-1, exclusive)."""
    return math.log(p / (1 - p))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
