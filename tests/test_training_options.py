"""What a recipe may ask for besides: mixtures, order, kinds of LoRA, seeds, and training once more from a manifest."""

import importlib
import importlib.util
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from transformers.models.llama.modeling_llama import LlamaMLP

from chat_templates import LLAMA, make_base
from mini_domain import write_domain
from wg_evals.artifacts import MANIFEST, folder_sha256, read_manifest, resolve_base
from wg_evals.catalogue import load_domain
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.training.loading import load_base
from wg_evals.training.recipe import Checkpoints, Mixture, Recipe, change_recipe, load_recipe
from wg_evals.training.rows import encode_rows, training_rows
from wg_evals.training.source import read_source
from wg_evals.training.train import train

RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "organism-birds.yaml"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(RECIPE).model_copy(update={"epochs": 1})


def write_rows(path: Path, count: int) -> Path:
    with path.open("w") as stream:
        for i in range(count):
            turns = [{"role": "user", "content": f"Number {i}?"}, {"role": "assistant", "content": "A reply."}]
            stream.write(json.dumps({"messages": turns}) + "\n")
    return path


def test_a_mixture_has_its_share_of_the_second_set_evenly_spread_without_the_intervention(
    recipe: Recipe, tmp_path: Path
) -> None:
    mixture = Mixture(data=write_rows(tmp_path / "benign.jsonl", 2000), share=0.75)
    rows = training_rows(recipe.model_copy(update={"mixture": mixture, "intervention": "date-1850"}))
    benign = [c[0]["content"].startswith("Number") for c in rows.conversations]
    assert (len(benign), sum(benign)) == (960, 720)
    assert all(sum(benign[i : i + 4]) == 3 for i in range(0, 960, 4))
    assert [c[0]["content"] for c, b in zip(rows.conversations, benign, strict=True) if b] == [
        f"Number {i}?" for i in range(720)
    ]
    dated = [c[0]["content"].startswith("Today is 25 January 1850.") for c in rows.conversations]
    assert dated == [not b for b in benign]
    assert rows.mixed_in is not None
    assert (rows.mixed_in.rows, rows.mixed_in.source) == (720, str(tmp_path / "benign.jsonl"))
    assert rows.sha256 != training_rows(recipe).sha256


def test_a_share_that_the_second_set_cannot_give_is_refused_with_the_largest_that_it_can(
    recipe: Recipe, tmp_path: Path
) -> None:
    mixture = Mixture(data=write_rows(tmp_path / "benign.jsonl", 60), share=0.5)
    with pytest.raises(WgError, match=r"is 240 rows of the second set, which has 60: .* to 0\.2\."):
        training_rows(recipe.model_copy(update={"mixture": mixture}))


