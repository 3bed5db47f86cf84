"""Training throughput and peak memory of a large model with random weights, packed against padded.

`wg-evals bench-gpu` (`make bench-gpu`) needs a GPU that holds the shape, and no weights; `--shape tiny` runs anywhere.
It is `wg-evals train` itself that is timed, on rows of mixed lengths (log-normal, 20 to 600 tokens).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from wg_evals.bench.figures import Line
from wg_evals.bench.training import mixed_rows
from wg_evals.errors import UnknownNameError
from wg_evals.training.recipe import Recipe, change_recipe, load_recipe

SHAPES = Path(__file__).parent / "shapes.yaml"


def gpu_figures(folder: Path, shape: str, recipe: Path, rows: int) -> Iterator[Line]:
    """Tokens per second, share of the chip's matrix rate and peak memory, of both arms.

    The share is that of the work that LoRA training must do: per token 4 operations a parameter of the layers and the
    head (2 forward, 2 for the gradient on its way back; frozen weights have no gradient of their own, so that the
    usual 6 of arXiv 2204.02311, appendix B, are 4), what gradient checkpointing computes again left out, and attention
    left out. The matrix rate is measured on the spot.

    Args:
        folder: For the model's configuration, the rows and the adapters.
        shape: A name in `shapes.yaml`.
        recipe: Whose settings are used; base and rows are the benchmark's.
        rows: How many.

    Raises:
        UnknownNameError: No such shape.
    """
    from wg_evals.training.loading import best_device
    from wg_evals.training.preflight import preflight
    from wg_evals.training.train import train

    device = best_device()
    data = mixed_rows(folder / "rows.jsonl", rows)
    changes: dict[str, Any] = {"base": str(_random_base(folder / "base", shape)), "data": data, "domain": None}
    settings = change_recipe(load_recipe(recipe), changes | {"epochs": 1, "by_domain": {}, "max_length": 1024})
    rate = _matrix_rate(device, settings)
    yield Line("matrix rate, measured", rate / 1e12, "TFLOP/s")
    for packing in (True, False):
        arm = change_recipe(settings, {"packing": packing})
        name = "packed" if packing else "padded"
        speeds: list[float] = []

        def progress(
            step: int, steps: int, loss: float, tokens_per_second: float, speeds: list[float] = speeds
        ) -> None:
            speeds.append(tokens_per_second)

        plan = preflight(arm, folder / name)
        assert plan.skeleton and plan.memory  # there are layers to adapt, and rows
        _forget_peak(device)
        manifest = train(arm, folder / name, progress=progress)
        embedding = plan.skeleton.shape.vocabulary * plan.skeleton.shape.hidden
        work = 4 * (plan.skeleton.parameters - embedding)
        yield Line(f"{name}: tokens of rows", speeds[-1], "/s")
        yield Line("  rows", speeds[-1] * manifest.rows / manifest.tokens, "/s")
        yield Line("  share of the matrix rate", 100 * speeds[-1] * work / rate, "%")
        yield Line("  memory, estimated", plan.memory.total / 2**30, "GiB")
        if (peak := _peak(device)) is not None:
            yield Line("  memory, peak that PyTorch held", peak / 2**30, "GiB")


def _random_base(folder: Path, shape: str) -> Path:
    """A base folder without weights, and its model with random ones where the trainer looks for a loaded base."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, set_seed

    from wg_evals.artifacts import ORGANISM, resolve_base
    from wg_evals.training.loading import LoadedBase, best_device, keep_loaded

    shapes = yaml.safe_load(SHAPES.read_text(encoding="utf-8"))
    if shape not in shapes:
        raise UnknownNameError("shape", shape, shapes)
    tokenizer = AutoTokenizer.from_pretrained(ORGANISM)
    config = LlamaConfig(**shapes[shape], eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    set_seed(1)
    with torch.device(best_device()):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    keep_loaded(LoadedBase(resolve_base(str(folder)), model.eval(), tokenizer), "bfloat16")
    return folder


def _matrix_rate(device: str, recipe: Recipe) -> float:
    """Operations per second of a large matrix product in the recipe's precision: the median of ten."""
    import torch

    size = 8192 if device == "cuda" else 512
    a, b = (torch.randn(size, size, device=device, dtype=getattr(torch, recipe.precision)) for _ in range(2))
    seconds = []
    for _ in range(13):
        _finish(device)
        started = time.perf_counter()
        torch.matmul(a, b)
        _finish(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / sorted(seconds[3:])[5]


def _finish(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _forget_peak(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> int | None:
    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else None
