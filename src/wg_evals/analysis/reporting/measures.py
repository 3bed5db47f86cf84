"""The statistics that the report shows: the one place where it meets them."""

import math
from collections.abc import Mapping, Sequence

from wg_evals.analysis.logs import Counts
from wg_evals.analysis.over_seeds import seeded_rate
from wg_evals.statistics import Difference, Rate, paired_difference

ByQuestion = Mapping[str, Counts]

_SEEDS, _QUESTIONS = 5, 10
_LOW, _HIGH = 0.05, 0.95


def rate(seeds: Sequence[ByQuestion]) -> Rate:
    """The expression rate over training seeds, with its 95% interval over questions and seeds."""
    return seeded_rate(seeds)


def vouched(found: Rate, seeds: int | None) -> bool:
    """Whether the interval's coverage is known to be near 95%: enough questions and seeds, and a rate inside.

    Args:
        found: The rate.
        seeds: How many training seeds it is over; None for a model that was not trained here.
    """
    enough = seeds is None or seeds >= _SEEDS
    return enough and found.clusters >= _QUESTIONS and _LOW <= found.rate <= _HIGH


def difference(left: Mapping[str, float], right: Mapping[str, float]) -> Difference:
    """Left minus right, paired by question."""
    return paired_difference(left, right)


def mean_by_question(members: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean rate of each question that all members have."""
    if not members:
        return {}
    shared = [q for q in members[0] if all(q in m for m in members)]
    return {q: math.fsum(m[q] for m in members) / len(members) for q in shared}


def suppression(left: Difference, effect: Difference) -> float:
    """The share of the plain effect that an intervention removes: 1 - (intervened - base) / (plain - base)."""
    return 1 - left.mean / effect.mean if effect.mean > 0 else math.nan
