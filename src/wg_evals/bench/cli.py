"""The benchmarks that are commands of their own: a GPU's training, a large folder of logs, the intervals' coverage."""

from pathlib import Path

import click


@click.command("bench-gpu")
@click.option("--shape", default="llama-8b", show_default=True, help="A model's shape: llama-8b, or tiny for a look.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=Path("configs/recipes/llama-3.1-8b-instruct.yaml"),
    show_default=True,
    help="Whose settings are used; base and rows are the benchmark's.",
)
@click.option("--rows", default=400, show_default=True, type=click.IntRange(min=8), help="Rows of mixed lengths.")
def bench_gpu_command(shape: str, recipe: Path, rows: int) -> None:
    """Time training a model with random weights, packed and padded: tokens per second, matrix rate, memory."""
    import tempfile

    from wg_evals.bench.figures import show
    from wg_evals.bench.train_gpu import gpu_figures

    with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
        for line in show(gpu_figures(Path(folder), shape, recipe, rows)):
            click.echo(line)


@click.command("bench-frame")
@click.option("--samples", default=200_000, show_default=True, type=click.IntRange(min=200), help="Answers in all.")
def bench_frame_command(samples: int) -> None:
    """Time reading a large folder of logs into tables, comparing its conditions, and reporting on it."""
    import tempfile

    from wg_evals.bench.figures import show
    from wg_evals.bench.many_logs import frame_figures

    with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
        for line in show(frame_figures(Path(folder) / "logs", samples)):
            click.echo(line)


@click.command("bench-coverage")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="What to simulate, instead of the package's coverage.yaml.",
)
@click.option("--datasets", type=click.IntRange(min=2), help="Datasets for each setting, instead of the file's number.")
def bench_coverage_command(settings: Path | None, datasets: int | None) -> None:
    """Measure how often the 95% intervals cover the truth, inside and outside of what they promise."""
    from wg_evals.bench.coverage import SETTINGS, coverage_lines, read_settings

    asked = read_settings(settings or SETTINGS)
    if datasets is not None:
        asked = asked.model_copy(update={"datasets": datasets, "bootstrapped": min(datasets, asked.bootstrapped)})
    for line in coverage_lines(asked):
        click.echo(line)
