"""What a training should not begin with, and what to know before it: each look at one thing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from wg_evals.artifacts import VLLM_RANKS, served_rank
from wg_evals.training import processes
from wg_evals.training.batches import micro_batch_size
from wg_evals.training.memory import MemoryEstimate, in_bytes
from wg_evals.training.recipe import Recipe
from wg_evals.training.rows import template_preamble
from wg_evals.training.skeleton import Skeleton
from wg_evals.training.template import (
    before_answers,
    default_system_prompt,
    takes_date_string,
    trained_preamble,
    writes_todays_date,
)

_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


class Finding(NamedTuple):
    """Something to know before training."""

    stops: bool
    """Whether training is refused; else it is a warning."""
    what: str
    advice: str

    @property
    def text(self) -> str:
        return f"{self.what} {self.advice}"


def check_start(recipe: Recipe, start: Path) -> Iterator[Finding]:
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


def check_devices(recipe: Recipe) -> Iterator[Finding]:
    """Devices that this training cannot use as they are."""
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


def check_batch(recipe: Recipe, rows: int) -> Iterator[Finding]:
    """A batch or rows that do not divide."""
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


def check_rank(recipe: Recipe) -> Iterator[Finding]:
    """A rank that vLLM does not take."""
    rank = recipe.lora.rank
    served = served_rank(rank)
    if served is None:
        yield Finding(
            True, f"vLLM serves no adapter of rank {rank}: its largest is {VLLM_RANKS[-1]}.", "Set a smaller lora.rank."
        )
    elif served != rank:
        yield Finding(
            False,
            f"vLLM does not take {rank} as its largest rank.",
            f"Serve the adapter with {served}: `--max-lora-rank {served}`, from Inspect `-M max_lora_rank={served}`.",
        )


def check_template(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """What the chat template writes that is not in the rows, or not in evaluation."""
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


def check_layers(recipe: Recipe, layout: Skeleton) -> Iterator[Finding]:
    """Layers that are named and not there, or that PEFT and vLLM do not agree on."""
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


def check_memory(memory: MemoryEstimate, device: int) -> Iterator[Finding]:
    """A GPU that is too small."""
    if memory.total <= device:
        return
    yield Finding(
        memory.base > device,
        f"The training needs about {in_bytes(memory.total)} of GPU memory, and the GPU has {in_bytes(device)}.",
        "Set four_bit: true, or share the weights over several GPUs (configs/accelerate/fsdp.yaml)."
        if memory.base > device
        else "Lower micro_batch_size or set gradient_checkpointing: true.",
    )


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


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


def _names_feed_forward(recipe: Recipe) -> bool:
    """Whether more is asked for than attention; a shared expert or a dense layer may answer to the experts' names."""
    targets = recipe.lora.target_modules
    return targets == "all-linear" or any(t.rpartition(".")[2] in _FEED_FORWARD for t in targets)
