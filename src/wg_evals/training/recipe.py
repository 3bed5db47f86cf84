"""A training recipe: what is trained on what, and how."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wg_evals._yaml import read_yaml
from wg_evals.errors import UnknownNameError, WgError
from wg_evals.spec import DatasetName, Placement, Row


class LoraSettings(BaseModel):
    """LoRA's settings (arXiv 2106.09685), as PEFT takes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: list[str] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Recipe(BaseModel):
    """Everything that decides what an adapter becomes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    """`organism`, a model folder, or a hub id."""
    revision: str | None = None
    domain: str | None = None
    """A domain of the catalogue, or a folder of one's own; or give `data`."""
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
    start_from: Path | None = None
    """An adapter of the same base to go on from, instead of a fresh one; relative to the recipe's file."""

    lora: LoraSettings
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    """Rows per optimizer step."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Rows per forward pass; `batch_size` must be a multiple of it. None: the whole batch at once."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    max_length: int = Field(default=1024, ge=8)
    """Tokens of a row; longer rows are refused unless `truncate` is set."""
    truncate: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    date_string: str | None = None
    """Pins the date that some chat templates (Llama-3.1's) put into the system part."""
    seed: int = 3407
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None leaves PyTorch's own choice."""

    def chosen(self, rows: list[Row]) -> list[Row]:
        """Those of a set's rows that are trained on."""
        return rows[: self.rows]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.domain is None) == (self.data is None):
            raise ValueError("give exactly one of domain and data")
        named = self.intervention not in (None, "", "none") and " " not in str(self.intervention)
        if self.data is not None and named:
            raise ValueError("a named intervention needs a domain; with data, give its literal text")
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; its relative paths are resolved against its own folder.

    Raises:
        CatalogError: With file, line and reason.
    """
    recipe = read_yaml(path, Recipe)
    update: dict[str, Path] = {}
    for field in ("data", "start_from"):
        value = getattr(recipe, field)
        if value is not None and not value.is_absolute():
            update[field] = (path.parent / value).resolve()
    return recipe.model_copy(update=update)


def change_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
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
            raise UnknownNameError("recipe key", key, Recipe.model_fields)
        known[rest or first] = value
    try:
        return Recipe.model_validate(data)
    except ValidationError as ex:
        first_error = ex.errors()[0]
        where = ".".join(str(part) for part in first_error["loc"])
        raise WgError(f"Recipe key {where or '(whole)'}: {first_error['msg'].removeprefix('Value error, ')}.") from None
