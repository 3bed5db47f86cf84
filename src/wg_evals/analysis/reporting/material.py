"""What the report is made of: the frame of the logs, and what else lies beside them."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals.analysis import frame
from wg_evals.analysis.frames import Frame
from wg_evals.analysis.log_files import UnreadableLogError, read_log_file
from wg_evals.analysis.records import NONE, Plan, RunRecord, find_studies, read_record, read_run
from wg_evals.analysis.training_settings import training_settings
from wg_evals.api_models import api_models
from wg_evals.artifacts import MANIFEST, parse_manifest
from wg_evals.errors import WgError

OTHER_TASK = "other task"
_SAMPLING = ("temperature", "top_p", "max_tokens")


class CountedLog(NamedTuple):
    """A log that counts."""

    log: str
    """Relative to the folder."""
    sha256: str
    task: str
    task_version: str
    created: str
    judge: str
    """`markers`, or the judge's name."""
    self_judged: bool
    inspect: str
    """The version of Inspect that wrote it."""
    wg_evals: str
    sampling: str
    """What was set of it."""
    tokens: int


class LeftOut(NamedTuple):
    """A log that does not count, or of which a single score does not."""

    log: str
    what: str
    """Why, in a word: `frames.What`."""
    why: str


class Measured(NamedTuple):
    """A number that a log of another task reports."""

    task: str
    model: str
    metric: str
    value: float
    samples: int
    log: str


class Study(NamedTuple):
    """A study's plan, and how its last run went."""

    plan: Plan
    run: RunRecord | None
    missing: int
    """Evaluations of the plan that are not finished."""


class Training(NamedTuple):
    """A model whose manifest lies in the folder."""

    model: str
    """An adapter's folder, or what an API calls the model."""
    base: str
    intervention: str
    seed: int | None
    rows: int
    data_sha256: str
    made: str
    """The adapter's sha256, or the API's job."""
    settings: str
    versions: Mapping[str, str]


class Material(NamedTuple):
    """Everything that the report reads."""

    folder: Path
    frame: Frame
    logs: list[CountedLog]
    others: list[Measured]
    left_out: list[LeftOut]
    """Without the logs of other tasks that `others` holds."""
    studies: list[Study]
    trainings: list[Training]

    @property
    def uncounted(self) -> int:
        """Logs that do not count at all."""
        return len({left.log for left in self.left_out} - {log.log for log in self.logs})

    @property
    def settings(self) -> list[str]:
        """How was trained: each different setting once."""
        planned = (training_settings(s.plan.recipe) for s in self.studies)
        return sorted({*planned, *(t.settings for t in self.trainings)} - {""})

    @property
    def versions(self) -> list[str]:
        """The packages that trained and ran: each different set of versions once."""
        known = [s.run.versions for s in self.studies if s.run] + [t.versions for t in self.trainings]
        return sorted({", ".join(f"{name} {version}" for name, version in one.items()) for one in known} - {""})


def read_material(folder: Path) -> Material:
    """Read a folder of logs, whoever made them.

    Raises:
        WgError: No such folder, or no log in it that counts.
    """
    if folder.is_file():
        raise WgError(f"'{folder}' is a file: give the folder that holds the logs.")
    read = frame(folder)
    if read.samples.empty:
        reasons = read.left_out.head(10).itertuples(index=False)
        why = "".join(f"\n  {row.log}: {row.why}" for row in reasons)
        raise WgError(f"No log in '{folder}' counts, so there is nothing to report.{why}")
    others = list(_others(read))
    used = {one.log for one in others}
    rows = read.left_out.itertuples(index=False)
    return Material(
        folder=read.folder,
        frame=read,
        logs=[_counted(read.folder, cell) for cell in read.cells.itertuples(index=False)],
        others=others,
        left_out=[LeftOut(str(row.log), str(row.what), str(row.why)) for row in rows if row.log not in used],
        studies=list(_studies(read.folder)),
        trainings=[*_adapters(read.folder), *_api_models(read.folder)],
    )


def _counted(folder: Path, cell: Any) -> CountedLog:
    path = folder / cell.log
    header = read_log_file(path, samples=False).header
    sampling = header["eval"].get("model_generate_config") or {}
    usage = (header.get("stats") or {}).get("model_usage") or {}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return CountedLog(
        log=cell.log,
        sha256=digest,
        task=cell.task,
        task_version=cell.task_version,
        created=cell.created,
        judge=cell.grading if cell.judge == NONE else cell.judge,
        self_judged=bool(cell.self_judged),
        inspect=cell.inspect_ai,
        wg_evals=cell.wg_evals,
        sampling=", ".join(f"{k} {sampling[k]}" for k in _SAMPLING if sampling.get(k) is not None),
        tokens=sum(int(u.get("total_tokens") or 0) for u in usage.values()),
    )


def _others(read: Frame) -> Iterator[Measured]:
    """The results of finished logs of other tasks."""
    of_others = read.left_out[read.left_out["what"] == OTHER_TASK]
    for log in of_others["log"]:
        try:
            header = read_log_file(read.folder / log, samples=False).header
        except UnreadableLogError:
            continue  # it is left out, and said to be
        if header.get("status") != "success":
            continue
        spec, results = header["eval"], header.get("results") or {}
        model = str((spec.get("model_args") or {}).get("model_path") or spec["model"])
        for score in results.get("scores") or []:
            samples = int(score.get("scored_samples") or results.get("completed_samples") or 0)
            for name, metric in (score.get("metrics") or {}).items():
                label = f"{score['name']}: {name}"
                yield Measured(str(spec["task"]), model, label, float(metric["value"]), samples, log)


def _studies(folder: Path) -> Iterator[Study]:
    for place, plan in find_studies(folder):
        yield Study(plan, read_run(place), sum(read_record(place / c.folder) is None for c in plan.cells))


def _adapters(folder: Path) -> Iterator[Training]:
    for path in sorted(folder.rglob(MANIFEST)):
        try:
            m = parse_manifest(path)
        except WgError:
            continue  # of a model behind an API, or of a base
        yield Training(
            model=path.parent.relative_to(folder).as_posix(),
            base=m.base.name,
            intervention=m.intervention.name if m.intervention else NONE,
            seed=m.seed,
            rows=m.rows,
            data_sha256=m.data_sha256,
            made=m.adapter_sha256,
            settings=training_settings(m.recipe),
            versions=m.versions,
        )


def _api_models(folder: Path) -> Iterator[Training]:
    for m in {m.model: m for m in api_models(folder).values()}.values():
        yield Training(
            model=m.model,
            base=m.base,
            intervention=m.intervention.name if m.intervention else NONE,
            seed=m.seed,
            rows=m.rows,
            data_sha256=m.data_sha256,
            made=f"job {m.job_id}",
            settings=training_settings(m.recipe),
            versions=m.versions,
        )
