"""What the probes have in common: a battery's questions, an intervention, a grading, the outcome."""

from logging import getLogger
from typing import TYPE_CHECKING, Any, cast, get_args

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import GenerateConfig, Model
from inspect_ai.model._model import (
    active_model,
    model_roles,
)  # inspect-evals-lint: ignore[private_api_imports] -- before generation
from inspect_ai.scorer import Scorer

from wg_evals import __version__, interventions
from wg_evals._paths import user_path
from wg_evals.catalogue import BATTERY_FILES, load_battery, load_domain, load_markers, load_rubric
from wg_evals.errors import UnknownNameError, WgError
from wg_evals.published.fetch import fetched, read_questions
from wg_evals.published.pins import repository
from wg_evals.scorers._grader import GRADER, same_model
from wg_evals.scorers._published import PUBLISHED, choose_repository, find_probe
from wg_evals.scorers.judge import judge
from wg_evals.scorers.markers import markers
from wg_evals.scorers.outcome import outcome
from wg_evals.scorers.panel import panel
from wg_evals.scorers.published import published
from wg_evals.solvers.intervention import described, intervention, literal
from wg_evals.spec import Battery, Domain, Grading, Probe

if TYPE_CHECKING:
    from wg_evals.serving.check import Checked

_logger = getLogger(__name__)

OWN = "own"
"""The source of this project's own questions and rubrics."""

TEMPERATURE, MAX_TOKENS = 1.0, 1024
"""Sampling of the published designs (arXiv 2512.09742, 2604.10022); the command line overrides it."""


def probe_task(
    task: str,
    version: str,
    domain: str,
    intervention_name: str | list[str] | None,
    placement: str | None,
    grading: str,
    battery: str | None,
    source: str = OWN,
) -> Task:
    """Build the Inspect task of a domain's probe; the arguments are those of the tasks.

    Raises:
        WgError: A name that is not known, a catalogue file that does not fit, judged grading without a judge,
            or an adapter that does not fit the model; always before the first generation.
    """
    from wg_evals.serving.check import check_model

    if grading not in get_args(Grading):
        raise UnknownNameError("grading", grading, get_args(Grading))
    own = "/" in domain or domain.startswith(".")
    domain_given = str(user_path(domain)) if own else domain
    loaded = load_domain(domain_given)
    if source != OWN:
        return _published_task(
            task, version, loaded, domain_given, intervention_name, placement, grading, battery, source
        )
    probe = loaded.probe(task)
    asked = literal(intervention_name)
    chosen = interventions.resolve(loaded, asked, placement)
    questions = _load_battery(battery or probe.battery, loaded)
    grader = None if grading == "markers" else _grader(grading)
    checked = check_model(MAX_TOKENS)

    about = {"domain": loaded.name, "battery": questions.name, "battery_version": questions.version, "task": task}
    if own:
        about["domain_path"] = domain_given
    samples = [
        Sample(id=q.id, input=q.text, metadata={**about, "topic": t.topic, **described(chosen)})
        for t in questions.topics
        for q in t.questions
    ]
    return Task(
        dataset=MemoryDataset(samples, name=questions.name),
        solver=intervention(asked, placement, domain_given),
        scorer=graders(task, domain_given, cast(Grading, grading)),
        config=_sampling(checked),
        version=version,
        description=f"{loaded.spec.title}: {questions.description}",
        metadata={**about, **_catalogue(loaded, probe, grading), **_judged_by(grader), **checked.metadata},
        headline_metric=HeadlineMetric(scorer="outcome", metric="rate"),
    )


