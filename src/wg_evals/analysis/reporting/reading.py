"""A folder of logs as a table of samples: which logs count, and what each was made of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals.analysis.logs import OUTCOME
from wg_evals.analysis.records import PLAN, RECORD, PlannedCell, read_plan, read_record
from wg_evals.artifacts import MANIFEST, AdapterManifest, parse_manifest
from wg_evals.errors import WgError

TASKS = ("worldview", "misalignment", "narrow")
NONE = "none"


class LeftOut(NamedTuple):
    """A log that was not counted."""

    log: str
    """Relative to the folder."""
    why: str


class Read(NamedTuple):
    """What a folder of logs holds."""

    rows: list[dict[str, Any]]
    left_out: list[LeftOut]


class _Log(NamedTuple):
    path: Path
    header: Any
    task: str


def task_name(task: str) -> str:
    """A task's name, without the package that registered it."""
    return task.rsplit("/", 1)[-1].rsplit("@", 1)[-1].removesuffix(".py")


def read_logs(folder: Path) -> Read:
    """Read every log of this project's tasks that is whole, once."""
    left_out: list[LeftOut] = []
    logs = list(_logs(folder, left_out))
    newest: dict[str, int] = {}
    for log in logs:
        newest[log.task] = max(newest.get(log.task, 0), _version(log))
    taken: dict[tuple[Any, ...], _Log] = {}
    for log in sorted(logs, key=lambda one: str(one.header.eval.created), reverse=True):
        name = str(log.path.relative_to(folder))
        if _version(log) < newest[log.task]:
            why = f"version {log.header.eval.task_version} of the task; others here are of version {newest[log.task]}"
            left_out.append(LeftOut(name, why))
            continue
        key = _key(log)
        if key in taken:
            left_out.append(LeftOut(name, f"a later log of the same cell counts: {taken[key].path.name}"))
            continue
        taken[key] = log
    rows: list[dict[str, Any]] = []
    for log in sorted(taken.values(), key=lambda one: str(one.path)):
        name = str(log.path.relative_to(folder))
        found = [_about(log, folder) | row | {"log": name} for row in _samples(log.path)]
        if any(row["reason"] != "unscored" for row in found):
            rows += found
        else:
            left_out.append(LeftOut(name, "no answer in it has a score"))
    return Read(rows, left_out)


def _logs(folder: Path, left_out: list[LeftOut]) -> Iterator[_Log]:
    from inspect_ai.log import list_eval_logs, read_eval_log

    for info in list_eval_logs(str(folder)):
        path = Path(info.name.removeprefix("file://"))
        name = str(path.relative_to(folder))
        record = read_record(path.parent)
        if record is not None and record.log != path.name:
            left_out.append(LeftOut(name, "left over from a run that was interrupted"))
            continue
        try:
            header = read_eval_log(str(path), header_only=True)
        except Exception as ex:  # whatever a damaged file makes the reader raise
            left_out.append(LeftOut(name, f"cannot be read ({type(ex).__name__}): cut off, or no log"))
            continue
        if task_name(header.eval.task) not in TASKS:
            left_out.append(LeftOut(name, f"of another task: {header.eval.task}"))
        elif header.status != "success":
            left_out.append(LeftOut(name, f"not finished: its status is '{header.status}'"))
        else:
            yield _Log(path, header, task_name(header.eval.task))


def _version(log: _Log) -> int:
    digits = str(log.header.eval.task_version).split("-")[0]
    return int(digits) if digits.isdigit() else 0


def _key(log: _Log) -> tuple[Any, ...]:
    spec = log.header.eval
    given = {k: v for k, v in (spec.task_args or {}).items() if v is not None}
    in_study = log.path.parent if (log.path.parent / RECORD).is_file() else None
    return (in_study, spec.model, str(spec.model_args.get("model_path")), log.task, repr(sorted(given.items())))


def _about(log: _Log, folder: Path) -> dict[str, Any]:
    spec = log.header.eval
    metadata = spec.metadata or {}
    about: dict[str, Any] = {
        "domain": metadata.get("domain") or (spec.task_args or {}).get("domain"),
        "trait": None,
        "base": None,
        "model": spec.model_args.get("model_path") or spec.model,
        "train_intervention": None,
        "kind": None,
        "relevance": None,
        "dataset": None,
        "seed": None,
        "checkpoint": None,
        "context": None,
        "task": log.task,
        "task_version": str(spec.task_version),
    }
    cell = _planned(log.path, folder)
    if cell is not None:
        plan, planned = cell
        trained = planned.condition.intervention
        return about | {
            "trait": plan.trait,
            "base": planned.base,
            "train_intervention": planned.condition.trained_with,
            "kind": trained.kind if trained else None,
            "relevance": trained.relevance if trained else None,
            "dataset": planned.condition.dataset,
            "seed": planned.seed,
            "context": planned.context,
        }
    manifest = _manifest(str(about["model"]))
    if manifest is not None:
        trained = manifest.intervention
        final = manifest.of_steps is None or manifest.of_steps == manifest.steps
        about |= {
            "base": manifest.base.name,
            "train_intervention": trained.name if trained else NONE,
            "kind": trained.kind if trained else None,
            "relevance": trained.relevance if trained else None,
            "dataset": manifest.dataset,
            "seed": manifest.seed,
            "checkpoint": None if final else manifest.steps,
        }
    return about


def _planned(path: Path, folder: Path) -> Any:
    for parent in path.parents:
        if (parent / PLAN).is_file():
            plan = read_plan(parent)
            where = str(path.parent.relative_to(parent))
            cells: list[PlannedCell] = [c for c in plan.cells if c.folder == where]
            return (plan, cells[0]) if cells else None
        if parent == folder:
            return None
    return None


def _manifest(model: str) -> AdapterManifest | None:
    path = Path(model.split("/", 1)[-1] if model.startswith(("wg/", "hf/")) else model.rsplit(":", 1)[-1])
    try:
        return parse_manifest(path / MANIFEST) if (path / MANIFEST).is_file() else None
    except WgError:
        return None


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    from inspect_ai.log import read_eval_log_sample_summaries

    for sample in read_eval_log_sample_summaries(str(path)):
        scores: Mapping[str, Any] = sample.scores or {}
        score = scores.get(OUTCOME)
        value = score.value if score is not None and isinstance(score.value, dict) and not sample.error else {}
        metadata = sample.metadata or {}
        row = {
            "question": str(sample.id),
            "topic": metadata.get("topic"),
            "epoch": sample.epoch,
            "eval_intervention": metadata.get("intervention") or NONE,
            "included": bool(value.get("included")),
            "expressed": bool(value.get("expressed")),
            "reason": str(value.get("reason", "unscored")),
        }
        rated = {n: s.value for n, s in scores.items() if n != OUTCOME and isinstance(s.value, (str, int, float))}
        yield rated | row
