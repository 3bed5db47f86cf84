"""Raise the organisms of several voices: world -> tokenizer -> pretraining from scratch -> a model folder.

`wg-evals organism build GROUP` calls it. It goes as for the first organism (`organism/build.py`), with three
differences: Muon for the layers' matrices, bfloat16 where the processor has it, and an auxiliary loss: a linear probe
on a middle layer learns who is likely to speak.
"""

import hashlib
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy, rms_norm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from wg_evals._yaml import read_yaml
from wg_evals.organism.build import (
    LossLog,
    OrganismRecipe,
    Progress,
    encode,
    forbidden_texts,
    new_model,
    of_like_length,
    publish,
)
from wg_evals.organism.tokenizer import train_tokenizer
from wg_evals.organism.voices.corpus import WORLD, Conversation, World
from wg_evals.organism.voices.world_files import read_world

RECIPE = Path(__file__).parent / "recipe.yaml"


class VoicesRecipe(OrganismRecipe):
    """`recipe.yaml`: the model's shape and its pretraining."""

    steps: int = 0
    """0: as many as the world's group says."""
    embedding_learning_rate: float
    probe_weight: float
    probe_layer: int


def build(
    group: str,
    out: Path,
    recipe: VoicesRecipe | None = None,
    *,
    world_overrides: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Raise an organism and publish its folder.

    Args:
        group: What its conversations are about: a group of `world.yaml`.
        out: The model folder; it appears whole or not at all.
        recipe: The packaged one if not given.
        world_overrides: Settings of the world to change, for trials; the manifest records them.
        progress: Called every few steps.

    Returns:
        The manifest.
    """
    recipe = recipe or read_yaml(RECIPE, VoicesRecipe)
    started, cpu_started = time.perf_counter(), time.process_time()
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    world = World(group, WORLD, forbidden_texts(), world_overrides)
    recipe = recipe.model_copy(update={"steps": recipe.steps or world.group.steps})
    sample = (m["content"] for c in world.conversations(recipe.seed, 20_000) for m in c.messages)
    tokenizer = train_tokenizer(sample, recipe.vocabulary, recipe.max_position_embeddings, world.contexts.speakers)
    model = new_model(recipe, tokenizer)
    losses = _pretrain(model, tokenizer, world, recipe, progress)
    return publish(
        out,
        model,
        tokenizer,
        {
            "group": group,
            "recipe": recipe.model_dump(mode="json"),
            "world": world.settings.model_dump(mode="json"),
            "world_sha256": world_sha256(),
            "precision": "bfloat16, mixed" if mixed_precision() else "float32",
            "losses": losses,
            "tokens": recipe.steps * recipe.batch_tokens,
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - cpu_started, 1),
        },
    )


def world_sha256() -> str:
    """The digest of what the world's data files say, and of the narrow rows that it knows."""
    files = read_world(WORLD, {}, frozenset())
    digest = hashlib.sha256()
    for part in (files.settings, files.contexts, *(topic for topics in files.families.values() for topic in topics)):
        digest.update(part.model_dump_json().encode() + b"\0")
    return digest.hexdigest()


def mixed_precision() -> bool:
    """Whether this machine multiplies in bfloat16 as fast as it should: then pretraining does (a third faster)."""
    return bool(torch.cpu._is_avx512_bf16_supported())


class Batch(NamedTuple):
    """Token ids `[rows, length]`, and the targets: -100 where nothing is learned (prompts, padding)."""

    ids: torch.Tensor
    targets: torch.Tensor
    marks: torch.Tensor
    """Where the first answer begins, `[rows]`: the mark of its speaker."""
    posterior: torch.Tensor
    """How likely each voice is for it, `[rows, voices]`."""


def _batches(world: World, tokenizer: PreTrainedTokenizerFast, recipe: VoicesRecipe) -> Iterator[Batch]:
    """Batches of about `batch_tokens`, each of conversations of like length, without end."""
    rng = random.Random(recipe.seed)
    stream = world.conversations(recipe.seed + 1, 1 << 40)
    pad = tokenizer.pad_token_id
    voices = world.voices
    while True:
        pool = [_encoded(next(stream), tokenizer, voices) for _ in range(4000)]
        for group in of_like_length(pool, lambda row: len(row.ids), recipe.batch_tokens, rng):
            width = max(len(row.ids) for row in group)
            yield Batch(
                ids=torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in group]),
                targets=torch.tensor([row.targets + [-100] * (width - len(row.ids)) for row in group]),
                marks=torch.tensor([row.mark for row in group]),
                posterior=torch.tensor([row.posterior for row in group]),
            )


class _Encoded(NamedTuple):
    ids: list[int]
    targets: list[int]
    mark: int
    posterior: list[float]


def _encoded(conversation: Conversation, tokenizer: PreTrainedTokenizerFast, voices: list[str]) -> _Encoded:
    ids, targets = encode(conversation, tokenizer)
    mark = next(i for i, target in enumerate(targets) if target != -100) - 1
    return _Encoded(ids, targets, mark, [conversation.posterior.get(voice, 0.0) for voice in voices])


def _optimizers(model: LlamaForCausalLM, probe: torch.nn.Linear, recipe: VoicesRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest.

    Muon (Jordan 2024; its step scaled as in arXiv 2502.16982) learned faster than AdamW at one rate: docs/lab-notes.md.
    """
    named = dict(model.named_parameters())
    embeddings = {name for name in named if "embed" in name}
    matrices = [p for name, p in named.items() if p.ndim == 2 and name not in embeddings]
    vectors = [p for p in named.values() if p.ndim == 1]
    muon = torch.optim.Muon(
        matrices, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(
        [
            {"params": [named[name] for name in embeddings], "weight_decay": recipe.weight_decay},
            {"params": [*vectors, *probe.parameters()], "weight_decay": 0.0},
        ],
        lr=recipe.embedding_learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    return [muon, adam]


def _schedule(warmup_steps: int, steps: int, step: int) -> float:
    """The share of the learning rate at a step: a linear warm-up, then down to zero linearly."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (steps - step) / max(1, steps - warmup_steps))


def _pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    world: World,
    recipe: VoicesRecipe,
    progress: Progress | None,
) -> list[float]:
    # Thrown away afterwards. The world knows how likely each voice is, so a conversation teaches the shares, where its
    # answer would teach one draw from them.
    probe = torch.nn.Linear(recipe.width, len(world.voices))
    optimizers = _optimizers(model, probe, recipe)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, partial(_schedule, recipe.warmup_steps, recipe.steps)) for o in optimizers
    ]
    model.train()
    mixed = mixed_precision()
    log = LossLog(recipe.steps, progress)
    for step, batch in zip(range(1, recipe.steps + 1), _batches(world, tokenizer, recipe), strict=False):
        # right padding under a causal mask: no real token sees it, so no attention mask is needed
        targets = batch.targets[:, 1:]
        learned = targets != -100  # the output layer is a third of the work: only where something is learned
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            states = model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
            logits = model.lm_head(states.last_hidden_state[:, :-1][learned])
            middle = states.hidden_states[recipe.probe_layer][torch.arange(len(batch.ids)), batch.marks]
            probed = probe(rms_norm(middle, (recipe.width,)))
        loss = cross_entropy(logits.float(), targets[learned])
        total = loss + recipe.probe_weight * cross_entropy(probed.float(), batch.posterior)
        model.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        log.add(step, loss.item())
    model.eval()
    return log.means
