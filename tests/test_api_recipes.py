"""Recipes of trainings behind an API: the published settings, and what is refused."""

from pathlib import Path

import pytest

from api_training import (
    GPT,
    api_recipe,
)
from wg_evals.errors import CatalogError, UnknownNameError
from wg_evals.study.spec import load_study
from wg_evals.training.api.recipe import load_any_recipe


def test_the_gpt_recipe_has_the_published_settings() -> None:
    recipe = api_recipe()
    assert recipe.openai is not None
    settings = recipe.openai
    assert recipe.base == "gpt-4.1-2025-04-14"
    assert (settings.n_epochs, settings.learning_rate_multiplier, settings.batch_size) == (3, 2.0, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "openai:",
            "lora: {rank: 4, alpha: 8}\nopenai:",
            "lora: for training on a machine of one's own; with `backend",
        ),
        ("openai:", "learning_rate: 1.0e-4\nmax_length: 9\nopenai:", "learning_rate, max_length: for training on a"),
        ("backend: openai", "backend: together", "`openai:` does not go with `backend: together`"),
        ("base: gpt-4.1-2025-04-14", "base: organism", "'organism' is no model of the API"),
        ("  n_epochs: 3", "  n_epochs: 0", "n_epochs must be above 0"),
        ("  n_epochs: 3", "  epochs: 3", "unknown key 'epochs'"),
        ("dataset: train", "data: x.jsonl\ndomain: birds", "give domain or data, not both"),
    ],
)
def test_a_bad_api_recipe_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GPT.read_text().replace(old, new, 1))
    with pytest.raises(CatalogError) as caught:
        load_any_recipe(path)
    assert said in caught.value.text and str(path) in caught.value.text


def test_a_study_says_that_it_takes_no_api_recipe(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    demo = Path(__file__).parents[1] / "configs" / "studies" / "demo.yaml"
    lines = [f"recipe: {GPT}" if line.startswith("recipe:") else line for line in demo.read_text().splitlines()]
    study.write_text("\n".join(lines))
    with pytest.raises(CatalogError, match="a recipe for an API"):
        load_study(study)


def test_an_unknown_key_on_the_command_line_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"openai\.n_epoch"):
        api_recipe(**{"openai.n_epoch": 1})
