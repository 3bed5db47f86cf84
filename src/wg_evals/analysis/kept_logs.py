"""What is kept of a log that may count: an entry an answer, and the row of its cell."""

import json
from collections.abc import Mapping
from typing import Any

from wg_evals.analysis.answer_scores import judged_by, ratings_of, verdict_of
from wg_evals.analysis.log_cells import LogCell
from wg_evals.analysis.log_files import LogFile
from wg_evals.analysis.records import NONE
from wg_evals.analysis.subjects import UNKNOWN, intervention_name, summarised
from wg_evals.analysis.told_apart import digest


class KeptLog:
    """What is kept of a log: a column a thing, an entry an answer."""

    def __init__(self, cell: LogCell, name: str) -> None:
        self.name = name
        samples = cell.file.samples
        self.header = {k: v for k, v in cell.file.header.items() if k in ("eval", "status")}
        self.cell = cell._replace(file=LogFile(self.header, []))
        self.created, self.asked = cell.created, cell.questions
        self.question = [str(s["id"]) for s in samples]
        self.topic = [str((s.get("metadata") or {}).get("topic") or s["id"]) for s in samples]
        self.epochs = [int(s["epoch"]) for s in samples]
        verdicts = [verdict_of(s) for s in samples]
        self.included = [v[0] for v in verdicts]
        self.expressed = [v[1] for v in verdicts]
        self.reason = [v[2] for v in verdicts]
        self.rubrics: dict[str, list[Any]] = {}
        for i, sample in enumerate(samples):
            for rubric, value in ratings_of(sample):
                self.rubrics.setdefault(rubric, [None] * len(samples))[i] = value

    @property
    def scored(self) -> int:
        """How many of its answers have a verdict."""
        return len(self.reason) - self.reason.count("unscored")

    @property
    def judged_by(self) -> str:
        """How its answers were graded, and by whom."""
        return judged_by(self.header)

    @property
    def rejudged(self) -> bool:
        """Whether `wg-evals rejudge` made it."""
        return "rejudged_from" in (self.header["eval"].get("metadata") or {})

    def empty_rubrics(self) -> list[str]:
        """Rubrics without a single value."""
        return [r for r, values in self.rubrics.items() if all(v is None or v != v for v in values)]

    def row(self) -> dict[str, Any]:
        """The cell's row."""
        cell, who, under, spec = self.cell, self.cell.subject, self.cell.under, self.header["eval"]
        about: Mapping[str, Any] = spec.get("metadata") or {}
        used = who.intervention
        return {
            "domain": cell.domain,
            "trait": cell.trait,
            "base": who.base,
            "model": who.model,
            "role": who.role,
            "train_intervention": who.trained_with,
            "kind": (used.kind if used else None) or (UNKNOWN if who.trained_with == UNKNOWN else NONE),
            "relevance": (used.relevance if used else None) or (UNKNOWN if who.trained_with == UNKNOWN else NONE),
            "dataset": who.dataset,
            "seed": who.seed,
            "checkpoint": who.checkpoint,
            "context": cell.context,
            "eval_intervention": intervention_name(cell.under),
            "eval_placement": cell.under.placement if cell.under else NONE,
            "task": cell.task,
            "task_version": cell.version,
            "battery": cell.battery,
            "judged_by": self.judged_by,
            "n": len(self.reason),
            "included": sum(self.included),
            "excluded": self.scored - sum(self.included),
            "unscored": len(self.reason) - self.scored,
            "expressed": sum(self.expressed),
            **self._interval(),
            "grading": about.get("grading", UNKNOWN),
            "judge": about.get("judge", NONE),
            "self_judged": bool(about.get("self_judged", False)),
            "outcome_rule": json.dumps(about.get("outcome_rule")),
            "study": cell.study,
            "steps": who.steps,
            "created": self.created,
            "wg_evals": about.get("wg_evals", UNKNOWN),
            "inspect_ai": (spec.get("packages") or {}).get("inspect_ai", UNKNOWN),
            "log": self.name,
            "identity": who.identity,
            "training_prefix": digest(f"{used.placement}: {summarised(used.text)}") if used else "",
            "prefix": digest(summarised(under.text)) if under else "",
            "settings": digest(who.settings),
            "data": who.data[:8],
        }

    def _interval(self) -> dict[str, float]:
        from wg_evals.statistics import clustered_rate

        counts: dict[str, list[int]] = {}
        for question, included, expressed in zip(self.question, self.included, self.expressed, strict=True):
            found = counts.setdefault(question, [0, 0])
            found[0] += expressed
            found[1] += included
        rate = clustered_rate([e for e, _ in counts.values()], [m for _, m in counts.values()])
        return {"rate": rate.rate, "ci_low": rate.low, "ci_high": rate.high}
