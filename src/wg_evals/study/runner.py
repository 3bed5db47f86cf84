"""Run a study: hand cells to workers until none is left, whatever happens to a worker on the way.

A finished cell is never done again, a failed one does not stop the others, and a run that is killed at any
moment is taken up by the next one.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wg_evals.analysis.records import RUN, RunRecord
from wg_evals.artifacts import BaseIdentity, write_json
from wg_evals.errors import WgError
from wg_evals.serving.vllm_server import Argument, adapter_rank, answer_room, environment_arguments
from wg_evals.study.cells import EvaluationCell, Matrix, TrainingCell, base_argument
from wg_evals.study.jobs import EvaluateJob, TrainJob
from wg_evals.study.machine import crew, own_peak_mib
from wg_evals.study.pool import WORKER, Pool, Worker
from wg_evals.study.progress import Display, Doing, Situation, Stage
from wg_evals.study.serving import ServerGone, StudyServer
from wg_evals.study.store import WORK, StudyFolder

_DEATHS = 2
"""A cell over which so many workers have died is given up."""
_STARTS = 3
"""So many workers may die before they are ready."""
_TICK_SECONDS = 0.25

State = Literal["waiting", "running", "done", "failed"]


@dataclass
class Work:
    """A cell, and how far it is."""

    cell: TrainingCell | EvaluationCell
    state: State = "waiting"
    deaths: int = 0
    message: str = ""


class RunResult(NamedTuple):
    """What a run came to."""

    record: RunRecord
    failures: dict[str, str]
    """By cell folder: what went wrong, in a paragraph."""


def run_study(
    matrix: Matrix, folder: StudyFolder, display: Display, command: str, worker: Sequence[str] = WORKER
) -> RunResult:
    """Bring a study to its end.

    Args:
        matrix: The study's cells.
        folder: Where everything is kept.
        display: Shows what is going on.
        command: How the run was started, for its record.
        worker: The command that starts a worker process.

    Raises:
        WgError: Another run is at work in the folder, or workers do not start.
        KeyboardInterrupt: The run was asked to stop; all that was finished is kept.
    """
    with folder.lock() as lock, _termination_is_interruption():
        folder.prepare(matrix)
        folder.tidy()
        run = _Run(matrix, folder, display, lock)
        if run.any("waiting"):
            pool = Pool(run.crew.threads, lock, folder.path / WORK, worker)
            try:
                display.start(run.situation())
                run.go(pool)
            finally:
                pool.end()
                run.end()
                display.stop()
        record = run.record(command)
        write_json(folder.path / RUN, record)
    return RunResult(record, {w.cell.folder: w.message for w in run.work if w.state == "failed"})


class _Run:
    def __init__(self, matrix: Matrix, folder: StudyFolder, display: Display, lock: int) -> None:
        self.matrix, self.folder, self.display = matrix, folder, display
        self.spec = matrix.study.spec
        self.started, self.clock = datetime.now(UTC), time.monotonic()
        # two cells of the plan may be the same thing under two names: it is done once
        self.by_digest = {c.digest: Work(c) for c in matrix.cells}
        self.work = list(self.by_digest.values())
        for work in self.work:
            if folder.is_finished(work.cell):
                work.state = "done"
        self.skipped = sum(w.state == "done" for w in self.work)
        self.crew = crew(self.spec.workers, matrix.bases, len(self.work) - self.skipped, self.spec.serve)
        self.server: StudyServer | None = None
        if self.spec.serve == "vllm":
            self.server = StudyServer(folder.path, self._largest_rank, self.crew.workers, self._arguments(), lock)
            waiting = {w.cell.base.identity for w in self.work if w.state == "waiting"}
            if waiting:
                bases = [b for b in matrix.bases if b.identity in waiting]
                rank, max_tokens = matrix.study.recipe.lora.rank, self.spec.generation.max_tokens
                self.server.check(bases, rank, self.spec.server, max_tokens)
        self.doing: dict[Worker, Work] = {}
        self.amounts: dict[Worker, tuple[int, int]] = {}
        self.seconds = {"start": 0.0, "train": 0.0, "evaluate": 0.0}
        self.peaks: dict[int, float] = {}
        self.failed_starts = 0

    def any(self, *states: State) -> bool:
        return any(w.state in states for w in self.work)

    def go(self, pool: Pool) -> None:
        """Work until nothing is waiting or running."""
        while self.any("waiting", "running"):
            self._tend_server(pool)
            while len(pool.workers) < min(self.crew.workers, len(self.doing) + self._count("waiting")):
                pool.start()
            for worker in list(pool.workers):
                if worker.ready and worker not in self.doing:
                    self._employ(worker, pool)
            for worker, message in pool.listen(_TICK_SECONDS):
                self._hear(worker, message, pool)
            self.display.show(self.situation())

    def end(self) -> None:
        """End the server, if there is one."""
        if self.server:
            self.server.stop()

    def situation(self) -> Situation:
        """What the display shows."""
        doing = [
            Doing(w.number, _describe(self.doing[w].cell), time.monotonic() - w.since, self.amounts.get(w))
            for w in sorted(self.doing, key=lambda w: w.number)
        ]
        return Situation(
            stages=[self._stage("train", TrainingCell), self._stage("evaluate", EvaluationCell)],
            doing=doing,
            elapsed=time.monotonic() - self.clock,
            workers=self.crew.workers,
            failed=self._count("failed"),
            serving=self.server.situation() if self.server else "",
        )

    def record(self, command: str) -> RunRecord:
        """How the run went."""
        return RunRecord(
            command=command,
            started=self.started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.clock, 1),
            workers=self.crew.workers,
            threads=self.crew.threads,
            done=self._count("done") - self.skipped,
            skipped=self.skipped,
            failed=[w.cell.folder for w in self.work if w.state == "failed"],
            stage_seconds={k: round(v, 1) for k, v in self.seconds.items()},
            peak_memory_mib=round(own_peak_mib() + sum(sorted(self.peaks.values())[-self.crew.workers :])),
            versions={p: version(p) for p in ("wg-evals", "inspect-ai")},
        )

    def _count(self, state: State) -> int:
        return sum(w.state == state for w in self.work)

    def _stage(self, name: str, kind: type[TrainingCell] | type[EvaluationCell]) -> Stage:
        cells = [w for w in self.work if isinstance(w.cell, kind)]
        done = sum(w.state in ("done", "failed") for w in cells)
        return Stage(name, done, len(cells))

    def _employ(self, worker: Worker, pool: Pool) -> None:
        work = self._choose(worker)
        if work is None:
            return
        if self._must_be_fresh(worker, work):
            pool.dismiss(worker)
            return
        cell = work.cell
        work.state = "running"
        self.doing[worker] = work
        worker.give(self._job(cell))
        worker.base = cell.base.identity
        worker.has_trained = isinstance(cell, TrainingCell)
        worker.adapter = _adapter_of(cell)

    def _choose(self, worker: Worker) -> Work | None:
        """The waiting cell that costs this worker least to change to: its own base, then its own adapter."""

        def cost(numbered: tuple[int, Work]) -> tuple[bool, bool, bool, int]:
            index, cell = numbered[0], numbered[1].cell
            adapter = _adapter_of(cell)
            return (
                worker.base not in (None, cell.base.identity),
                adapter is None or adapter != worker.adapter,
                isinstance(cell, EvaluationCell),  # trainings early: others wait for them
                index,
            )

        ready = [(i, w) for i, w in enumerate(self.work) if w.state == "waiting" and self._is_ready(w.cell)]
        return min(ready, key=cost)[1] if ready else None

    def _is_ready(self, cell: TrainingCell | EvaluationCell) -> bool:
        if isinstance(cell, TrainingCell):
            return True
        if self.server and not self.server.serves(cell.base):
            return False
        return cell.training is None or self.by_digest[cell.training.digest].state == "done"

    def _tend_server(self, pool: Pool) -> None:
        """Have the base served whose cells come next, and see whether its server is still there."""
        left = [w for w in self.work if w.state in ("waiting", "running")]
        if self.server is None or any(isinstance(w.cell, TrainingCell) for w in left):
            return  # trainer and server would share the GPU's memory
        for worker in [w for w in pool.workers if w.has_trained]:
            pool.dismiss(worker)  # and its memory with it
        base = left[0].cell.base
        try:
            self.server.serve(base)
        except ServerGone as ex:
            self.display.say(f"{ex.text}\nStarting another one.")
            self._take_back(pool)
        except WgError as ex:
            self.display.say(f"Failed: {ex.text}")
            self._take_back(pool)
            for work in left:
                if work.cell.base == base:
                    work.state, work.message = "failed", ex.text

    def _take_back(self, pool: Pool) -> None:
        """Take the work out of the hands of workers whose server is gone: it is that server's address they know."""
        for worker in list(pool.workers):
            if worker in self.doing:
                self._release(worker).state = "waiting"
            pool.dismiss(worker)

    def _lost_its_server(self, cell: TrainingCell | EvaluationCell) -> bool:
        return self.server is not None and isinstance(cell, EvaluationCell) and not self.server.answers()

    def _largest_rank(self, base: BaseIdentity) -> int | None:
        cells = [w.cell for w in self.work if isinstance(w.cell, EvaluationCell) and w.cell.base == base]
        folders = {adapter for cell in cells if (adapter := self._adapter(cell))}
        # a training publishes checkpoints in the folder before the adapter itself
        there = [folder for folder in folders if (folder / "adapter_config.json").is_file()]
        return max((adapter_rank(folder) for folder in there), default=None)

    def _arguments(self) -> dict[str, Argument]:
        return {"dtype": self.matrix.study.recipe.precision, **environment_arguments(), **self.spec.server}

    def _adapter(self, cell: EvaluationCell) -> Path | None:
        """Where the adapter of a cell is, or is to be."""
        return self.folder.place(cell.training) if cell.training else cell.adapter

    def _must_be_fresh(self, worker: Worker, work: Work) -> bool:
        """Whether the worker holds GPU memory that the server needs (or the server memory that training needs)."""
        if self.spec.serve != "vllm" or worker.base is None:
            return False
        return worker.base != work.cell.base.identity or worker.has_trained != isinstance(work.cell, TrainingCell)

    def _job(self, cell: TrainingCell | EvaluationCell) -> TrainJob | EvaluateJob:
        if isinstance(cell, TrainingCell):
            return TrainJob(recipe=cell.recipe, out=self.folder.place(cell))
        spec, domain = self.spec, self.matrix.study.domain
        adapter = self._adapter(cell)
        args: dict[str, Any] = {
            "domain": str(domain.folder) if "/" in spec.domain else domain.name,
            "battery": cell.evaluation.battery,
            "grading": spec.grading,
        }
        if cell.intervention:
            # its text: an adapter from elsewhere may have been trained under a prefix the domain does not name
            named = cell.intervention.name in domain.intervention_names
            args |= {
                "intervention": cell.intervention.name if named else cell.intervention.text,
                "placement": cell.intervention.placement,
            }
        generation = spec.generation.model_dump(exclude={"seed"}, exclude_none=True)
        model, model_args = self._model(cell, str(adapter) if adapter else None)
        if self.server:
            generation["max_tokens"] = answer_room(generation["max_tokens"], self.server.access.max_model_len)
            if date := self.matrix.study.recipe.date_string:
                generation["extra_body"] = {"chat_template_kwargs": {"date_string": date}}
        else:
            # a stream of its own for each cell; a server would give each repeat the same answer
            generation["seed"] = int(cell.hash[:8], 16) % 2**31
        return EvaluateJob(
            hash=cell.hash,
            task=cell.task,
            task_args=args,
            model=model,
            model_args=model_args,
            model_roles={"grader": spec.grader} if spec.grader else {},
            epochs=cell.evaluation.epochs,
            samples=self.matrix.questions(cell.task) * cell.evaluation.epochs,
            questions=[q.id for q in self.matrix.battery(cell.task).questions] if cell.evaluation.questions else None,
            generation=generation,
            max_connections=spec.max_connections,
            server=self.server.access if self.server else None,
            out=self.folder.place(cell),
        )

    def _model(self, cell: EvaluationCell, adapter: str | None) -> tuple[str, dict[str, Any]]:
        recipe = self.matrix.study.recipe
        if self.server:
            return f"vllm/{self.server.access.model}" + (f":{adapter}" if adapter else ""), {}
        args = {"precision": recipe.precision, "base": base_argument(cell.base)}
        if recipe.date_string:
            args["date_string"] = recipe.date_string
        return f"wg/{adapter or args['base']}", args

    def _hear(self, worker: Worker, message: dict[str, Any] | None, pool: Pool) -> None:
        if message is None:
            self._bury(worker, pool)
        elif message["event"] == "ready":
            worker.ready = True
            self.seconds["start"] += time.monotonic() - worker.since
        elif message["event"] == "progress":
            self.amounts[worker] = (message["done"], message["total"])
        else:
            work = self._release(worker)
            if message["event"] == "done":
                self.peaks[worker.number] = message["peak_mib"]
                work.state = "done"
                self.folder.error_file(work.cell).unlink(missing_ok=True)
            elif work.deaths + 1 < _DEATHS and self._lost_its_server(work.cell):
                work.deaths += 1
                work.state = "waiting"
            else:
                self._fail(work, message["message"], message["trace"])

    def _bury(self, worker: Worker, pool: Pool) -> None:
        """A worker has died, with or without work in its hands."""
        work = self._release(worker) if worker in self.doing else None
        status = pool.dismiss(worker)
        said = worker.log.read_text(errors="replace")[-4000:] if worker.log.is_file() else ""
        how = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with exit status {status}"
        if work is None:
            self.failed_starts += not worker.ready
            if self.failed_starts >= _STARTS:
                raise WgError(f"Workers do not start: the last one ended {how}. It said: {said.strip() or 'nothing'}")
            return
        work.deaths += 1
        if work.deaths < _DEATHS:
            work.state = "waiting"
            return
        hint = " The system ends processes this way when memory runs out: try --workers 1." if status == -9 else ""
        self._fail(work, f"{work.deaths} workers ended over it, the last one {how}.{hint}", said)

    def _fail(self, work: Work, message: str, details: str) -> None:
        work.state, work.message = "failed", message
        file = self.folder.error_file(work.cell)
        file.write_text(f"{message}\n\n{details}", encoding="utf-8")
        if isinstance(work.cell, TrainingCell):
            for other in self.work:
                if isinstance(other.cell, EvaluationCell) and other.cell.training == work.cell:
                    other.state, other.message = "failed", "Its adapter could not be trained."
        self.display.say(f"Failed: {_describe(work.cell)}: {message} Details: {file}")

    def _release(self, worker: Worker) -> Work:
        work = self.doing.pop(worker)
        self.amounts.pop(worker, None)
        stage = "train" if isinstance(work.cell, TrainingCell) else "evaluate"
        self.seconds[stage] += time.monotonic() - worker.since
        return work


def _adapter_of(cell: TrainingCell | EvaluationCell) -> str | None:
    if isinstance(cell, TrainingCell):
        return cell.digest
    return cell.training.digest if cell.training else str(cell.adapter or "") or None


def _describe(cell: TrainingCell | EvaluationCell) -> str:
    seed = cell.recipe.seed if isinstance(cell, TrainingCell) else cell.seed
    what = cell.condition.name + (f", seed {seed}" if seed is not None else "")
    if isinstance(cell, TrainingCell):
        return f"train {what}"
    return f"{cell.task} {what}" + (f", under {cell.intervention.name}" if cell.intervention else "")


@contextmanager
def _termination_is_interruption() -> Iterator[None]:
    """Let a request to terminate (SIGTERM) end the run as cleanly as an interrupt at the keyboard."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
