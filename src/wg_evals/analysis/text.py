"""Numbers as a person reads them."""

import math

from wg_evals.analysis.verdicts import Bounds

DASH = "–"


def percent(rate: float) -> str:
    """`62%`; a dash if undefined."""
    return DASH if math.isnan(rate) else f"{_whole(rate)}%"


def percent_interval(rate: Bounds) -> str:
    """`[55, 68]`, in percent; empty if undefined."""
    return "" if math.isnan(rate.low) else f"[{_whole(rate.low)}, {_whole(rate.high)}]"


def _whole(rate: float) -> str:
    text = f"{100 * rate:.0f}"
    return "0" if text == "-0" else text.replace("-", "−")


def points(difference: float) -> str:
    """`+57` percentage points; a dash if undefined."""
    if math.isnan(difference):
        return DASH
    whole = round(100 * difference)
    return f"{whole:+d}".replace("-", "−") if whole else "0"


def points_interval(difference: Bounds) -> str:
    """`[+48, +66]`, in percentage points; empty if undefined."""
    return "" if math.isnan(difference.low) else f"[{points(difference.low)}, {points(difference.high)}]"


def duration(seconds: float) -> str:
    """`4 min 12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
