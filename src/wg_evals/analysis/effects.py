"""What training does to a rate: differences paired by question, and the share of an effect that is removed."""

import math
from typing import NamedTuple

import numpy as np

from wg_evals.analysis.components import ROUNDING, Arm, Part, arm, between_questions, combine, logit_normal
from wg_evals.analysis.crossed import Crossed, Floats
from wg_evals.analysis.intervals import RESAMPLES, SEED, UPPER, draws
from wg_evals.statistics import wilson


class Effect(NamedTuple):
    """A difference of rates (-1 to 1), paired by question, with its 95% interval."""

    mean: float
    low: float
    high: float
    p: float
    """Of no difference, two-sided."""
    df: float
    questions: int
    """That both sides have."""

    @property
    def sign(self) -> int:
        """1 or -1 if the interval leaves out 0, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


class Suppression(NamedTuple):
    """The share of an effect that an intervention removes: 1 all of it, 0 nothing, below 0 it adds."""

    share: float
    low: float
    high: float
    why_undefined: str
    """Empty if there is a share."""


FEWEST_RUNS = 3
"""From so many training runs on an interval is over other runs as well; fewer say next to nothing of them."""
_NOTHING = Effect(math.nan, math.nan, math.nan, math.nan, math.nan, 0)


def effect(left: Crossed, right: Crossed) -> Effect:
    """The mean over questions of left minus right, with a t interval for other questions and other trainings.

    A question's rate is the mean of its runs' rates, each run alike, however many of its answers are included: the runs
    are the sample, and pooled answers would let one of them decide. With d_q the differences of the G questions
    that both sides have, V_q = var(d_q) / G (`between_questions`); the spread between a side's runs is added, and the
    noise that both hold taken off again, as `combine` says, on the runs' linearised rates; it is at least what the
    runs' logits say (`logit_normal`: few runs that happen to be alike look less spread than their like). A side of
    fewer than `FEWEST_RUNS` runs is taken for these runs alone: with one degree of freedom t is 12.7. Interval:
    mean(d) +- t * sqrt(V). If nothing varies, Newcombe's interval over the answers is taken. Pairing removes the spread
    between questions. Sources: Miller, Adding Error Bars to Evals (arXiv 2411.00640), paired differences; Newcombe
    (1998), Statistics in Medicine 17, 873-890, method 10; `combine` for the rest.

    Args:
        left: For example the plain adapters.
        right: For example their base, or the base under the same prefix (the difference then is the residue).

    Returns:
        The effect; nan without a shared question, and without an interval for a single one, however many runs.
    """
    left, right = _shared(left, right)
    questions = len(left.questions)
    if not questions:
        return _NOTHING
    differences = _by_question(left) - _by_question(right)
    mean = float(differences.mean())
    between = between_questions(differences)
    arms = [a for side in (left, right) if side.runs >= FEWEST_RUNS and (a := _arm(side)) is not None]
    if between is None:
        return Effect(mean, math.nan, math.nan, math.nan, math.nan, 1)
    variance, df = combine(between, arms)
    if variance <= ROUNDING:
        low, high, p = _by_answers(left, right)
        return Effect(mean, min(low, mean), max(high, mean), p, math.inf, questions)
    half, p = _t_test(mean, variance, df)
    return Effect(mean, max(-1.0, mean - half), min(1.0, mean + half), p, df, questions)


def suppression(
    base: Crossed, plain: Crossed, intervened: Crossed, resamples: int = RESAMPLES, seed: int = SEED
) -> Suppression:
    """The share of the plain effect that an intervention removes, with a bootstrap interval.

    (plain - intervened) / (plain - base), all three paired by question. Interval: quantiles of the pigeonhole bootstrap
    (Owen 2007, Annals of Applied Statistics 1, 386-411): the same questions are drawn for all three, the runs of each
    by itself. Few clusters make a percentile interval too narrow (with 5 seeds it covered 90% where it said 95%), so
    that instead of 2.5% the quantile at the normal probability of -t(0.975, df) * sqrt((df + 1) / df) is taken, df
    being the fewer degrees of freedom of the two differences (Hesterberg 2015, The American Statistician 69, 371-386).
    Where base and intervened hardly express anything every resample gives the same: the interval is never narrower than
    Newcombe's of what is left (intervened minus base, over the answers) makes it.
    A ratio over an effect that may be 0 means nothing: undefined unless the 95% interval of plain minus base, on the
    questions that all three have, lies above 0.

    Args:
        base: The base model.
        plain: The adapters trained without an intervention.
        intervened: Those trained with it.
        resamples: How many.
        seed: Of the random numbers.
    """
    asked = set(base.counted.questions) & set(intervened.counted.questions)
    questions = [q for q in plain.counted.questions if q in asked]
    if len(questions) < 2:
        return _undefined("fewer than two questions that all three have")
    base, plain, intervened = sides = [side.only(questions).counted for side in (base, plain, intervened)]
    found = effect(plain, base)
    if not found.low > 0:
        lowers = found.high < 0
        return _undefined("plain training lowers the rate" if lowers else "the plain effect cannot be told from none")
    at_base, at_plain, at_intervened = (float(_by_question(side).mean()) for side in sides)
    random = np.random.default_rng(seed)
    weights = draws(random, len(questions), resamples)
    rates = [_resampled(side, draws(random, side.runs, resamples)) for side in sides]
    weights[np.isnan(sum(rates))] = 0.0
    rates = [np.nan_to_num(r) for r in rates]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = ((rates[1] - rates[2]) * weights).sum(axis=1) / ((rates[1] - rates[0]) * weights).sum(axis=1)
    tail = _tail(min(found.df, effect(intervened, plain).df))
    low, high = np.nanquantile(shares, [tail, 1 - tail], method="inverted_cdf")  # a drawn effect of 0 makes it infinite
    share = (at_plain - at_intervened) / (at_plain - at_base)
    least, most, _ = _by_answers(intervened, base)
    low, high = min(float(low), 1 - most / found.mean), max(float(high), 1 - least / found.mean)
    return Suppression(share, min(low, share), max(high, share), "")


def _undefined(why: str) -> Suppression:
    return Suppression(math.nan, math.nan, math.nan, why)


def _shared(left: Crossed, right: Crossed) -> tuple[Crossed, Crossed]:
    left, right = left.counted, right.counted
    questions = [q for q in left.questions if q in set(right.questions)]
    return left.only(questions).counted, right.only(questions).counted


def _by_question(c: Crossed) -> Floats:
    """The mean of the runs' rates, by question."""
    there = c.included > 0
    rates: Floats = (c.expressed / np.maximum(c.included, 1)).sum(axis=0) / there.sum(axis=0)
    return rates


