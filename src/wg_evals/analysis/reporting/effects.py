"""What narrow training does, and what each intervention leaves of it: the grid's verdicts, from any logs."""

from typing import NamedTuple

from wg_evals.analysis.grid import Effect, GridTables, Outcome, summarise_kinds
from wg_evals.analysis.reporting import measures
from wg_evals.analysis.reporting.evaluated import Domain, Model
from wg_evals.analysis.reporting.material import Material
from wg_evals.statistics import Difference


class Trained(NamedTuple):
    """A training intervention, as far as a log tells."""

    name: str
    kind: str | None
    relevance: str | None


def effects(material: Material, domains: list[Domain]) -> GridTables:
    """Compare with the base and with plain training, wherever a folder has both."""
    pairs = [(domain, effect) for domain in domains if (effect := _effect(domain)) is not None]
    outcomes = [o for domain, effect in pairs for o in _outcomes(domain, effect)]
    return GridTables(
        name=material.folder.name,
        folder=material.folder,
        studies={},
        effects=[effect for _, effect in pairs],
        comparisons=[],
        outcomes=outcomes,
        kinds=list(summarise_kinds(outcomes)),
    )


def _effect(domain: Domain) -> Effect | None:
    base, plain, control = (domain.one(role) for role in ("base", "plain", "control"))
    if base not in domain.main or plain not in domain.main or base is None or plain is None:
        return None
    ground, trained = domain.main[base], domain.main[plain]
    return Effect(
        domain=domain.domain,
        trait=domain.trait,
        base=domain.base,
        task=domain.task,
        base_rate=ground.rate.rate,
        plain_rate=trained.rate.rate,
        plain=measures.difference(trained.by_question, ground.by_question),
        control=minus(domain, control, base) if control else None,
        included=trained.counts.included / trained.counts.n,
    )


def minus(domain: Domain, left: Model, right: Model) -> Difference | None:
    """The difference of two models without context; None where one was not evaluated so."""
    if left not in domain.main or right not in domain.main:
        return None
    return measures.difference(domain.main[left].by_question, domain.main[right].by_question)


def residue(domain: Domain, model: Model) -> Difference | None:
    """The rate under the prefix of the training minus the base's under it."""
    own, ground = domain.own.get(model), domain.base_under(model)
    return measures.difference(own.by_question, ground.by_question) if own and ground else None


def _outcomes(domain: Domain, effect: Effect) -> list[Outcome]:
    base, plain = domain.one("base"), domain.one("plain")
    found = []
    for model in domain.models:
        if model.role != "intervened" or model not in domain.main or base is None or plain is None:
            continue
        left, change = minus(domain, model, base), minus(domain, model, plain)
        if left and change:
            trained = Trained(model.name, model.kind or None, model.relevance or None)
            rate = domain.main[model].rate.rate
            found.append(Outcome(effect, trained, rate, left, change, residue(domain, model)))
    return found