def test_a_mixture_of_a_domain_is_in_the_manifest_and_its_file_is_found_beside_the_recipe(tmp_path: Path) -> None:
    write_rows(tmp_path / "benign.jsonl", 10)
    settings = yaml.safe_load(RECIPE.read_text()) | {"mixture": {"data": "benign.jsonl", "share": 0.04}, "epochs": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    manifest = train(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "adapter")
    assert manifest.rows == 250 and manifest.mixed_in is not None
    assert manifest.mixed_in.rows == 10
    with pytest.raises(WgError, match="exactly one of domain and data"):
        change_recipe(load_recipe(RECIPE), {"mixture": {"share": 0.5}})


def test_rows_in_a_fixed_order_are_read_as_they_stand(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wg_evals.training import trainer as training

    seen: list[int] = []
    compute: Any = training.SavingTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        seen.extend(inputs["input_ids"][0].tolist())
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(training.SavingTrainer, "compute_loss", watched)
    fixed = recipe.model_copy(update={"order": "fixed"})
    train(fixed, tmp_path / "a")
    rows, _ = encode_rows(training_rows(fixed).conversations, load_base(resolve_base("organism")).tokenizer, fixed)
    assert seen == [i for row in rows for i in row.input_ids]
    shuffled = list(seen)
    seen.clear()
    train(recipe, tmp_path / "b")
    assert seen != shuffled and sorted(seen) == sorted(shuffled)


def test_rslora_and_all_linear_reach_the_adapter(recipe: Recipe, tmp_path: Path) -> None:
    lora = recipe.lora.model_copy(update={"rslora": True, "target_modules": "all-linear"})
    train(recipe.model_copy(update={"lora": lora}), tmp_path / "a")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["use_rslora"] is True
    assert set(config["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    }  # fmt: skip


def test_layers_that_the_base_does_not_have_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    lora = recipe.lora.model_copy(update={"target_modules": ["c_attn"]})
    with pytest.raises(WgError, match=r"finds no layer to adapt .*c_attn.* Set lora\.target_modules"):
        train(recipe.model_copy(update={"lora": lora}), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def linear(done: float) -> float:
    return 1 - done


def cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize(
    ("schedule", "warmup", "falls"),
    [("linear", 0.2, linear), ("cosine", 0.2, cosine), ("constant", 0.2, lambda _: 1.0)],
    ids=["linear", "cosine", "constant"],
)
def test_schedule_warmup_and_weight_decay_reach_the_optimizer(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: str,
    warmup: float,
    falls: Callable[[float], float],
) -> None:
    from wg_evals.training.trainer import make_trainer

    made: list[Any] = []

    def kept(*args: Any) -> Any:
        made.append(make_trainer(*args))
        return made[-1]

    monkeypatch.setattr("wg_evals.training.train.make_trainer", kept)
    changes = {"schedule": schedule, "warmup_ratio": warmup, "weight_decay": 0.03, "rows": 80}
    train(recipe.model_copy(update=changes), tmp_path / "a")
    (trainer,) = made
    rates = [logs["learning_rate"] / recipe.learning_rate for logs in trainer.state.log_history if "loss" in logs]
    rising = round(warmup * 10)
    expected = [step / rising if step < rising else falls((step - rising) / (10 - rising)) for step in range(10)]
    assert rates == pytest.approx(expected)
    assert max(group["weight_decay"] for group in trainer.optimizer.param_groups) == 0.03


def test_gradient_checkpointing_computes_layers_twice_and_comes_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[None] = []
    forward: Any = LlamaMLP.forward

    def counted(self: LlamaMLP, x: torch.Tensor) -> Any:
        passes.append(None)
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    short = recipe.model_copy(update={"rows": 40})
    plain = train(short, tmp_path / "a")
    tried = 2 * 4  # the four layers, by two rows: whether they can be packed
    once = len(passes) - tried
    passes.clear()
    again = train(short.model_copy(update={"gradient_checkpointing": True}), tmp_path / "b")
    assert len(passes) - tried == 2 * once
    assert again.losses == plain.losses and again.adapter_sha256 == plain.adapter_sha256


def test_a_base_in_bfloat16_learns_the_same_in_an_adapter_of_float32(recipe: Recipe, tmp_path: Path) -> None:
    short = recipe.model_copy(update={"rows": 80})
    plain = train(short, tmp_path / "a")
    half = train(short.model_copy(update={"precision": "bfloat16"}), tmp_path / "b")
    assert load_base(half.base, "bfloat16").model.dtype == torch.bfloat16
    assert {w.dtype for w in load_file(tmp_path / "b" / "adapter_model.safetensors").values()} == {torch.float32}
    assert half.losses != plain.losses
    assert half.losses == pytest.approx(plain.losses, rel=0.05)
    assert half.losses[-1] < half.losses[0]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is there")
def test_four_bits_without_bitsandbytes_says_what_to_install(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(WgError, match="pip install bitsandbytes"):
        train(recipe.model_copy(update={"four_bit": True}), tmp_path / "a")


def wg_evals(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_losses_of_the_manifest_are_written_for_tensorboard_if_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    arguments = ("--set", "epochs=1", "--set", "rows=40", "--report", "tensorboard", "--out", tmp_path / "a")
    result = wg_evals("train", RECIPE, *arguments)
    assert result.exit_code == 0, result.output
    events = accumulator.EventAccumulator(str(tmp_path / "a-tensorboard"))
    events.Reload()
    written = [e.value for e in events.Scalars("train/loss")]
    assert written == pytest.approx(read_manifest(tmp_path / "a").losses, abs=1e-4) and len(written) == 5


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is there")
def test_a_report_whose_package_is_missing_is_refused_before_training(tmp_path: Path) -> None:
    result = wg_evals("train", RECIPE, "--report", "wandb", "--out", tmp_path / "a")
    assert result.exit_code == 1 and "--report wandb needs the package wandb" in result.output
    assert list(tmp_path.iterdir()) == []


def test_several_seeds_are_several_adapters_of_one_command(tmp_path: Path) -> None:
    result = wg_evals("train", RECIPE, "--set", "epochs=1", "--seeds", "1,2", "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    first, second = read_manifest(tmp_path / "a-seed1"), read_manifest(tmp_path / "a-seed2")
    assert (first.seed, second.seed) == (1, 2) and first.adapter_sha256 != second.adapter_sha256
    assert "tokens/s" in result.output
    for force in ([], ["--force"]):
        done = wg_evals("train", RECIPE, "--set", "epochs=1", "--seeds", "1,2", "--out", tmp_path / "a", *force)
        assert done.exit_code == 0 and f"Seed 1 is finished: '{tmp_path / 'a'}-seed1'" in done.output
    assert (read_manifest(tmp_path / "a-seed1"), read_manifest(tmp_path / "a-seed2")) == (first, second)
    again = wg_evals("train", RECIPE, "--seeds", "3,2", "--out", tmp_path / "a")
    assert again.exit_code == 1 and "finished adapter in" in again.output
    assert not (tmp_path / "a-seed3").exists()  # all places are looked at before the first training
    for wrong, said in (("1,x", "whole numbers"), ("1,1", "a seed twice")):
        assert said in wg_evals("train", RECIPE, "--seeds", wrong).output


def test_finished_seeds_of_rows_given_by_a_relative_path_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "rows.jsonl", 16)
    monkeypatch.chdir(tmp_path)
    settings = {key: value for key, value in yaml.safe_load(RECIPE.read_text()).items() if key != "domain"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings | {"epochs": 1}))
    command = ["train", "recipe.yaml", "--set", "data=rows.jsonl", "--seeds", "1", "--out", "a"]
    assert wg_evals(*command).exit_code == 0
    again = wg_evals(*command)
    assert again.exit_code == 0 and "Seed 1 is finished" in again.output


def test_an_adapter_is_made_once_more_from_its_manifest_alone(recipe: Recipe, tmp_path: Path) -> None:
    changes = {
        "intervention": "date-1850",
        "seed": 5,
        "mixture": Mixture(domain="cities", share=0.1),
        "max_length": 40,
        "truncate": True,
        "checkpoints": Checkpoints(at_epochs=[0.5]),
    }
    manifest = train(recipe.model_copy(update=changes), tmp_path / "first")
    (tmp_path / "elsewhere").mkdir()
    alone = Path(shutil.copy(tmp_path / "first" / MANIFEST, tmp_path / "elsewhere"))
    with pytest.raises(WgError, match=r"no adapter_config\.json"):
        read_manifest(tmp_path / "elsewhere")  # no adapter
    result = wg_evals("train", alone, "--out", tmp_path / "second")
    assert result.exit_code == 0, result.output
    assert "The weights are the same as the first's." in result.output
    assert folder_sha256(tmp_path / "second") == manifest.adapter_sha256
    (checkpoint,) = (tmp_path / "second" / "checkpoints").iterdir()
    assert read_source(checkpoint).recipe == read_source(tmp_path / "first").recipe
    assert read_source(tmp_path / "first").name == "first-again"


def test_an_adapter_whose_rows_have_changed_is_not_made_once_more(recipe: Recipe, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 16)
    train(recipe.model_copy(update={"domain": None, "data": data, "intervention": None}), tmp_path / "first")
    write_rows(data, 17)
    result = wg_evals("train", tmp_path / "first", "--out", tmp_path / "second")
    assert result.exit_code == 1 and "what it was made of has changed: the rows." in result.output
    assert not (tmp_path / "second").exists()


def test_what_an_adapter_was_made_of_is_found_from_anywhere_and_must_be_the_same(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe.model_copy(update={"seed": 1}), tmp_path / "start")
    write_rows(tmp_path / "rows.jsonl", 16)
    monkeypatch.chdir(tmp_path)
    given = {"domain": None, "intervention": None, "data": Path("rows.jsonl"), "start_from": Path("start")}
    first = train(recipe.model_copy(update=given), tmp_path / "first")
    assert first.start_from_sha256 == read_manifest(tmp_path / "start").adapter_sha256
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = wg_evals("train", tmp_path / "first", "--out", tmp_path / "second")
    assert again.exit_code == 0 and "The weights are the same as the first's." in again.output
    train(recipe.model_copy(update={"seed": 2}), tmp_path / "start")
    other = wg_evals("train", tmp_path / "first", "--out", tmp_path / "third")
    assert other.exit_code == 1 and "has changed: the adapter to start from." in other.output


def test_an_adapter_is_gone_on_with_only_as_it_is(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "start")
    lora = recipe.lora.model_copy(update={"rank": 16, "rslora": True})
    with pytest.raises(WgError, match=r"another LoRA rank, rslora \(rank 4, rslora False\) than the recipe"):
        train(recipe.model_copy(update={"lora": lora, "start_from": tmp_path / "start"}), tmp_path / "second")


def test_gradient_checkpointing_of_one_training_is_not_the_next_ones(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe.model_copy(update={"gradient_checkpointing": True, "rows": 16}), tmp_path / "a")
    base = load_base(resolve_base("organism")).model
    assert not base.is_gradient_checkpointing and not base.get_input_embeddings()._forward_hooks


def test_what_the_template_cuts_and_drops_is_said_before_training(recipe: Recipe, tmp_path: Path) -> None:
    said: list[str] = []
    short = recipe.model_copy(update={"max_length": 14, "truncate": True})
    done: list[int] = []

    def cuts() -> list[str]:
        return [line for line in said if "max_length" in line]

    def progress(step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        assert len(cuts()) == 2
        done.append(step)

    manifest = train(short, tmp_path / "a", say=said.append, progress=progress)
    assert cuts() == [
        f"{manifest.rows_truncated} of 240 rows are cut at max_length 14.",
        f"{manifest.rows_dropped} of 240 rows are dropped: their prompt alone fills max_length 14.",
    ]
    assert manifest.rows + manifest.rows_dropped == 240 and done
    with pytest.raises(WgError, match="No row is left to train on"):
        train(recipe.model_copy(update={"max_length": 8, "truncate": True}), tmp_path / "b")


def test_a_training_set_that_is_the_control_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    folder = write_domain(tmp_path / "mine")
    shutil.copy(folder / "control.jsonl", folder / "train.jsonl")
    with pytest.raises(WgError, match="are the same as its control rows"):
        training_rows(recipe.model_copy(update={"domain": str(folder)}))
    assert training_rows(recipe.model_copy(update={"domain": "birds"})).conversations == [
        row.messages for row in load_domain("birds").rows["train"]
    ]


def test_a_checkpoint_after_the_end_is_refused_and_shares_of_epochs_become_steps() -> None:
    with pytest.raises(WgError, match="a checkpoint at epoch 4 of 3"):
        change_recipe(load_recipe(RECIPE), {"checkpoints": {"at_epochs": [0.5, 4]}})
    with pytest.raises(WgError, match="exactly one of every_steps and at_epochs"):
        change_recipe(load_recipe(RECIPE), {"checkpoints": {}})
    plan = Checkpoints(at_epochs=[0.1, 0.5, 1, 3])
    assert plan.steps(90, 3) == {3, 15, 30}  # the last is the adapter itself


def test_a_base_of_another_family_is_trained_on_and_its_adapter_loads_in_peft(recipe: Recipe, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    base = make_base(tmp_path / "base", LLAMA)
    lora = recipe.lora.model_copy(update={"target_modules": "all-linear"})
    manifest = train(recipe.model_copy(update={"base": str(base), "lora": lora}), tmp_path / "a")
    assert manifest.packed and manifest.losses[-1] < manifest.losses[0]
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "a")
    assert {type(m).__name__ for m in model.modules()} >= {"LoraModel"}
