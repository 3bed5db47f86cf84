"""Which cell a log is of: who was evaluated on what, under which prefix; or why the log does not count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wg_evals.analysis.answer_scores import judged_by, verdict_of
from wg_evals.analysis.log_files import LogFile
from wg_evals.analysis.records import NONE, Plan, PlannedCell, read_record
from wg_evals.analysis.subjects import (
    UNKNOWN,
    Manifests,
    Subject,
    adapter_identity,
    intervention_name,
    model_name,
    same_text,
    subject,
    summarised,
)
from wg_evals.analysis.training_settings import settings_learned_from
from wg_evals.errors import WgError
from wg_evals.spec import Intervention

What = Literal[
    "unreadable",
    "running",
    "failed",
    "other task",
    "older version",
    "superseded",
    "not planned",
    "no verdict",
    "invalidated",
]
"""Why a log is left out, in a word.

A `no verdict` of a single rubric leaves out that rubric and not the log, and so do `invalidated` answers.
"""


class LeftOutError(Exception):
    """A log does not count."""

    def __init__(self, what: What, why: str, instead: Path | None = None) -> None:
        super().__init__(why)
        self.what, self.why, self.instead = what, why, instead


class LogCell(NamedTuple):
    """A log that may count."""

    path: Path
    file: LogFile
    subject: Subject
    domain: str
    trait: str
    task: str
    version: str
    battery: str
    context: str
    under: Intervention | None
    study: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What two logs of the same cell have in common."""
        under = (summarised(self.under.text), self.under.placement) if self.under else None
        s = self.subject
        run = (s.identity, s.base, s.dataset, s.trained_with, s.seed, s.checkpoint)
        return (self.domain, self.task, self.battery, judged_by(self.file.header), *run, under)

    @property
    def created(self) -> str:
        return str(self.file.header["eval"].get("created", ""))

    @property
    def questions(self) -> set[str]:
        return {str(s["id"]) for s in self.file.samples}


@dataclass
class PlannedStudy:
    """A study whose plan lies with the logs."""

    folder: Path
    plan: Plan
    cells: dict[Path, PlannedCell] = field(init=False)
    bases: dict[str, str] = field(default_factory=dict)
    """A name for each base, by the plan's, that no other base of the folder's studies has."""

    def __post_init__(self) -> None:
        self.cells = {self.folder / c.folder: c for c in self.plan.cells}


def name_bases(studies: list[PlannedStudy]) -> None:
    """Give each base a name that no other base of these studies has."""
    identities: dict[str, set[str]] = {}
    for base in (b for study in studies for b in study.plan.bases):
        identities.setdefault(base.name, set()).add(base.identity)
    for study in studies:
        for b in study.plan.bases:
            study.bases[b.name] = b.name if len(identities[b.name]) == 1 else f"{b.name} ({b.identity[:8]})"


def cell_of(path: Path, file: LogFile, studies: Sequence[PlannedStudy], manifests: Manifests) -> LogCell:
    """Tell what a log is of.

    Args:
        path: The log.
        file: What it holds.
        studies: Those of the folder.
        manifests: Those that lie with the logs.

    Raises:
        LeftOutError: It does not count, whatever other logs there are.
    """
    header, spec = file.header, file.header["eval"]
    planned = _planned(path, studies)
    about: Mapping[str, Any] = spec.get("metadata") or {}
    if planned is None and not (about.get("domain") and about.get("task")):
        raise LeftOutError("other task", f"It is of the task '{spec['task']}', which is none of this project's.")
    if header["status"] == "started":
        raise LeftOutError("running", "It is not finished: its run is still going on, or was killed.")
    if header["status"] != "success":
        said = (header.get("error") or {}).get("message") or "it was interrupted"
        raise LeftOutError(
            "failed",
            f"Its run ended with '{header['status']}' ({said[:200]}). `inspect eval-retry` goes on with it.",
        )
    if file.invalidated and not file.samples:
        raise LeftOutError("invalidated", f"All of its {invalidated(file)}.")
    if not any(verdict_of(s)[2] != "unscored" for s in file.samples):
        raise LeftOutError("no verdict", f"Not one of its {len(file.samples)} answers has a verdict.")
    first: Mapping[str, Any] = file.samples[0].get("metadata") or {}
    task = str(spec["task"]).rsplit("/", 1)[-1]
    shared: dict[str, Any] = {
        "path": path,
        "file": file,
        "task": task,
        "version": str(spec.get("task_version", "")),
        "battery": str(about.get("battery") or first.get("battery") or UNKNOWN),
    }
    if planned is not None:
        study, cell = planned
        return LogCell(
            **shared,
            subject=_as_planned(study, cell, spec, manifests),
            domain=study.plan.domain,
            trait=study.plan.trait,
            context=cell.context,
            under=cell.intervention,
            study=str(study.folder),
        )
    who, under = subject(header, manifests), _applied(first)
    domain = str(about["domain"])
    return LogCell(
        **shared,
        subject=who,
        domain=domain,
        trait=_trait(str(about.get("domain_path") or domain)),
        context=_context(who, under),
        under=under,
        study="",
    )


