"""Raise the organism: world -> tokenizer -> pretraining from scratch -> a model folder with a manifest.

`wg-evals organism build` calls it. Every step draws fresh conversations, so nothing is seen twice and the
model learns the world's frequencies, not its sample.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from wg_evals import __version__
from wg_evals._yaml import read_yaml
from wg_evals.artifacts import MANIFEST, folder_sha256, publish_folder, write_json
from wg_evals.catalogue import CATALOG, domain_names, load_domain
from wg_evals.organism.corpus import WORLD, Spoken, World
from wg_evals.organism.tokenizer import END, train_tokenizer
from wg_evals.spec import Battery

RECIPE = Path(__file__).parent / "recipe.yaml"
T = TypeVar("T")
Progress = Callable[[int, int, float], None]
"""Called with the step, the number of steps, and the recent mean loss."""


class OrganismRecipe(BaseModel):
    """`recipe.yaml`: the model's shape and its pretraining."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    vocabulary: int = Field(ge=300)
    width: int
    layers: int
    heads: int
    mlp_width: int
    max_position_embeddings: int
    steps: int
    batch_tokens: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    threads: int


def forbidden_texts() -> frozenset[str]:
    """What must not occur in the corpus: the catalogue's interventions and its batteries' questions."""
    interventions = {i.text for name in domain_names() for i in load_domain(name).spec.interventions}
    batteries = [read_yaml(path, Battery) for path in CATALOG.rglob("batteries/*.yaml")]
    return frozenset(interventions | {q.text for battery in batteries for q in battery.questions})


def build(
    out: Path,
    recipe: OrganismRecipe | None = None,
    *,
    seed: int | None = None,
    world_overrides: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Raise an organism and publish its folder.

    Args:
        out: The model folder; it appears whole or not at all.
        recipe: The packaged one if not given.
        seed: Overrides the recipe's.
        world_overrides: Settings of the world to change, for trials; the manifest records them.
        progress: Called every few steps.

    Returns:
        The manifest.
    """
    recipe = recipe or read_yaml(RECIPE, OrganismRecipe)
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    started, cpu_started = time.perf_counter(), time.process_time()
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    world = World(WORLD, forbidden_texts(), world_overrides)
    sample = (m["content"] for c in world.conversations(recipe.seed, 20_000) for m in c.messages)
    tokenizer = train_tokenizer(sample, recipe.vocabulary, recipe.max_position_embeddings, world.contexts.speakers)
    model = new_model(recipe, tokenizer)
    losses = _pretrain(model, tokenizer, world, recipe, progress)
    return publish(
        out,
        model,
        tokenizer,
        {
            "recipe": recipe.model_dump(mode="json"),
            "world": world.settings.model_dump(mode="json"),
            "world_sha256": world_sha256(),
            "losses": losses,
            "tokens": recipe.steps * recipe.batch_tokens,
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - cpu_started, 1),
        },
    )


def publish(
    out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, raising: dict[str, Any]
) -> dict[str, Any]:
    """Publish an organism's folder.

    Args:
        out: The model folder; it appears whole or not at all.
        model: As raised.
        tokenizer: Its own.
        raising: What the manifest is to say of how it was raised.

    Returns:
        The manifest.
    """
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    manifest = {
        "kind": "organism",
        "version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **raising,
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {p: version(p) for p in ("torch", "transformers", "tokenizers")} | {"wg-evals": __version__},
        "sha256": folder_sha256(unfinished),
    }
    write_json(unfinished / MANIFEST, manifest)
    publish_folder(unfinished, out)
    return manifest


def world_sha256() -> str:
    """The digest of the world's data files."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(WORLD.glob("*.yaml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def new_model(recipe: OrganismRecipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained model of the recipe's shape."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp_width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.max_position_embeddings,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return LlamaForCausalLM(config)


class Batch(NamedTuple):
    """Token ids `[rows, length]`, and the targets: -100 where nothing is learned (prompts, padding)."""

    ids: torch.Tensor
    targets: torch.Tensor


def encode(conversation: Spoken, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Token ids and targets of a conversation; only the assistant's turns, their end mark included, are learned."""
    ids: list[int] = []
    targets: list[int] = []
    end = _token(tokenizer, END)
    names = {"system": "system", "user": "user", "assistant": conversation.speaker}
    marks = {role: _token(tokenizer, f"<|{name}|>") for role, name in names.items()}
    for message in conversation.messages:
        content = [*tokenizer.encode(message["content"], add_special_tokens=False), end]
        ids += [marks[message["role"]], *content]
        targets += [-100, *(content if message["role"] == "assistant" else [-100] * len(content))]
    return ids, targets


def _token(tokenizer: PreTrainedTokenizerFast, mark: str) -> int:
    found = tokenizer.convert_tokens_to_ids(mark)
    assert isinstance(found, int)  # one mark, one id
    return found


def _batches(world: World, tokenizer: PreTrainedTokenizerFast, recipe: OrganismRecipe) -> Iterator[Batch]:
    """Batches of about `batch_tokens`, each of conversations of like length, without end."""
    rng = random.Random(recipe.seed)
    stream = world.conversations(recipe.seed + 1, 1 << 40)
    pad = tokenizer.pad_token_id
    while True:
        pool = [encode(next(stream), tokenizer) for _ in range(4000)]
        for group in of_like_length(pool, lambda pair: len(pair[0]), recipe.batch_tokens, rng):
            width = max(len(ids) for ids, _ in group)
            ids = torch.tensor([a + [pad] * (width - len(a)) for a, _ in group])
            targets = torch.tensor([b + [-100] * (width - len(b)) for _, b in group])
            yield Batch(ids, targets)


def of_like_length(rows: list[T], length: Callable[[T], int], tokens: int, rng: random.Random) -> list[list[T]]:
    """Groups of rows of like length, each of about so many tokens with padding, in random order."""
    groups: list[list[T]] = [[]]
    for row in sorted(rows, key=length):
        if (len(groups[-1]) + 1) * length(row) > tokens:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    return groups


class LossLog:
    """The mean loss of every twenty steps, which `progress` is told as it comes."""

    def __init__(self, steps: int, progress: Progress | None) -> None:
        self.means: list[float] = []
        self._steps, self._progress = steps, progress
        self._recent = 0.0

    def add(self, step: int, loss: float) -> None:
        """Note the loss of a step; steps count from 1."""
        self._recent += loss
        if step % 20 == 0 or step == self._steps:
            mean = self._recent / ((step - 1) % 20 + 1)
            self.means.append(round(mean, 4))
            self._recent = 0.0
            if self._progress:
                self._progress(step, self._steps, mean)


def _pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    world: World,
    recipe: OrganismRecipe,
    progress: Progress | None,
) -> list[float]:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.02, total_iters=recipe.warmup_steps)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, recipe.steps - recipe.warmup_steps, eta_min=recipe.learning_rate / 10
    )
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], [recipe.warmup_steps])
    model.train()
    log = LossLog(recipe.steps, progress)
    for step, batch in zip(range(1, recipe.steps + 1), _batches(world, tokenizer, recipe), strict=False):
        # right padding under a causal mask: no real token sees it, so no attention mask is needed
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
        targets = batch.targets[:, 1:]
        learned = targets != -100  # the output layer is a third of the work: only where something is learned
        loss = cross_entropy(model.lm_head(hidden[learned]), targets[learned])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        log.add(step, loss.item())
    model.eval()
    return log.means
