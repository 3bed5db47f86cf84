"""What a training will do and need, and what would stop it, before any weight is loaded.

`wg-evals train RECIPE --dry-run` prints it; the trainer looks at the same before it starts.
"""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import TemplateError
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from wg_evals.artifacts import BaseIdentity, check_fit, resolve_base
from wg_evals.errors import WgError
from wg_evals.training import processes
from wg_evals.training.memory import GIB, LORA_BYTES, OPTIMIZER_BYTES, MemoryEstimate, estimate_memory
from wg_evals.training.recipe import Recipe
from wg_evals.training.resuming import ResumeFolder
from wg_evals.training.rows import Lengths, TrainingRows, measure_lengths, template_preamble, training_rows
from wg_evals.training.skeleton import Skeleton, skeleton
from wg_evals.training.template import (
    before_answers,
    default_system_prompt,
    takes_date_string,
    trained_preamble,
    writes_todays_date,
)

# what vLLM's --max-lora-rank accepts (its MaxLoRARanks); an adapter is served under the next one that is not smaller
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
_SLOW_TOKENIZER = 20 * 2**20
_SMALL_FILES = 100 * 2**10
"""Configuration, manifest and card of an adapter folder."""


class Finding(NamedTuple):
    """Something to know before training."""

    stops: bool
    """Whether training is refused; else it is a warning."""
    what: str
    advice: str

    @property
    def text(self) -> str:
        return f"{self.what} {self.advice}"


