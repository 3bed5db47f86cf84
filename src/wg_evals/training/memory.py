"""How much memory LoRA training takes: an estimate by parts, before any weight is loaded.

Weights, adapter, gradients and optimizer are exact: they follow from parameter counts and number formats. What
the forward pass keeps for the backward pass (activations) is counted tensor by tensor for a decoder of the Llama
family; what a device holds besides (its context, workspaces, gaps) is a guess, and said to be one.
"""

from typing import Literal, NamedTuple

from wg_evals.training.skeleton import Skeleton

GIB = 2**30
# PEFT keeps the adapter in float32 even if the base is in bfloat16, and its gradient and AdamW's two moments follow;
# beside a base in 4 bits TRL casts it to bfloat16, and all of them take half
LORA_BYTES = 4
GRADIENT_BYTES = 4
OPTIMIZER_BYTES = 8
# 4 bits and, quantized twice, 0.127 bits of constants (arXiv 2305.14314, section 3)
NF4_BYTES = (4 + 0.127) / 8
# a device's context, cuBLAS workspaces and gaps between blocks: a guess
DEVICE_OVERHEAD = 1 * GIB
# TRL's loss goes through the head in tiles and never holds all logits; the tile is as wide for a small vocabulary
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32768


class MemoryEstimate(NamedTuple):
    """Bytes on one device at the peak of a training step."""

    base: int
    adapter: int
    """The adapter's weights: float32, or bfloat16 beside a base in 4 bits."""
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    activations: int
    """What the forward pass keeps for the backward pass."""
    working: int
    """The larger of what the loss needs (a tile of logits, the hidden states' gradient) and what one layer does."""
    overhead: int

    @property
    def total(self) -> int:
        return sum(self)


def estimate_memory(
    skeleton: Skeleton,
    *,
    precision: Literal["float32", "bfloat16"],
    rank: int,
    dropout: float,
    tokens: int,
    checkpointing: bool,
    four_bit: bool = False,
    shards: int = 1,
    mask_bytes: int = 1,
) -> MemoryEstimate:
    """Estimate the peak of a training step on a GPU.

    Activations follow the counting of Korthikanti et al. (arXiv 2205.05198, section 4), done anew for gated
    feed-forward blocks, fused attention (no score matrix), float32 norms and the inputs that LoRA's branches keep;
    with gradient checkpointing one input a layer stays, and one layer at a time is computed again (their section 5).

    Args:
        skeleton: The base and the adapter.
        precision: In which weights are held and activations computed.
        rank: LoRA's.
        dropout: LoRA's; with it each adapted layer keeps its own dropped input and a mask of a byte.
        tokens: Of a forward pass on one device, padding included.
        checkpointing: Whether activations are computed again in the backward pass.
        four_bit: Whether the base's linear layers are in NF4.
        shards: Devices that share weights, gradients and optimizer (FSDP); each has activations of its own.
        mask_bytes: Of a dropout mask's element: 1 on a GPU, 4 on a CPU, where it is a float.
    """
    width = 4 if precision == "float32" else 2
    whole = activation_bytes(skeleton, precision=precision, rank=rank, dropout=dropout, mask_bytes=mask_bytes)
    layer = 3 * skeleton.shape.intermediate * width  # gradients on their way through a feed-forward block
    if checkpointing:
        kept = skeleton.shape.layers * skeleton.shape.hidden * width
        layer += -(-whole // skeleton.shape.layers)
    else:
        kept = whole
    tile = min(tokens, _TILE_TOKENS) * _TILE_VOCABULARY * width
    loss = tile + tokens * skeleton.shape.hidden * (4 + width)
    base = skeleton.parameters * width
    if four_bit:
        base -= round(skeleton.linear_parameters * (width - NF4_BYTES))
    trained = skeleton.lora_parameters // (2 if four_bit else 1) // shards
    return MemoryEstimate(
        base=base // shards,
        adapter=trained * LORA_BYTES,
        gradients=trained * GRADIENT_BYTES,
        optimizer=trained * OPTIMIZER_BYTES,
        activations=tokens * kept,
        working=max(loss, tokens * layer),
        overhead=DEVICE_OVERHEAD,
    )


def activation_bytes(
    skeleton: Skeleton,
    *,
    precision: Literal["float32", "bfloat16"],
    rank: int,
    dropout: float,
    mask_bytes: int = 1,
) -> int:
    """Bytes that the forward pass keeps for a token, in all layers, if nothing is computed again.

    Args:
        skeleton: The base and the adapter.
        precision: Of the computation.
        rank: LoRA's.
        dropout: LoRA's.
        mask_bytes: As for `estimate_memory`.
    """
    shape, width = skeleton.shape, 4 if precision == "float32" else 2
    norms = 2 * shape.hidden * 4  # computed in float32 whatever the rest is in
    attention = 2 * (shape.queries + shape.keys) * width + 4 * shape.heads  # queries, keys, values, output; log-sums
    feed_forward = 3 * shape.intermediate * width  # gate, its activation, the other branch
    if dropout:
        inputs = skeleton.adapted_inputs * (width + mask_bytes)
    else:  # a float32 input is kept as it is; each layer casts a bfloat16 one to the adapter's float32 and back
        inputs = width * (skeleton.distinct_inputs if precision == "float32" else skeleton.adapted_inputs)
    return shape.layers * (norms + attention + feed_forward) + inputs + skeleton.adapted_layers * rank * width


def in_bytes(size: float) -> str:
    """A number of bytes as people read it."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"
