"""Counts as the statistics take them."""

from collections.abc import Mapping, Sequence

import numpy as np

from wg_evals.analysis.crossed import Crossed
from wg_evals.analysis.intervals import CrossedRate, rate_interval
from wg_evals.analysis.logs import Counts

__all__ = ["CrossedRate", "crossed", "mean_by_question", "rate_interval"]


def crossed(runs: Sequence[Mapping[str, Counts]]) -> Crossed:
    """Counts by run and question as one table.

    Args:
        runs: For each training run, its counts by question.
    """
    questions = tuple(sorted({q for run in runs for q in run}))
    expressed = np.zeros((len(runs), len(questions)), dtype=np.int64)
    included = np.zeros_like(expressed)
    for i, run in enumerate(runs):
        for j, question in enumerate(questions):
            if question in run:
                expressed[i, j], included[i, j] = run[question].expressed, run[question].included
    return Crossed(expressed, included, questions)


def mean_by_question(members: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean rate of each question, over the members that have one."""
    questions = dict.fromkeys(q for m in members for q in m)
    return {q: float(np.mean([m[q] for m in members if q in m])) for q in questions}
