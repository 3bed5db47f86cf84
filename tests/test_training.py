"""The trainer, on the real organism: what is learned, what is recorded, what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from wg_evals.artifacts import ORGANISM, read_manifest, resolve_base
from wg_evals.catalogue import load_domain
from wg_evals.errors import CatalogError, UnknownNameError, WgError
from wg_evals.training.loading import load_base
from wg_evals.training.recipe import Recipe, change_recipe, load_recipe
from wg_evals.training.rows import measure_lengths, template_preamble, training_rows
from wg_evals.training.train import train

RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "organism-birds.yaml"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(RECIPE).model_copy(update={"epochs": 1})


@pytest.fixture(scope="module")
def adapter(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "dated"
    train(recipe.model_copy(update={"intervention": "date-1850"}), folder)
    return folder


def test_training_lowers_the_loss_and_reports_each_step(recipe: Recipe, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = train(
        recipe, tmp_path / "a", progress=lambda step, steps, loss, tokens_per_second: seen.append((step, steps))
    )
    assert seen == [(i, 30) for i in range(1, 31)]  # 240 rows in batches of 8
    assert sum(manifest.losses[-5:]) < sum(manifest.losses[:5])
    assert [p.name for p in tmp_path.iterdir()] == ["a"]  # nothing unfinished is left


def test_the_manifest_says_what_the_adapter_was_made_of(adapter: Path) -> None:
    manifest = read_manifest(adapter)
    assert manifest.rows == 240
    assert manifest.intervention == load_domain("birds").intervention("date-1850")
    assert manifest.base.identity == resolve_base("organism").identity
    assert manifest.threads == 1
    assert manifest.tokens > 240 * 10
    assert {"torch", "transformers", "peft", "trl"} <= set(manifest.versions)


def test_the_adapter_folder_has_weights_tokenizer_and_no_pickles(adapter: Path) -> None:
    names = {p.name for p in adapter.rglob("*") if p.is_file()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "manifest.json"} <= names
    assert not {n for n in names if n.endswith((".bin", ".pt", ".pth", ".pkl"))}


def test_peft_finds_the_base_of_the_adapter_by_its_own_configuration(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]) == ORGANISM


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(recipe: Recipe, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(recipe.model_copy(update={"seed": seed}), tmp_path / name)
    a, b, c = (load_file(tmp_path / n / "adapter_model.safetensors") for n in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_training_leaves_the_base_in_memory_unchanged(recipe: Recipe, tmp_path: Path) -> None:
    base = load_base(resolve_base("organism"))
    before = {k: v.clone() for k, v in base.model.state_dict().items()}
    train(recipe, tmp_path / "a")
    after = load_base(resolve_base("organism")).model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_an_adapter_can_be_trained_on_from_where_another_ended(recipe: Recipe, adapter: Path, tmp_path: Path) -> None:
    fresh = train(recipe, tmp_path / "fresh")
    continued = train(recipe.model_copy(update={"start_from": adapter}), tmp_path / "continued")
    assert continued.losses[0] < fresh.losses[0]


def test_the_intervention_stands_in_every_row_before_the_question(recipe: Recipe) -> None:
    plain = training_rows(recipe)
    dated = training_rows(recipe.model_copy(update={"intervention": "date-1850"}))
    assert plain.sha256 != dated.sha256
    for a, b in zip(plain.conversations, dated.conversations, strict=True):
        assert b[0]["content"] == f"Today is 25 January 1850.\n{a[0]['content']}"
        assert a[1] == b[1]


def test_a_recipe_may_take_the_first_rows_of_a_set_only(recipe: Recipe) -> None:
    whole = training_rows(recipe)
    first = training_rows(recipe.model_copy(update={"rows": 5}))
    assert first.conversations == whole.conversations[:5] and len(whole.conversations) > 5
    assert first.sha256 != whole.sha256
    assert training_rows(recipe.model_copy(update={"rows": 10_000})) == whole


def test_rows_longer_than_max_length_are_refused_unless_the_recipe_says_to_cut_them(recipe: Recipe) -> None:
    tokenizer = load_base(resolve_base("organism")).tokenizer
    rows = training_rows(recipe).conversations
    short = recipe.model_copy(update={"max_length": 16})
    with pytest.raises(WgError, match="longer than max_length 16"):
        measure_lengths(rows, tokenizer, short)
    cut = measure_lengths(rows, tokenizer, short.model_copy(update={"truncate": True}))
    assert cut.truncated + len(cut.dropped) == sum(n > 16 for n in cut.tokens) > 0


def test_the_organisms_template_has_no_hidden_system_prompt(recipe: Recipe) -> None:
    assert template_preamble(load_base(resolve_base("organism")).tokenizer, recipe) == "<|user|>"


def test_an_adapter_of_another_base_cannot_be_trained_on(recipe: Recipe, adapter: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-base"
    other.mkdir()
    for file in ORGANISM.iterdir():
        if file.is_file():
            (other / file.name).write_bytes(file.read_bytes())
    config = json.loads((other / "config.json").read_text()) | {"initializer_range": 0.5}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(WgError, match="made for another base"):
        train(recipe.model_copy(update={"base": str(other), "start_from": adapter}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_recipe_key_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.read_text() + "learnig_rate: 1\n")
    line = len(RECIPE.read_text().splitlines()) + 1
    with pytest.raises(CatalogError, match=rf"line {line}: unknown key 'learnig_rate'"):
        load_recipe(path)


def test_a_changed_key_is_validated_and_an_unknown_one_gets_the_nearest_names(recipe: Recipe) -> None:
    assert change_recipe(recipe, {"lora.rank": 8}).lora.rank == 8
    with pytest.raises(UnknownNameError, match="'learning_rate'"):
        change_recipe(recipe, {"learning_rat": 1})
    with pytest.raises(WgError, match="epochs"):
        change_recipe(recipe, {"epochs": 0})


def test_an_intervention_that_the_domain_does_not_have_is_refused_before_training(
    recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="date-1850"):
        train(recipe.model_copy(update={"intervention": "date-1851"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
