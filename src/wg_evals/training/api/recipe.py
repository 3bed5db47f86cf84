"""A recipe whose training runs behind an API: the same rows and interventions, the API's own settings."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wg_evals._yaml import read_mapping, read_yaml
from wg_evals.artifacts import embedded
from wg_evals.training.recipe import CommonRecipe, Recipe, load_recipe, with_absolute_paths

Backend = Literal["openai", "together"]
Auto = Literal["auto"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenAISettings(_Strict):
    """What OpenAI's supervised fine-tuning lets one choose; `auto` leaves it to the API."""

    n_epochs: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"
    batch_size: int | Auto = "auto"
    """Rows per step."""
    suffix: str | None = Field(default=None, min_length=1, max_length=64)
    """Stands in the model's name."""

    @model_validator(mode="after")
    def _is_above_zero(self) -> Self:
        for name in ("n_epochs", "learning_rate_multiplier", "batch_size"):
            value = getattr(self, name)
            if value != "auto" and value <= 0:
                raise ValueError(f"{name} must be above 0, or auto")
        return self


class TogetherLora(_Strict):
    """The adapter that Together trains."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    trainable_modules: str = "all-linear"
    """`all-linear`, or module names with commas between them."""


class TogetherSettings(_Strict):
    """What Together's fine-tuning lets one choose. The loss is on the assistant's turns alone."""

    lora: TogetherLora
    n_epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int | Literal["max"] = "max"
    """Rows per step; the API has a least and a most for each model."""
    schedule: Literal["linear", "cosine"] = "linear"
    warmup_ratio: float = Field(default=0.0, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    packing: bool = True
    n_checkpoints: int = Field(default=1, ge=1)
    suffix: str | None = Field(default=None, min_length=1, max_length=23)
    """Stands in the model's name, before a mark by which the job is found again."""


class ApiRecipe(CommonRecipe):
    """Everything that decides what a model behind an API becomes, as far as it is ours to decide."""

    backend: Backend
    openai: OpenAISettings | None = None
    together: TogetherSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_no_settings_of_another_trainer(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        backend = data.get("backend")
        if local := sorted(set(data) & (set(Recipe.model_fields) - set(cls.model_fields))):
            raise ValueError(
                f"{', '.join(local)}: for training on a machine of one's own; with `backend: {backend}`, "
                f"its own settings go under `{backend}:`"
            )
        other = "together" if backend == "openai" else "openai"
        if data.get(other) is not None:
            raise ValueError(f"`{other}:` does not go with `backend: {backend}`")
        return data

    @model_validator(mode="after")
    def _has_its_settings(self) -> Self:
        if self.backend == "together" and self.together is None:
            raise ValueError("backend: together needs its settings under `together:`")
        if embedded(self.base) or self.base.startswith((".", "/", "~")):
            raise ValueError(f"base: '{self.base}' is no model of the API; give the API's own name for one")
        return self

    @property
    def inspect_base(self) -> str:
        """The base model as Inspect names it."""
        return f"{self.backend}/{self.base}"


def load_any_recipe(path: Path) -> Recipe | ApiRecipe:
    """Read a recipe of either kind; one with `backend` is for an API.

    Raises:
        CatalogError: With file, line and reason.
    """
    _, data = read_mapping(path)
    if "backend" not in data:
        return load_recipe(path)
    return with_absolute_paths(read_yaml(path, ApiRecipe), path.parent)
