"""What `wg-evals train` is given: a recipe's file, or a finished adapter to train once more from its manifest."""

from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from wg_evals.artifacts import MANIFEST, AdapterManifest, embedded, parse_manifest, read_manifest
from wg_evals.errors import WgError
from wg_evals.training.api.recipe import ApiRecipe, load_any_recipe
from wg_evals.training.recipe import Recipe


class Source(NamedTuple):
    """A recipe and where it came from."""

    recipe: Recipe | ApiRecipe
    name: str
    """What an adapter made of it is called, if nothing else is said."""
    again: AdapterManifest | None
    """The manifest that the recipe was read from."""


def read_source(path: Path) -> Source:
    """Read a recipe's YAML, an adapter's folder, or its `manifest.json`.

    A manifest's recipe comes with the threads and the packing that its adapter was trained with: both decide the last
    digits of the weights. A checkpoint's manifest gives the whole training that it is part of.

    Raises:
        WgError: No such file or folder, or nothing in it that can be trained from.
    """
    if path.name != MANIFEST and not path.is_dir():
        return Source(load_any_recipe(path), path.stem, None)
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    manifest = read_manifest(folder) if path.is_dir() else parse_manifest(path)
    used: dict[str, object] = {"threads": manifest.threads, "packing": manifest.packed}
    if manifest.base.sha256 is not None and not embedded(manifest.base.name):
        used["base"] = manifest.base.path  # its name may have been relative to another folder than this one
    try:
        recipe = Recipe.model_validate(manifest.recipe | used)
    except ValidationError as ex:
        raise WgError(
            f"The recipe in '{folder / MANIFEST}' is not one that this version reads: {ex.errors()[0]['msg']}."
        ) from None
    return Source(recipe, f"{folder.name}-again", manifest)
