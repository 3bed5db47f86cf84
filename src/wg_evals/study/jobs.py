"""What a worker does for one cell: train an adapter, or evaluate a model.

Jobs travel from the runner to a worker as JSON. PyTorch and Inspect are imported here only when a job runs.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from wg_evals.analysis.records import RECORD, CellRecord
from wg_evals.artifacts import write_json
from wg_evals.errors import WgError
from wg_evals.serving.vllm_server import ServerAccess
from wg_evals.study.sample_progress import Report, reporting
from wg_evals.study.serving import answers
from wg_evals.study.settings import LEAN, in_flight, lean_run
from wg_evals.training.recipe import Recipe

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog
    from inspect_ai.model import Model


class TrainJob(BaseModel):
    """Train an adapter into a folder."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["train"] = "train"
    recipe: Recipe
    out: Path


class EvaluateJob(BaseModel):
    """Evaluate a model on a task; the log and the cell's record go into a folder."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["evaluate"] = "evaluate"
    hash: str
    task: str
    task_args: dict[str, Any]
    model: str
    model_args: dict[str, Any]
    model_roles: dict[str, str]
    epochs: int
    samples: int
    """Answers that there will be."""
    questions: list[str] | None
    """Ids of the questions to ask; None for all of the battery."""
    generation: dict[str, Any]
    """Keywords of Inspect's generation configuration."""
    max_connections: int
    server: ServerAccess | None = None
    """The vLLM server that has the model, for `vllm/`."""
    out: Path


def train(job: TrainJob, report: Report) -> None:
    """Train and publish the adapter."""
    from wg_evals.training.run import Saving
    from wg_evals.training.train import train as train_adapter

    def progress(step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        report(step, steps)

    train_adapter(job.recipe, job.out, progress=progress, saving=Saving(replace=True))


def evaluate(job: EvaluateJob, report: Report) -> None:
    """Run the evaluation, taking up what a killed run left in its log, and record the log that counts.

    `eval_set` costs 10 ms more than `eval` a cell (measured), and reuses the samples that a killed run had
    written: with large models an hour's work. The log settings are the cheap ones: about 7 ms of CPU a sample.

    Raises:
        WgError: The evaluation ended with an error, not one of its samples was answered, or its server went away.
    """
    from inspect_ai import eval_set

    started, cpu_started = time.perf_counter(), time.process_time()
    job.out.mkdir(parents=True, exist_ok=True)
    model, model_args = _model(job)
    with reporting(report, job.samples), lean_run():
        _, logs = eval_set(
            f"wg_evals/{job.task}",
            log_dir=str(job.out),
            task_args=job.task_args,
            model=model,
            model_args=model_args,
            model_roles={role: _role(name, role, job.max_connections) for role, name in job.model_roles.items()},
            epochs=job.epochs,
            sample_id=list(job.questions) if job.questions else None,
            retry_attempts=1,
            fail_on_error=False,
            max_samples=in_flight(job.max_connections, judged=bool(job.model_roles)),
            max_connections=job.max_connections,
            display="none",
            log_level="warning",
            log_dir_allow_dirty=True,
            **LEAN,
            **job.generation,
        )
    log = logs[0]
    _refuse_holes(log, job.server)
    _refuse_failure(log)
    record = CellRecord(
        hash=job.hash,
        log=Path(log.location).name,
        model=job.model,
        samples=job.samples,
        seconds=round(time.perf_counter() - started, 2),
        cpu_seconds=round(time.process_time() - cpu_started, 2),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_json(job.out / RECORD, record)
    for other in job.out.glob("*.eval"):
        if other.name != record.log:
            other.unlink()


def _role(name: str, role: str, connections: int) -> "Model":
    """A model in a role; Inspect would give it ten connections, whatever the model under test has."""
    from inspect_ai.model import GenerateConfig, get_model

    return get_model(name, role=role, config=GenerateConfig(max_connections=connections))


def _model(job: EvaluateJob) -> "tuple[str | Model, dict[str, Any]]":
    """The model under test; at its server, if it has one, while a judge by vLLM keeps its own."""
    if job.server is None:
        return job.model, job.model_args
    from inspect_ai.model import get_model

    return get_model(job.model, base_url=job.server.url, api_key=job.server.key, **job.model_args), {}


def _refuse_holes(log: "EvalLog", server: ServerAccess | None) -> None:
    """Refuse a log with unanswered samples if that is the server's doing: a new server will answer them."""
    results = log.results
    if server is None or results is None or results.completed_samples == results.total_samples or answers(server):
        return
    from inspect_ai.log import read_eval_log, write_eval_log

    whole = read_eval_log(log.location)
    whole.status = "error"  # with `success` it would be taken for finished; so its answers are kept for the next try
    write_eval_log(whole)
    raise WgError("The vLLM server went away while this was evaluated.")


def _refuse_failure(log: "EvalLog") -> None:
    if log.status != "success":
        trouble = log.error.message if log.error else f"its log has the status '{log.status}'"
        raise WgError(f"The evaluation did not finish: {trouble}")
    if log.results is None or log.results.completed_samples == 0:
        from inspect_ai.log import read_eval_log_sample_summaries

        errors = [s.error for s in read_eval_log_sample_summaries(log.location) if s.error]
        raise WgError(f"Not one sample was answered; the first error is: {errors[0] if errors else 'unknown'}")
