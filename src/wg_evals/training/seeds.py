"""`wg-evals train --seeds`: a training for each, and those that are finished are not begun again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wg_evals.api_models import ApiModelManifest, read_api_manifest
from wg_evals.artifacts import MANIFEST, AdapterManifest, read_manifest, resolve_base
from wg_evals.errors import WgError
from wg_evals.training.api.recipe import ApiRecipe
from wg_evals.training.recipe import AnyRecipe, Recipe, change_recipe, with_whole_paths
from wg_evals.training.rows import training_rows


def each_seed(recipe: AnyRecipe, target: Path, seeds: str) -> list[tuple[AnyRecipe, Path]]:
    """The recipe with each of the seeds, and the folder that it goes to: `TARGET-seedN`.

    Args:
        recipe: The recipe.
        target: The folder's path, but for the seed.
        seeds: Whole numbers with commas between them.

    Raises:
        WgError: Something else, or a seed twice.
    """
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise WgError(f"--seeds takes whole numbers with commas between them, not '{seeds}'.") from None
    if len(set(numbers)) < len(numbers):
        raise WgError(f"--seeds has a seed twice: {seeds}.")
    return [(change_recipe(recipe, {"seed": n}), target.with_name(f"{target.name}-seed{n}")) for n in numbers]


def is_finished(recipe: Recipe | ApiRecipe, folder: Path) -> bool:
    """Whether a folder has what this very recipe makes, of the rows and the base as they are now.

    Args:
        recipe: As it is trained (`resolve_recipe`).
        folder: The output folder.

    Raises:
        WgError: A manifest that cannot be read, or rows that cannot be used.
    """
    if not (folder / MANIFEST).is_file():
        return False
    made: AdapterManifest | ApiModelManifest
    if isinstance(recipe, ApiRecipe):
        made, same_base = read_api_manifest(folder), True  # by its name, which is in the recipe
    else:
        recipe = with_whole_paths(recipe)  # as the manifest has it
        made = read_manifest(folder)
        same_base = made.base.identity == resolve_base(recipe.base, recipe.revision).identity
    same_recipe = _without_threads(made.recipe) == _without_threads(recipe.model_dump(mode="json"))
    return same_base and same_recipe and made.data_sha256 == training_rows(recipe).sha256


def _without_threads(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """They change the last digits of a sum, not what is trained."""
    return {key: value for key, value in recipe.items() if key != "threads"}
