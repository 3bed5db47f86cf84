"""The study's tables: a row per cell, a row per condition over its seeds, and the table that is shown.

Their intervals are simple ones that can be done again by hand (`over_seeds`, `statistics.paired_difference`); the
report's (`intervals`, `effects`) are those that were shown to hold. docs/statistics.md says which stands where.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wg_evals.analysis.logs import CellResult, Counts, StudyResults, read_study
from wg_evals.analysis.over_seeds import seeded_rate
from wg_evals.analysis.records import NONE, Condition, Context
from wg_evals.spec import Intervention
from wg_evals.statistics import Difference, Rate, clustered_rate, paired_difference

_COMMON = ["domain", "base", "train_intervention", "kind", "relevance", "dataset"]
_RESULT = ["context", "eval_intervention", "task", "n", "included", "excluded", "unscored", "expressed"]
_RESULT += ["rate", "ci_low", "ci_high"]
CELL_COLUMNS = [*_COMMON, "seed", *_RESULT, "log"]
SUMMARY_COLUMNS = [*_COMMON, "seeds", *_RESULT]


@dataclass(frozen=True)
class Pooled:
    """The same evaluation over all its seeds."""

    base: str
    condition: Condition
    task: str
    context: Context
    intervention: Intervention | None
    results: list[CellResult]

    @cached_property
    def rate(self) -> Rate:
        """Mean of the seeds' rates, with an interval over questions and seeds."""
        return seeded_rate([r.questions for r in self.results])

    @cached_property
    def counts(self) -> Counts:
        """Over all seeds."""
        return sum((r.total for r in self.results), Counts())

    @cached_property
    def by_question(self) -> dict[str, float]:
        """The rate of each question, averaged over seeds; questions without an included answer are left out."""
        rates: dict[str, list[float]] = {}
        for result in self.results:
            for question, counts in result.questions.items():
                if counts.included:
                    rates.setdefault(question, []).append(counts.rate)
        return {q: math.fsum(v) / len(v) for q, v in rates.items()}


@dataclass(frozen=True)
class Row:
    """A row of the table that is shown: one condition on one base."""

    base: str
    condition: Condition
    main: Pooled | None
    """Without context."""
    as_trained: Pooled | None
    """Under the prefix it was trained with."""
    base_under: Pooled | None
    """The base under the same prefix."""
    others: Mapping[str, Pooled]
    """The other tasks, without context."""

    @cached_property
    def residue(self) -> Difference | None:
        """The rate under the trained prefix minus the base's under it, paired by question (the hidden residue)."""
        if self.as_trained is None or self.base_under is None:
            return None
        return paired_difference(self.as_trained.by_question, self.base_under.by_question)


@dataclass(frozen=True)
class Tables:
    """Everything that is shown, computed once."""

    study: StudyResults
    main_task: str
    """The task the study is about: the first of its evaluations."""
    other_tasks: list[str]
    pooled: list[Pooled]
    rows: list[Row]


def make_tables(study: StudyResults) -> Tables:
    """Pool the cells over seeds, and lay out the table: base, plain, control, then the interventions."""
    pooled = _pool(study.results)
    main, *others = study.plan.evaluations
    return Tables(study, main, others, pooled, _rows(study, pooled, main, others))


def _pool(results: Iterable[CellResult]) -> list[Pooled]:
    groups: dict[Any, list[CellResult]] = {}
    for result in results:
        cell = result.cell
        groups.setdefault(
            (cell.base, cell.condition.name, cell.task, cell.context, _text(cell.intervention)), []
        ).append(result)
    return [
        Pooled(c.base, c.condition, c.task, c.context, c.intervention, found)
        for found in groups.values()
        for c in [found[0].cell]
    ]


def _rows(study: StudyResults, pooled: list[Pooled], main: str, others: list[str]) -> list[Row]:
    index = {(p.base, p.condition.name, p.task, _text(p.intervention)): p for p in pooled}
    rows: dict[tuple[str, str], Row] = {}
    for cell in study.plan.cells:
        key = (cell.base, cell.condition.name)
        if key in rows:
            continue
        prefix = _text(cell.condition.intervention)

        def find(condition: str, task: str, under: Any, base: str = cell.base) -> Pooled | None:
            return index.get((base, condition, task, under))

        rows[key] = Row(
            base=cell.base,
            condition=cell.condition,
            main=find(cell.condition.name, main, None),
            as_trained=find(cell.condition.name, main, prefix) if prefix else None,
            base_under=find("base", main, prefix) if prefix else None,
            others={t: p for t in others if (p := find(cell.condition.name, t, None))},
        )
    return list(rows.values())


def _text(intervention: Intervention | None) -> tuple[str, str] | None:
    """What an intervention is, whatever it is called."""
    return (intervention.text, intervention.placement) if intervention else None


def cell_rows(study: StudyResults) -> list[dict[str, Any]]:
    """The rows of `cells.csv`."""
    rows = []
    for result in study.results:
        counts = list(result.questions.values())
        rate = clustered_rate([c.expressed for c in counts], [c.included for c in counts])
        cell = result.cell
        row = _row(study, cell.base, cell.condition, cell.context, cell.intervention, cell.task, result.total, rate)
        rows.append(row | {"seed": NONE if cell.seed is None else cell.seed, "log": result.log})
    return rows


def summary_rows(tables: Tables) -> list[dict[str, Any]]:
    """The rows of `summary.csv`."""
    return [
        _row(tables.study, p.base, p.condition, p.context, p.intervention, p.task, p.counts, p.rate)
        | {"seeds": sum(r.cell.seed is not None for r in p.results)}
        for p in tables.pooled
    ]


def _row(
    study: StudyResults,
    base: str,
    condition: Condition,
    context: Context,
    intervention: Intervention | None,
    task: str,
    counts: Counts,
    rate: Rate,
) -> dict[str, Any]:
    trained = condition.intervention
    return {
        "domain": study.plan.domain,
        "base": base,
        "train_intervention": condition.trained_with,
        "kind": (trained.kind if trained else None) or NONE,
        "relevance": (trained.relevance if trained else None) or NONE,
        "dataset": condition.dataset,
        "context": context,
        "eval_intervention": intervention.name if intervention else NONE,
        "task": task,
        "n": counts.n,
        "included": counts.included,
        "excluded": counts.excluded,
        "unscored": counts.unscored,
        "expressed": counts.expressed,
        "rate": _number(rate.rate),
        "ci_low": _number(rate.low),
        "ci_high": _number(rate.high),
    }


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def write_tables(folder: Path) -> tuple[Tables, list[Path]]:
    """Read a study's folder, and write `cells.csv` and `summary.csv` into it.

    Args:
        folder: The study's folder; cells that are not finished are left out.

    Raises:
        WgError: No study in that folder, or a log of it that cannot be read.
    """
    study = read_study(folder)
    tables = make_tables(study)
    files = [study.folder / "cells.csv", study.folder / "summary.csv"]
    write_csv(files[0], CELL_COLUMNS, cell_rows(study))
    write_csv(files[1], SUMMARY_COLUMNS, summary_rows(tables))
    return tables, files


def write_csv(path: Path, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table atomically; undefined numbers are empty."""
    beside = path.with_name(f".{path.name}.tmp")
    with beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    beside.replace(path)
