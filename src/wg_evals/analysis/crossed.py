"""The answers of one condition as counts: a row a training run, a column a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

RUN = ["model", "seed", "checkpoint"]
"""What tells one training run of a condition from another."""


@dataclass(frozen=True)
class Crossed:
    """Expressed among included answers, by run and question.

    Both are crossed: every run answers every question, questions are a sample of what might have been asked, and runs
    of the trainings that might have been done. A base model is one run.
    """

    expressed: Counts
    """Runs x questions."""
    included: Counts
    """Of the same shape."""
    questions: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.expressed.shape != self.included.shape or self.expressed.shape[1] != len(self.questions):
            raise ValueError("expressed and included must have a row a run and a column a question")
        if (self.expressed < 0).any() or (self.expressed > self.included).any():
            raise ValueError("a question cannot have more expressed than included answers, nor fewer than none")

    @property
    def runs(self) -> int:
        return len(self.expressed)

    @property
    def rate(self) -> float:
        """Share of all included answers; nan if none is."""
        total = int(self.included.sum())
        return int(self.expressed.sum()) / total if total else float("nan")

    @property
    def counted(self) -> "Crossed":
        """Without runs, and without questions, that have no included answer."""
        runs, asked = self.included.sum(axis=1) > 0, self.included.sum(axis=0) > 0
        names = tuple(q for q, there in zip(self.questions, asked, strict=True) if there)
        return Crossed(self.expressed[runs][:, asked], self.included[runs][:, asked], names)

    def only(self, questions: Sequence[str]) -> "Crossed":
        """The same runs, with these questions in this order."""
        columns = [self.questions.index(q) for q in questions]
        return Crossed(self.expressed[:, columns], self.included[:, columns], tuple(questions))

    def run(self, index: int) -> "Crossed":
        """One run alone."""
        return Crossed(self.expressed[index : index + 1], self.included[index : index + 1], self.questions)

    def by_question(self) -> Floats:
        """The rate of each question over the runs' answers; nan where none is included."""
        with np.errstate(invalid="ignore"):
            rates: Floats = self.expressed.sum(axis=0) / self.included.sum(axis=0)
        return rates


def crossed(samples: "pd.DataFrame") -> Crossed:
    """Count the answers of one condition.

    Args:
        samples: Rows of a frame's `samples`, all of one task, base, training and context; runs are told apart by
            `RUN` and stand in its order.
    """
    import pandas as pd

    run = samples.groupby(RUN, observed=True, dropna=False, sort=True).ngroup().to_numpy()
    question, names = pd.factorize(samples["question"].astype(str), sort=True)
    expressed = np.zeros((int(run.max()) + 1, len(names)), dtype=np.int64)
    included = np.zeros_like(expressed)
    np.add.at(expressed, (run, question), samples["expressed"].to_numpy(np.int64))
    np.add.at(included, (run, question), samples["included"].to_numpy(np.int64))
    return Crossed(expressed, included, tuple(str(name) for name in names))
