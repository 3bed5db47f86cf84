"""A study of several domains: one study for each, laid out alike, in a folder of its own."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from wg_evals._yaml import read_mapping, read_yaml
from wg_evals.catalogue import load_domain
from wg_evals.errors import CatalogError
from wg_evals.spec import Domain
from wg_evals.study.spec import EvaluationSpec, MatrixSpec, Study, StudySpec, beside, located, resolve_study

TRAIT = "trait"
"""Among a grid's evaluations: each domain's own main task, the first of its probes."""


class GridSpec(MatrixSpec):
    """What is trained and evaluated, alike in several domains."""

    domains: list[str] = Field(min_length=1)
    """Names, or folders of one's own."""
    interventions: Literal["all"] | list[str] = "all"
    """`all`: each domain's full list; else names that each of the domains has."""
    bases_by_domain: dict[str, list[str]] = Field(default_factory=dict)
    """A domain's own bases, instead of `bases`."""

    def _lists(self) -> dict[str, list[Any]]:
        named = [] if isinstance(self.interventions, str) else self.interventions
        return {**super()._lists(), "domain": self.domains, "intervention": named}


class Grid(NamedTuple):
    """A grid's file with everything it refers to found and read."""

    name: str
    studies: dict[str, Study]
    """By domain."""


def is_grid(path: Path) -> bool:
    """Whether a study's file is of several domains.

    Raises:
        CatalogError: It is no YAML mapping.
    """
    return "domains" in read_mapping(path)[1]


def load_grid(path: Path) -> Grid:
    """Read a grid's file, and lay out the study of each domain.

    Raises:
        CatalogError: As `load_study`; two domains of one name.
    """
    path = path.expanduser().resolve()
    spec = read_yaml(path, GridSpec)
    for name in spec.bases_by_domain:
        if name not in spec.domains:
            raise CatalogError(f"bases_by_domain: '{name}' is none of the domains", path)
    studies: dict[str, Study] = {}
    for i, name in enumerate(spec.domains):
        with located(path, "domains", i):
            domain = load_domain(beside(name, path.parent))
            if domain.name in studies:
                raise CatalogError(f"the domain '{domain.name}' is given twice", path)
        studies[domain.name] = resolve_study(path, _of_domain(spec, name, domain), any_domain=True)
    return Grid(spec.name, studies)


def _of_domain(spec: GridSpec, name: str, domain: Domain) -> StudySpec:
    shared = spec.model_dump(exclude={"domains", "interventions", "evaluations", "name", "bases_by_domain"})
    shared["bases"] = spec.bases_by_domain.get(name, spec.bases)
    evaluations: dict[str, EvaluationSpec] = {}
    for task, evaluation in spec.evaluations.items():
        evaluations[next(iter(domain.spec.probes)) if task == TRAIT else task] = evaluation
    names = domain.intervention_names if isinstance(spec.interventions, str) else spec.interventions
    return StudySpec(
        **shared,
        name=f"{spec.name}-{domain.name}",
        domain=name,
        interventions=names,
        evaluations=evaluations,
    )
