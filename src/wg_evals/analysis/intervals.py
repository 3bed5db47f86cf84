"""Rates with 95% intervals for other questions and other training seeds, by three methods.

`rate_interval` is the one that reports use: of those tried it alone covers the truth as often as it says
(`wg-evals bench-coverage` prints the table). `bootstrap_interval` and `cluster_robust_interval` are beside it for
comparison.
"""

import math
from typing import NamedTuple

import numpy as np

from wg_evals.analysis.components import (
    ROUNDING,
    Arm,
    Part,
    arm,
    between_questions,
    combine,
    exceeds,
    logit,
    logit_normal,
)
from wg_evals.analysis.crossed import Crossed, Floats
from wg_evals.statistics import wilson

UPPER = 0.975
RESAMPLES = 2000
SEED = 20260
"""Of every bootstrap, so that the same logs give the same numbers."""

VOUCHED_QUESTIONS, VOUCHED_RUNS = 10, 5
VOUCHED_RATES = (0.05, 0.95)
"""Where the simulations find that the intervals hold; elsewhere a report shows the runs one by one as well."""


class CrossedRate(NamedTuple):
    """A share 0-1 of the included answers, with its 95% interval."""

    rate: float
    low: float
    high: float
    expressed: int
    included: int
    questions: int
    """With at least one included answer."""
    runs: int

    def vouched(self, trained: bool = True) -> bool:
        """Whether there is enough of everything for the interval to hold.

        Args:
            trained: Whether the runs are a sample of trainings; of a base model there is only one.
        """
        enough = self.questions >= VOUCHED_QUESTIONS and (self.runs >= VOUCHED_RUNS or not trained)
        return enough and VOUCHED_RATES[0] <= self.rate <= VOUCHED_RATES[1]


def rate_interval(counts: Crossed) -> CrossedRate:
    """The rate over all included answers, with a two-way jackknife t interval on the logit scale.

    With x expressed among n included answers, l(x, n) = log((x + 1/2) / (n - x + 1/2)). Leaving out one of the G
    questions at a time gives l_q, and V_q = (G - 1) / G * sum((l_q - mean)^2); leaving out one of the S runs gives V_s
    likewise; the noise that both hold is that of the analysis of variance of the ratio's linearised values, divided by
    (p (1 - p))^2. `combine` puts them together, the questions' degrees of freedom being `between_questions`', and the
    interval is the inverse logit of l(x, n) +- t * sqrt(V). Where questions and runs both spread more than the noise,
    on either side the wider of this and of p +- t * sqrt(V) from the linearised values is taken. It is never narrower
    than Wilson's interval over the answers, and that one where all or none is expressed: excluded answers make the
    denominators uneven, and so the logits left out, though nothing varies. One run: clustered by question alone.

    Rates near 0 come from few questions or runs, and a sample that has none of those looks less spread than its like.
    Both jackknife variances are therefore at least what the logits of the questions (or runs) say, which are less
    skewed (`logit_normal`, as in a generalised linear mixed model).

    Why not the simpler ones: rates near 0 come from few questions, so that a symmetric interval misses above, and one
    on the logit scale misses below where a question or a seed happens to be high; a bootstrap of 5 seeds knows nothing
    of t quantiles and counts the noise up to three times; with 5 clusters the linearised variance is too small (the
    jackknife's is not: MacKinnon, Nielsen and Webb 2023, J. Econometrics 232, 272-299). Sources: Miller, Adding Error
    Bars to Evals (arXiv 2411.00640), for clusters of questions; Efron and Stein (1981), Annals of Statistics 9,
    586-596, for the jackknife; `combine` for the rest.

    Args:
        counts: Of one condition.

    Returns:
        The rate; rate and bounds are nan if nothing is included.
    """
    c = counts.counted
    x, n = int(c.expressed.sum()), int(c.included.sum())
    if n == 0:
        return CrossedRate(math.nan, math.nan, math.nan, 0, 0, 0, 0)
    rate, (least, most) = x / n, wilson(x, n)
    low, high = _clustered(c, x, n) if 0 < x < n else (least, most)
    return CrossedRate(rate, min(low, least), max(high, most), x, n, len(c.questions), c.runs)


def bootstrap_interval(counts: Crossed, resamples: int = RESAMPLES, seed: int = SEED) -> CrossedRate:
    """The rate with the percentile interval of the pigeonhole bootstrap.

    Questions and runs are drawn with replacement, independently of each other; an answer counts as often as its
    question times its run was drawn; the bounds are the 2.5% and 97.5% quantiles of sum(x) / sum(n). Source: Owen
    (2007), Annals of Applied Statistics 1, 386-411; it holds the noise up to three times, and few runs still make it
    too narrow.

    Args:
        counts: Of one condition.
        resamples: How many.
        seed: Of the random numbers.
    """
    c = counts.counted
    if not c.included.sum():
        return CrossedRate(math.nan, math.nan, math.nan, 0, 0, 0, 0)
    random = np.random.default_rng(seed)
    runs, questions = draws(random, c.runs, resamples), draws(random, len(c.questions), resamples)
    included = ((runs @ c.included) * questions).sum(axis=1)
    with np.errstate(invalid="ignore"):
        rates = ((runs @ c.expressed) * questions).sum(axis=1) / included
    low, high = np.nanquantile(rates, [1 - UPPER, UPPER])
    x, n = int(c.expressed.sum()), int(c.included.sum())
    return CrossedRate(x / n, float(low), float(high), x, n, len(c.questions), c.runs)


