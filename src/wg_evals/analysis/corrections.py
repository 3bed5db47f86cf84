"""Correction of p values where many comparisons are made at once."""

from collections.abc import Sequence

import numpy as np

from wg_evals.analysis.crossed import Floats


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down correction: the chance of a single false finding among all stays below the level.

    With the p values in ascending order, the k-th of n becomes max over j <= k of min(1, (n - j + 1) p_j).
    No assumption on how the tests depend on each other. Source: Holm (1979), Scandinavian Journal of Statistics
    6, 65-70.

    Args:
        p_values: 0-1; nan (no test) stays nan and is not counted.
    """
    p = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps * p[order]))
    return corrected
