"""What was evaluated: the samples of the frame, gathered by domain, model, context and training seed."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import pandas as pd

from wg_evals.analysis.logs import Counts
from wg_evals.analysis.reporting import measures
from wg_evals.statistics import Rate

NONE = "none"
NARROW = "narrow"
"""The task of the manipulation check."""

Role = Literal["base", "plain", "control", "intervened", "unknown"]
_ORDER = {"base": 0, "plain": 1, "control": 2, "intervened": 3, "unknown": 4}
_RELEVANCE = {"relevant": 0, "generic": 1, "graded": 2}


class Model(NamedTuple):
    """A base model and what was trained into it; its seeds are not told apart."""

    domain: str
    base: str
    role: Role
    name: str
    """`base`, `plain`, `control`, the training intervention's name, or what the logs call a model of unknown making."""
    kind: str = ""
    relevance: str = ""

    @property
    def group(self) -> str:
        """What it is put together with: its role, or the relevance of its intervention."""
        return self.relevance if self.role == "intervened" and self.relevance in _RELEVANCE else self.role

    @property
    def order(self) -> tuple[Any, ...]:
        """Base, plain, control, then interventions from relevant to graded, by kind."""
        return (_ORDER[self.role], _RELEVANCE.get(self.relevance, 3), self.kind, self.name)


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
    seeds: dict[str, dict[str, Counts]] = field(default_factory=dict)
    """By training seed, by question."""

    @cached_property
    def rate(self) -> Rate:
        return measures.rate(list(self.seeds.values()))

    @cached_property
    def counts(self) -> Counts:
        """Over seeds and questions."""
        return sum((c for s in self.seeds.values() for c in s.values()), Counts())

    @cached_property
    def by_seed(self) -> dict[str, float]:
        """Each seed's rate."""
        return {seed: sum(s.values(), Counts()).rate for seed, s in self.seeds.items()}

    @cached_property
    def by_question(self) -> dict[str, float]:
        """The rate of each question, averaged over seeds; questions without an included answer are left out."""
        rates: dict[str, list[float]] = {}
        for questions in self.seeds.values():
            for question, counts in questions.items():
                if counts.included:
                    rates.setdefault(question, []).append(counts.rate)
        return {q: math.fsum(v) / len(v) for q, v in rates.items()}

    @property
    def vouched(self) -> bool:
        """Whether its interval can be relied on; if not, each seed is shown."""
        trained = None if self.model.role in ("base", "unknown") else len(self.seeds)
        return measures.vouched(self.rate, trained)


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

    def one(self, role: Role) -> Model | None:
        """The model of a role that a domain has one of."""
        return next((m for m in self.models if m.role == role), None)

    def base_under(self, model: Model) -> Evaluated | None:
        """The base under the prefix that a model was trained with."""
        ground, own = self.one("base"), self.own.get(model)
        return self.under.get((ground, own.context)) if ground and own else None

    def group(self, name: str) -> list[Model]:
        """The models of a group that were evaluated without context."""
        return [m for m in self.models if m.group == name and m in self.main]


_KEYS = ["domain", "base", "role", "name", "kind", "relevance", "task", "eval_intervention", "own", "checkpoint"]


def evaluations(table: pd.DataFrame) -> list[Evaluated]:
    """Gather samples that `labelled` has prepared; each is counted once."""
    keys = [*_KEYS, "seed", "question"]
    summed = table.groupby(keys, sort=False).agg(
        n=("included", "size"), included=("included", "sum"), expressed=("expressed", "sum")
    )
    outside = table[~table["included"]]
    reasons: dict[tuple[Any, ...], Counter[str]] = {}
    for key, n in outside.groupby([*keys, "reason"], sort=False).size().items():
        *first, reason = key if isinstance(key, tuple) else (key,)
        reasons.setdefault(tuple(first), Counter())[str(reason)] = int(n)
    found: dict[tuple[Any, ...], Evaluated] = {}
    for key, n, included, expressed in summed.itertuples(name=None):
        domain, base, role, name, kind, relevance, task, context, own, checkpoint, seed, question = key
        one = found.setdefault(
            key[:-2],
            Evaluated(Model(domain, base, role, name, kind, relevance), task, context, bool(own), checkpoint),
        )
        counts = Counts(int(n), int(included), int(expressed), reasons.get(key, Counter()))
        one.seeds.setdefault(seed, {})[question] = counts
    return list(found.values())


def labelled(samples: pd.DataFrame) -> pd.DataFrame:
    """The frame's samples as words that can be grouped by: who answered (`role`, `name`), and in which context."""
    table = pd.DataFrame(index=samples.index)
    for column in ("domain", "base", "kind", "relevance", "task", "eval_intervention", "seed", "checkpoint"):
        table[column] = _words(samples[column])
    table["question"] = samples["question"].astype(str)
    table["included"] = samples["included"].fillna(False).astype(bool)
    table["expressed"] = samples["expressed"].fillna(False).astype(bool) & table["included"]
    table["reason"] = samples["reason"].fillna("unscored").astype(str)
    table["eval_intervention"] = table["eval_intervention"].replace("", NONE)
    for column in ("kind", "relevance"):
        table[column] = table[column].replace(NONE, "")
    trained, dataset = _words(samples["train_intervention"]), _words(samples["dataset"])
    known = pd.DataFrame({"trained": trained, "dataset": dataset, "model": _words(samples["model"])})
    roles = {key: _role(*key) for key in known.drop_duplicates().itertuples(index=False, name=None)}
    made = [roles[key] for key in known.itertuples(index=False, name=None)]
    table["role"] = [role for role, _ in made]
    table["name"] = [name for _, name in made]
    table["base"] = table["base"].where(table["base"] != "", known["model"])
    table["domain"] = table["domain"].where(table["domain"] != "", "unknown domain")
    table["own"] = _words(samples["context"]).eq("as_trained") | (
        (table["role"] == "intervened") & (table["eval_intervention"] == table["name"])
    )
    return table


def _words(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if pd.api.types.is_float_dtype(column):
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), "").astype(str)


def _role(trained: str, dataset: str, model: str) -> tuple[Role, str]:
    if trained not in ("", NONE):
        return "intervened", trained
    if dataset == "control":
        return "control", "control"
    if dataset == "train":
        return "plain", "plain"
    if dataset == NONE:
        return "base", "base"
    return "unknown", model


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
    task = max(sizes, key=lambda t: (t != NARROW, sizes[t], t))
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


def curves(found: Iterable[Evaluated]) -> Iterator[tuple[Model, str, list[tuple[int, Evaluated]]]]:
    """For each model, task and base with checkpoints: its evaluations without context, by training step."""
    groups: dict[tuple[Model, str], list[tuple[int, Evaluated]]] = {}
    for one in found:
        digits = "".join(c for c in one.checkpoint if c.isdigit())
        if digits and one.context == NONE:
            groups.setdefault((one.model, one.task), []).append((int(digits), one))
    for (model, task), points in groups.items():
        yield model, task, sorted(points, key=lambda p: p[0])
