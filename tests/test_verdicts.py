"""The word for what an intervention does says no more than the intervals do."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from wg_evals.analysis.effects import effect
from wg_evals.analysis.simulation import Design, draw
from wg_evals.analysis.verdicts import verdict


class Difference(NamedTuple):
    mean: float
    low: float
    high: float


PLAIN = Difference(0.6, 0.5, 0.7)
LESS = Difference(-0.5, -0.6, -0.4)


@pytest.mark.parametrize(
    ("plain", "change", "left", "expected"),
    [
        (Difference(0.1, -0.1, 0.3), LESS, Difference(0.0, -0.1, 0.1), "no effect to remove"),
        (PLAIN, Difference(-0.1, -0.3, 0.1), Difference(0.5, 0.4, 0.6), "not lowered"),
        (PLAIN, LESS, Difference(0.1, 0.05, 0.15), "lowered"),
        (PLAIN, LESS, Difference(0.05, -0.05, 0.19), "removed"),
        (PLAIN, LESS, Difference(0.05, -0.20, 0.30), "lowered, rest unclear"),
        (PLAIN, LESS, Difference(0.05, math.nan, math.nan), "lowered, rest unclear"),
    ],
)
def test_removed_is_shown_to_be_small_not_merely_not_shown_to_be_there(
    plain: Difference, change: Difference, left: Difference, expected: str
) -> None:
    assert verdict(plain, change, left) == expected


def test_a_small_study_is_not_rewarded_with_removed() -> None:
    # 27% of the effect is left: 30 answers a question cannot show that it is less than a third
    random = np.random.default_rng(3)
    design = Design(10, 3, 10, 1.0, 0.5, 0.3)
    said = []
    for _ in range(100):
        shared = random.standard_normal(10)
        base = draw(random, design._replace(runs=1, run_sd=0.0), 0.05, shared)
        plain, intervened = (draw(random, design, rate, shared) for rate in (0.6, 0.2))
        said.append(verdict(effect(plain, base), effect(intervened, plain), effect(intervened, base)))
    assert said.count("removed") <= 10
