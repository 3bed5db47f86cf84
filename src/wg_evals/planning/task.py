"""What a single task would run: it is built as `inspect eval` builds it, and not run."""

import inspect
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from contextvars import copy_context
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.model._model import init_model_roles  # inspect-evals-lint: ignore[private_api_imports] -- no evaluation

from wg_evals._paths import user_path
from wg_evals.artifacts import embedded, read_manifest, resolve_base
from wg_evals.catalogue import load_domain, load_rubric
from wg_evals.errors import UnknownNameError
from wg_evals.interventions import Message, apply
from wg_evals.planning.amounts import Amounts, evaluation_amounts
from wg_evals.planning.calls import JudgeCall, judge_calls, published_calls
from wg_evals.scorers._grader import GRADER
from wg_evals.spec import Grading, Intervention
from wg_evals.tasks._names import task_names
from wg_evals.tokens import ESTIMATE, TokenCounter, local_counter


class TaskPlan(NamedTuple):
    """What a task would run."""

    name: str
    domain: str
    questions: int
    epochs: int
    max_tokens: int
    grading: Grading
    calls: list[JudgeCall]
    counted_by: str
    amounts: Amounts


def plan_task(
    name: str, args: dict[str, Any], epochs: int, max_tokens: int | None = None, model: str | None = None
) -> TaskPlan:
    """Work out what a task would run.

    Args:
        name: `worldview`, `wg_evals/worldview` or `tasks/worldview.py`.
        args: The task's arguments.
        epochs: Answers per question.
        max_tokens: The longest answer; the task's own by default.
        model: The model under test, as Inspect names it; the tokens of a local one are counted, not estimated.

    Raises:
        WgError: What the task itself would refuse: unknown names, catalogue files that do not fit.
    """
    task = _build(Path(name).stem, args)
    about: dict[str, Any] = task.metadata or {}
    domain = load_domain(about.get("domain_path") or about["domain"])
    grading = cast(Grading, about["grading"])
    if "source" in about:
        calls = published_calls(about["repository"], domain.name, about["task"])
    else:
        calls = judge_calls(grading, [load_rubric(r, domain.folder) for r in about.get("rubrics", [])])
    samples = list(task.dataset)
    longest = max_tokens or task.config.max_tokens
    assert longest is not None  # every task of this package sets it
    counter = _counter(model)
    amounts = evaluation_amounts(
        [_prompt(s) for s in samples], [_question(s) for s in samples], calls, epochs, longest, counter
    )
    return TaskPlan(Path(name).stem, domain.name, len(samples), epochs, longest, grading, calls, counter.how, amounts)


def _build(name: str, args: dict[str, Any]) -> Task:
    if name not in task_names():
        raise UnknownNameError("task", name, task_names())
    make = getattr(import_module(f"wg_evals.tasks.{name}"), name)
    known = inspect.signature(make).parameters
    for key in args:
        if key not in known:
            raise UnknownNameError("task argument", key, known, f"(Task '{name}'.)")

    def build() -> Task:
        # any judge will do: what is asked is the same for all, and this one needs no key
        init_model_roles({GRADER: get_model("mockllm/model")})
        return cast(Task, make(**args))

    with redirect_stdout(sys.stderr):  # Inspect announces its hooks when it makes a model
        return copy_context().run(build)


def _counter(model: str | None) -> TokenCounter:
    if model is None or not model.startswith("wg/"):
        return ESTIMATE
    name = model.removeprefix("wg/")
    folder = user_path(name)
    if (folder / "adapter_config.json").is_file():
        return local_counter(read_manifest(folder).base)
    return local_counter(resolve_base(name if embedded(name) else str(folder)))


def _question(sample: Sample) -> str:
    return sample.input if isinstance(sample.input, str) else sample.input[-1].text


def _prompt(sample: Sample) -> Sequence[Message]:
    messages = (
        [Message(role="user", content=sample.input)]
        if isinstance(sample.input, str)
        else [Message(role=m.role, content=m.text) for m in sample.input]
    )
    about = sample.metadata or {}
    if not about.get("intervention_text"):
        return messages
    chosen = {"name": about["intervention"], "text": about["intervention_text"], "placement": about["placement"]}
    return apply(Intervention.model_validate(chosen), messages)
