"""What the report is made of: the one place where it meets the reading of logs."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from wg_evals.analysis.records import PLAN, Plan, RunRecord, read_plan, read_run
from wg_evals.analysis.reporting.reading import TASKS, LeftOut, read_logs, task_name
from wg_evals.artifacts import MANIFEST, AdapterManifest, parse_manifest
from wg_evals.errors import WgError

KNOWN = ["domain", "trait", "base", "model", "train_intervention", "kind", "relevance", "dataset", "seed", "checkpoint"]
KNOWN += ["context", "eval_intervention", "task", "task_version", "question", "topic", "epoch", "included"]
KNOWN += ["expressed", "reason", "log"]
"""The columns of the frame that are no rubric's."""


class LogFile(NamedTuple):
    """A log that counts."""

    log: str
    """Relative to the folder."""
    sha256: str
    task: str
    task_version: str
    created: str
    model: str
    grading: str
    """`markers`, or the judge's name."""
    self_judged: bool
    inspect: str
    """The version of Inspect that wrote it."""
    wg_evals: str
    generation: str
    """What was set of the sampling."""
    total_tokens: int


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

    folder: Path
    plan: Plan
    run: RunRecord | None


class Material(NamedTuple):
    """Everything that the report reads."""

    folder: Path
    samples: pd.DataFrame
    left_out: list[LeftOut]
    logs: list[LogFile]
    others: list[Measured]
    studies: list[Study]
    adapters: list[tuple[str, AdapterManifest]]
    """The manifests that lie in the folder, with where."""

    @property
    def rubrics(self) -> list[str]:
        """The names of the scores beside the outcome."""
        return [c for c in self.samples.columns if c not in KNOWN]


def read_material(folder: Path) -> Material:
    """Read a folder of logs, whoever made them.

    Raises:
        WgError: No such folder, or no log in it that counts.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise WgError(f"No logs at '{folder}': there is no such folder.")
    read = read_logs(folder)
    if not read.rows:
        why = "".join(f"\n  {name}: {reason}" for name, reason in read.left_out[:10])
        raise WgError(
            f"No log in '{folder}' can be counted: the report is about the tasks {', '.join(TASKS)}, finished and "
            f"scored.{why}"
        )
    samples = pd.DataFrame(read.rows)
    counted = list(dict.fromkeys(samples["log"]))
    others, other_logs = _others(folder, read.left_out)
    return Material(
        folder=folder,
        samples=samples,
        left_out=[one for one in read.left_out if one.log not in other_logs],
        logs=[_log_file(folder, log) for log in counted],
        others=others,
        studies=_studies(folder),
        adapters=_adapters(folder),
    )


def _log_file(folder: Path, log: str) -> LogFile:
    from inspect_ai.log import read_eval_log

    header = read_eval_log(str(folder / log), header_only=True)
    spec, metadata = header.eval, header.eval.metadata or {}
    grader = (spec.model_roles or {}).get("grader")
    sampling = spec.model_generate_config.model_dump(exclude_none=True)
    shown = {k: sampling[k] for k in ("temperature", "top_p", "max_tokens") if k in sampling}
    with (folder / log).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LogFile(
        log=log,
        sha256=digest,
        task=task_name(spec.task),
        task_version=str(spec.task_version),
        created=str(spec.created),
        model=spec.model,
        grading=grader.model if grader else str(metadata.get("grading") or "unknown"),
        self_judged=bool(metadata.get("self_judged")),
        inspect=str(spec.packages.get("inspect_ai", "unknown")),
        wg_evals=str(metadata.get("wg_evals", "unknown")),
        generation=", ".join(f"{k} {v}" for k, v in shown.items()),
        total_tokens=sum(u.total_tokens for u in header.stats.model_usage.values()),
    )


def _others(folder: Path, left_out: list[LeftOut]) -> tuple[list[Measured], set[str]]:
    from inspect_ai.log import read_eval_log

    found: list[Measured] = []
    for log, _ in left_out:
        try:
            header = read_eval_log(str(folder / log), header_only=True)
        except Exception:  # a damaged one, which `left_out` names
            continue
        if header.status != "success" or header.results is None or task_name(header.eval.task) in TASKS:
            continue
        model = str(header.eval.model_args.get("model_path") or header.eval.model)
        for score in header.results.scores:
            for name, metric in score.metrics.items():
                n = score.scored_samples or header.results.completed_samples
                label = f"{score.name}: {name}"
                found.append(Measured(header.eval.task, model, label, float(metric.value), n, log))
    return found, {one.log for one in found}


def _studies(folder: Path) -> list[Study]:
    found = []
    for path in sorted([*folder.glob(PLAN), *folder.glob(f"*/{PLAN}"), *folder.parent.glob(PLAN)]):
        try:
            found.append(Study(path.parent, read_plan(path.parent), read_run(path.parent)))
        except WgError:
            continue  # the logs are read all the same
    return found


def _adapters(folder: Path) -> list[tuple[str, AdapterManifest]]:
    found = []
    for path in sorted(folder.rglob(MANIFEST)):
        try:
            found.append((str(path.parent.relative_to(folder)), parse_manifest(path)))
        except WgError:
            continue  # of another sort, or damaged: what was trained into a model is then unknown, and said to be
    return found


def versions(material: Material) -> dict[str, Any]:
    """What made the logs: versions with how many logs each made."""
    return {
        "wg-evals": Counter(log.wg_evals for log in material.logs),
        "Inspect": Counter(log.inspect for log in material.logs),
    }
