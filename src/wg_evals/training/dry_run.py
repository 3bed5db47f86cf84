"""`wg-evals train --dry-run`: what a training will do and need, and what was found, as lines to print."""

from collections.abc import Iterator

from wg_evals.training import processes
from wg_evals.training.batches import micro_batch_size
from wg_evals.training.memory import in_bytes
from wg_evals.training.preflight import Preflight


def show(plan: Preflight) -> Iterator[str]:
    """Lines to print: what will happen, then what was found."""
    recipe, layout = plan.recipe, plan.skeleton
    rows = plan.rows
    of = f"domain {recipe.domain}, {recipe.dataset}" if recipe.domain else str(recipe.data)
    context = rows.intervention.name if rows.intervention else "none"
    yield _line("Rows", f"{len(rows.conversations):,} ({of}; intervention: {context})")
    if rows.mixed_in:
        yield _line("", f"{rows.mixed_in.rows:,} of them from {rows.mixed_in.source}")
    if plan.lengths is not None:
        cut = f"{plan.lengths.truncated} cut, {len(plan.lengths.dropped)} dropped"
        yield _line("", f"longest {max(plan.lengths.tokens):,} tokens, limit {recipe.max_length:,}; {cut}")
        yield _line("Tokens", f"{plan.tokens_per_epoch:,} an epoch")
        steps = f"{recipe.epochs} x {plan.steps_per_epoch} = {recipe.epochs * plan.steps_per_epoch:,}"
        at_a_time = f"{micro_batch_size(recipe)} at a time on {_many(processes.count(), 'device')}"
        yield _line("Steps", f"{steps}, of {recipe.batch_size} rows, {at_a_time}")
    yield _line("Base", recipe.base + (f", {layout.parameters:,} parameters" if layout else ""))
    if layout:
        lora = f"{layout.lora_parameters:,} parameters: rank {recipe.lora.rank}, on {layout.adapted_layers} layers"
        yield _line("LoRA", lora)
    if memory := plan.memory:
        shared = f", weights shared by {processes.count()}" if processes.are_sharded() else ""
        yield _line("GPU memory", f"about {in_bytes(memory.total)} on a GPU{shared}:")
        for part, value in memory._asdict().items():
            guess = " (a guess)" if part == "overhead" else ""
            yield _line("", f"  {part:<12}{in_bytes(value):>10}{guess}")
    yield _line("Disk", f"up to {in_bytes(plan.disk)}")
    yield _line("Output", str(plan.out))
    for finding in sorted(plan.findings, key=lambda f: not f.stops):
        yield ""
        yield f"{'STOPS' if finding.stops else 'Warning'}: {finding.text}"


def _line(name: str, text: str) -> str:
    return f"{name:<12}{text}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count > 1 else "")
