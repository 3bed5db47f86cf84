"""The study's logs, as counts per question."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wg_evals.analysis.log_files import UnreadableLogError, read_log_file
from wg_evals.analysis.records import CellRecord, Plan, PlannedCell, read_plan, read_record
from wg_evals.errors import WgError

OUTCOME = "outcome"
"""The score that says whether an answer counts and whether it expresses the trait."""


@dataclass
class Counts:
    """Answers to one question, or to several together."""

    n: int = 0
    included: int = 0
    expressed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Answers that are not included, by reason; `unscored` is one of them."""

    @property
    def unscored(self) -> int:
        return self.reasons["unscored"]

    @property
    def excluded(self) -> int:
        """Answers that are neither included nor unscored."""
        return self.n - self.included - self.unscored

    @property
    def rate(self) -> float:
        """Share of the included answers that express the trait; nan if none is included."""
        return self.expressed / self.included if self.included else float("nan")

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.n + other.n,
            self.included + other.included,
            self.expressed + other.expressed,
            self.reasons + other.reasons,
        )


@dataclass(frozen=True)
class CellResult:
    """A finished evaluation."""

    cell: PlannedCell
    record: CellRecord
    log: str
    """Relative to the study's folder."""
    questions: Mapping[str, Counts]
    """By question id."""

    @property
    def total(self) -> Counts:
        """Over all questions."""
        return sum(self.questions.values(), Counts())


@dataclass(frozen=True)
class StudyResults:
    """What a study's folder holds."""

    folder: Path
    plan: Plan
    results: list[CellResult]

    @property
    def missing(self) -> int:
        """Cells of the plan that are not finished."""
        return len(self.plan.cells) - len(self.results)


def read_study(folder: Path) -> StudyResults:
    """Read every finished cell of a study.

    Only the log that a cell's record names counts; leftovers of killed runs do not.

    Raises:
        WgError: No study in that folder, or a log that is not of this project's tasks.
    """
    folder = folder.expanduser().resolve()
    plan = read_plan(folder)
    results = []
    for cell in plan.cells:
        record = read_record(folder / cell.folder)
        if record is not None:
            results.append(_read_cell(folder, cell, record))
    return StudyResults(folder, plan, results)


def _read_cell(folder: Path, cell: PlannedCell, record: CellRecord) -> CellResult:
    path = folder / cell.folder / record.log
    try:
        samples = read_log_file(path).samples
    except UnreadableLogError as ex:
        raise WgError(f"'{path}': {ex.text}") from None
    questions: dict[str, Counts] = {}
    for sample in samples:
        question = str(sample["id"])
        counts = questions.setdefault(question, Counts())
        counts.n += 1
        score = (sample.get("scores") or {}).get(OUTCOME)
        if sample.get("error") or score is None:
            counts.reasons["unscored"] += 1
            continue
        value = score["value"]
        if not isinstance(value, dict) or not {"expressed", "included", "reason"} <= set(value):
            raise WgError(f"{path}: sample '{question}' has a score '{OUTCOME}' that this project did not write.")
        if value["included"]:
            counts.included += 1
            counts.expressed += bool(value["expressed"])
        else:
            counts.reasons[str(value["reason"])] += 1
    return CellResult(cell, record, f"{cell.folder}/{record.log}", questions)
