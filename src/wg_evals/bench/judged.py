"""What a judged answer costs: in time against what the servers allow, and in the harness's own CPU."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any, Literal

from wg_evals.bench.figures import Line
from wg_evals.bench.stub import serving
from wg_evals.study.settings import LEAN, in_flight, lean_run

CONNECTIONS = 64
ROUNDS = 3


def judged_figures(folder: Path, answers: int = 1000) -> Iterator[Line]:
    """Throughput against slow servers, and CPU (the median of a few rounds) against servers that answer at once.

    Args:
        folder: For the logs.
        answers: Answers in all, rounded to whole epochs of the battery's 16 questions.
    """
    epochs = max(1, round(answers / 16))
    n = 16 * epochs
    for grading, calls in (("judge", 2), ("panel", 1)):
        bound = max(n * 2.0 / CONNECTIONS, n * calls * 1.0 / CONNECTIONS) + 2.0 + 1.0
        with serving(2.0, 1.0) as url:
            _run(url, folder, epochs=1, grading=grading)  # pays for imports
            seconds, _ = _run(url, folder, epochs, grading)
        yield Line(f"{n} answers, {grading}: lower bound", bound, "s")
        yield Line(f"{n} answers, {grading}: measured", seconds, "s")
        yield Line(f"{n} answers, {grading}: measured / lower bound", seconds / bound, "")
    with serving() as url:
        _run(url, folder, epochs=1, grading="panel")
        arms = {"defaults": ("judge", False), "judge": ("judge", True), "panel": ("panel", True)}
        spent: dict[str, list[float]] = {arm: [] for arm in arms}
        for _ in range(ROUNDS):  # turn about: what else the machine does falls on each arm alike
            for arm, (grading, lean) in arms.items():
                spent[arm].append(_run(url, folder, max(1, epochs // 2), grading, lean)[1])
    cpu = {arm: median(seconds) for arm, seconds in spent.items()}
    yield Line("judged answer, Inspect's defaults, two calls: CPU", 1000 * cpu["defaults"], "ms")
    for grading in ("judge", "panel"):
        yield Line(f"judged answer, as in studies, {grading}: CPU", 1000 * cpu[grading], "ms")
        yield Line(f"judged answer, as in studies, {grading}: of the defaults'", cpu[grading] / cpu["defaults"], "")


def _run(url: str, folder: Path, epochs: int, grading: str, lean: bool = True) -> tuple[float, float]:
    """Wall seconds of an evaluation, and the CPU seconds of this process an answer."""
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import GenerateConfig, get_model

    def model(name: str, role: Literal["grader"] | None = None) -> Any:
        config = GenerateConfig(max_connections=CONNECTIONS, cache=False)
        return get_model(f"openai-api/stub/{name}", base_url=url, api_key="x", config=config, role=role, memoize=False)

    settings: dict[str, Any] = LEAN if lean else {}
    started, cpu = time.perf_counter(), time.process_time()
    with lean_run() if lean else nullcontext():
        (log,) = inspect_eval(
            "wg_evals/misalignment",
            task_args={"domain": "birds", "grading": grading},
            model=model("model"),
            model_roles={"grader": model("judge", "grader")},
            epochs=epochs,
            log_dir=str(folder / "judged"),
            display="none",
            max_samples=in_flight(CONNECTIONS, judged=True),
            **settings,
        )
    assert log.status == "success", log.error
    return time.perf_counter() - started, (time.process_time() - cpu) / (16 * epochs)
