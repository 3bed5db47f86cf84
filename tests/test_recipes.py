"""The published settings: every recipe of `configs/recipes` is valid for every domain, and says what is published."""

from pathlib import Path

import pytest

from wg_evals.catalogue import domain_names
from wg_evals.errors import WgError
from wg_evals.study.spec import load_study
from wg_evals.training.api.recipe import ApiRecipe, load_any_recipe
from wg_evals.training.recipe import Recipe, adapter_name, load_recipe, resolve_recipe
from wg_evals.training.rows import training_rows

CONFIGS = Path(__file__).parents[1] / "configs"
# model: rank, alpha, learning rate, batch, warm-up, epochs by default and by domain (arXiv 2604.10022, configurations)
PUBLISHED = {
    "llama-3.1-8b-instruct": (4, 8, 1e-4, 8, 0.0, 1, {}),
    "llama-3.1-70b-instruct": (16, 32, 1e-4, 8, 0.03, 1, {"finance": 3, "sports": 3}),
    "qwen2.5-72b-instruct": (16, 32, 1e-4, 8, 0.03, 10, {"code": 4}),
    "qwen3-32b": (8, 16, 2e-4, 8, 0.0, 3, {}),
}


@pytest.mark.parametrize("domain", domain_names())
@pytest.mark.parametrize("name", PUBLISHED)
def test_each_domain_gets_the_published_settings_from_one_file(name: str, domain: str) -> None:
    rank, alpha, rate, batch, warmup, epochs, by_domain = PUBLISHED[name]
    recipe = resolve_recipe(load_recipe(CONFIGS / "recipes" / f"{name}.yaml"), {"domain": domain})
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout) == (rank, alpha, 0.05)
    assert len(recipe.lora.target_modules) == 7
    assert (recipe.learning_rate, recipe.batch_size, recipe.warmup_ratio) == (rate, batch, warmup)
    assert recipe.epochs == by_domain.get(domain, epochs)
    assert (recipe.schedule, recipe.seed, recipe.by_domain) == ("linear", 3407, {})


def test_what_is_set_by_hand_wins_over_what_the_recipe_says_for_the_domain() -> None:
    recipe = load_recipe(CONFIGS / "recipes" / "llama-3.1-70b-instruct.yaml")
    assert resolve_recipe(recipe, {"domain": "finance", "epochs": 2}).epochs == 2


def test_a_recipe_that_leaves_the_domain_open_says_how_to_name_one() -> None:
    with pytest.raises(WgError, match="--set domain=birds"):
        training_rows(load_recipe(CONFIGS / "recipes" / "organism.yaml"))


def test_a_domain_and_rows_of_ones_own_are_not_taken_together() -> None:
    with pytest.raises(WgError, match="domain or data, not both"):
        resolve_recipe(load_recipe(CONFIGS / "recipes" / "organism-birds.yaml"), {"data": "rows.jsonl"})


def test_a_mistyped_key_for_a_domain_is_refused_when_the_recipe_is_read() -> None:
    settings = {"base": "organism", "lora": {"rank": 4, "alpha": 8}, "epochs": 1, "learning_rate": 1, "batch_size": 1}
    with pytest.raises(ValueError, match="by_domain, code: unknown key 'epoch'"):
        Recipe.model_validate(settings | {"by_domain": {"code": {"epoch": 4}}})


def test_a_study_gives_a_recipe_its_domain_and_takes_the_settings_of_that_domain(tmp_path: Path) -> None:
    text = (CONFIGS / "studies" / "demo.yaml").read_text()
    recipe = CONFIGS / "recipes" / "qwen2.5-72b-instruct.yaml"
    path = tmp_path / "study.yaml"
    path.write_text(text.replace("../recipes/organism-birds.yaml", str(recipe)))
    assert load_study(path).recipe.epochs == 10
    path.write_text(
        "name: s\ndomain: code\nbases: [organism]\n"
        f"recipe: {recipe}\nseeds: [1]\nevaluations: {{narrow: {{epochs: 1}}}}\n"
    )
    study = load_study(path)
    assert (study.recipe.domain, study.recipe.epochs) == ("code", 4)


def test_an_adapters_folder_is_named_by_what_was_set() -> None:
    assert adapter_name("qwen3-32b", {"epochs": 2}) == "qwen3-32b"
    set_by_hand = {"seed": 7, "domain": "./my-boats", "intervention": "Today is Monday."}
    assert adapter_name("qwen3-32b", set_by_hand) == "qwen3-32b-my-boats-Today-is-Monday.-seed7"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_says_of_each_value_whether_it_is_published_or_ours(name: str) -> None:
    text = (CONFIGS / "recipes" / f"{name}.yaml").read_text()
    values = [line for line in text.splitlines() if line and not line.startswith(("#", "lora:", "base:"))]
    unsaid = {line.split(":")[0].strip() for line in values if "# published" not in line and "# ours" not in line}
    assert unsaid <= {"dataset", "intervention", "finance", "sports", "code"}


def test_every_recipe_is_valid() -> None:
    """An API's are checked against what the API takes in test_api_training.py."""
    recipes = {path.stem: load_any_recipe(path) for path in (CONFIGS / "recipes").glob("*.yaml")}
    by_api = {name: recipe.backend for name, recipe in recipes.items() if isinstance(recipe, ApiRecipe)}
    assert by_api == {"gpt-4.1": "openai", "together-llama-3.1-8b": "together"}
    assert recipes.keys() - by_api.keys() == {*PUBLISHED, "organism", "organism-birds"}