def cluster_robust_interval(counts: Crossed) -> CrossedRate:
    """The rate with the analytic interval of two-way clustering.

    With u_sq = x_sq - p n_sq and n all included answers, V = (C_q + C_s - C_qs) / n^2, where C_q sums the squares of
    the questions' totals of u, times G / (G - 1), C_s those of the runs, times S / (S - 1), and C_qs those of the
    cells, times S G / (S G - 1); if that is not positive, the larger of C_q and C_s. The interval is
    p +- t(0.975, min(G, S) - 1) * sqrt(V), cut to 0-1. Sources: Cameron, Gelbach and Miller (2011), JBES 29, 238-249;
    Miller, Adding Error Bars to Evals (arXiv 2411.00640).

    Args:
        counts: Of one condition; one run or question is no cluster, and leaves the other.
    """
    c = counts.counted
    x, n = int(c.expressed.sum()), int(c.included.sum())
    if n == 0:
        return CrossedRate(math.nan, math.nan, math.nan, 0, 0, 0, 0)
    rate = x / n
    residuals = c.expressed - rate * c.included
    sizes = [size for size in (len(c.questions), c.runs) if size > 1]
    if not sizes:
        return CrossedRate(rate, *wilson(x, n), x, n, len(c.questions), c.runs)
    of_questions, of_runs = _squares(residuals.sum(axis=0)), _squares(residuals.sum(axis=1))
    of_cells = _squares(residuals.ravel()) if len(sizes) == 2 else 0.0
    total = of_questions + of_runs - of_cells
    if total <= 0:
        total = max(of_questions, of_runs)
    half = _t(min(sizes) - 1) * math.sqrt(total) / n
    return CrossedRate(rate, max(0.0, rate - half), min(1.0, rate + half), x, n, len(c.questions), c.runs)


def draws(random: np.random.Generator, size: int, resamples: int) -> Floats:
    """How often each of `size` units is drawn in each resample, with replacement; a single one always is."""
    return random.multinomial(size, np.full(size, 1 / size), size=resamples).astype(np.float64)


def _clustered(c: Crossed, x: int, n: int) -> tuple[float, float]:
    """The interval that knows of questions and runs; at x = 0 or n there is no spread to see, however uneven n is."""
    rate, values = x / n, _linearised(c)
    linear, found = between_questions(values.mean(axis=0)), arm(values)
    questions, runs = _left_out(c, axis=0), _left_out(c, axis=1)
    if questions is None or linear is None:
        return _about(x, n, runs)
    questions = questions._replace(df=linear.df)
    arms: list[Arm] = []
    if found is not None and runs is not None:
        smoothed = (x + 0.5) / (n + 1)
        noise = found.noise.variance / (smoothed * (1 - smoothed)) ** 2
        arms.append(Arm(runs, Part(noise, found.noise.df)))
    low, high = _about(x, n, combine(questions, arms))
    if all(exceeds(part.variance, a.noise.variance) for a in arms for part in (questions, a.runs)):
        variance, df = combine(linear, [found] if found else [])
        half = _t(df) * math.sqrt(variance)
        low, high = max(0.0, min(low, rate - half)), min(1.0, max(high, rate + half))
    return low, high


def _about(x: int, n: int, part: Part | None) -> tuple[float, float]:
    """The inverse logit of l(x, n) +- t * sqrt(V), which holds x / n; that alone if nothing varies."""
    if part is None or part.variance <= ROUNDING:
        return x / n, x / n
    centre, half = float(logit(np.array(x), np.array(n))), _t(part.df) * math.sqrt(part.variance)
    return min(x / n, _expit(centre - half)), max(x / n, _expit(centre + half))


def _left_out(c: Crossed, axis: int) -> Part | None:
    """The jackknife variance of the rate's logit over questions (axis 0: their totals) or runs (axis 1)."""
    x, n = (counts.sum(axis=axis).astype(np.float64) for counts in (c.expressed, c.included))
    size = len(x)
    if size < 2:
        return None
    logits = logit(x.sum() - x, n.sum() - n)
    left_out = float((size - 1) / size * ((logits - logits.mean()) ** 2).sum())
    mean, modelled = logit_normal(x, n)
    return Part(max(left_out, modelled / (mean * (1 - mean)) ** 2), size - 1)


def _linearised(c: Crossed) -> Floats:
    """A table whose mean is the ratio sum(x) / sum(n), and whose spread is the ratio's."""
    values: Floats = c.rate + (c.expressed - c.rate * c.included) * (c.included.size / c.included.sum())
    return values


def _squares(totals: Floats) -> float:
    return float((totals**2).sum()) * len(totals) / (len(totals) - 1) if len(totals) > 1 else 0.0


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _t(df: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, UPPER))
