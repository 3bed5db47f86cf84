"""What narrow training does, and what each intervention leaves of it: the grid's verdicts, from any logs."""

import math
from typing import NamedTuple

from wg_evals.analysis.corrections import holm
from wg_evals.analysis.effects import Effect as Compared
from wg_evals.analysis.effects import Suppression, effect, suppression
from wg_evals.analysis.grid import Effect, GridTables, Outcome, summarise_kinds
from wg_evals.analysis.reporting.evaluated import Domain, Evaluated, Model
from wg_evals.analysis.reporting.material import Material
from wg_evals.statistics import Difference


class Trained(NamedTuple):
    """A training intervention, as far as a log tells."""

    name: str
    kind: str | None
    relevance: str | None


class Findings(NamedTuple):
    """Effects and outcomes, with what the grid's own tables do not have."""

    grid: GridTables
    effect_p: list[float]
    """For each effect, of no difference between plain training and the base; Holm over the effects."""
    suppressions: list[Suppression]
    """For each outcome."""
    change_p: list[float]
    """For each outcome, of no difference between the intervened and the plain adapters; Holm over the outcomes."""


class _Outcome(NamedTuple):
    outcome: Outcome
    suppression: Suppression
    p: float


def find_effects(material: Material, domains: list[Domain]) -> Findings:
    """Compare with the base and with plain training, wherever a folder has both."""
    effects: list[Effect] = []
    effect_p: list[float] = []
    outcomes: list[_Outcome] = []
    for domain in domains:
        base, plain = (_main(domain, domain.one(role)) for role in ("base", "plain"))
        if base is None or plain is None:
            continue
        compared = effect(plain.crossed, base.crossed)
        effects.append(_effect(domain, base, plain, compared))
        effect_p.append(compared.p)
        outcomes += _outcomes(domain, effects[-1], base, plain)
    grid = GridTables(
        name=material.folder.name,
        folder=material.folder,
        studies={},
        effects=effects,
        comparisons=[],
        outcomes=[o.outcome for o in outcomes],
        kinds=list(summarise_kinds([o.outcome for o in outcomes])),
    )
    suppressions = [o.suppression for o in outcomes]
    return Findings(grid, holm(effect_p).tolist(), suppressions, holm([o.p for o in outcomes]).tolist())


def _main(domain: Domain, model: Model | None) -> Evaluated | None:
    found = domain.main.get(model) if model else None
    return found if found and not math.isnan(found.rate.rate) else None


def _effect(domain: Domain, base: Evaluated, plain: Evaluated, compared: Compared) -> Effect:
    control = _main(domain, domain.one("control"))
    return Effect(
        domain=domain.domain,
        trait=domain.trait,
        base=domain.base,
        task=domain.task,
        base_rate=base.rate.rate,
        plain_rate=plain.rate.rate,
        plain=_difference(compared),
        control=_difference(effect(control.crossed, base.crossed)) if control else None,
        included=plain.counts.included / plain.counts.n,
    )


def _outcomes(domain: Domain, of: Effect, base: Evaluated, plain: Evaluated) -> list[_Outcome]:
    found = []
    for model in domain.models:
        one = _main(domain, model) if model.role == "intervened" else None
        if one is None:
            continue
        change = effect(one.crossed, plain.crossed)
        outcome = Outcome(
            effect=of,
            intervention=Trained(model.name, model.kind or None, model.relevance or None),
            rate=one.rate.rate,
            left=_difference(effect(one.crossed, base.crossed)),
            change=_difference(change),
            residue=_residue(domain, model),
        )
        found.append(_Outcome(outcome, suppression(base.crossed, plain.crossed, one.crossed), change.p))
    return found


def _residue(domain: Domain, model: Model) -> Difference | None:
    """The rate under the prefix of the training minus the base's under it."""
    own, ground = domain.own.get(model), domain.base_under(model)
    return _difference(effect(own.crossed, ground.crossed)) if own and ground else None


def _difference(compared: Compared) -> Difference:
    return Difference(compared.mean, compared.low, compared.high, compared.questions)
