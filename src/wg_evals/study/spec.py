"""What `study.yaml` may say, and its one loader."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wg_evals import _yaml
from wg_evals.catalogue import BATTERY_FILES, load_battery, load_domain
from wg_evals.errors import CatalogError, WgError
from wg_evals.serving.vllm_server import Argument
from wg_evals.spec import Domain, Grading, Intervention, Name
from wg_evals.training.recipe import Recipe, load_recipe, resolve_recipe

Seed = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EvaluationSpec(_Strict):
    """One task of the study."""

    battery: str | None = None
    """A battery's name, or a file's path relative to the study's file; None: the domain's own for this task."""
    questions: int | None = Field(default=None, ge=1)
    """At most so many questions: each topic's first phrasing, then each one's second, ...; None: all."""
    epochs: int = Field(ge=1)
    """Answers per question."""
    contexts: list[Literal["none", "as_trained"]] = Field(default=["none"], min_length=1)
    """`as_trained`: under the prefix an adapter was trained with; the base and the plain adapter under all of them."""


class GenerationSpec(_Strict):
    """How answers are sampled."""

    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=1024, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    """Another number gives other answers from the same models."""


class MatrixSpec(_Strict):
    """What a study of one domain and one of several say alike."""

    name: Name
    bases: list[str] = Field(min_length=1)
    """`organism`, model folders (relative to the study's file) or hub ids."""
    recipe: Path
    """The training recipe; base, rows, intervention and seed are the study's to set."""
    controls: bool = True
    """Whether adapters are trained on the control rows too."""
    seeds: list[Seed] = Field(min_length=1)
    """Training seeds."""
    evaluations: dict[str, EvaluationSpec] = Field(min_length=1)
    grading: Grading = "markers"
    grader: str | None = None
    """The judge, as Inspect names models; for `grading: judge` or `panel`."""
    serve: Literal["local", "vllm"] = "local"
    """`local`: in the workers' own process. `vllm`: by a vLLM server per base."""
    server: dict[str, Argument] = {}
    """With `serve: vllm`: arguments of `vllm serve`, such as `tensor_parallel_size: 4`."""
    generation: GenerationSpec = GenerationSpec()
    max_connections: int = Field(default=256, ge=1)
    """Answers in the making at a time."""
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    adapters: dict[Name, Path] = {}
    """Finished adapter folders to evaluate too, by the name their row gets (relative to the study's file)."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for what, values in self._lists().items():
            twice = sorted({str(v) for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} is given twice")
        if self.grading != "markers" and not self.grader:
            raise ValueError(f"grading: {self.grading} needs a grader, for example `grader: openai/gpt-4.1`")
        if self.grading == "markers" and self.grader:
            raise ValueError("a grader is given, but grading is markers: set `grading: judge`, or leave the grader out")
        if self.server and self.serve != "vllm":
            raise ValueError("`server` has arguments for vLLM: add `serve: vllm`, or leave it out")
        taken = {"base", "plain", "control", *self._lists()["intervention"]} & set(self.adapters)
        if taken:
            raise ValueError(f"adapters: the name {', '.join(sorted(taken))} is taken by a row of the study's own")
        return self

    def _lists(self) -> dict[str, list[Any]]:
        """What must not be given twice."""
        return {"base": self.bases, "seed": self.seeds, "intervention": []}


class StudySpec(MatrixSpec):
    """The matrix: what is trained, and how it is evaluated."""

    domain: str
    """A domain's name, or a folder of one's own (`./NAME`, relative to the study's file)."""
    interventions: list[str] = []
    """Names of the domain's, each put into the training rows of its own adapters."""

    def _lists(self) -> dict[str, list[Any]]:
        return {**super()._lists(), "intervention": self.interventions}


class Study(BaseModel):
    """A study file with everything it refers to found and read."""

    model_config = ConfigDict(frozen=True)

    path: Path
    spec: StudySpec
    domain: Domain
    recipe: Recipe
    interventions: list[Intervention]


def load_study(path: Path) -> Study:
    """Read a study file, and find everything it names.

    Base models and adapters are looked for later (`cells.plan_study`): that reads their weights.

    Raises:
        CatalogError: With file, line and reason: malformed YAML, unknown keys, a missing recipe, unknown names.
    """
    path = path.expanduser().resolve()
    return resolve_study(path, _yaml.read_yaml(path, StudySpec))


def resolve_study(path: Path, spec: StudySpec, any_domain: bool = False) -> Study:
    """Find everything that a study names.

    Args:
        path: The file that it comes from; names in it are relative to its folder.
        spec: What it says.
        any_domain: Whether a recipe may name another domain: it says how to train, and not on what.

    Raises:
        CatalogError: As `load_study`.
    """
    folder = path.parent
    with located(path, "domain"):
        domain = load_domain(beside(spec.domain, folder))
    with located(path, "recipe"):
        recipe = load_recipe(_absolute(spec.recipe, folder))
        if recipe.data is None and (any_domain or recipe.domain is None):
            recipe = recipe.model_copy(update={"domain": beside(spec.domain, folder)})
        recipe = resolve_recipe(recipe)
        _check_recipe(recipe, domain)
    interventions: list[Intervention] = []
    for i, name in enumerate(spec.interventions):
        with located(path, "interventions", i):
            interventions.append(domain.intervention(name))
    evaluations: dict[str, EvaluationSpec] = {}
    for task, evaluation in spec.evaluations.items():
        with located(path, "evaluations", task):
            probe = domain.probe(task)
            battery = evaluation.battery or probe.battery
            if battery.endswith(BATTERY_FILES):
                battery = str(_absolute(Path(battery), folder))
            load_battery(battery, domain.folder)
            evaluations[task] = evaluation.model_copy(update={"battery": battery})
    update: dict[str, Any] = {
        "domain": beside(spec.domain, folder),
        "recipe": _absolute(spec.recipe, folder),
        "evaluations": evaluations,
        "adapters": {name: _absolute(p, folder) for name, p in spec.adapters.items()},
    }
    return Study(
        path=path,
        spec=spec.model_copy(update=update),
        domain=domain,
        recipe=recipe,
        interventions=interventions,
    )


def check_grader(study: Study) -> None:
    """Make sure that the judge can be asked, before hours of training: its provider is known and has its key.

    Raises:
        CatalogError: If not, with the provider's own reason.
    """
    if study.spec.grader is None:
        return
    from wg_evals.scorers._grader import named_judge

    with located(study.path, "grader"):
        named_judge(study.spec.grader)


@contextmanager
def located(path: Path, *key: str | int) -> Iterator[None]:
    """Put the study file's name and line before a complaint that arises inside the block."""
    try:
        yield
    except WgError as ex:
        line = _yaml.line_of(_yaml._compose(path), key)
        raise CatalogError(ex.text, path, line) from None


def _check_recipe(recipe: Recipe, domain: Domain) -> None:
    if recipe.data is not None:
        raise WgError(f"The recipe has rows of its own (data: {recipe.data}); a study trains on its domain's rows.")
    if recipe.domain is not None and load_domain(recipe.domain).folder != domain.folder:
        raise WgError(f"The recipe is for the domain '{recipe.domain}', the study for '{domain.name}'.")
    if recipe.intervention not in (None, "", "none"):
        raise WgError(
            f"The recipe sets the intervention '{recipe.intervention}'; in a study, list it under `interventions`."
        )


def _absolute(path: Path, folder: Path) -> Path:
    path = path.expanduser()
    return path if path.is_absolute() else (folder / path).resolve()


def beside(name: str, folder: Path) -> str:
    """A name as it is; a path (`./x`, `../x`, `~/x`) made absolute."""
    return str(_absolute(Path(name), folder)) if name.startswith((".", "~")) else name
