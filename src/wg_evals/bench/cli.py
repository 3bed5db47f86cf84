"""`wg-evals bench-gpu`: what training a large model takes on this machine's GPU."""

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