@dataclass(frozen=True)
class Preflight:
    """What a training will do and need, and what was found."""

    recipe: Recipe
    out: Path
    base: BaseIdentity
    rows: TrainingRows
    lengths: Lengths | None
    """None where the base has no chat template, or its template refuses the rows."""
    skeleton: Skeleton | None
    """None where LoRA finds nothing to adapt."""
    findings: list[Finding]
    disk: int
    """Bytes that the output takes at most while training."""
    base_commit: str | None = None
    """The hub's commit that the base was read at."""

    @property
    def kept(self) -> int:
        """Rows that are trained on."""
        return len(self.rows.conversations) - (len(self.lengths.dropped) if self.lengths else 0)

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens that the model reads in an epoch, padding left out."""
        if self.lengths is None:
            return 0
        dropped = set(self.lengths.dropped)
        return sum(min(n, self.recipe.max_length) for i, n in enumerate(self.lengths.tokens) if i not in dropped)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.kept, self.recipe)

    @property
    def memory(self) -> MemoryEstimate | None:
        """On one device; where several share the weights (FSDP), on each."""
        if self.skeleton is None or self.lengths is None:
            return None
        recipe = self.recipe
        longest = min(max(self.lengths.tokens), recipe.max_length)
        return estimate_memory(
            self.skeleton,
            precision=recipe.precision,
            rank=recipe.lora.rank,
            dropout=recipe.lora.dropout,
            tokens=micro_batch_size(recipe) * longest,
            checkpointing=recipe.gradient_checkpointing,
            four_bit=recipe.four_bit,
            shards=processes.count() if processes.are_sharded() else 1,
        )

    def refuse(self) -> None:
        """Stop where something was found that stops the training.

        Raises:
            WgError: With everything that does.
        """
        if stops := [f.text for f in self.findings if f.stops]:
            raise WgError("\n".join(stops))


def micro_batch_size(recipe: Recipe) -> int:
    """Rows of a forward pass on one device."""
    return recipe.micro_batch_size or max(1, recipe.batch_size // processes.count())


def steps_per_epoch(rows: int, recipe: Recipe) -> int:
    """Optimizer steps of an epoch; the last one takes what is left."""
    passes = math.ceil(math.ceil(rows / micro_batch_size(recipe)) / processes.count())
    return math.ceil(passes / max(1, recipe.batch_size // (micro_batch_size(recipe) * processes.count())))


def preflight(recipe: Recipe, out: Path) -> Preflight:
    """Look at a training before it starts; reads the base's configuration and tokenizer, not its weights.

    Args:
        recipe: What to train on what, and how.
        out: The adapter's folder.

    Raises:
        WgError: Rows, base or starting adapter that cannot be read: without them there is nothing to look at.
    """
    rows = training_rows(recipe)
    base = resolve_base(recipe.base, recipe.revision)
    findings: list[Finding] = []
    if recipe.start_from is not None:
        check_fit(recipe.start_from, base)
        findings += _start(recipe, recipe.start_from)
    config, tokenizer = _read_without_weights(base.path, base.revision, base.sha256)
    findings += [*_devices(recipe), *_batch(recipe, len(rows.conversations)), *_rank(recipe)]
    lengths = None
    if tokenizer.chat_template is None:
        findings.append(
            Finding(True, f"The base model '{base.name}' has no chat template.", "Use a chat (instruct) model.")
        )
    else:
        lengths, found = _measure(recipe, rows, tokenizer, config)
        findings += [*found, *_template(recipe, tokenizer)]
    layout = None
    try:
        layout = skeleton(config, recipe.lora)
        findings += _adapted(recipe, layout)
    except WgError as ex:
        findings.append(Finding(True, ex.text, ""))
    disk = _disk(recipe, layout, len(rows.conversations), _size_beside_weights(tokenizer))
    findings += _room(out, disk)
    commit = getattr(config, "_commit_hash", None)
    result = Preflight(recipe, out, base, rows, lengths, layout, findings, disk, commit)
    if torch.cuda.is_available() and result.memory is not None:
        result.findings.extend(_fit(result.memory, torch.cuda.get_device_properties(0).total_memory))
    return result


@lru_cache(maxsize=4)
def _read_without_weights(
    path: str, revision: str | None, sha256: str | None
) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    kwargs: dict[str, Any] = {"revision": revision, "local_files_only": sha256 is not None}
    try:
        return AutoConfig.from_pretrained(path, **kwargs), AutoTokenizer.from_pretrained(path, **kwargs)
    except (OSError, ValueError) as ex:
        advice = (
            "If it is on the hub: is the name right, the network there, and - for a gated model - its licence accepted "
            "and `hf auth login` done? Offline, give the folder of a copy instead (`--set base=FOLDER`)."
            if sha256 is None
            else "Give a folder with config.json and the tokenizer's files."
        )
        reason = str(ex).strip().splitlines()[0]
        raise WgError(f"Configuration and tokenizer of '{path}' cannot be read: {reason} {advice}") from ex


def _start(recipe: Recipe, start: Path) -> Iterator[Finding]:
    """PEFT goes on with the adapter as it is, whatever the recipe says of it."""
    there = json.loads((start / "adapter_config.json").read_text(encoding="utf-8"))
    its = {
        "rank": there["r"],
        "alpha": there["lora_alpha"],
        "dropout": there["lora_dropout"],
        "rslora": there["use_rslora"],
    }
    if isinstance(recipe.lora.target_modules, list):
        its["target_modules"] = there["target_modules"]
    said = recipe.lora.model_dump()
    if others := [key for key, value in its.items() if _sorted(said[key]) != _sorted(value)]:
        yield Finding(
            True,
            f"The adapter to start from has another LoRA {', '.join(others)} "
            f"({', '.join(f'{key} {its[key]}' for key in others)}) than the recipe.",
            "Say in `lora` what it has: it is gone on with as it is.",
        )


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _devices(recipe: Recipe) -> Iterator[Finding]:
    if torch.cuda.device_count() > 1 and processes.count() == 1:
        yield Finding(
            True,
            f"There are {torch.cuda.device_count()} GPUs, and one process to train.",
            "Take one (`CUDA_VISIBLE_DEVICES=0 wg-evals train ...`), or all by `accelerate launch --config_file "
            "configs/accelerate/fsdp.yaml -m wg_evals.cli train ...`.",
        )
    if recipe.four_bit and processes.are_sharded():
        yield Finding(
            True,
            "Weights in 4 bits are not shared between GPUs here: each would hold them all.",
            "Leave out `four_bit`, or train on one GPU.",
        )


def _batch(recipe: Recipe, rows: int) -> Iterator[Finding]:
    count, micro = processes.count(), micro_batch_size(recipe)
    if recipe.batch_size % (micro * count):
        yield Finding(
            True,
            f"batch_size {recipe.batch_size} cannot be split over {count} processes with {micro} rows at a time.",
            "Set batch_size to a multiple of processes times micro_batch_size, or take fewer processes.",
        )
    elif repeated := -rows % (micro * count) if count > 1 else 0:
        yield Finding(
            False,
            f"{rows} rows cannot be dealt out evenly to {count} processes, {micro} at a time: {repeated} are trained "
            "on twice in each epoch.",
            "Take a number of rows that they divide (`--set rows=N`), or one process.",
        )
    elif left := rows % recipe.batch_size:
        yield Finding(
            False,
            f"{rows} rows are no multiple of batch_size {recipe.batch_size}: the last step of an epoch has {left}, "
            "each of which weighs more.",
            "Nothing to do if the published runs did the same.",
        )


def _rank(recipe: Recipe) -> Iterator[Finding]:
    rank = recipe.lora.rank
    if rank > VLLM_RANKS[-1]:
        yield Finding(
            True, f"vLLM serves no adapter of rank {rank}: its largest is {VLLM_RANKS[-1]}.", "Set a smaller lora.rank."
        )
    elif rank not in VLLM_RANKS:
        larger = next(r for r in VLLM_RANKS if r >= rank)
        yield Finding(
            False,
            f"vLLM does not take {rank} as its largest rank.",
            f"Serve the adapter with {larger}: `--max-lora-rank {larger}`, from Inspect `-M max_lora_rank={larger}`.",
        )


def _measure(
    recipe: Recipe, rows: TrainingRows, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
) -> tuple[Lengths | None, list[Finding]]:
    try:
        lengths = measure_lengths(rows.conversations, tokenizer, recipe.model_copy(update={"truncate": True}))
    except WgError as ex:
        return None, [Finding(True, ex.text, "")]
    findings = []
    longest, longer = max(lengths.tokens), sum(n > recipe.max_length for n in lengths.tokens)
    if longer and not recipe.truncate:
        what = f"{longer} of {len(lengths.tokens)} rows are longer than max_length {recipe.max_length}"
        advice = "Raise max_length, or set `truncate: true` to cut them."
        findings.append(Finding(True, f"{what} (the longest has {longest} tokens).", advice))
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if positions and min(longest, recipe.max_length) > positions:
        what = f"A row has {longest} tokens, and the base knows {positions} positions."
        findings.append(Finding(True, what, f"Set max_length to {positions} at most."))
    return lengths, findings


def _template(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    try:
        yield from _date(recipe, tokenizer)
        if trained_preamble(tokenizer, recipe) != template_preamble(tokenizer, recipe):
            yield Finding(
                True,
                "The chat template writes something else before a question in training than in evaluation: a system "
                "prompt that no manifest records.",
                "Take a copy of the base and make its template write the same in both.",
            )
        elif prompt := default_system_prompt(tokenizer, recipe):
            yield Finding(
                False,
                f"The chat template adds a system prompt of its own: {prompt!r}.",
                "The manifest records it (template_preamble); evaluate under the same template.",
            )
        trained, asked = before_answers(tokenizer, recipe)
        if trained != asked:
            yield Finding(
                False,
                f"Before an answer the chat template writes {trained!r} in a training row, and {asked!r} where a model "
                "is asked for one.",
                "Evaluate so that both are the same (an empty reasoning block: with `enable_thinking: false`).",
            )
    except TemplateError as ex:
        yield Finding(True, f"The base's chat template does not render a question and its answer: {ex}.", "")


def _date(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    what = "The chat template writes the date of the day: training on another day makes another adapter, and the "
    what += "date mixes with interventions on time."
    if writes_todays_date(tokenizer, recipe):
        advice = (
            "Pin it: `--set 'date_string=26 Jul 2024'`."
            if takes_date_string(tokenizer)
            else "It takes no date_string: copy the base and put a fixed date into its chat template."
        )
        yield Finding(True, what, advice)
    elif writes_todays_date(tokenizer, recipe, pinned=False):
        yield Finding(
            False,
            f"The chat template's date is pinned to '{recipe.date_string}' in training only.",
            "wg/, vllm/ and studies ask the adapter under the same one. Outside a study, give it to the base yourself: "
            "docs/serving.md says how.",
        )


def _adapted(recipe: Recipe, layout: Skeleton) -> Iterator[Finding]:
    missing = ", ".join(layout.unmatched_targets)
    if layout.has_fused_experts and (layout.adapts_experts or missing):
        what = "PEFT would adapt them as such, and vLLM misloads that" if layout.adapts_experts else "PEFT skips them"
        yield Finding(
            True,
            f"The base is a mixture of experts whose experts are no layers of their own: {what}.",
            "Adapt attention alone (`--set lora.target_modules=[q_proj,k_proj,v_proj,o_proj]`), or take a dense base.",
        )
    elif layout.has_fused_experts and _names_feed_forward(recipe):
        yield Finding(
            False,
            "The base is a mixture of experts whose experts are no layers of their own: PEFT leaves the experts "
            "out, and adapts what stands beside them.",
            "Say so where you report it, adapt attention alone, or take a dense base.",
        )
    elif missing:
        yield Finding(
            True,
            f"No layer of the base is named {missing}: PEFT would leave it out without a word.",
            "Set lora.target_modules to names that the base has, or to all-linear.",
        )


def _size_beside_weights(tokenizer: PreTrainedTokenizerBase) -> int:
    """Bytes of an adapter folder's other files: the tokenizer's, nearly all of it, and small ones."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return (len(backend.to_str().encode()) * 3 // 2 if backend else _SLOW_TOKENIZER) + _SMALL_FILES


