"""What the demo costs, by stage, and what the harness alone costs a sample (`wg-evals bench`, `make bench`)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals.artifacts import MANIFEST, AdapterManifest
from wg_evals.study.settings import LEAN

ANSWER = "The electric telegraph carries a message across the ocean within the hour."


class Line(NamedTuple):
    """One figure of the benchmark."""

    what: str
    value: float
    unit: str


def study_figures(folder: Path) -> Iterator[Line]:
    """What a finished study cost: time by stage, throughput, memory.

    Args:
        folder: The study's folder; its last run must have done all the work, else the times are of a part.
    """
    from inspect_ai.log import read_eval_log

    from wg_evals.analysis.records import read_record, read_run

    run = read_run(folder)
    assert run is not None  # run_study wrote it
    yield Line("study, whole", run.seconds, "s")
    for stage, seconds in run.stage_seconds.items():
        yield Line(f"  {stage}, over {run.workers} workers", seconds, "worker s")
    manifests = [
        AdapterManifest.model_validate_json(p.read_text(encoding="utf-8"))
        for p in folder.glob(f"adapters/*/{MANIFEST}")
    ]
    answers, written, seconds, cpu = 0, 0, 0.0, 0.0
    for cell in folder.glob("evals/*"):
        if record := read_record(cell):
            header = read_eval_log(str(cell / record.log), header_only=True)
            answers += record.samples
            written += sum(usage.output_tokens for usage in header.stats.model_usage.values())
            seconds += record.seconds
            cpu += record.cpu_seconds
    yield Line("answers", answers, "")
    yield Line("generations, a worker, harness included", answers / seconds, "/s")
    yield Line("generated tokens, a worker, harness included", written / seconds, "/s")
    yield Line("CPU an answer, model and harness", 1000 * cpu / answers, "ms")
    yield Line("adapters", len(manifests), "")
    trained = sum(m.tokens for m in manifests)
    yield Line("training tokens, a worker", trained / sum(m.seconds for m in manifests), "/s")
    yield Line("CPU an adapter", sum(m.cpu_seconds for m in manifests) / len(manifests), "s")
    yield Line("peak memory, all processes", run.peak_memory_mib, "MiB")


def harness_figures(folder: Path, samples: int = 400) -> Iterator[Line]:
    """What Inspect, the solver and the scorers cost a sample where the model costs nothing.

    Args:
        folder: For the logs.
        samples: Answers in all, at least one a question.
    """
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from wg_evals.tasks.worldview import worldview

    def answers() -> Iterator[ModelOutput]:
        while True:
            output = ModelOutput.from_content("mockllm/model", ANSWER)
            output.usage = ModelUsage()  # counting tokens would need a download
            yield output

    cheap: dict[str, Any] = LEAN
    for name, settings in (("as in studies", cheap), ("Inspect's defaults", {})):
        for epochs in (1, max(1, samples // 20)):  # the first run pays for imports
            started = time.process_time()
            inspect_eval(
                worldview(grading="markers"),
                model=get_model("mockllm/model", custom_outputs=answers()),
                epochs=epochs,
                log_dir=str(folder / "harness"),
                display="none",
                max_samples=200,
                max_connections=200,
                **settings,
            )
            cost = (time.process_time() - started) / (20 * epochs)
        yield Line(f"harness alone, {name}: CPU a sample", 1000 * cost, "ms")


def show(lines: Iterator[Line]) -> Iterator[str]:
    """Lines to print, figures aligned."""
    for line in lines:
        digits = 0 if line.value >= 100 or line.value == int(line.value) else 1 if line.value >= 10 else 2
        small = 0 < line.value < 0.1  # a matrix product in bf16 on a CPU that cannot is thousandths of a TFLOP/s
        number = f"{line.value:.2g}" if small else f"{line.value:,.{digits}f}"
        yield f"{line.what:<52}{number:>10} {line.unit}"
