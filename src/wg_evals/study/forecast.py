"""What a study has done and what it would still run, in answers, calls and tokens."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from wg_evals.analysis.records import Condition
from wg_evals.artifacts import BaseIdentity
from wg_evals.catalogue import load_rubric
from wg_evals.interventions import Message, apply
from wg_evals.planning.amounts import Amounts, evaluation_amounts
from wg_evals.planning.calls import JudgeCall, judge_calls
from wg_evals.planning.prices import Usage
from wg_evals.spec import Intervention
from wg_evals.study.cells import EvaluationCell, Matrix, TrainingCell
from wg_evals.study.store import StudyFolder
from wg_evals.tokens import local_counter


@dataclass
class Part:
    """The finished cells of a study, or those that are left."""

    adapters: int = 0
    training_tokens: int = 0
    """Tokens of the rows, times the epochs."""
    evaluations: int = 0
    by_base: dict[str, Amounts] = field(default_factory=dict)

    @property
    def amounts(self) -> Amounts:
        """Of all bases together."""
        return sum(self.by_base.values(), Amounts())

    def __add__(self, other: "Part") -> "Part":
        bases = {
            b: self.by_base.get(b, Amounts()) + other.by_base.get(b, Amounts()) for b in self.by_base | other.by_base
        }
        tokens = self.training_tokens + other.training_tokens
        return Part(self.adapters + other.adapters, tokens, self.evaluations + other.evaluations, bases)

    def usages(self, grader: str | None) -> list[Usage]:
        """What each model reads and, at most, writes; the judge last."""
        found = [Usage(base, a.prompt_tokens, a.answer_tokens) for base, a in self.by_base.items()]
        if grader is not None:
            found.append(Usage(grader, self.amounts.judge_prompt_tokens, self.amounts.judge_reply_tokens))
        return found


@dataclass
class Forecast:
    """A study's cells by whether they are done; two cells that are the same thing under two names count once."""

    done: Part
    left: Part
    calls: list[JudgeCall]
    """All that a judge is asked, over the tasks."""
    counted_by: set[str]


def forecast(matrix: Matrix, folder: StudyFolder) -> Forecast:
    """Work out what a study would run; nothing is run or written.

    Args:
        matrix: The study's cells.
        folder: Where it keeps what is done; it need not be there.
    """
    spec, domain = matrix.study.spec, matrix.study.domain
    counter = cache(local_counter)

    @cache
    def calls(task: str) -> list[JudgeCall]:
        return judge_calls(spec.grading, [load_rubric(r, domain.folder) for r in domain.probe(task).rubrics])

    @cache  # seeds do not change what is read, and there are many cells
    def training_tokens(base: BaseIdentity, condition: Condition) -> int:
        rows = (cast(list[Message], r.messages) for r in matrix.study.recipe.chosen(domain.rows[condition.dataset]))
        return sum(counter(base).whole(apply(condition.intervention, messages)) for messages in rows)

    @cache
    def amounts(base: BaseIdentity, task: str, intervention: Intervention | None) -> Amounts:
        evaluation = spec.evaluations[task]
        questions = [q.text for q in matrix.battery(task).questions]
        prompts = [apply(intervention, [Message(role="user", content=q)]) for q in questions]
        longest = spec.generation.max_tokens
        return evaluation_amounts(prompts, questions, calls(task), evaluation.epochs, longest, counter(base))

    done, left = Part(), Part()
    for cell in unique(matrix.cells):
        part = done if folder.is_finished(cell) else left
        if isinstance(cell, TrainingCell):
            part.adapters += 1
            part.training_tokens += training_tokens(cell.base, cell.condition) * cell.recipe.epochs
        else:
            part.evaluations += 1
            asked = amounts(cell.base, cell.task, cell.intervention)
            part.by_base[cell.base.name] = part.by_base.get(cell.base.name, Amounts()) + asked
    return Forecast(
        done, left, [c for task in spec.evaluations for c in calls(task)], {counter(b).how for b in matrix.bases}
    )


def unique(cells: Iterable[TrainingCell | EvaluationCell]) -> list[TrainingCell | EvaluationCell]:
    """The cells that are different things."""
    return list({c.digest: c for c in cells}.values())
