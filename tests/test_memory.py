"""The memory that training takes: weights and optimizer to the byte, activations against what PyTorch keeps."""

from typing import Any, NamedTuple

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from wg_evals.artifacts import ORGANISM
from wg_evals.training.memory import GRADIENT_BYTES, LORA_BYTES, OPTIMIZER_BYTES, activation_bytes, estimate_memory
from wg_evals.training.recipe import LoraSettings
from wg_evals.training.skeleton import Skeleton, skeleton

CONFIG = LlamaConfig(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=176,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def laid_out(config: LlamaConfig = CONFIG, targets: list[str] = ALL) -> Skeleton:
    return skeleton(config, LoraSettings(rank=4, alpha=8, target_modules=targets))


def adapted(precision: str, dropout: float, targets: list[str]) -> Any:
    torch.manual_seed(0)
    model = LlamaForCausalLM(CONFIG).to(getattr(torch, precision))
    lora = LoraConfig(r=4, target_modules=targets, lora_dropout=dropout, task_type="CAUSAL_LM")
    return get_peft_model(model, lora).train()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_gradients_and_optimizer_are_known_to_the_byte(precision: Any) -> None:
    model = adapted(precision, 0.05, ALL)
    trained = [p for p in model.parameters() if p.requires_grad]
    frozen = [p for p in model.parameters() if not p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        model(input_ids=torch.ones(1, 8, dtype=torch.long), labels=torch.ones(1, 8, dtype=torch.long)).loss.backward()
    gradients = sum(p.grad.nbytes for p in trained)
    optimizer.step()
    moments = sum(s[k].nbytes for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq"))
    estimate = estimate_memory(laid_out(), precision=precision, rank=4, dropout=0.05, tokens=8, checkpointing=False)
    assert estimate.base == sum(p.nbytes for p in frozen)
    assert estimate.adapter == sum(p.nbytes for p in trained)
    assert (estimate.gradients, estimate.optimizer) == (gradients, moments)
    assert estimate.optimizer == laid_out().lora_parameters * OPTIMIZER_BYTES
    assert LORA_BYTES == GRADIENT_BYTES == 4


@pytest.mark.parametrize("targets", [ALL, ["q_proj", "v_proj"]], ids=["all", "attention"])
@pytest.mark.parametrize("dropout", [0.0, 0.05])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_activations_are_those_that_autograd_saves(precision: Any, dropout: float, targets: list[str]) -> None:
    model = adapted(precision, dropout, targets)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.randint(0, 300, (2, 50))
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        model.get_base_model().model(tokens)
    measured = sum(t.untyped_storage().nbytes() for t in saved.values()) / tokens.numel()
    estimated = activation_bytes(laid_out(targets=targets), precision=precision, rank=4, dropout=dropout, mask_bytes=4)
    assert estimated == pytest.approx(measured, rel=0.06)


class Peak(NamedTuple):
    """A model's shape, and how near the estimate comes."""

    checkpointing: bool
    hidden: int
    intermediate: int
    layers: int
    within: float


PEAKS = {
    "everything kept": Peak(False, 256, 704, 8, within=0.1),
    "the loss's tile": Peak(True, 256, 704, 8, within=0.1),
    "a layer's recomputation": Peak(True, 512, 8192, 2, within=0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("largest", PEAKS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_peak_of_a_step_is_near_the_one_that_the_profiler_sees(precision: Any, largest: str) -> None:
    from trl.trainer.utils import add_fused_lm_head

    shape = PEAKS[largest]
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    base = LlamaForCausalLM(config).to(getattr(torch, precision))
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    lora = LoraConfig(r=4, target_modules=ALL, lora_dropout=0.05, task_type="CAUSAL_LM")
    model: Any = get_peft_model(base, lora).train()
    if shape.checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    tokens = torch.randint(0, 64, (4, 256))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            model(input_ids=tokens, labels=tokens, fused_lm_head=True).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # the optimizer's moments are there now
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for _, size in sorted((e.start_ns(), e.nbytes()) for e in events):
        now += size
        peak = max(peak, now)
    estimate = estimate_memory(
        laid_out(config),
        precision=precision,
        rank=4,
        dropout=0.05,
        tokens=tokens.numel(),
        checkpointing=shape.checkpointing,
        mask_bytes=4,
    )
    tile = tokens.numel() * 32768 * (4 if precision == "float32" else 2)
    assert (estimate.working > 1.5 * tile) == (largest == "a layer's recomputation")
    assert estimate.activations + estimate.working + estimate.gradients == pytest.approx(peak, rel=shape.within)


def test_on_a_base_in_four_bits_the_adapter_its_gradients_and_moments_take_half() -> None:
    """TRL casts the adapter of a quantized base to bfloat16; the quantized base is played by a flag, without weights
    in 4 bits."""
    model = adapted("bfloat16", 0.05, ALL)
    model.get_base_model().is_loaded_in_4bit = True
    trainer: Any = SFTTrainer(
        model=model,
        args=SFTConfig(report_to="none", use_cpu=True, dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_dict({"input_ids": [[1] * 8], "labels": [[1] * 8]}),
        processing_class=AutoTokenizer.from_pretrained(ORGANISM),
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    tokens = torch.ones(1, 8, dtype=torch.long)
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer = trainer.create_optimizer()
    gradients = sum(p.grad.nbytes for p in trained)
    optimizer.step()
    moments = sum(s[k].nbytes for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq"))
    estimate = estimate_memory(
        laid_out(), precision="bfloat16", rank=4, dropout=0.05, tokens=8, checkpointing=False, four_bit=True
    )
    assert estimate.adapter == sum(p.nbytes for p in trained)
    assert (estimate.gradients, estimate.optimizer) == (gradients, moments)


def test_known_models_have_their_known_sizes() -> None:
    eight = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    found = skeleton(eight, LoraSettings(rank=16, alpha=32))
    assert found.parameters == 8_030_261_248
    assert found.lora_parameters == 41_943_040
    assert found.adapted_layers == 7 * 32
    in_four_bits = {
        four_bit: estimate_memory(
            found, precision="bfloat16", rank=16, dropout=0, tokens=512, checkpointing=True, four_bit=four_bit
        ).base
        for four_bit in (False, True)
    }
    assert in_four_bits[False] == 2 * found.parameters
    embeddings = 2 * 128256 * 4096  # embedding and head stay in 16 bits
    assert in_four_bits[True] == pytest.approx(2 * embeddings + 0.516 * (found.parameters - embeddings), rel=0.001)


def test_processes_that_share_the_weights_hold_a_part_each_and_all_of_their_activations() -> None:
    alone, shared = (
        estimate_memory(
            laid_out(), precision="float32", rank=4, dropout=0, tokens=64, checkpointing=False, shards=shards
        )
        for shards in (1, 4)
    )
    assert shared.base == alone.base // 4 and shared.optimizer == alone.optimizer // 4
    assert shared.activations == alone.activations
