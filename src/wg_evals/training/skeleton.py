"""A base model without its weights: how large it is, and what LoRA adapts in it.

Built from the configuration alone, on PyTorch's meta device: a model of 70 billion parameters takes a second
and no memory. PEFT itself puts the adapter in, so that what it adapts is what it will adapt.
"""

import warnings
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from wg_evals.errors import WgError
from wg_evals.training.recipe import LoraSettings


@dataclass(frozen=True)
class Shape:
    """A decoder's widths and depth, in the words of its configuration; what activations are counted from."""

    layers: int
    hidden: int
    intermediate: int
    """Width inside a gated feed-forward block."""
    queries: int
    """Attention heads times their size."""
    keys: int
    """Key-value heads times their size."""
    heads: int
    vocabulary: int


@dataclass(frozen=True)
class Skeleton:
    """What can be known of a base and its adapter before any weight is read."""

    shape: Shape
    parameters: int
    """Of the base; a head that shares the embedding's weights counts once."""
    linear_parameters: int
    """Of its linear layers without the head: what 4-bit loading quantizes."""
    lora_parameters: int
    adapted_inputs: int
    """Widths of the inputs of all adapted layers, added up over the whole model."""
    distinct_inputs: int
    """The same, an input that neighbours share (queries, keys and values do) counted once."""
    adapted_layers: int
    unmatched_targets: list[str]
    """Target modules of the recipe that name no layer of this base."""
    has_fused_experts: bool
    """Whether experts of a mixture are slices of one parameter and no layers of their own."""
    adapts_experts: bool


def skeleton(config: PretrainedConfig, lora: LoraSettings) -> Skeleton:
    """Lay out a base and an adapter on it.

    Args:
        config: The base's, as `AutoConfig` gives it.
        lora: The recipe's.

    Raises:
        WgError: The base is no decoder of a known kind, or PEFT finds nothing to adapt.
    """
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except ValueError as ex:
        raise WgError(
            f"The base is no causal language model that transformers knows: {str(ex).splitlines()[0]}"
        ) from ex
    parameters = sum(p.numel() for p in model.parameters())
    head = model.get_output_embeddings()
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear) and m is not head)
    fused = any(p.ndim == 3 and "expert" in name for name, p in model.named_parameters())
    settings = LoraConfig(r=lora.rank, target_modules=lora.target_modules, task_type="CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is looked at here
            adapted = get_peft_model(model, settings, low_cpu_mem_usage=True)
    except ValueError as ex:
        raise WgError(
            f"LoRA finds no layer to adapt in this base: {ex} Set lora.target_modules to names of its linear layers."
        ) from ex
    layers = _adapted_layers(adapted)
    inputs = {name: layer.in_features for name, layer in layers.items() if isinstance(layer.in_features, int)}
    return Skeleton(
        shape=_shape(config),
        parameters=parameters,
        linear_parameters=linear,
        lora_parameters=sum(p.numel() for p in adapted.parameters() if p.requires_grad),
        adapted_inputs=sum(inputs.values()),
        distinct_inputs=sum(width for _, width in {(name.rpartition(".")[0], w) for name, w in inputs.items()}),
        adapted_layers=len(layers),
        unmatched_targets=[t for t in _names(lora) if not any(n == t or n.endswith(f".{t}") for n in layers)],
        has_fused_experts=fused,
        adapts_experts=any(".experts" in name for name in layers),
    )


def _names(lora: LoraSettings) -> list[str]:
    return lora.target_modules if isinstance(lora.target_modules, list) else []


def _adapted_layers(model: PeftModel) -> dict[str, LoraLayer]:
    return {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def _shape(config: PretrainedConfig) -> Shape:
    text = config.get_text_config()
    try:
        heads = text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // heads
        return Shape(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            intermediate=text.intermediate_size,
            queries=heads * size,
            keys=(getattr(text, "num_key_value_heads", None) or heads) * size,
            heads=heads,
            vocabulary=text.vocab_size,
        )
    except AttributeError as ex:
        raise WgError(
            f"The base's configuration ({type(config).__name__}) does not say its shape in the usual words ({ex}): "
            "training it is not supported."
        ) from ex
