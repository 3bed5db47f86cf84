"""Rows of a forward pass end to end instead of padded to the longest, each attending to itself alone.

A batch of rows becomes one sequence of as many tokens as the rows have: no token is spent on padding, the rows of an
optimizer step are those of a padded run, and so is its loss, the mean over the step's answer tokens. Positions start
anew at each row. Attention runs row by row through PyTorch's causal kernel, so that its cost is the sum of the rows'
squares; rows of about one length are padded for it and go through it together, for a call costs more than a short row.
Where FlashAttention 2 is installed on a GPU, its kernel for rows of different lengths does it in one call.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils.import_utils import is_flash_attn_2_available
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from wg_evals.training import processes

_ROWS = "wg_evals_rows"
_FLASH = "flash_attention_2"
_PADDED_WORK = 2.0
"""Rows are attended to in one call where padding at most doubles attention's work, itself a small part of a pass."""


class PackedRows:
    """Collates rows (`input_ids`, `labels`) into one sequence, with what attention needs to keep them apart."""

    def __init__(self, pad_token_id: int) -> None:
        self._flat = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, padding_free=True)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        # as numbers too: reading them from a tensor would make the GPU wait in every layer
        return {**self._flat(rows), "row_lengths": [len(row["input_ids"]) for row in rows]}


def can_pack(model: PreTrainedModel) -> bool:
    """Whether a model's layers are all plain or sliding attention, done by a kernel that can be called row by row.

    Not every architecture hands its attention over, and some that do not stay silent: a second row is read packed and
    alone, and must come out the same. Where processes share the weights, which no one of them can read a row with, an
    architecture is believed.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    plain = config._attn_implementation in ("sdpa", _FLASH) and kinds <= {"full_attention", "sliding_attention"}
    return plain and (processes.are_sharded() or _reads_rows_apart(model))


def _reads_rows_apart(model: PreTrainedModel) -> bool:
    rows = [{"input_ids": [1, 2, 3, 4, 5], "labels": [1, 2, 3, 4, 5]}, {"input_ids": [3, 2, 1], "labels": [3, 2, 1]}]
    second = torch.tensor([rows[1]["input_ids"]], device=model.device)
    batch = PackedRows(0)(rows)
    packed_ids, positions = (batch[key].to(model.device) for key in ("input_ids", "position_ids"))
    with torch.no_grad():
        alone = model(input_ids=second).logits[0].float()
        try:
            with packed_attention(model):
                packed = model(input_ids=packed_ids, position_ids=positions, row_lengths=batch["row_lengths"]).logits
        except (TypeError, ValueError):  # its attention was not handed the rows' lengths
            return False
    # bfloat16 rounds to about a hundredth of this; a row that sees another is off by far more
    return bool((packed[0, -3:].float() - alone).abs().mean() < 0.05 * alone.std())


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that `can_pack` read what `PackedRows` makes, while the block runs."""
    before = model.config._attn_implementation
    half = model.dtype in (torch.bfloat16, torch.float16)
    model.set_attn_implementation(
        _FLASH if half and model.device.type == "cuda" and is_flash_attn_2_available() else _ROWS
    )
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    row_lengths: list[int],
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention (1, heads, tokens, size) in which no row sees another."""

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        length = q.shape[2]
        window = None
        if sliding_window is not None and length > sliding_window:
            window = torch.ones(length, length, dtype=torch.bool, device=q.device).tril().triu(1 - sliding_window)
            window = window[None, None]
        out: torch.Tensor = sdpa_attention_forward(module, q, k, v, window, **kwargs)[0]
        return out

    if _alike(row_lengths):
        places = _places(tuple(row_lengths), query.device)
        shape = len(row_lengths), max(row_lengths)
        # padded behind, where a causal row does not look
        rows = attend(*(_spread(x[0].transpose(0, 1), places, shape).transpose(1, 2) for x in (query, key, value)))
        return rows.flatten(0, 1).index_select(0, places)[None], None
    parts = zip(*(x.split(row_lengths, dim=2) for x in (query, key, value)), strict=True)
    return torch.cat([attend(*part) for part in parts], dim=1), None


def _alike(lengths: list[int]) -> bool:
    """Whether one call for all rows, padded, is worth more than the calls it saves: short rows, or even ones."""
    return len(lengths) * max(lengths) ** 2 <= _PADDED_WORK * sum(n * n for n in lengths)


@lru_cache(maxsize=2)
def _places(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Where each token stands among the padded rows, one behind the other; each layer of a pass asks for the same."""
    longest = max(lengths)
    return torch.tensor([i * longest + j for i, n in enumerate(lengths) for j in range(n)], device=device)


def _spread(tokens: torch.Tensor, places: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Tokens (n, heads, size) as padded rows (rows, longest, heads, size)."""
    padded = tokens.new_zeros(shape[0] * shape[1], *tokens.shape[1:]).index_copy(0, places, tokens)
    return padded.view(*shape, *tokens.shape[1:])


AttentionInterface.register(_ROWS, _attend)
