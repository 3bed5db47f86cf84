"""What tokens cost, by a file that the user keeps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, RootModel

from wg_evals._yaml import read_yaml


class Price(BaseModel):
    """A model's price in USD per million tokens; `training` is that of fine-tuning it behind its API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    training: float | None = Field(default=None, ge=0)


class _Prices(RootModel[dict[str, Price]]):
    pass


class Prices(NamedTuple):
    """Prices by model, as Inspect names models."""

    by_model: dict[str, Price]
    path: Path


class Usage(NamedTuple):
    """What one model reads and, at most, writes."""

    model: str
    input_tokens: int
    output_tokens: int


def read_prices(path: Path) -> Prices:
    """Read a file of prices; `configs/prices.yaml` is an example.

    Raises:
        CatalogError: With file, line and reason.
    """
    return Prices(read_yaml(path, _Prices).root, path)


def cost_lines(usages: Sequence[Usage], prices: Prices) -> Iterator[str]:
    """What the usage of models costs at most, in words, the sum first."""
    priced = [(u, price) for u in usages if (price := prices.by_model.get(u.model))]
    costs = [(u.input_tokens * price.input + u.output_tokens * price.output) / 1e6 for u, price in priced]
    if priced:
        yield f"Cost, at most: {sum(costs):,.2f} USD"
    for (usage, _), cost in zip(priced, costs, strict=True):
        said = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
        yield f"  {usage.model}: {cost:,.2f} USD ({said})"
    if free := [u.model for u in usages if u.model not in prices.by_model]:
        yield f"Not priced in {prices.path}: {', '.join(free)}"
