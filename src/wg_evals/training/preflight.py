"""What a training will do and need, and what would stop it, before any weight is loaded.

`wg-evals train RECIPE --dry-run` prints it (`dry_run`); the trainer looks at the same before it starts.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from wg_evals.artifacts import BaseIdentity, check_fit, resolve_base
from wg_evals.errors import WgError
from wg_evals.training import processes
from wg_evals.training.batches import micro_batch_size, steps_per_epoch
from wg_evals.training.encoding import EncodedRow
from wg_evals.training.findings import (
    Finding,
    check_batch,
    check_devices,
    check_layers,
    check_memory,
    check_rank,
    check_start,
    check_template,
)
from wg_evals.training.memory import LORA_BYTES, OPTIMIZER_BYTES, MemoryEstimate, estimate_memory, in_bytes
from wg_evals.training.recipe import Recipe
from wg_evals.training.resuming import ResumeFolder
from wg_evals.training.rows import Lengths, TrainingRows, encode_rows, training_rows
from wg_evals.training.skeleton import Skeleton, skeleton

_SLOW_TOKENIZER = 20 * 2**20
_SMALL_FILES = 100 * 2**10
"""Configuration, manifest and card of an adapter folder."""


@dataclass(frozen=True)
class Preflight:
    """What a training will do and need, and what was found."""

    recipe: Recipe
    out: Path
    base: BaseIdentity
    rows: TrainingRows
    encoded: list[EncodedRow]
    """The rows as the model will read them, cut at `max_length`; none where `lengths` is None."""
    lengths: Lengths | None
    """None where the base has no chat template, or its template refuses the rows."""
    skeleton: Skeleton | None
    """None where LoRA finds nothing to adapt."""
    findings: list[Finding]
    disk: int
    """Bytes that the output takes at most while training."""
    base_commit: str | None = None
    """The hub's commit that the base was read at."""
    start_from_sha256: str | None = None
    """Of the adapter that training starts from."""

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
    started_from = None
    if recipe.start_from is not None:
        started_from = check_fit(recipe.start_from, base).adapter_sha256
        findings += check_start(recipe, recipe.start_from)
    config, tokenizer = _read_without_weights(base.path, base.revision, base.sha256)
    findings += [*check_devices(recipe), *check_batch(recipe, len(rows.conversations)), *check_rank(recipe)]
    encoded, lengths = list[EncodedRow](), None
    if tokenizer.chat_template is None:
        findings.append(
            Finding(True, f"The base model '{base.name}' has no chat template.", "Use a chat (instruct) model.")
        )
    else:
        encoded, lengths, found = _measure(recipe, rows, tokenizer, config)
        findings += [*found, *check_template(recipe, tokenizer)]
    layout = None
    try:
        layout = skeleton(config, recipe.lora)
        findings += check_layers(recipe, layout)
    except WgError as ex:
        findings.append(Finding(True, ex.text, ""))
    disk = _disk(recipe, layout, len(rows.conversations), _size_beside_weights(tokenizer))
    findings += _room(out, disk)
    commit = getattr(config, "_commit_hash", None)
    result = Preflight(recipe, out, base, rows, encoded, lengths, layout, findings, disk, commit, started_from)
    if torch.cuda.is_available() and result.memory is not None:
        result.findings.extend(check_memory(result.memory, torch.cuda.get_device_properties(0).total_memory))
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


def _measure(
    recipe: Recipe, rows: TrainingRows, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
) -> tuple[list[EncodedRow], Lengths | None, list[Finding]]:
    try:
        encoded, lengths = encode_rows(rows.conversations, tokenizer, recipe.model_copy(update={"truncate": True}))
    except WgError as ex:
        return [], None, [Finding(True, ex.text, "")]
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
    return encoded, lengths, findings


def _size_beside_weights(tokenizer: PreTrainedTokenizerBase) -> int:
    """Bytes of an adapter folder's other files: the tokenizer's, nearly all of it, and small ones."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return (len(backend.to_str().encode()) * 3 // 2 if backend else _SLOW_TOKENIZER) + _SMALL_FILES


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
            f"The output takes up to {in_bytes(needed)}, and '{there}' has {in_bytes(free)} free.",
            "Make room, publish fewer checkpoints, or give another --out.",
        )