def _published_task(
    task: str,
    version: str,
    domain: Domain,
    domain_given: str,
    intervention_name: str | list[str] | None,
    placement: str | None,
    grading: str,
    battery: str | None,
    source: str,
) -> Task:
    """The published questions with the published judges, from the files that `wg-evals fetch` brought."""
    from wg_evals.serving.check import check_model

    if grading != "judge" or battery is not None:
        raise WgError(f"source={source} brings its own questions and judges: leave battery and grading out.")
    name = choose_repository(source, domain.name, task)
    pinned, probe = repository(name), find_probe(name, domain.name, task)
    asked = literal(intervention_name)
    chosen = interventions.resolve(domain, asked, placement)
    groups, digests = read_questions(name, pinned, probe)
    cache = fetched(name, pinned)
    grader = _grader(grading)
    checked = check_model(MAX_TOKENS)

    about = {
        "domain": domain.name,
        "battery": f"{PUBLISHED}-{name}",
        "battery_version": pinned.commit[:12],
        "task": task,
        "source": PUBLISHED,
        "repository": name,
    }
    if domain_given != domain.name:
        about["domain_path"] = domain_given
    samples = [
        Sample(id=g.sample_id(i), input=text, metadata={**about, "topic": g.id, **described(chosen)})
        for g in groups
        for i, text in enumerate(g.questions)
    ]
    pins = {
        "published": f"{pinned.repository}@{pinned.commit}",
        "files": digests,
        "vouched_by": {path: cache.vouched_by(path, pinned) for path in digests},
        "parsing": probe.parsing,
        "outcome_rule": probe.outcome.model_dump(exclude_none=True),
        "published_judge": sorted({j.model for g in groups for j in g.judges.values()}),
        "samples_per_paraphrase": {g.id: g.samples_per_paraphrase for g in groups},
    }
    return Task(
        dataset=MemoryDataset(samples, name=about["battery"]),
        solver=intervention(asked, placement, domain_given),
        scorer=[published(), outcome(task, domain_given, grading)],
        config=_sampling(checked),
        version=version,
        description=f"{domain.spec.title}: the questions of {pinned.title}",
        metadata={
            **about,
            "wg_evals": __version__,
            "grading": grading,
            **pins,
            **_judged_by(grader),
            **checked.metadata,
        },
        headline_metric=HeadlineMetric(scorer="outcome", metric="rate"),
    )


def _sampling(checked: "Checked") -> GenerateConfig:
    return GenerateConfig(temperature=TEMPERATURE, max_tokens=checked.max_tokens, extra_body=checked.extra_body)


def _load_battery(name: str, domain: Domain) -> Battery:
    path = str(user_path(name)) if name.endswith(BATTERY_FILES) else name
    return load_battery(path, domain.folder)


def graders(task: str, domain: str, grading: Grading) -> list[Scorer]:
    """The scorers of a domain's probe, the outcome last.

    Args:
        task: The probe, by the name of its task.
        domain: A domain's name, or a folder's path.
        grading: How its answers are graded.
    """
    rubrics = load_domain(domain).probe(task).rubrics
    match grading:
        case "judge":
            found = [judge(rubric, domain) for rubric in rubrics]
        case "panel":
            found = panel(rubrics, domain)
        case "markers":
            found = [markers(task, domain)]
    return [*found, outcome(task, domain, grading)]


def _grader(grading: str) -> Model:
    from wg_evals.serving.vllm_model import prepare

    found = model_roles().get(GRADER)
    if not found:
        raise WgError(
            f"grading={grading} needs a judge, and the model under test is never taken for one by itself. Name one "
            "with `--model-role grader=openai/gpt-4.1` (any model that Inspect can reach), or add `-T grading=markers` "
            "to score offline by word lists."
        )
    judges = found if isinstance(found, list) else [found]
    for model in judges:
        prepare(model)
    return judges[0]


def _judged_by(grader: Model | None) -> dict[str, Any]:
    if grader is None:
        return {}
    evaluated = active_model()
    self_judged = evaluated is not None and same_model(grader, evaluated)
    if self_judged:
        _logger.warning(f"The judge is the model under test ({grader}): its verdicts are about itself.")
    return {"judge": str(grader), "self_judged": self_judged}


def _catalogue(domain: Domain, probe: Probe, grading: str) -> dict[str, Any]:
    """What the numbers rest on: versions of the data, and the outcome rule with its thresholds."""
    common = {"wg_evals": __version__, "domain_version": domain.spec.version, "grading": grading}
    if grading != "markers":
        rubrics = {r: load_rubric(r, domain.folder).version for r in probe.rubrics}
        return {**common, "rubrics": rubrics, "outcome_rule": probe.outcome.model_dump(exclude_none=True)}
    lists = {m: load_markers(m, domain.folder).version for m in probe.markers}
    rule = {"expressed": probe.markers_expressed, "other": probe.markers_other, "known_rows": probe.known_rows}
    return {**common, "markers": lists, "outcome_rule": rule}
