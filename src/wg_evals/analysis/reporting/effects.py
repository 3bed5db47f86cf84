"""What narrow training does, and what each intervention leaves of it: the grid's verdicts, from any logs."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from wg_evals.analysis.corrections import holm
from wg_evals.analysis.effects import FEWEST_RUNS, Suppression, effect, suppression
from wg_evals.analysis.effects import Effect as Compared
from wg_evals.analysis.grid import Effect, KindSummary, Outcome, summarise_kinds
from wg_evals.analysis.reporting.drawing import palette
from wg_evals.analysis.reporting.evaluated import Domain, Evaluated, Model
from wg_evals.analysis.text import percent
from wg_evals.statistics import Difference


class Trained(NamedTuple):
    """A training intervention, as far as a log tells."""

    name: str
    kind: str | None
    relevance: str | None


class Findings(NamedTuple):
    """Effects and outcomes, as a study of several domains has them, with what these do not tell."""

    effects: list[Effect]
    outcomes: list[Outcome]
    suppressions: list[Suppression]
    """For each outcome."""
    change_p: list[float]
    """For each outcome, of no difference between the intervened and the plain adapters; Holm over the outcomes."""
    kinds: list[KindSummary]
    effect_runs: list[int]
    """For each effect, how many training runs the plain adapters are."""
    outcome_runs: list[int]
    """For each outcome, how many the intervened ones are, or the plain ones if those are fewer."""

    @property
    def runs(self) -> list[int]:
        """Of every comparison."""
        return self.effect_runs + self.outcome_runs


class _Outcome(NamedTuple):
    outcome: Outcome
    suppression: Suppression
    p: float
    runs: int


def find_effects(domains: list[Domain]) -> Findings:
    """Compare with the base and with plain training on the same data, wherever a folder has both."""
    pairs: list[tuple[Domain, Evaluated, Evaluated]] = []
    for domain in domains:
        base = _main(domain, domain.one("base"))
        for origin in dict.fromkeys(m.origin for m in domain.models):
            plain = _main(domain, domain.one("plain", origin))
            if base is not None and plain is not None:
                pairs.append((domain, base, plain))
    compared = [effect(plain.crossed, base.crossed) for _, base, plain in pairs]
    corrected = holm([c.p for c in compared]).tolist()
    effects = [_effect(*pair, c, p) for pair, c, p in zip(pairs, compared, corrected, strict=True)]
    outcomes = [o for pair, e in zip(pairs, effects, strict=True) for o in _outcomes(*pair, e)]
    effect_runs = [len(plain.seeds) for _, _, plain in pairs]
    found = [o.outcome for o in outcomes]
    return Findings(
        effects=effects,
        outcomes=found,
        suppressions=[o.suppression for o in outcomes],
        change_p=holm([o.p for o in outcomes]).tolist(),
        kinds=list(summarise_kinds(found)),
        effect_runs=effect_runs,
        outcome_runs=[o.runs for o in outcomes],
    )


def over(runs: Sequence[int]) -> str:
    """What intervals of differences are over: `questions and 3 training runs`, or the questions alone.

    Args:
        runs: Of each comparison.
    """
    fewest, most = min(runs), max(runs)
    if most == 1:
        return "questions, each of a single training run"
    number = f"{fewest if fewest == most else f'{fewest} to {most}'} training runs"
    return f"questions and {number}" if most >= FEWEST_RUNS else f"questions, of these {number} alone"


def no_room(outcomes: Sequence[Outcome]) -> str:
    """Under which of these interventions' prefixes the base is so high that nothing can be above it, in words."""
    rates = [rate for o in outcomes if (rate := o.base_under_rate) is not None]
    high = [rate for rate in rates if rate >= palette().ceiling]
    if not high:
        return ""
    where = "" if len(high) == len(rates) else f" in {len(high)} of {len(rates)}"
    return f"the base is already at {percent(math.fsum(high) / len(high))}{where}, so no residue can be seen"


def _main(domain: Domain, model: Model | None) -> Evaluated | None:
    found = domain.main.get(model) if model else None
    return found if found and not math.isnan(found.rate.rate) else None


def _effect(domain: Domain, base: Evaluated, plain: Evaluated, compared: Compared, p: float) -> Effect:
    origin = plain.model.origin
    control = _main(domain, domain.one("control", origin))
    return Effect(
        domain=f"{domain.domain}, trained on {origin}" if origin else domain.domain,
        trait=domain.trait,
        base=domain.base,
        task=domain.task,
        base_rate=base.rate.rate,
        plain_rate=plain.rate.rate,
        plain=_difference(compared),
        control=_difference(effect(control.crossed, base.crossed)) if control else None,
        included=plain.counts.included / plain.counts.n,
        p=p,
    )


def _outcomes(domain: Domain, base: Evaluated, plain: Evaluated, of: Effect) -> list[_Outcome]:
    found = []
    for model in domain.models:
        one = _main(domain, model) if model.role == "intervened" else None
        if one is None or model.origin != plain.model.origin:
            continue
        change = effect(one.crossed, plain.crossed)
        outcome = Outcome(
            effect=of,
            intervention=Trained(model.name, model.kind or None, model.relevance or None),
            rate=one.rate.rate,
            left=_difference(effect(one.crossed, base.crossed)),
            change=_difference(change),
            residue=_residue(domain, model),
            own_rate=_rate(domain.own.get(model)),
            base_under_rate=_rate(domain.base_under(model)),
        )
        share = suppression(base.crossed, plain.crossed, one.crossed)
        found.append(_Outcome(outcome, share, change.p, min(len(one.seeds), len(plain.seeds))))
    return found


def _residue(domain: Domain, model: Model) -> Difference | None:
    """The rate under the prefix of the training minus the base's under it."""
    own, ground = domain.own.get(model), domain.base_under(model)
    return _difference(effect(own.crossed, ground.crossed)) if own and ground else None


def _rate(one: Evaluated | None) -> float | None:
    return None if one is None or math.isnan(one.rate.rate) else one.rate.rate


def _difference(compared: Compared) -> Difference:
    return Difference(compared.mean, compared.low, compared.high, compared.questions)