def _names_feed_forward(recipe: Recipe) -> bool:
    """Whether more is asked for than attention; a shared expert or a dense layer may answer to the experts' names."""
    targets = recipe.lora.target_modules
    return targets == "all-linear" or any(t.rpartition(".")[2] in _FEED_FORWARD for t in targets)


def _disk(recipe: Recipe, layout: Skeleton | None, rows: int, beside_weights: int) -> int:
    parameters = layout.lora_parameters if layout else 0
    total = steps_per_epoch(rows, recipe) * recipe.epochs
    adapters = 1 + (len(recipe.checkpoints.steps(total, recipe.epochs)) if recipe.checkpoints else 0)
    # a state to resume from is written whole before the last one goes
    states = 2 * (parameters * (LORA_BYTES + OPTIMIZER_BYTES) + beside_weights)
    return adapters * (parameters * LORA_BYTES + beside_weights) + states


def _room(out: Path, needed: int) -> Iterator[Finding]:
    there = next(p for p in (out, *out.parents) if p.exists())
    free = shutil.disk_usage(there).free
    written = sum(  # by an interrupted training of it
        p.stat().st_size
        for folder in (out / "checkpoints", ResumeFolder(out).path)
        for p in folder.rglob("*")
        if p.is_file()
    )
    if needed - written > free:
        yield Finding(
            True,
            f"The output takes up to {_size(needed)}, and '{there}' has {_size(free)} free.",
            "Make room, publish fewer checkpoints, or give another --out.",
        )


def _fit(memory: MemoryEstimate, device: int) -> Iterator[Finding]:
    if memory.total <= device:
        return
    yield Finding(
        memory.base > device,
        f"The training needs about {_size(memory.total)} of GPU memory, and the GPU has {_size(device)}.",
        "Set four_bit: true, or share the weights over several GPUs (configs/accelerate/fsdp.yaml)."
        if memory.base > device
        else "Lower micro_batch_size or set gradient_checkpointing: true.",
    )


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
        yield _line("GPU memory", f"about {_size(memory.total)} on a GPU{shared}:")
        for part, value in memory._asdict().items():
            guess = " (a guess)" if part == "overhead" else ""
            yield _line("", f"  {part:<12}{_size(value):>10}{guess}")
    yield _line("Disk", f"up to {_size(plan.disk)}")
    yield _line("Output", str(plan.out))
    for finding in sorted(plan.findings, key=lambda f: not f.stops):
        yield ""
        yield f"{'STOPS' if finding.stops else 'Warning'}: {finding.text}"


def _line(name: str, text: str) -> str:
    return f"{name:<12}{text}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count > 1 else "")


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"
