"""A rate over several training seeds, with an interval that knows of questions and of seeds."""

import math
from collections.abc import Mapping, Sequence

from wg_evals.analysis.logs import Counts
from wg_evals.statistics import Rate, clustered_rate, wilson

_UPPER = 0.975


def seeded_rate(seeds: Sequence[Mapping[str, Counts]]) -> Rate:
    """The mean of the seeds' rates, with a 95% interval for other questions and other seeds.

    With r_s the rate of seed s over its M_s included answers, r their mean over S seeds, and e_qs expressed among
    m_qs included answers to question q, the spread over G questions contributes
    V_q = G / (G - 1) * sum_q (1/S sum_s (e_qs - r_s m_qs) / M_s)^2, which for one seed is `clustered_rate`'s
    variance, and the spread over seeds V_s = var(r_s) / S. Questions and seeds are crossed and both are samples
    of what might have been used, so the two are added (the noise that they share is counted twice, which
    is on the safe side; at rates near 0 or 1 the interval covers less than it says all the same, see
    docs/statistics.md), with Satterthwaite's degrees of freedom, which few seeds keep low:
    (V_q + V_s)^2 / (V_q^2 / (G - 1) + V_s^2 / (S - 1)). On either side the wider of this and the Wilson interval
    over all answers is taken, as in `clustered_rate`. One seed says nothing about others: its interval is
    `clustered_rate`'s. Sources: Satterthwaite (1946), Biometrics Bulletin 2, 110-114; Cameron, Gelbach and Miller
    (2011), JBES 29, 238-249, for two crossed ways of clustering.

    Args:
        seeds: For each seed, the counts by question.

    Returns:
        The rate; rate and bounds are nan if nothing is included.
    """
    from scipy.special import stdtrit

    used = [s for s in seeds if sum(c.included for c in s.values())]
    if len(used) < 2:
        counts = list(used[0].values()) if used else []
        return clustered_rate([c.expressed for c in counts], [c.included for c in counts])
    totals = [sum(s.values(), Counts()) for s in used]
    rates = [t.rate for t in totals]
    rate = math.fsum(rates) / len(rates)
    questions = sorted({q for s in used for q, c in s.items() if c.included})
    shifts = [
        math.fsum(
            (s[q].expressed - t.rate * s[q].included) / t.included for s, t in zip(used, totals, strict=True) if q in s
        )
        / len(used)
        for q in questions
    ]
    groups, n_seeds = len(questions), len(used)
    by_question = groups / (groups - 1) * math.fsum(x * x for x in shifts) if groups > 1 else 0.0
    by_seed = math.fsum((r - rate) ** 2 for r in rates) / (n_seeds - 1) / n_seeds
    variance = by_question + by_seed
    total = sum(totals, Counts())
    low, high = wilson(total.expressed, total.included)
    if variance > 0:
        parts = by_seed**2 / (n_seeds - 1) + (by_question**2 / (groups - 1) if groups > 1 else 0.0)
        half = float(stdtrit(variance**2 / parts, _UPPER)) * math.sqrt(variance)
        low, high = min(low, rate - half), max(high, rate + half)
    return Rate(rate, max(0.0, min(low, rate)), min(1.0, max(high, rate)), total.expressed, total.included, groups)
