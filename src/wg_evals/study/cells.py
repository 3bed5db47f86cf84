"""The matrix: every adapter to train and every evaluation to run, each named by its hash.

Training: base x (plain, control, each intervention) x seed. Evaluation: every adapter without context; each
intervened adapter under the prefix it was trained with; the base and the plain adapters under every one of
those prefixes too, since a prefix moves the base by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wg_evals.analysis.records import ADAPTERS, EVALS, Condition, Context, Plan, PlannedBase, PlannedCell
from wg_evals.artifacts import BaseIdentity, check_fit, embedded, read_manifest, resolve_base
from wg_evals.catalogue import load_battery
from wg_evals.errors import WgError
from wg_evals.spec import Battery, Intervention
from wg_evals.study.identity import evaluation_digest, grading_digest, rows_digest, training_digest
from wg_evals.study.spec import EvaluationSpec, Study, beside, located
from wg_evals.training.recipe import Recipe

HASH_LENGTH = 12


@dataclass(frozen=True)
class TrainingCell:
    """One adapter to train."""

    base: BaseIdentity
    condition: Condition
    recipe: Recipe
    digest: str

    @property
    def hash(self) -> str:
        return self.digest[:HASH_LENGTH]

    @property
    def folder(self) -> str:
        """Relative to the study's folder."""
        return f"{ADAPTERS}/{_slug(self.base)}-{self.condition.name}-seed{self.recipe.seed}-{self.hash}"


@dataclass(frozen=True)
class EvaluationCell:
    """One evaluation to run: of a base, of an adapter of the study's own, or of one that was brought along."""

    base: BaseIdentity
    condition: Condition
    training: TrainingCell | None
    adapter: Path | None
    """For an adapter that was brought along."""
    seed: int | None
    task: str
    evaluation: EvaluationSpec
    context: Context
    intervention: Intervention | None
    digest: str

    @property
    def hash(self) -> str:
        return self.digest[:HASH_LENGTH]

    @property
    def folder(self) -> str:
        """Relative to the study's folder."""
        parts = [_slug(self.base), self.condition.name]
        if self.seed is not None:
            parts.append(f"seed{self.seed}")
        parts.append(self.task)
        if self.intervention:
            parts.append(f"under-{self.intervention.name}")
        return f"{EVALS}/{'-'.join(parts)}-{self.hash}"

    def planned(self) -> PlannedCell:
        """The cell as the analysis knows it."""
        return PlannedCell(
            hash=self.hash,
            folder=self.folder,
            base=self.base.name,
            condition=self.condition,
            seed=self.seed,
            task=self.task,
            context=self.context,
            intervention=self.intervention,
        )


@dataclass(frozen=True)
class Matrix:
    """A study's cells, trainings first."""

    study: Study
    bases: list[BaseIdentity]
    trainings: list[TrainingCell]
    evaluations: list[EvaluationCell]

    @property
    def cells(self) -> list[TrainingCell | EvaluationCell]:
        """All of them."""
        return [*self.trainings, *self.evaluations]

    @cached_property
    def samples(self) -> int:
        """Answers in the whole study."""
        return sum(self.questions(c.task) * c.evaluation.epochs for c in self.evaluations)

    def battery(self, task: str) -> Battery:
        """What a task asks."""
        evaluation = self.study.spec.evaluations[task]
        return load_battery(evaluation.battery or "", self.study.domain.folder).first(evaluation.questions)

    def questions(self, task: str) -> int:
        """How many questions a task asks."""
        return len(self.battery(task).questions)

    def plan(self) -> Plan:
        """The study as the analysis reads it."""
        spec, domain = self.study.spec, self.study.domain
        evaluations = {
            task: {"battery": Path(e.battery or "").stem, "questions": self.questions(task), **_shown(e)}
            for task, e in spec.evaluations.items()
        }
        return Plan(
            name=spec.name,
            domain=domain.name,
            title=domain.spec.title,
            description=domain.spec.description,
            trait=domain.spec.trait,
            bases=[PlannedBase(name=b.name, path=b.path, identity=b.identity) for b in self.bases],
            seeds=spec.seeds,
            recipe=self.study.recipe.model_dump(mode="json", exclude_none=True),
            interventions=self.study.interventions,
            evaluations=evaluations,
            grading=spec.grading,
            grader=spec.grader,
            generation=spec.generation.model_dump(exclude_none=True),
            serve=spec.serve,
            trainings=len(self.trainings),
            cells=[c.planned() for c in self.evaluations],
        )


