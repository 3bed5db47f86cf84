"""A study's worker whose jobs are fakes: instant files instead of training and evaluation.

What goes wrong is read from a file `orders.json` in the working directory: for a part of a cell's folder name, what
to do: `die` (always), `die once`, `fail`, `end server once` (and fail), or a number of seconds to take.
"""

import contextlib
import json
import os
import signal
import time
import urllib.request
from pathlib import Path

from study_files import write_adapter
from study_folder import write_log
from wg_evals.analysis.records import RECORD, CellRecord
from wg_evals.artifacts import resolve_base, write_json
from wg_evals.serving.vllm_server import ServerAccess
from wg_evals.study import worker
from wg_evals.study.jobs import EvaluateJob, TrainJob
from wg_evals.study.sample_progress import Report


def train(job: TrainJob, report: Report) -> None:
    obey(job.out)
    report(1, 1)
    write_adapter(job.out, resolve_base(job.recipe.base), seed=job.recipe.seed)


def evaluate(job: EvaluateJob, report: Report) -> None:
    obey(job.out, job.server)
    assert Path(job.model.removeprefix("wg/").rsplit(":")[-1].removeprefix("vllm/")).is_dir(), "no such adapter yet"
    job.out.mkdir(parents=True, exist_ok=True)
    log = f"{time.time_ns()}.eval"
    write_log(job.out / log, job.task, {"sea-1": ["e", "n", "i"], "sea-2": ["n", "n", "u"]})
    record = CellRecord(
        hash=job.hash,
        log=log,
        model=job.model,
        samples=job.samples,
        seconds=0,
        cpu_seconds=0,
        created="2026-01-01T00:00:00",
    )
    write_json(job.out / RECORD, record)


def obey(out: Path, server: ServerAccess | None = None) -> None:
    with Path("done.txt").open("a") as stream:
        stream.write(f"{os.getpid()} {out.name} {os.environ['OMP_NUM_THREADS']}\n")
    orders = json.loads(Path("orders.json").read_text()) if Path("orders.json").exists() else {}
    for part, order in orders.items():
        if part not in out.name:
            continue
        if order == "fail":
            raise ValueError(f"told to fail over {out.name}")
        if order == "die" or (order == "die once" and not Path(f"died-{part}").exists()):
            Path(f"died-{part}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "end server once" and not Path(f"ended-{part}").exists():
            assert server is not None
            Path(f"ended-{part}").touch()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{server.url.removesuffix('/v1')}/die", data=b"{}", timeout=5)
            raise ValueError("the server is gone")
        if isinstance(order, int | float):
            time.sleep(order)


if __name__ == "__main__":
    worker.main(train, evaluate)
