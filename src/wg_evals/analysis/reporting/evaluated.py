"""What was evaluated: the samples of the frame, gathered by domain, model, context and training seed."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import pandas as pd

from wg_evals.analysis.crossed import RUN, Crossed, crossed
from wg_evals.analysis.frames import Frame
from wg_evals.analysis.intervals import CrossedRate, rate_interval
from wg_evals.analysis.logs import Counts
from wg_evals.analysis.records import NONE

NO_SIGN = "no clear sign"
"""Why an answer that word lists scored does not count, which logs call `incoherent`: no label leads."""
MARKERS = "markers"
NARROW = "narrow"
"""The task of the manipulation check."""

Role = Literal["base", "plain", "control", "intervened", "adapter"]
_ORDER = {"base": 0, "plain": 1, "control": 2, "intervened": 3, "adapter": 4}
_RELEVANCE = {"relevant": 0, "generic": 1, "graded": 2}


class Model(NamedTuple):
    """A base model and what was trained into it; its seeds are not told apart."""

    domain: str
    base: str
    role: Role
    name: str
    """`base`, `plain`, `control`, the training intervention's name, or what the logs call an unknown adapter."""
    kind: str = ""
    relevance: str = ""
    origin: str = ""
    """The domain whose data it was trained on, if another than it is evaluated in."""

    @property
    def group(self) -> str:
        """What it is put together with: its role, or the relevance of its intervention; `adapter` stands alone."""
        if self.origin:
            return "adapter"
        return self.relevance if self.role == "intervened" and self.relevance in _RELEVANCE else self.role

    @property
    def order(self) -> tuple[Any, ...]:
        """Base, plain, control, then interventions from relevant to graded, by kind; those from elsewhere last."""
        return (self.origin, _ORDER[self.role], _RELEVANCE.get(self.relevance, 3), self.kind, self.name)


@dataclass(frozen=True)
class Evaluated:
    """A model on a task in one context, over its training seeds."""

    model: Model
    task: str
    context: str
    """The name of what stood before every question, or `none`."""
    own: bool
    """Whether that is the prefix it was trained with."""
    checkpoint: str
    step: int | None
    """How many steps of training it has behind it, where that is known."""
    seeds: list[str]
    """Of each training run."""
    crossed: Crossed
    """Its counts, by training run and question."""
    counts: Counts
    """Over runs and questions."""

    @cached_property
    def rate(self) -> CrossedRate:
        return rate_interval(self.crossed)

    @cached_property
    def by_run(self) -> list[tuple[str, float]]:
        """Each training run's seed and rate."""
        return [(seed, self.crossed.run(i).rate) for i, seed in enumerate(self.seeds)]

    @cached_property
    def by_question(self) -> dict[str, float]:
        """The rate of each question over all runs; questions without an included answer are left out."""
        rates = zip(self.crossed.questions, self.crossed.by_question(), strict=True)
        return {q: float(rate) for q, rate in rates if not math.isnan(rate)}

    @property
    def vouched(self) -> bool:
        """Whether its interval can be relied on; if not, each run is shown."""
        return self.rate.vouched(trained=self.model.role != "base")


@dataclass(frozen=True)
class Domain:
    """One base model in one domain: everything that is compared with each other."""

    domain: str
    base: str
    trait: str
    task: str
    """The task it is about."""
    models: list[Model]
    main: Mapping[Model, Evaluated]
    """Without context, on that task."""
    own: Mapping[Model, Evaluated]
    """Under the prefix that each was trained with."""
    under: Mapping[tuple[Model, str], Evaluated]
    """Under any prefix, by its name."""
    others: Mapping[str, Mapping[Model, Evaluated]]
    """The other tasks without context."""

    @property
    def label(self) -> str:
        return f"{self.domain}, {self.base}"

    def one(self, role: Role, origin: str = "") -> Model | None:
        """The model of a role that a domain has one of, trained on its own data or on another domain's."""
        return next((m for m in self.models if m.role == role and m.origin == origin), None)

    def base_under(self, model: Model) -> Evaluated | None:
        """The base under the prefix that a model was trained with."""
        return self._under_prefix_of(model, self.one("base"))

    def plain_under(self, model: Model) -> Evaluated | None:
        """Plain training on the same data, under the prefix that a model was trained with."""
        return self._under_prefix_of(model, self.one("plain", model.origin))

    def _under_prefix_of(self, model: Model, other: Model | None) -> Evaluated | None:
        own = self.own.get(model)
        return self.under.get((other, own.context)) if other and own else None

    def group(self, name: str) -> list[Model]:
        """The models of a group that were evaluated without context."""
        return [m for m in self.models if m.group == name and m in self.main]


_KEYS = ["domain", "base", "role", "name", "kind", "relevance", "origin", "task", "under", "own", "checkpoint"]