def plan_study(study: Study) -> Matrix:
    """Lay out the matrix.

    Raises:
        WgError: A base or an adapter that is not there, an adapter made for another base, two bases that are one.
    """
    bases: list[BaseIdentity] = []
    for i, name in enumerate(study.spec.bases):
        with located(study.path, "bases", i):
            base = resolve_base(beside(name, study.path.parent)).model_copy(update={"name": name})
            same = [b.name for b in bases if b.identity == base.identity]
            if same:
                raise WgError(f"'{name}' and '{same[0]}' are the same base model.")
            bases.append(base)
    trainings = [cell for base in bases for cell in _trainings(study, base)]
    evaluations = list(_evaluations(study, bases, trainings))
    return Matrix(study=study, bases=bases, trainings=trainings, evaluations=evaluations)


def conditions(study: Study) -> list[Condition]:
    """The study's own training conditions, in the order of its table."""
    result = [Condition(name="plain", role="plain", dataset="train")]
    if study.spec.controls:
        result.append(Condition(name="control", role="control", dataset="control"))
    for i in study.interventions:
        result.append(Condition(name=i.name, role="intervened", dataset="train", intervention=i))
    return result


def _trainings(study: Study, base: BaseIdentity) -> Iterator[TrainingCell]:
    start = study.recipe.start_from
    started_from = None
    if start is not None:
        with located(study.path, "recipe"):
            started_from = check_fit(start, base).adapter_sha256
    for condition in conditions(study):
        dataset = study.recipe.chosen(study.domain.rows[condition.dataset])
        rows = rows_digest(dataset, condition.intervention, study.recipe.mixture)
        for seed in study.spec.seeds:
            recipe = study.recipe.model_copy(
                update={
                    "base": base_argument(base),
                    "revision": base.revision,
                    "domain": study.spec.domain,
                    "dataset": condition.dataset,
                    "intervention": condition.trained_with if condition.intervention else None,
                    "seed": seed,
                }
            )
            yield TrainingCell(base, condition, recipe, training_digest(base, recipe, rows, started_from))


def _evaluations(study: Study, bases: list[BaseIdentity], trainings: list[TrainingCell]) -> Iterator[EvaluationCell]:
    spec = study.spec
    brought = [_brought(study, name, path, bases) for name, path in spec.adapters.items()]
    prefixes = _distinct([*study.interventions, *(c.intervention for _, c, _, _ in brought)])
    graded = {task: grading_digest(study.domain, task, e, spec) for task, e in spec.evaluations.items()}

    def cells(
        base: BaseIdentity,
        condition: Condition,
        seed: int | None,
        model: str,
        training: TrainingCell | None,
        path: Path | None,
    ) -> Iterator[EvaluationCell]:
        for task, evaluation in spec.evaluations.items():
            contexts: list[tuple[Context, Intervention | None]] = []
            if "none" in evaluation.contexts:
                contexts.append(("none", None))
            if "as_trained" in evaluation.contexts:
                if condition.intervention:
                    contexts.append(("as_trained", condition.intervention))
                elif condition.role in ("base", "plain"):
                    contexts += [("other", i) for i in prefixes]
            for context, intervention in contexts:
                digest = evaluation_digest(model, graded[task], evaluation, intervention, spec, study.recipe)
                yield EvaluationCell(
                    base, condition, training, path, seed, task, evaluation, context, intervention, digest
                )

    for base in bases:
        yield from cells(base, Condition(name="base", role="base"), None, base.identity, None, None)
        for t in trainings:
            if t.base == base:
                yield from cells(base, t.condition, t.recipe.seed, t.digest, t, None)
        for path, condition, owner, manifest_sha256 in brought:
            if owner == base:
                yield from cells(base, condition, read_manifest(path).seed, manifest_sha256, None, path)


def _brought(
    study: Study, name: str, path: Path, bases: list[BaseIdentity]
) -> tuple[Path, Condition, BaseIdentity, str]:
    with located(study.path, "adapters", name):
        manifest = read_manifest(path)
        owners = [b for b in bases if b.identity == manifest.base.identity]
        # with no base that fits, the complaint is about the first
        manifest = check_fit(path, owners[0] if owners else bases[0])
        condition = Condition(
            name=name,
            role="adapter",
            dataset=manifest.dataset if manifest.domain else "own",
            intervention=manifest.intervention,
        )
    return path, condition, owners[0], manifest.adapter_sha256


def _distinct(interventions: list[Intervention | None]) -> list[Intervention]:
    found: dict[tuple[str, str], Intervention] = {}
    for i in interventions:
        if i is not None:
            found.setdefault((i.text, i.placement), i)
    return list(found.values())


def base_argument(base: BaseIdentity) -> str:
    """A base as the trainer and the local provider find it: an embedded one by name, wherever the package lies."""
    return base.name if embedded(base.name) else base.path


def _slug(base: BaseIdentity) -> str:
    return "".join(c if c.isalnum() else "-" for c in Path(base.name).name.lower()).strip("-") or "base"


def _shown(evaluation: EvaluationSpec) -> dict[str, object]:
    return {"epochs": evaluation.epochs, "contexts": evaluation.contexts}
