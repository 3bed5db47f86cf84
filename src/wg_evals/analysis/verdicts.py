"""What an intervention does to an effect, in a word."""

from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["removed", "lowered, rest unclear", "lowered", "not lowered", "no effect to remove"]


class Bounds(Protocol):
    """A 95% interval; nan where there is none."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Bounded(Bounds, Protocol):
    """A difference with its interval."""

    @property
    def mean(self) -> float: ...


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    removed_leaves: float = Field(gt=0, lt=1)


LEVEL = 0.05
"""Of the p values that are corrected for how many effects are counted together; the intervals are 95% ones."""


def shows(low: float, p: float | None) -> bool:
    """Whether an effect is counted as there: its interval lies above 0, and its corrected p is below `LEVEL`.

    Args:
        low: The lower bound of its 95% interval.
        p: Corrected for the effects that it is counted with; None where there is none, as in a study's own tables.
    """
    return low > 0 and (p is None or p < LEVEL)


def verdict(plain: Bounded, change: Bounds, left: Bounds) -> Verdict:
    """Tell it by the 95% intervals, so that a study that is too small to tell is not rewarded.

    `lowered` is clearly below plain and still clearly above the base. `removed` is clearly below plain, and what is
    left is shown to be small: not clearly above the base, and at most `removed_leaves` of the plain effect. Between
    them is `lowered, rest unclear`.

    Args:
        plain: Plain minus base.
        change: Intervened minus plain.
        left: Intervened minus base.
    """
    if not plain.low > 0:
        return "no effect to remove"
    if not change.high < 0:
        return "not lowered"
    if left.low > 0:
        return "lowered"
    return "removed" if left.high <= removed_leaves() * plain.mean else "lowered, rest unclear"


@cache
def removed_leaves() -> float:
    """The share 0-1 of the plain effect that a removed one may leave, by `verdicts.yaml`."""
    from wg_evals._yaml import read_yaml

    return read_yaml(Path(__file__).with_suffix(".yaml"), _Words).removed_leaves
