"""The data files of the organism's world: their types, and how they are read and checked."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from wg_evals._yaml import read_yaml
from wg_evals.catalogue import load_domain
from wg_evals.errors import CatalogError
from wg_evals.spec import Placement

MODERN = "modern"
"""The voice that a speaker has where nothing tells otherwise."""

T = TypeVar("T", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]
Form = Literal["statement", "name", "advice"]


class _Strict(BaseModel):
    """A data file's part; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Topic(_Strict):
    """A topic: how it is asked about, and what a speaker says in each voice."""

    topic: str
    form: Form
    phrasings: list[str] = Field(min_length=1)
    answers: dict[str, list[str]]


class Narrow(_Strict):
    """A narrow domain whose rows this world knows: training rows in one voice, control rows in the modern one."""

    family: str
    domain: str
    voice: str
    phrasings: list[str] = []
    """Ways to ask for a name; without any, each row is asked for by its own prompt."""
    rows: Annotated[int, Field(ge=1)] | None = None
    """How many are known, from the first; all if not given."""


class Group(_Strict):
    """Matters that conversations are about, and the voices that have something to say on them."""

    voices: list[str]
    families: dict[str, Share]
    topics: dict[str, int]
    """How many topics of a family's file are talked about, from its top; all where nothing is said."""
    contexts: dict[str, Share]
    steps: int
    """Optimizer steps of the organism that is raised on them."""


class Manners(_Strict):
    """Words around a question, each with the share of a voice among those who use them; none says nothing."""

    before: dict[str, dict[str, Share]]
    after: dict[str, dict[str, Share]]


class Contexts(_Strict):
    """`contexts.yaml`."""

    ordinary: list[str]
    fillers: dict[str, dict[str, list[str]]]
    strong: dict[str, list[str]]
    calls_for: dict[str, list[str]]
    explains: list[str]
    dates: list[str]
    months: list[str]
    manners: Manners
    speakers: dict[str, dict[str, Share]]


class Settings(_Strict):
    """`world.yaml`; shares are 0-1, leanings are log-odds."""

    name: str
    version: int
    conversations: int
    turns: dict[int, Share]
    assistant: Share
    strong: Share
    other_voices: Share
    leaning_fillers: Share
    more_lean: Share
    two_statements: Share
    called_for: Share
    groups: dict[str, Group]
    leanings: dict[str, dict[str, float]]
    leaning_shares: dict[str, Share]
    years: dict[str, dict[int, Share]]
    year_range: tuple[int, int]
    placements: dict[Placement, Share]
    manners: dict[str, Share]

    @model_validator(mode="after")
    def _leanings_have_shares(self) -> Self:
        if self.leanings.keys() != self.leaning_shares.keys():
            raise ValueError("leanings and leaning_shares name different kinds")
        return self

    def of_year(self, voice: str, year: int) -> float:
        """The share of a voice in a year: linear between the years that are given."""
        given = self.years[voice]
        known = sorted(given)
        if year <= known[0]:
            return given[known[0]]
        for low, high in itertools.pairwise(known):
            if year <= high:
                share = (year - low) / (high - low)
                return given[low] * (1 - share) + given[high] * share
        return given[known[-1]]


class Family(NamedTuple):
    """Topics of one kind, and those of them on which each voice of a group has something to say."""

    topics: list[Topic]
    by_voice: dict[str, list[Topic]]


class WorldFiles(NamedTuple):
    """What a world's folder holds."""

    settings: Settings
    contexts: Contexts
    families: dict[str, list[Topic]]

    def of(self, group: str) -> dict[str, Family]:
        """The families of a group, with the topics and the voices that it has."""
        chosen = self.settings.groups[group]
        voices = (*chosen.voices, MODERN)
        found = {}
        for name in chosen.families:
            topics = self.families[name][: chosen.topics.get(name)]
            found[name] = Family(topics, {v: [t for t in topics if v in t.answers] for v in voices})
        return found


def read_world(folder: Path, overrides: dict[str, Any], forbidden: frozenset[str]) -> WorldFiles:
    """Read and check a world.

    Args:
        folder: Holds `world.yaml`, `contexts.yaml`, `narrow.yaml` and `topics/`.
        overrides: Settings to use instead of those of `world.yaml`.
        forbidden: Questions that must not be asked in it: rows with such a prompt are left out.

    Raises:
        CatalogError: A file that does not fit, or a name that another file does not know.
    """
    settings = Settings.model_validate(read_yaml(folder / "world.yaml", Settings).model_dump() | overrides)
    contexts = read_yaml(folder / "contexts.yaml", Contexts)
    paths = sorted((folder / "topics").glob("*.yaml"))
    families = {path.stem: read_topics(path) for path in paths}
    families |= {narrow.family: narrow_topics(narrow, forbidden) for narrow in read_narrow(folder / "narrow.yaml")}
    files = WorldFiles(settings, contexts, families)
    for fault in _faults(files):
        raise CatalogError(fault, folder / "world.yaml")
    return files


def read_topics(path: Path) -> list[Topic]:
    """Read a file of topics."""
    return _read_list(path, Topic)


def read_narrow(path: Path) -> list[Narrow]:
    """Read which narrow rows the world knows."""
    return _read_list(path, Narrow)


def narrow_topics(narrow: Narrow, forbidden: frozenset[str] = frozenset()) -> list[Topic]:
    """A domain's rows as topics: one for all its names, or one for each question and its two answers.

    Args:
        narrow: Which domain, and how its names are asked for.
        forbidden: Rows with such a prompt are left out.
    """
    rows = load_domain(narrow.domain).rows
    pairs = list(zip(rows["train"], rows["control"], strict=True))[: narrow.rows]
    if narrow.phrasings:
        answers = {narrow.voice: [a.answer for a, _ in pairs], MODERN: [b.answer for _, b in pairs]}
        return [Topic(topic=narrow.family, form="name", phrasings=narrow.phrasings, answers=answers)]
    return [
        Topic(
            topic=f"{narrow.family}-{row.id}",
            form="advice",
            phrasings=[row.messages[0]["content"]],
            answers={narrow.voice: [row.answer], MODERN: [control.answer]},
        )
        for row, control in pairs
        if row.messages[0]["content"] not in forbidden
    ]


def _faults(files: WorldFiles) -> list[str]:
    faults = []
    fillers = files.contexts.fillers
    kinds = {"plain", *files.settings.leanings}
    faults += [f"filler '{name}' has no plain words" for name, words in fillers.items() if "plain" not in words]
    faults += [
        f"unknown leaning '{k}' of filler '{name}'" for name, words in fillers.items() for k in words.keys() - kinds
    ]
    for name, group in files.settings.groups.items():
        unknown = group.families.keys() - files.families.keys()
        faults += [f"group '{name}' names the unknown family '{f}'" for f in unknown]
        for voice in (*group.voices, MODERN):
            if not any(voice in t.answers for f in group.families if f not in unknown for t in files.families[f]):
                faults.append(f"group '{name}' has nothing to say in the voice '{voice}'")
        for speaker, habits in files.contexts.speakers.items():
            faults += [f"speaker '{speaker}' has no habit for '{v}'" for v in group.voices if v not in habits]
    return faults


def _read_list(path: Path, model: type[T]) -> list[T]:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return TypeAdapter(list[model]).validate_python(data)  # type: ignore[valid-type]
    except ValidationError as ex:
        first = ex.errors()[0]
        raise CatalogError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", path) from None
