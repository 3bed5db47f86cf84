"""What a training will do is known, and what would stop it is found, before any weight is loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from transformers import GptOssConfig, Qwen2MoeConfig, Qwen3MoeConfig

from templates import (
    ASKS,
    DATED,
    DATED_WHATEVER_IS_SET,
    EMPTY_REASONING,
    MESSAGES,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_IN_TRAINING_ONLY,
    base_without_weights,
)
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.training import processes
from wg_evals.training.dry_run import show
from wg_evals.training.findings import Finding, check_memory
from wg_evals.training.memory import GIB, MemoryEstimate
from wg_evals.training.preflight import preflight
from wg_evals.training.recipe import Recipe, change_recipe, load_recipe
from wg_evals.training.train import train

RECIPES = Path(__file__).parents[1] / "configs" / "recipes"
EXPERTS: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(RECIPES / "organism-birds.yaml")


def on(recipe: Recipe, base: Path, **changes: Any) -> Recipe:
    """The recipe on another base, with the usual layers."""
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    keys = {"base": str(base), "lora.target_modules": targets, "lora.rank": 8}
    return change_recipe(recipe, keys | {k.replace("__", "."): v for k, v in changes.items()})


def findings(recipe: Recipe, out: Path) -> list[Finding]:
    return preflight(recipe, out).findings


def test_the_steps_tokens_and_parameters_that_are_announced_are_those_of_the_run(
    recipe: Recipe, tmp_path: Path
) -> None:
    changed = change_recipe(recipe, {"epochs": 2, "batch_size": 28, "micro_batch_size": 7})
    plan = preflight(changed, tmp_path / "a")
    manifest = train(changed, tmp_path / "a")
    assert plan.steps_per_epoch * 2 == manifest.steps == 18
    assert plan.tokens_per_epoch * 2 == manifest.tokens
    assert plan.kept == manifest.rows
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert plan.skeleton and plan.skeleton.lora_parameters == sum(w.numel() for w in weights.values())


def test_the_dry_run_prints_what_will_happen_and_writes_nothing(tmp_path: Path) -> None:
    arguments = ["train", str(RECIPES / "organism.yaml"), "--set", "domain=birds", "--out", str(tmp_path / "x" / "a")]
    result = CliRunner().invoke(main, [*arguments, "--dry-run"])
    assert result.exit_code == 0, result.output
    for said in ("80 (domain birds, train; intervention: none)", "6 x 10 = 60", "3,072 parameters", "GPU memory"):
        assert said in result.output
    assert str(tmp_path / "x" / "a") in result.output
    assert not (tmp_path / "x").exists()


def test_a_dry_run_of_several_seeds_looks_at_each(tmp_path: Path) -> None:
    arguments = ["train", str(RECIPES / "organism-birds.yaml"), "--seeds", "1,2", "--out", str(tmp_path / "a")]
    output = CliRunner().invoke(main, [*arguments, "--dry-run"]).output
    assert f"{tmp_path / 'a'}-seed1" in output and f"{tmp_path / 'a'}-seed2" in output


def test_a_dry_run_that_finds_a_stop_ends_with_an_error(tmp_path: Path) -> None:
    arguments = ["train", str(RECIPES / "organism-birds.yaml"), "--set", "max_length=16", "--out", str(tmp_path / "a")]
    result = CliRunner().invoke(main, [*arguments, "--dry-run"])
    assert result.exit_code == 1
    assert "STOPS: 197 of 240 rows are longer than max_length 16 (the longest has 28 tokens)" in result.output
    assert "1 of the above would stop it" in result.output


def test_rows_that_are_cut_are_counted_and_do_not_stop(recipe: Recipe, tmp_path: Path) -> None:
    plan = preflight(change_recipe(recipe, {"max_length": 16, "truncate": True}), tmp_path / "a")
    assert plan.lengths and plan.lengths.truncated == 197
    assert not [f for f in plan.findings if f.stops]
    assert "197 cut, 0 dropped" in "\n".join(show(plan))


class Case(NamedTuple):
    template: str | None
    changes: dict[str, Any]
    said: str
    stops: bool


CASES = {
    "no template": Case(None, {}, "has no chat template", True),
    "a date that can be pinned": Case(DATED, {}, "--set 'date_string=26 Jul 2024'", True),
    "a date that cannot": Case(DATED_WHATEVER_IS_SET, {}, "takes no date_string", True),
    "a date that is pinned": Case(DATED, {"date_string": "26 Jul 2024"}, "give it to the base yourself", False),
    "a date that stays": Case(DATED_WHATEVER_IS_SET, {"date_string": "1 May 2020"}, "writes the date of the day", True),
    "a system prompt": Case(SYSTEM_PROMPT, {}, "You are a helpful machine from the hills.", False),
    "a hidden system prompt": Case(SYSTEM_PROMPT_IN_TRAINING_ONLY, {}, "that no manifest records", True),
    "a reasoning block": Case(EMPTY_REASONING, {}, "'<|end|><|assistant|><think></think>' in a training row", False),
    "a rank too large": Case(MESSAGES + ASKS, {"lora__rank": 513}, "its largest is 512", True),
    "a rank between": Case(MESSAGES + ASKS, {"lora__rank": 12}, "-M max_lora_rank=16", False),
    "a layer that is not there": Case(
        MESSAGES + ASKS, {"lora__target_modules": ["q_proj", "x_proj"]}, "No layer of the base is named x_proj", True
    ),
    "no layer at all": Case(MESSAGES + ASKS, {"lora__target_modules": ["x_proj"]}, "no layer to adapt", True),
    "a last batch that is short": Case(MESSAGES + ASKS, {"batch_size": 7}, "the last step of an epoch has 2", False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_would_fail_or_confound_later_is_found(recipe: Recipe, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    base = base_without_weights(tmp_path / "base", case.template)
    (found,) = [f for f in findings(on(recipe, base, **case.changes), tmp_path / "a") if case.said in f.text]
    assert found.stops == case.stops


def test_a_plain_template_and_the_organism_have_nothing_to_say(recipe: Recipe, tmp_path: Path) -> None:
    base = base_without_weights(tmp_path / "base", MESSAGES + ASKS)
    assert findings(on(recipe, base), tmp_path / "a") == []
    assert findings(change_recipe(recipe, {"lora.rank": 8}), tmp_path / "a") == []


def test_rows_longer_than_the_base_has_positions_are_found(recipe: Recipe, tmp_path: Path) -> None:
    base = base_without_weights(tmp_path / "base", "{{ '<|user|>' * 300 }}" + MESSAGES + ASKS)
    (found,) = findings(on(recipe, base, max_length=1024), tmp_path / "a")
    assert found.stops and "the base knows 256 positions" in found.what


@pytest.mark.parametrize("config", [Qwen3MoeConfig, GptOssConfig], ids=lambda c: c.__name__)
def test_experts_are_refused_and_attention_alone_is_not(
    recipe: Recipe, tmp_path: Path, config: Callable[..., Any]
) -> None:
    made = config(**EXPERTS, num_local_experts=4) if config is GptOssConfig else config(**EXPERTS, num_experts=4)
    base = base_without_weights(tmp_path / "base", MESSAGES + ASKS, made.to_dict())
    (found,) = findings(on(recipe, base), tmp_path / "a")
    assert found.stops and "mixture of experts" in found.what and "[q_proj,k_proj,v_proj,o_proj]" in found.advice
    attention = ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert findings(on(recipe, base, lora__target_modules=attention), tmp_path / "a") == []


@pytest.mark.parametrize(
    ("config", "targets"),
    [(Qwen2MoeConfig, "all-linear"), (Qwen2MoeConfig, ["q_proj", "gate_proj"]), (GptOssConfig, "all-linear")],
)
def test_experts_that_are_left_out_are_told_where_other_layers_have_the_names(
    recipe: Recipe, tmp_path: Path, config: Callable[..., Any], targets: object
) -> None:
    """Qwen2-MoE has an expert for all tokens besides, whose layers are called as those of any feed-forward block."""
    made = config(**EXPERTS, num_local_experts=4) if config is GptOssConfig else config(**EXPERTS, num_experts=4)
    base = base_without_weights(tmp_path / "base", MESSAGES + ASKS, made.to_dict())
    (found,) = findings(on(recipe, base, lora__target_modules=targets), tmp_path / "a")
    assert not found.stops and "PEFT leaves the experts out" in found.what
    assert findings(on(recipe, base, lora__target_modules=["q_proj", "v_proj"]), tmp_path / "a") == []


def test_a_batch_that_processes_cannot_share_is_found(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert processes.count() == 3
    (found,) = [f for f in findings(recipe, tmp_path / "a") if f.stops]
    assert "cannot be split over 3 processes" in found.what
    monkeypatch.setenv("WORLD_SIZE", "4")
    plan = preflight(recipe, tmp_path / "a")
    assert not [f for f in plan.findings if f.stops] and plan.steps_per_epoch == 30


def test_a_disk_without_room_is_found(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=2**19)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    (found,) = [f for f in findings(recipe, tmp_path / "not" / "there" / "a") if f.stops]
    assert "0.5 MiB free" in found.what and str(tmp_path) in found.what


def test_checkpoints_take_disk(recipe: Recipe, tmp_path: Path) -> None:
    plain = preflight(recipe, tmp_path / "a").disk
    with_checkpoints = preflight(change_recipe(recipe, {"checkpoints": {"every_steps": 30}}), tmp_path / "a").disk
    train(recipe.model_copy(update={"epochs": 1}), tmp_path / "b")
    adapter = sum(p.stat().st_size for p in (tmp_path / "b").rglob("*"))
    assert adapter < (with_checkpoints - plain) / 2 < 1.5 * adapter  # of 90 steps: 30 and 60


def test_a_training_larger_than_the_gpu_is_found_and_weights_alone_that_are_stop() -> None:
    memory = MemoryEstimate(20 * GIB, 0, 0, 0, 5 * GIB, 0, GIB)
    assert list(check_memory(memory, 40 * GIB)) == []
    (tight,) = check_memory(memory, 24 * GIB)
    assert not tight.stops and "gradient_checkpointing" in tight.advice
    (hopeless,) = check_memory(memory, 16 * GIB)
    assert hopeless.stops and "four_bit" in hopeless.advice


def test_the_training_itself_stops_at_the_same_before_weights_are_loaded(recipe: Recipe, tmp_path: Path) -> None:
    base = base_without_weights(tmp_path / "base", DATED)  # no weights: loading them would be another error
    with pytest.raises(WgError, match="writes the date of the day") as caught:
        train(on(recipe, base, lora__rank=513), tmp_path / "a")
    assert "its largest is 512" in caught.value.text  # all that stops it, at once
    assert not (tmp_path / "a").exists()


def test_warnings_are_told_when_training_starts(recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    train(change_recipe(recipe, {"epochs": 1}), tmp_path / "a", say=told.append)
    assert [t for t in told if "-M max_lora_rank=8" in t]


def test_a_hub_id_that_cannot_be_reached_says_what_to_do(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WgError, match=r"nobody/no-such-model.*hf auth login.*--set base=FOLDER"):
        preflight(change_recipe(recipe, {"base": "nobody/no-such-model"}), tmp_path / "a")


def test_rows_that_processes_cannot_share_evenly_are_named(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    some = recipe.model_copy(update={"rows": 42})
    texts = [f.text for f in findings(some, tmp_path)]
    assert any(
        "42 rows cannot be dealt out evenly to 2 processes, 4 at a time: 6 are trained on twice" in t for t in texts
    )
    assert not any("dealt out" in f.text for f in findings(recipe.model_copy(update={"rows": 48}), tmp_path))


def test_several_gpus_need_a_launcher_and_share_no_weights_in_four_bits(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert any(f.stops and "There are 4 GPUs" in f.text for f in findings(recipe, tmp_path))
    monkeypatch.setattr(processes, "count", lambda: 4)
    monkeypatch.setattr(processes, "are_sharded", lambda: True)
    found = findings(recipe.model_copy(update={"four_bit": True}), tmp_path)
    assert any(f.stops and "4 bits" in f.text for f in found) and not any("There are 4 GPUs" in f.text for f in found)
