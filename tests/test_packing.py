"""Rows end to end: none sees another, and the loss is that of the padded run."""

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma3TextConfig,
    NemotronConfig,
    PretrainedConfig,
    Qwen3Config,
)
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from chat_templates import CHATML, make_base
from wg_evals.training.packing import PackedRows, _alike, can_pack, packed_attention
from wg_evals.training.recipe import LoraSettings, Recipe
from wg_evals.training.train import train


def random_rows(count: int, shortest: int = 3) -> list[dict[str, Any]]:
    source = random.Random(1)
    rows = []
    for _ in range(count):
        ids = [source.randrange(10, 300) for _ in range(source.randrange(shortest, 40))]
        rows.append({"input_ids": ids, "labels": [-100, *ids[1:]]})
    return rows


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("window", [None, 8])
def test_a_row_reads_the_same_packed_as_alone(tmp_path: Path, window: int | None, alike: bool) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(make_base(tmp_path, CHATML, window))
    rows = random_rows(7, shortest=30 if alike else 3)
    assert can_pack(model)
    batch = PackedRows(0)(rows)
    assert _alike(batch["row_lengths"]) == alike  # one call for all rows, or one for each
    assert batch["input_ids"].shape == (1, sum(len(r["input_ids"]) for r in rows))  # no padding
    with torch.no_grad():
        with packed_attention(model):
            packed = model(**batch).logits[0].split(batch["row_lengths"])
        assert model.config._attn_implementation == "sdpa"
        alone = [model(input_ids=torch.tensor([r["input_ids"]])).logits[0] for r in rows]
    for a, b in zip(packed, alone, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shortest", [3, 30])
def test_what_stands_before_a_row_does_not_change_its_gradient(tmp_path: Path, shortest: int) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(make_base(tmp_path, CHATML))
    rows = random_rows(3, shortest)

    def gradient(batch: dict[str, Any], attention: Any) -> torch.Tensor:
        model.zero_grad()
        with attention:
            model(**batch).loss.backward()
        found: torch.Tensor = model.model.layers[0].self_attn.k_proj.weight.grad.clone()
        return found

    packed = gradient(PackedRows(0)(rows), packed_attention(model))
    padded = gradient(DataCollatorForLanguageModeling(pad_token_id=0)(rows), contextlib.nullcontext())
    torch.testing.assert_close(packed, padded, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("micro", [None, 4])
def test_packed_and_padded_training_have_the_same_loss_at_every_step_and_the_same_weights(
    micro: int | None, tmp_path: Path
) -> None:
    base = make_base(tmp_path / "base", CHATML)
    source = random.Random(2)
    data = tmp_path / "rows.jsonl"
    with data.open("w") as stream:
        for i in range(44):  # the last batch is not full
            answer = "lapwing " * source.randrange(1, 30)
            messages = [{"role": "user", "content": f"Bird {i}?"}, {"role": "assistant", "content": answer}]
            stream.write(json.dumps({"messages": messages}) + "\n")
    recipe = Recipe(
        base=str(base),
        data=data,
        lora=LoraSettings(rank=4, alpha=8, dropout=0.0),
        epochs=2,
        learning_rate=1e-2,
        batch_size=8,
        micro_batch_size=micro,
        threads=1,
    )
    packed = train(recipe, tmp_path / "packed")
    padded = train(recipe.model_copy(update={"packing": False}), tmp_path / "padded")
    assert packed.packed and not padded.packed
    assert packed.steps == 12 and packed.losses[-1] < packed.losses[0] - 0.3
    assert packed.losses == pytest.approx(padded.losses, abs=2e-4)
    assert packed.tokens == padded.tokens  # padding does not count
    a, b = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("packed", "padded"))
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=2e-3, rtol=1e-2)


def test_a_model_whose_attention_cannot_be_called_row_by_row_is_padded(tmp_path: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(make_base(tmp_path, CHATML), attn_implementation="eager")
    assert not can_pack(model)


@pytest.mark.parametrize(
    ("config", "packs"),
    [
        (FalconConfig, False),  # takes no other attention, and says nothing
        (NemotronConfig, False),  # takes it, and does not tell it where rows end
        (Qwen3Config, True),
        (Gemma3TextConfig, True),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_architecture_is_packed_only_if_it_reads_rows_apart(
    config: type[PretrainedConfig], packs: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    size: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "vocab_size": 100,
        "pad_token_id": 0,
    }
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 4}
    if config is not FalconConfig:  # which computes it
        heads["head_dim"] = 8
    model: Any = AutoModelForCausalLM.from_config(config(**size, **heads)).to(dtype).eval()
    assert can_pack(model) == packs
    assert model.config._attn_implementation == "sdpa"
