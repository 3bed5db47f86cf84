"""Answers drawn from a known truth: for what intervals are worth, and for how large a study must be."""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from wg_evals.analysis.crossed import Crossed, Floats

_NODES = 64


ExcludedBy = Literal["answer", "question", "run"]


class Design(NamedTuple):
    """How much is asked, and how far questions and trainings differ."""

    questions: int
    runs: int
    """Training seeds; 1 for a base model."""
    samples: int
    """Answers to each question by each run."""
    question_sd: float
    """Standard deviation of the questions' rates, on the logit scale."""
    run_sd: float = 0.0
    """That of the runs' rates, on the logit scale."""
    cell_sd: float = 0.0
    """That of what a run does to a single question, on the logit scale."""
    excluded: float = 0.0
    """The share 0-1 of answers that is not included, on average."""
    excluded_by: ExcludedBy = "answer"
    """Whether each answer is excluded alike; or each question loses a share between 0 and twice that (at most 0.5 on
    average); or the first run loses none, and each other run that share."""

    @property
    def spread(self) -> float:
        """Standard deviation of a single rate, on the logit scale."""
        return math.sqrt(self.question_sd**2 + self.run_sd**2 + self.cell_sd**2)


@lru_cache(maxsize=256)
def logit_for(rate: float, spread: float) -> float:
    """The logit about which normal logits scatter whose rates have a given mean.

    Args:
        rate: The mean rate, above 0 and below 1.
        spread: Standard deviation of the logits.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    return float(brentq(lambda mu: float(weights @ expit(mu + spread * nodes)) - rate, -60.0, 60.0))


def draw(random: np.random.Generator, design: Design, rate: float, shared: Floats | None = None) -> Crossed:
    """Draw a condition's answers.

    The logit of a run's rate on a question is normal about one mean, with the design's spreads of questions, runs and
    cells; answers are independent given it.

    Args:
        random: Random numbers.
        design: The sizes and spreads.
        rate: The true rate, over all questions and runs that there might be.
        shared: The questions' deviations in standard deviations, where two conditions are asked the same ones.
    """
    from scipy.special import expit

    d = design
    questions = random.standard_normal(d.questions) if shared is None else shared
    logits = logit_for(rate, d.spread) + d.question_sd * questions
    logits = logits + d.run_sd * random.standard_normal((d.runs, 1))
    logits = logits + d.cell_sd * random.standard_normal((d.runs, d.questions))
    included = np.full((d.runs, d.questions), d.samples)
    if d.excluded:
        included = random.binomial(included, 1 - _excluded(random, d))
    return Crossed(random.binomial(included, expit(logits)), included, tuple(str(q) for q in range(d.questions)))


def _excluded(random: np.random.Generator, d: Design) -> Floats:
    """The chance of each answer to be excluded, by run and question."""
    shares: Floats = np.full((d.runs, d.questions), d.excluded)
    if d.excluded_by == "question":
        shares = shares * random.uniform(0, 2, d.questions)
    elif d.excluded_by == "run":
        shares[0] = 0.0
    return shares
