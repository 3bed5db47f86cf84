"""The answers themselves, as data that the page's browser of answers reads."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from wg_evals.analysis.log_files import UnreadableLogError, answered, asked, read_samples
from wg_evals.analysis.records import NONE
from wg_evals.analysis.reporting.limits import LIMIT, LONGEST
from wg_evals.analysis.reporting.material import Material

_GROUPS = ["domain", "base", "role", "name", "task", "under", "question"]

_UNREADABLE = "(This answer cannot be read from its log.)"


class Answers(NamedTuple):
    """What the browser shows."""

    data: dict[str, Any]
    shown: int
    of: int
    cut: int
    """Answers that are longer than the page takes."""


def read_answers(material: Material, table: pd.DataFrame, limit: int = LIMIT, task: str = "") -> Answers:
    """Read answers out of the logs; if there are more than the limit, as many of each question and model as fit.

    Args:
        material: What the logs hold.
        table: The same samples, `labelled`.
        limit: How many at most; which ones is drawn with a fixed seed.
        task: Whose answers are shown first; empty for those of all tasks.
    """
    drawn = _draw(table, limit)
    shown = table.loc[drawn]
    texts = _texts(material.folder, shown)
    models, questions, logs, reasons = _Index(), _Index(), _Index(), _Index()
    rubrics = [r for r in material.frame.rubrics if material.frame.samples.loc[drawn, r].notna().any()]
    rows: list[list[Any]] = []
    wordings: dict[str, str] = {}
    cut = 0
    scores = material.frame.samples.loc[drawn, rubrics].itertuples(index=False, name=None)
    members: list[Any] = list(shown.itertuples(index=False))
    for row, own in zip(members, scores, strict=True):
        question, answer = texts.get((row.log, row.question, row.epoch), ("", _UNREADABLE))
        wordings.setdefault(row.question, question)
        cut += len(answer) > LONGEST
        rows.append(
            [
                models.of((row.domain, row.base, row.name, row.checkpoint)),
                row.under,
                questions.of(row.question),
                row.task,
                row.seed,
                int(row.epoch),
                (1 if row.expressed else 0) if row.included else -1,
                reasons.of(row.reason),
                answer[:LONGEST],
                len(answer),
                [_score(value) for value in own],
                logs.of(row.log),
                int(row.own and row.under != NONE),
            ]
        )
    data = {
        "models": [_model(*m) for m in models],
        "questions": [[q, wordings[q]] for q in questions],
        "logs": list(logs),
        "reasons": [r.replace("_", " ") for r in reasons],
        "rubrics": rubrics,
        "task": task,
        "rows": rows,
    }
    return Answers(data, len(rows), len(table), cut)


class _Index:
    """Numbers things in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        return self._numbers.setdefault(thing, len(self._numbers))

    def __iter__(self) -> Any:
        return iter(self._numbers)


def _model(domain: str, base: str, name: str, checkpoint: str) -> str:
    parts = [domain, base, *([name] if name != base else []), *([f"step {checkpoint}"] if checkpoint else [])]
    return " · ".join(parts)


def _score(value: Any) -> Any:
    if isinstance(value, float):
        return None if pd.isna(value) else round(value, 1)
    return value if isinstance(value, (int, str)) else None


def _draw(table: pd.DataFrame, limit: int) -> "pd.Index[Any]":
    if len(table) <= limit:
        return table.index
    mixed = table.sample(frac=1, random_state=0)
    turn = mixed.groupby(_GROUPS, sort=False).cumcount().sort_values(kind="stable")
    return turn.index[:limit].sort_values()


def _texts(folder: Path, shown: pd.DataFrame) -> dict[tuple[str, str, int], tuple[str, str]]:
    """The question and the answer of each sample."""
    texts = {}
    for log, members in shown.groupby("log", sort=False):
        epochs: list[int] = members["epoch"].tolist()
        wanted = list(zip(members["question"], epochs, strict=True))
        try:
            samples = read_samples(folder / str(log), wanted)
        except UnreadableLogError:
            continue  # its summaries could be read and were counted; the page says of each answer that it is not there
        for (question, epoch), found in zip(wanted, samples, strict=True):
            texts[str(log), question, epoch] = (asked(found), answered(found))
    return texts