def _planned(path: Path, studies: Sequence[PlannedStudy]) -> tuple[PlannedStudy, PlannedCell] | None:
    """The study's cell that a log is of; None for a log outside the studies."""
    for study in studies:
        if not path.is_relative_to(study.folder / "evals"):
            continue
        cell = study.cells.get(path.parent)
        if cell is None:
            raise LeftOutError("not planned", "Its cell is not in its study's present plan.")
        record = read_record(path.parent)
        if record is None:
            raise LeftOutError("running", f"Its cell '{path.parent.name}' is not finished.")
        if record.log != path.name:
            why = f"'{record.log}' is the log that counts for its cell."
            raise LeftOutError("superseded", why, path.with_name(record.log))
        return study, cell
    return None


def _as_planned(study: PlannedStudy, cell: PlannedCell, spec: Mapping[str, Any], manifests: Manifests) -> Subject:
    condition, model, base = cell.condition, model_name(spec), study.bases.get(cell.base, cell.base)
    used, about = condition.intervention, spec.get("metadata") or {}
    made = manifests.by_sha256.get(str(about.get("adapter_sha256"))) or manifests.by_name.get(model)
    brought = condition.role == "adapter"
    recipe = study.plan.recipe if not brought else made.recipe if made else {}
    settings = settings_learned_from(recipe)
    if condition.dataset == NONE:
        identity, settings = base, ""
    elif "adapter_sha256" in about:
        identity = adapter_identity("", about)
    else:
        identity = model if made or not settings else f"{model}, {settings}"
    return Subject(
        model=model,
        identity=identity,
        base=base,
        dataset=condition.dataset,
        trained_with=intervention_name(used),
        intervention=used,
        seed=cell.seed,
        checkpoint=None,
        settings=settings,
        data=made.data_sha256 if made else "",
    )


def _applied(metadata: Mapping[str, Any]) -> Intervention | None:
    """What stood before the questions, by a sample's metadata."""
    text = metadata.get("intervention_text")
    if not text:
        return None
    return Intervention.model_construct(
        name=str(metadata.get("intervention") or "literal"),
        text=str(text),
        placement=metadata.get("placement") or "before",
        kind=metadata.get("kind"),
        relevance=metadata.get("relevance"),
    )


def _context(who: Subject, under: Intervention | None) -> str:
    if under is None:
        return NONE
    if who.trained_with == UNKNOWN:
        return UNKNOWN
    trained = who.intervention
    if trained is None or not same_text(trained.text, under.text):
        return "other"
    if trained.placement == under.placement:
        return "as_trained"
    return "other" if who.placement_known else UNKNOWN


@cache
def _trait(domain: str) -> str:
    from wg_evals.catalogue import load_domain

    try:
        return load_domain(domain).spec.trait
    except WgError:
        return UNKNOWN


def invalidated(file: LogFile) -> str:
    """Which answers somebody marked as invalid, in words that follow `all of its`."""
    reasons = ", ".join(sorted(set(filter(None, file.invalidated)))) or "no reason given"
    return f"{len(file.samples) + len(file.invalidated)} answers were marked as invalid in Inspect ({reasons})"
