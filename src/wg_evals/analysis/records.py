"""What a study leaves on disk for its readers: the plan, and a record beside each finished log.

A study writes these files and the analysis reads them; neither needs the other's code beyond this page.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wg_evals.errors import WgError
from wg_evals.spec import Intervention

PLAN = "plan.json"
RECORD = "cell.json"
RUN = "run.json"
EVALS = "evals"
ADAPTERS = "adapters"

Context = Literal["none", "as_trained", "other"]
NONE = "none"
"""Stands in every table for no intervention, no dataset, no seed."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Condition(_Record):
    """What was done to a base model before it was evaluated: a row of the study's table."""

    name: str
    """`base`, `plain`, `control`, an intervention's name, or the name of an adapter that was brought along."""
    role: Literal["base", "plain", "control", "intervened", "adapter"]
    dataset: str = NONE
    """`none`, `train` or `control`."""
    intervention: Intervention | None = None
    """What stood before every training row."""

    @property
    def trained_with(self) -> str:
        """The training intervention's name, or `none`."""
        return self.intervention.name if self.intervention else NONE


class PlannedCell(_Record):
    """One evaluation of the matrix, by the names that its study gives to things."""

    hash: str
    """Of everything that decides its result; ends its folder's name."""
    folder: str
    """Relative to the study's folder."""
    base: str
    condition: Condition
    seed: int | None
    """The training seed; None for a base model."""
    task: str
    context: Context
    intervention: Intervention | None
    """What stands before every question."""


class PlannedBase(_Record):
    """A base model of the study."""

    name: str
    path: str
    identity: str


class Plan(_Record):
    """The whole study as its last run resolved it."""

    version: int = 1
    name: str
    domain: str
    title: str
    description: str
    trait: str
    bases: list[PlannedBase]
    seeds: list[int]
    recipe: dict[str, Any]
    interventions: list[Intervention]
    """The training interventions, in the study's order."""
    evaluations: dict[str, dict[str, Any]]
    """By task: battery, number of questions, epochs, contexts."""
    grading: str
    grader: str | None
    generation: dict[str, Any]
    serve: str
    trainings: int
    """How many adapters the study trains."""
    cells: list[PlannedCell]


class CellRecord(_Record):
    """Written last, beside a finished cell's log: only the log that it names counts."""

    hash: str
    log: str
    """The log's file name, in the same folder."""
    model: str
    samples: int
    seconds: float
    cpu_seconds: float
    created: str


class RunRecord(_Record):
    """How the last run of the study went."""

    command: str
    started: str
    finished: str
    seconds: float
    workers: int
    threads: int
    """CPU threads of each worker."""
    done: int
    """Cells, trainings among them, that this run completed."""
    skipped: int
    """Cells that were complete when it started."""
    failed: list[str]
    stage_seconds: dict[str, float]
    """Worker seconds by stage: `start`, `train`, `evaluate`."""
    peak_memory_mib: float
    """Of the parent and its workers together, where the system tells; else 0."""
    versions: dict[str, str]


def read_plan(study: Path) -> Plan:
    """Read a study folder's plan.

    Raises:
        WgError: No study in that folder, or an unreadable plan.
    """
    if not study.is_dir():
        raise WgError(f"No study at '{study}': there is no such folder.")
    path = study / PLAN
    if not path.is_file():
        raise WgError(f"'{study}' is no study's folder: it has no {PLAN}. `wg-evals study STUDY.yaml` makes one.")
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as ex:
        error = ex.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        raise WgError(f"{path} cannot be read ({where}: {error['msg']}). Run the study again to rewrite it.") from None


def find_studies(folder: Path) -> list[tuple[Path, Plan]]:
    """The studies in a folder, or the one that the folder is a part of, each with its own folder."""
    places = [p.parent for p in folder.rglob(PLAN)] or [up for up in folder.parents[:2] if (up / PLAN).is_file()]
    found = []
    for place in sorted(places):
        try:
            found.append((place, read_plan(place)))
        except WgError:
            continue  # another program's plan.json, or one that the study itself will complain about
    return found


def read_record(folder: Path) -> CellRecord | None:
    """Read an evaluation cell's record; None if the cell is not finished (no record, or its log is gone)."""
    try:
        record = CellRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return record if (folder / record.log).is_file() else None


def read_run(study: Path) -> RunRecord | None:
    """Read how the study's last run went; None if none came to its end."""
    try:
        return RunRecord.model_validate_json((study / RUN).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
