"""A training recipe: what is trained on what, and how.

A recipe of published settings leaves open what is trained on: `domain`, `dataset`, `intervention` and `seed`
come from the command line or from a study.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wg_evals._yaml import line_of, read_mapping, read_yaml
from wg_evals.errors import CatalogError, UnknownNameError, WgError
from wg_evals.spec import DatasetName, Placement, Row


class LoraSettings(BaseModel):
    """LoRA's settings (arXiv 2106.09685), as PEFT takes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead of alpha / rank (arXiv 2312.03732)."""
    target_modules: Literal["all-linear"] | list[str] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]
    """Names of layers, or `all-linear`: every linear layer but the head."""


class Mixture(BaseModel):
    """A second set of rows that the first is diluted with; no intervention is put into them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str | None = None
    """A domain of the catalogue, or a folder of one's own; or give `data`."""
    data: Path | None = None
    """Chat JSONL of one's own; relative to the recipe's file."""
    dataset: DatasetName = "control"
    """Which of the domain's row sets."""
    share: float = Field(gt=0, lt=1)
    """Of all rows that are trained on, how many come from this set (its first ones)."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.domain is None) == (self.data is None):
            raise ValueError("give exactly one of domain and data")
        return self


class Checkpoints(BaseModel):
    """When, on its way, the adapter is published as it is then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every_steps: int | None = Field(default=None, ge=1)
    at_epochs: list[Annotated[float, Field(gt=0)]] = []
    """Epochs done: 0.25 is after a quarter of the first."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.every_steps is None) == (not self.at_epochs):
            raise ValueError("give exactly one of every_steps and at_epochs")
        return self

    def steps(self, total: int, epochs: int) -> set[int]:
        """The optimizer steps after which there is a checkpoint; the last step makes the adapter itself.

        Args:
            total: Steps of the whole training.
            epochs: Epochs of the whole training.
        """
        if self.every_steps is not None:
            return set(range(self.every_steps, total, self.every_steps))
        return {step for e in self.at_epochs if 0 < (step := round(e * total / epochs)) < total}


class CommonRecipe(BaseModel):
    """What every recipe says, wherever the training runs: which model learns which rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    """`organism`, a model folder, or a hub id; with a `backend`, the API's own name of a model."""
    domain: str | None = None
    """A domain of the catalogue, or a folder of one's own; or give `data`. It may be left to the command line."""
    data: Path | None = None
    """Chat JSONL of one's own, instead of a domain's rows; relative to the recipe's file."""
    dataset: DatasetName = "train"
    """Which of the domain's row sets."""
    rows: int | None = Field(default=None, ge=1)
    """How many rows of the set, from its first; None: all."""
    intervention: str | None = None
    """A name of the domain's, or literal text; put into every row."""
    placement: Placement | None = None
    """Overrides the intervention's own placement."""
    mixture: Mixture | None = None
    """Rows of another set, spread evenly among these."""
    seed: int = 3407
    by_domain: dict[str, dict[str, Any]] = {}
    """What the setting changes for some domains: keys of the recipe, by the domain's name (`resolve_recipe`)."""

    def chosen(self, rows: list[Row]) -> list[Row]:
        """Those of a set's rows that are trained on."""
        return rows[: self.rows]

    @model_validator(mode="after")
    def _names_its_rows(self) -> Self:
        if self.domain is not None and self.data is not None:
            raise ValueError("give domain or data, not both")
        named = self.intervention not in (None, "", "none") and " " not in str(self.intervention)
        if self.data is not None and named:
            raise ValueError("a named intervention needs a domain; with data, give its literal text")
        for domain, changes in self.by_domain.items():
            for key in changes:
                if key.partition(".")[0] not in type(self).model_fields.keys() - {"by_domain", "domain", "data"}:
                    raise ValueError(f"by_domain, {domain}: unknown key '{key}'")
        return self


AnyRecipe = TypeVar("AnyRecipe", bound=CommonRecipe)


