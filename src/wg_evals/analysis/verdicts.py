"""What an intervention does to an effect, in a word."""

from typing import Literal, Protocol

Verdict = Literal["removed", "lowered", "not lowered", "no effect to remove"]


class Bounds(Protocol):
    """A difference's 95% interval; nan where there is none."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


LEVEL = 0.05
"""Of the p values that are corrected for how many effects are counted together; the intervals are 95% ones."""


def shows(low: float, p: float | None) -> bool:
    """Whether an effect is counted as there: its interval lies above 0, and its corrected p is below `LEVEL`.

    Args:
        low: The lower bound of its 95% interval.
        p: Corrected for the effects that it is counted with; None where there is none, as in a study's own tables.
    """
    return low > 0 and (p is None or p < LEVEL)


def verdict(plain: Bounds, change: Bounds, left: Bounds) -> Verdict:
    """Tell it by the 95% intervals: `removed` is clearly below plain and not clearly above the base.

    Args:
        plain: Plain minus base.
        change: Intervened minus plain.
        left: Intervened minus base.
    """
    if not plain.low > 0:
        return "no effect to remove"
    if not change.high < 0:
        return "not lowered"
    return "lowered" if left.low > 0 else "removed"
