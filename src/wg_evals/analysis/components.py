"""Variance of a mean over crossed questions and runs, put together from its parts."""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from wg_evals.analysis.crossed import Floats

ROUNDING = 1e-18
"""A variance below this is a zero that was computed with rounding."""
_NODES = 21
"""Of the quadrature over a normal distribution."""


class Part(NamedTuple):
    """An estimate of a variance, with its degrees of freedom."""

    variance: float
    df: float


class Arm(NamedTuple):
    """What the runs of one condition contribute to the variance of its mean."""

    runs: Part
    """From the spread between runs; holds the noise once."""
    noise: Part
    """From what neither run nor question explains."""


def arm(values: Floats) -> Arm | None:
    """The parts of runs and noise of a table's mean, by a two-way analysis of variance without repeats.

    With S runs, G questions, row means r_s and residuals e_sq of the additive fit: runs var(r_s) / S with S - 1
    degrees of freedom, noise sum(e_sq^2) / ((S - 1) (G - 1)) / (S G) with (S - 1) (G - 1). One run says nothing about
    others: None. Source: Searle, Casella and McCulloch (1992), Variance Components, chapter 4.

    Args:
        values: Runs x questions, without gaps.
    """
    runs, questions = values.shape
    if runs < 2 or questions < 2:
        return None
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    residuals = values - rows - columns + values.mean()
    df = (runs - 1) * (questions - 1)
    noise = float((residuals**2).sum()) / df / (runs * questions)
    return Arm(Part(float(rows.var(ddof=1)) / runs, runs - 1), Part(noise, df))


def between_questions(rates: Floats) -> Part | None:
    """The part of the questions in the variance of their mean; None for a single question.

    var(d_q) / G. Where a few questions make most of the spread it is less well known than G - 1 degrees of freedom say:
    3 (sum d_q^2)^2 / sum d_q^4 - 1 of the deviations d_q, which is G - 1 at a normal distribution's kurtosis, and at
    most that. Source: the variance of a variance, Cramer (1946), Mathematical Methods of Statistics, 27.4, matched as
    Satterthwaite does.

    Args:
        rates: A value a question.
    """
    size = len(rates)
    if size < 2:
        return None
    squares = (rates - rates.mean()) ** 2
    fourth = float((squares**2).sum())
    df = 3 * float(squares.sum()) ** 2 / fourth - 1 if fourth > 0 else size - 1
    return Part(float(squares.sum()) / (size - 1) / size, min(max(df, 1.0), size - 1))


def exceeds(variance: float, noise: float) -> bool:
    """Whether a spread is more than the noise; two that only rounding sets apart are equal.

    In small tables they often are equal, and degrees of freedom must not turn on the last bit.
    """
    return variance > noise * (1 + 1e-9) + ROUNDING


def combine(questions: Part | None, arms: Sequence[Arm]) -> Part:
    """The variance of a mean over crossed questions and runs.

    The spread between questions Q and that between runs R_i each hold the noise N_i of their arm; it is counted once:
    Q + sum(R_i - N_i) (two-way clustering as in Cameron, Gelbach and Miller 2011, JBES 29, 238-249, in the unbiased
    form of the analysis of variance). What is not larger than the noise is taken for noise and pooled with it: R_i with
    N_i, and Q with all of it, so that the sum is never negative nor smaller than the noise alone. Degrees of freedom by
    Satterthwaite (1946), Biometrics Bulletin 2, 110-114, over the parts that are in the sum.

    Args:
        questions: The spread between questions; None for a single question.
        arms: Of each condition that has several runs.
    """
    kept = [a for a in arms if exceeds(a.runs.variance, a.noise.variance)]
    pooled = [_pool(a.runs, a.noise) for a in arms if a not in kept]
    noise = sum(a.noise.variance for a in arms)
    if questions is not None and (not arms or exceeds(questions.variance, noise)):
        total = questions.variance + sum(a.runs.variance - a.noise.variance for a in kept)
        return _with_df(total, [questions, *(p for a in kept for p in a)])
    if not kept and questions is not None:
        pooled = [_pool(questions, _with_df(sum(p.variance for p in pooled), pooled))]
    parts = [*(a.runs for a in kept), *pooled]
    return _with_df(sum(p.variance for p in parts), parts)


def logit_normal(x: Floats, n: Floats) -> tuple[float, float]:
    """The mean of rates whose logits are normal, and the variance of a mean of so many.

    With m the mean of the logits and s^2 their variance less that of counting: E and var of expit(m + s z), the latter
    / G * (G + 1) / (G - 1). The last factor makes up for s^2 being known from few; the simulations chose it.

    Args:
        x: Expressed, a number a cluster (question or run).
        n: Included.
    """
    logits, counting = logit(x, n), 1 / (x + 0.5) + 1 / (n - x + 0.5)
    size, spread = len(x), float(logits.var(ddof=1) - counting.mean())
    nodes, weights = _normal()
    rates = 1 / (1 + np.exp(-(logits.mean() + math.sqrt(max(0.0, spread)) * nodes)))
    mean = float(weights @ rates)
    return mean, float(weights @ (rates - mean) ** 2) / size * (size + 1) / (size - 1)


def logit(x: Floats, n: Floats) -> Floats:
    """log((x + 1/2) / (n - x + 1/2)), which is finite at none and at all."""
    logits: Floats = np.log((x + 0.5) / (n - x + 0.5))
    return logits


@cache
def _normal() -> tuple[Floats, Floats]:
    """Values of a standard normal variable, and their weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


def _pool(a: Part, b: Part) -> Part:
    df = a.df + b.df
    return Part((a.variance * a.df + b.variance * b.df) / df, df)


def _with_df(total: float, parts: Sequence[Part]) -> Part:
    spread = sum(p.variance**2 / p.df for p in parts)
    return Part(total, max(1.0, total**2 / spread) if spread > 0 else 1.0)
