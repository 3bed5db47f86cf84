"""How large a study must be to see a given effect, found by running the studies that one might run on drawn answers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wg_evals.analysis.crossed import Crossed
from wg_evals.analysis.effects import effect
from wg_evals.analysis.intervals import SEED
from wg_evals.analysis.simulation import Design, draw
from wg_evals.errors import WgError


class Question(NamedTuple):
    """What is to be seen, and how far questions and trainings differ."""

    base: float
    """Rate 0-1 of what is compared with."""
    effect: float
    """Difference of rates, above or below 0."""
    question_sd: float
    """On the logit scale; the questions are the same on both sides."""
    run_sd: float
    """Between training seeds, on the logit scale."""
    cell_sd: float
    """What a training does to a single question, beyond that, on the logit scale."""
    both_trained: bool = False
    """Whether the other side is trained with as many seeds too (plain against intervened); else it is one base."""


class Power(NamedTuple):
    """What a design gives."""

    design: Design
    power: float
    """Share of the drawn studies whose interval leaves out 0, on the effect's side."""
    error: float
    """Its standard error: there are only so many drawn studies."""
    half_width: float
    """Of the 95% interval, the median."""
    answers: int
    """Of both sides together."""


def power(
    question: Question,
    questions: Sequence[int],
    seeds: Sequence[int],
    samples: Sequence[int],
    studies: int = 400,
    random_seed: int = SEED,
) -> list[Power]:
    """The power of every design: how often its 95% interval of the effect would leave out 0.

    Both sides are drawn as `simulation.draw` says (logits normal about their mean over questions, runs and cells,
    answers independent given them) and compared by `effects.effect`, as a report does: so the figure includes what
    few seeds, skewed rates and the method itself cost, which a formula with normal quantiles leaves out. For that
    formula see Miller, Adding Error Bars to Evals (arXiv 2411.00640), section on power.

    Args:
        question: What is to be seen.
        questions: Numbers of questions to try.
        seeds: Numbers of training seeds to try.
        samples: Numbers of answers to a question by a model to try.
        studies: How many are drawn for each design.
        random_seed: The same seed gives the same table.

    Raises:
        WgError: The effect leads out of 0-1, or a design has fewer than two questions.
    """
    to = question.base + question.effect
    if not (0 < question.base < 1 and 0 < to < 1):
        raise WgError(
            f"A rate of {question.base:g} and an effect of {question.effect:+g} make {to:g}: both rates must be above "
            "0 and below 1. A base that never shows the trait is best given as the smallest rate that you would notice."
        )
    if min(questions) < 2:
        raise WgError("A difference needs at least two questions: other questions are what its interval is about.")
    found = []
    for asked in questions:
        for runs in seeds:
            for repeats in samples:
                spreads = (question.question_sd, question.run_sd, question.cell_sd)
                found.append(_power(question, Design(asked, runs, repeats, *spreads), studies, random_seed))
    return found


def _power(question: Question, design: Design, studies: int, random_seed: int) -> Power:
    random = np.random.default_rng(random_seed)
    other = design if question.both_trained else design._replace(runs=1, run_sd=0.0)
    sign = 1 if question.effect > 0 else -1
    seen, widths = 0, []
    for _ in range(studies):
        shared = random.standard_normal(design.questions)
        left: Crossed = draw(random, design, question.base + question.effect, shared)
        found = effect(left, draw(random, other, question.base, shared))
        seen += found.sign == sign
        widths.append((found.high - found.low) / 2)
    share = seen / studies
    answers = design.questions * design.samples * (design.runs + other.runs)
    error = math.sqrt(share * (1 - share) / studies)
    return Power(design, share, error, float(np.median(widths)), answers)
