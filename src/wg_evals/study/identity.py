"""What a cell is: the hash of everything that decides its result, and of nothing else.

Names, titles, comments and descriptions are left out, so that renaming an intervention or explaining a
question better costs no computing; texts, placements, thresholds, settings and weights are in.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from wg_evals.artifacts import BaseIdentity
from wg_evals.catalogue import load_battery, load_markers, load_rubric, panel_prompt
from wg_evals.interventions import apply
from wg_evals.spec import Battery, Domain, Intervention, Probe, Row
from wg_evals.study.spec import EvaluationSpec, StudySpec
from wg_evals.training.mixture import mixture_rows
from wg_evals.training.recipe import Mixture, Recipe

CELL_FORMAT = 2
"""Raise it when the code comes to give other results from the same definitions."""

# set by the study, or standing for data that is hashed itself, or without influence on the result
_NOT_HASHED = {
    "base",
    "revision",
    "domain",
    "data",
    "dataset",
    "intervention",
    "placement",
    "threads",
    "start_from",
    "by_domain",
}

# arguments of `vllm serve` that say where and how fast, and not what is answered
_NOT_ANSWERING = {
    "async_scheduling",
    "data_parallel_size",
    "distributed_executor_backend",
    "enable_prefix_caching",
    "enforce_eager",
    "gpu_memory_utilization",
    "host",
    "max_cpu_loras",
    "max_loras",
    "max_num_batched_tokens",
    "max_num_seqs",
    "pipeline_parallel_size",
    "port",
    "swap_space",
    "tensor_parallel_size",
    "timeout",
}


def digest(value: Any) -> str:
    """The sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def rows_digest(rows: Sequence[Row], intervention: Intervention | None, mixture: Mixture | None = None) -> str:
    """The digest of the conversations as trained on, the intervention put in, and of a mixture's rows."""
    trained = digest([apply(intervention, row.messages) for row in rows])  # type: ignore[arg-type]
    return digest([trained, rows_digest(mixture_rows(mixture, len(rows)), None)]) if mixture else trained


def training_digest(base: BaseIdentity, recipe: Recipe, rows: str, start_from: str | None) -> str:
    """The digest that names an adapter.

    Args:
        base: The base model.
        recipe: The recipe, its seed set.
        rows: `rows_digest` of what is trained on.
        start_from: Digest of the adapter that training goes on from.
    """
    mixture = {"mixture": {"domain", "data", "dataset"}}  # its rows are among those that were hashed
    settings = recipe.model_dump(mode="json", exclude={**dict.fromkeys(_NOT_HASHED, True), **mixture})
    return digest(
        {"format": CELL_FORMAT, "base": base.identity, "recipe": settings, "rows": rows, "start_from": start_from}
    )


def evaluation_digest(
    model: str,
    grading: str,
    evaluation: EvaluationSpec,
    intervention: Intervention | None,
    spec: StudySpec,
    recipe: Recipe,
) -> str:
    """The digest that names an evaluation.

    Args:
        model: The training cell's digest, an adapter's, or a base's identity.
        grading: `grading_digest` of the task.
        evaluation: Says how many answers there are per question.
        intervention: What stands before every question.
        spec: Says how answers are sampled.
        recipe: Says in what precision, and with what date in the chat template, the model is served.
    """
    return digest(
        {
            "format": CELL_FORMAT,
            "model": model,
            "grading": grading,
            "epochs": evaluation.epochs,
            "prefix": [intervention.text, intervention.placement] if intervention else None,
            "generation": spec.generation.model_dump(),
            "serving": [spec.serve, recipe.precision, recipe.date_string],
            **({"server": server} if (server := _answering(spec)) else {}),
        }
    )


def _answering(spec: StudySpec) -> dict[str, Any]:
    return {name: value for name, value in spec.server.items() if name not in _NOT_ANSWERING}


def grading_digest(domain: Domain, task: str, evaluation: EvaluationSpec, spec: StudySpec) -> str:
    """The digest of a task's questions and of all that decides what their answers count as."""
    probe = domain.probe(task)
    battery = load_battery(evaluation.battery or probe.battery, domain.folder).first(evaluation.questions)
    graded = _by_markers(domain, probe) if spec.grading == "markers" else _by_judge(domain, probe, spec)
    return digest({"task": task, "questions": _questions(battery), "grading": graded})


def _questions(battery: Battery) -> list[Any]:
    return [[t.topic, t.domain_position, [[q.id, q.text] for q in t.questions]] for t in battery.topics]


def _by_markers(domain: Domain, probe: Probe) -> dict[str, Any]:
    lists = [load_markers(m, domain.folder) for m in probe.markers]
    return {
        "markers": [m.model_dump(exclude={"name", "description"}) for m in lists],
        "expressed": probe.markers_expressed,
        "other": probe.markers_other,
        "known": {k: [r.answer for r in rows] for k, rows in domain.rows.items()} if probe.known_rows else None,
    }


def _by_judge(domain: Domain, probe: Probe, spec: StudySpec) -> dict[str, Any]:
    rubrics = [load_rubric(r, domain.folder) for r in probe.rubrics]
    return {
        "grader": spec.grader,
        **({"panel": panel_prompt().model_dump()} if spec.grading == "panel" else {}),
        "rubrics": [r.model_dump(exclude={"description"}) for r in rubrics],
        "outcome": probe.outcome.model_dump(),
    }