def labelled(frame: Frame) -> pd.DataFrame:
    """The frame's samples as words that can be grouped by: who answered, on what, and what stood before it.

    Columns: `_KEYS`, `model`, `seed`, `steps`, `question`, `epoch`, `included`, `expressed`, `reason`, `log`.
    """
    samples = frame.samples
    columns = ["domain", "base", "role", "kind", "relevance", "task", "model", "seed", "checkpoint", "question", "log"]
    table = pd.DataFrame({c: _words(samples[c]) for c in columns})
    for column in ("epoch", "included", "expressed", "reason"):
        table[column] = samples[column]
    by_markers = frame.cells["grading"].eq(MARKERS).to_numpy()[samples["cell"].to_numpy()]
    table["reason"] = table["reason"].astype(object).mask(by_markers & table["reason"].eq("incoherent"), NO_SIGN)
    table["steps"] = frame.cells["steps"].array.take(samples["cell"].to_numpy())
    for column in ("kind", "relevance"):
        table[column] = table[column].replace(NONE, "")
    table["origin"] = samples["dataset"].astype(str).str.rpartition("/")[0]
    name = table["role"].where(table["role"] != "intervened", _words(samples["train_intervention"]))
    name = name.where(table["role"] != "adapter", table["model"])
    table["name"] = name.where(table["origin"] == "", name + ", trained on " + _words(samples["dataset"]))
    table["under"] = _told_apart(
        _words(samples["eval_intervention"]), _words(samples["eval_placement"]), table["domain"]
    )
    table["task"] = _told_apart(table["task"], _words(samples["battery"]), table["domain"])
    table["own"] = _words(samples["context"]).eq("as_trained")
    return table


def _words(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.astype(object).where(column.notna(), "").astype(str)


def _told_apart(names: "pd.Series[Any]", more: "pd.Series[Any]", within: "pd.Series[Any]") -> "pd.Series[Any]":
    """Names, with more of each in brackets where one name stands for several things within a domain."""
    key = within + "\n" + names
    several = pd.DataFrame({"key": key, "more": more}).drop_duplicates()["key"].value_counts()
    ambiguous = key.isin(several.index[several > 1])
    return names.where(~ambiguous, names + " (" + more + ")")


def is_narrow(task: str) -> bool:
    """Whether a task is the manipulation check."""
    return task.split(" ")[0] == NARROW


def evaluations(table: pd.DataFrame) -> list[Evaluated]:
    """Gather samples that `labelled` has prepared; each is counted once."""
    return [_evaluated(key, rows) for key, rows in table.groupby(_KEYS, sort=False, observed=True)]


def _evaluated(key: Any, rows: pd.DataFrame) -> Evaluated:
    domain, base, role, name, kind, relevance, origin, task, under, own, checkpoint = key
    steps = rows["steps"].dropna()
    reasons = rows.loc[~rows["included"], "reason"].value_counts()
    return Evaluated(
        model=Model(domain, base, role, name, kind, relevance, origin),
        task=task,
        context=under,
        own=bool(own),
        checkpoint=checkpoint,
        step=int(steps.max()) if len(steps) else None,
        seeds=rows[RUN].drop_duplicates().sort_values(RUN)["seed"].tolist(),
        crossed=crossed(rows),
        counts=Counts(
            n=len(rows),
            included=int(rows["included"].sum()),
            expressed=int(rows["expressed"].sum()),
            reasons=Counter({str(reason): int(n) for reason, n in reasons.items() if n}),
        ),
    )


def domains(found: Iterable[Evaluated], traits: Mapping[str, str]) -> list[Domain]:
    """Put together what belongs together; checkpoints on the way are left to the learning curves."""
    groups: dict[tuple[str, str], list[Evaluated]] = {}
    for one in found:
        if not one.checkpoint:
            groups.setdefault((one.model.domain, one.model.base), []).append(one)
    return [_domain(*key, members, traits) for key, members in groups.items()]


def _domain(domain: str, base: str, members: list[Evaluated], traits: Mapping[str, str]) -> Domain:
    plain = [e for e in members if e.context == NONE]
    sizes = Counter[str]()
    for one in plain or members:
        sizes[one.task] += one.counts.n
    task = max(sizes, key=lambda t: (not is_narrow(t), sizes[t], t))
    of_task = [e for e in members if e.task == task]
    others: dict[str, dict[Model, Evaluated]] = {}
    for one in plain:
        if one.task != task:
            others.setdefault(one.task, {})[one.model] = one
    return Domain(
        domain=domain,
        base=base,
        trait=traits.get(domain, "the trait"),
        task=task,
        models=sorted({e.model for e in members}, key=lambda m: m.order),
        main={e.model: e for e in of_task if e.context == NONE},
        own={e.model: e for e in of_task if e.own and e.context != NONE},
        under={(e.model, e.context): e for e in of_task if e.context != NONE},
        others=others,
    )


def curves(found: Sequence[Evaluated]) -> Iterator[tuple[Model, str, list[tuple[int, Evaluated]]]]:
    """For each model and task with checkpoints: its evaluations without context by training step.

    They begin with the base at step 0 and end with the finished training, as far as these were evaluated.
    """
    bare = [one for one in found if one.context == NONE]
    for model, task in dict.fromkeys((one.model, one.task) for one in bare if one.checkpoint):
        states = [one for one in bare if one.model == model and one.task == task and one.step is not None]
        points = [(one.step or 0, one) for one in states]
        where = (model.domain, model.base, task)
        points += [(0, b) for b in bare if b.model.role == "base" and (b.model.domain, b.model.base, b.task) == where]
        yield model, task, sorted(points, key=lambda p: p[0])