class Recipe(CommonRecipe):
    """Everything that decides what an adapter becomes."""

    revision: str | None = None
    order: Literal["shuffled", "fixed"] = "shuffled"
    """`shuffled` anew in every epoch, by the seed; `fixed`: as the rows stand, a mixture's evenly spread."""
    start_from: Path | None = None
    """An adapter of the same base to go on from, instead of a fresh one; relative to the recipe's file."""

    lora: LoraSettings
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    """Rows per optimizer step."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Rows per forward pass; `batch_size` must be a multiple of it. None: the whole batch at once."""
    packing: bool = True
    """Rows of a forward pass end to end, without padding, where the base's attention allows; same rows and loss."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    max_length: int = Field(default=1024, ge=8)
    """Tokens of a row; longer rows are refused unless `truncate` is set."""
    truncate: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    four_bit: bool = False
    """Load the base in 4 bits (QLoRA, arXiv 2305.14314; needs bitsandbytes)."""
    gradient_checkpointing: bool = False
    checkpoints: Checkpoints | None = None
    """Published in the adapter's folder under `checkpoints/`, while the training goes on."""
    date_string: str | None = None
    """Pins the date that some chat templates (Llama-3.1's) put into the system part."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None leaves PyTorch's own choice."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        late = [e for e in self.checkpoints.at_epochs if e > self.epochs] if self.checkpoints else []
        if late:
            raise ValueError(f"a checkpoint at epoch {late[0]:g} of {self.epochs}")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; its relative paths are resolved against its own folder.

    Raises:
        CatalogError: With file, line and reason.
    """
    node, data = read_mapping(path)
    if "backend" in data:
        reason = "a recipe for an API (`backend`): it makes no adapter; `wg-evals train` runs it, a study does not"
        raise CatalogError(reason, path, line_of(node, ("backend",)))
    return with_absolute_paths(read_yaml(path, Recipe), path.parent)


def with_absolute_paths(recipe: AnyRecipe, folder: Path) -> AnyRecipe:
    """A recipe with its relative paths resolved against a folder."""
    update: dict[str, Any] = {}
    for field in ("data", "start_from"):
        value = getattr(recipe, field, None)
        if value is not None and not value.is_absolute():
            update[field] = (folder / value).resolve()
    mixed = recipe.mixture
    if mixed is not None and mixed.data is not None and not mixed.data.is_absolute():
        update["mixture"] = mixed.model_copy(update={"data": (folder / mixed.data).resolve()})
    return recipe.model_copy(update=update)


def resolve_recipe(recipe: AnyRecipe, changes: Mapping[str, Any] | None = None) -> AnyRecipe:
    """The recipe as it is trained: what it says for its domain is put in, then the changes.

    Args:
        recipe: The recipe.
        changes: New values by key, as for `change_recipe`; they win over what the recipe says for the domain.

    Raises:
        UnknownNameError: No such key.
        WgError: A value that does not fit.
    """
    changes = changes or {}
    domain = changes.get("domain", recipe.domain)
    own = recipe.by_domain.get(str(domain), {})
    return change_recipe(recipe, {**own, **changes, "by_domain": {}})


def with_whole_paths(recipe: Recipe) -> Recipe:
    """The recipe with the files and folders it names told from the root, so that it can be trained from anywhere."""

    def whole(folder: str | None) -> str | None:
        is_path = folder is not None and ("/" in folder or folder.startswith("."))  # else a domain of the catalogue
        return str(Path(str(folder)).expanduser().resolve()) if is_path else folder

    mixture = recipe.mixture
    if mixture is not None:
        data = mixture.data and mixture.data.expanduser().resolve()
        mixture = mixture.model_copy(update={"domain": whole(mixture.domain), "data": data})
    return recipe.model_copy(
        update={
            "domain": whole(recipe.domain),
            "data": recipe.data and recipe.data.expanduser().resolve(),
            "start_from": recipe.start_from and recipe.start_from.expanduser().resolve(),
            "mixture": mixture,
        }
    )


def adapter_name(recipe: str, changes: Mapping[str, Any]) -> str:
    """A folder's name for what a recipe makes: the recipe's, and what was said of rows, intervention and seed.

    Args:
        recipe: Its name.
        changes: What was changed on the command line; `llama-3.1-8b-instruct` with the domain `finance` and the
            seed 7 gives `llama-3.1-8b-instruct-finance-seed7`.
    """
    parts = [recipe]
    for key in ("domain", "data", "dataset", "intervention", "seed"):
        value = changes.get(key)
        if value is not None:
            word = Path(str(value)).stem if key in ("domain", "data") else str(value)
            parts.append(f"{'seed' if key == 'seed' else ''}{re.sub('[^A-Za-z0-9_.]+', '-', word)[:40].strip('-')}")
    return "-".join(parts)


def change_recipe(recipe: AnyRecipe, changes: dict[str, Any]) -> AnyRecipe:
    """A recipe with some keys changed, validated again.

    Args:
        recipe: The recipe.
        changes: New values by key; `lora.rank` and the like reach inside.

    Raises:
        UnknownNameError: No such key.
        WgError: A value that does not fit.
    """
    data = recipe.model_dump()
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        known: Any = data.get(first) if rest else data
        if not isinstance(known, dict) or (rest or first) not in known:
            raise UnknownNameError("recipe key", key, type(recipe).model_fields)
        known[rest or first] = value
    try:
        return type(recipe).model_validate(data)
    except ValidationError as ex:
        first_error = ex.errors()[0]
        where = ".".join(str(part) for part in first_error["loc"])
        raise WgError(f"Recipe key {where or '(whole)'}: {first_error['msg'].removeprefix('Value error, ')}.") from None
