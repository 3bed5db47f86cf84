"""What the report is made of: the frame of the logs, and what else lies beside them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals.analysis import frame
from wg_evals.analysis.frames import Frame
from wg_evals.analysis.log_files import UnreadableLogError, read_log_file
from wg_evals.analysis.records import NONE, PLAN, Plan, RunRecord, read_plan, read_record, read_run
from wg_evals.artifacts import MANIFEST, AdapterManifest, parse_manifest
from wg_evals.errors import WgError

OTHER_TASK = "other task"
_SAMPLING = ("temperature", "top_p", "max_tokens")


class LogFile(NamedTuple):
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


class Material(NamedTuple):
    """Everything that the report reads."""

    folder: Path
    frame: Frame
    logs: list[LogFile]
    others: list[Measured]
    left_out: list[tuple[str, str]]
    """Logs that do not count and are of no use here, and logs of which a single score does not count; with why."""
    studies: list[Study]
    adapters: list[tuple[str, AdapterManifest]]
    """The manifests that lie in the folder, with where."""

    @property
    def uncounted(self) -> int:
        """Logs that do not count at all."""
        return len({log for log, _ in self.left_out} - {log.log for log in self.logs})


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
        logs=[_log_file(read.folder, cell) for cell in read.cells.itertuples(index=False)],
        others=others,
        left_out=[(str(row.log), str(row.why)) for row in rows if row.log not in used],
        studies=list(_studies(read.folder)),
        adapters=list(_adapters(read.folder)),
    )


def _log_file(folder: Path, cell: Any) -> LogFile:
    path = folder / cell.log
    header = read_log_file(path, samples=False).header
    sampling = header["eval"].get("model_generate_config") or {}
    usage = (header.get("stats") or {}).get("model_usage") or {}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LogFile(
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
    plans = list(folder.rglob(PLAN)) or [p for up in folder.parents[:2] if (p := up / PLAN).is_file()]
    for path in sorted(plans):
        try:
            plan = read_plan(path.parent)
        except WgError:
            continue  # another program's plan.json; the logs are read all the same
        missing = sum(read_record(path.parent / c.folder) is None for c in plan.cells)
        yield Study(plan, read_run(path.parent), missing)


def _adapters(folder: Path) -> Iterator[tuple[str, AdapterManifest]]:
    for path in sorted(folder.rglob(MANIFEST)):
        try:
            yield path.parent.relative_to(folder).as_posix(), parse_manifest(path)
        except WgError:
            continue  # of a model behind an API, or of a base