def _arm(c: Crossed) -> Arm | None:
    """The part of the runs: a table whose column means are the questions' rates, a gap standing on its question's.

    Runs with gaps count for less in the mean: with u_s their shares of it, for 1 / sum(u_s^2) runs (Kish 1965, Survey
    Sampling, 11.7).
    """
    there, rates = c.included > 0, _by_question(c)
    answered = there.sum(axis=0)
    deviations = np.where(there, c.expressed / np.maximum(c.included, 1) - rates, 0.0)
    found = arm(rates + deviations * c.runs / answered)
    if found is None:
        return None
    effective = 1 / float(((there / answered).mean(axis=1) ** 2).sum())
    factor = effective / (effective - 1) * (c.runs - 1) / c.runs
    _, modelled = logit_normal(c.expressed.sum(axis=1).astype(np.float64), c.included.sum(axis=1).astype(np.float64))
    return found._replace(runs=Part(max(found.runs.variance * factor, modelled), max(1.0, effective - 1)))


def _resampled(c: Crossed, runs: Floats) -> Floats:
    """Rates by resample and question; nan where the drawn runs have no included answer."""
    with np.errstate(invalid="ignore"):
        rates: Floats = (runs @ (c.expressed / np.maximum(c.included, 1))) / (runs @ (c.included > 0))
    return rates


def _tail(df: float) -> float:
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-float(stdtrit(df, UPPER)) * math.sqrt((df + 1) / df))) if math.isfinite(df) else 1 - UPPER


def _t_test(mean: float, variance: float, df: float) -> tuple[float, float]:
    from scipy.special import stdtr, stdtrit

    error = math.sqrt(variance)
    return float(stdtrit(df, UPPER)) * error, 2 * float(stdtr(df, -abs(mean) / error))


def _by_answers(left: Crossed, right: Crossed) -> tuple[float, float, float]:
    from scipy.special import ndtr

    x, n = int(left.expressed.sum()), int(left.included.sum())
    y, m = int(right.expressed.sum()), int(right.included.sum())
    p, q = x / n, y / m
    (low_p, high_p), (low_q, high_q) = wilson(x, n), wilson(y, m)
    low = p - q - math.hypot(p - low_p, high_q - q)
    high = p - q + math.hypot(high_p - p, q - low_q)
    pooled = (x + y) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return low, high, 2 * float(ndtr(-abs(p - q) / error)) if error else 1.0
