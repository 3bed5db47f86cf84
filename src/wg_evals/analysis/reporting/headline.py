"""What the logs say, in sentences with their numbers, and what they cannot say."""

import math
from collections.abc import Iterator, Sequence

from wg_evals.analysis.grid import Effect, spread_findings
from wg_evals.analysis.reporting.effects import Findings, no_room, over
from wg_evals.analysis.reporting.evaluated import Domain, is_narrow
from wg_evals.analysis.reporting.figures import said
from wg_evals.analysis.reporting.material import Material
from wg_evals.analysis.reporting.sheets import shown
from wg_evals.analysis.text import percent

_FEW = 3
"""So many effects are put in sentences one by one; more are in the table."""


def headline(found: Findings, domains: Sequence[Domain]) -> list[str]:
    """The findings, the most important first."""
    if not found.effects:
        return list(_levels(domains))
    pairs = zip(found.effects, found.effect_runs, strict=True)
    sentences = [_effect(e, runs) for e, runs in pairs] if len(found.effects) <= _FEW else []
    spread = spread_findings(found.effects, found.outcomes, over(found.runs))
    sentences = [*spread, *sentences] if len(found.effects) > 1 else [*sentences, *spread[1:]]
    return [*sentences, *_no_room(found), *_controls(found), *_checks(domains)]


def _effect(e: Effect, runs: int) -> str:
    verb = "raises" if e.shows else "lowers" if e.plain.high < 0 else "does not clearly move"
    return (
        f"In {e.domain}, narrow training {verb} the rate of {e.trait} on {e.base}: {percent(e.plain_rate)} against the "
        f"base's {percent(e.base_rate)} ({shown(e.plain)} points, over {over([runs])})."
    )


def warnings(found: Findings) -> list[str]:
    """What a reader has to know before the findings."""
    once = sum(runs == 1 for runs in found.runs)
    if not once:
        return []
    return [
        f"In {once} of {len(found.runs)} comparisons there is a single training run: interval and p are over questions "
        "only, and speak about this one adapter, not about training again. Train with 5 seeds or more."
    ]


def _no_room(found: Findings) -> Iterator[str]:
    for relevance in ("relevant", "generic"):
        shown = [o for o in found.outcomes if o.effect.shows and o.intervention.relevance == relevance]
        if said := no_room(shown):
            yield f"Under {relevance} prefixes {said}."


def _controls(found: Findings) -> Iterator[str]:
    known = [e for e in found.effects if e.control is not None]
    if len(known) == 1 and (control := known[0].control):
        verb = "raises the rate too" if control.low > 0 else "does not clearly raise the rate"
        yield f"Training on control data {verb} ({shown(control)} points against the base)."
    elif known:
        moved = [e.domain for e in known if e.control and e.control.low > 0]
        where = f": {', '.join(moved)}" if moved else ""
        yield f"Training on control data raises the rate in {len(moved)} of {len(known)} cells{where}."


def _checks(domains: Sequence[Domain]) -> Iterator[str]:
    parts = []
    for group in ("base", "plain", "relevant", "generic", "graded", "intervened"):
        checks = [
            e
            for d in domains
            for t, own in d.others.items()
            if is_narrow(t)
            for m, e in own.items()
            if m.group == group
        ]
        rates = [e.rate.rate for e in checks if not math.isnan(e.rate.rate)]
        if rates:
            parts.append(f"{group} {percent(math.fsum(rates) / len(rates))}")
    if parts:
        yield f"The narrow behaviour itself (manipulation check, mean over cells): {', '.join(parts)}."


def _levels(domains: Sequence[Domain]) -> Iterator[str]:
    """Where there is nothing to compare: the rates themselves."""
    for d in domains:
        rates = sorted((e for e in d.main.values() if not math.isnan(e.rate.rate)), key=lambda e: -e.rate.rate)
        if len(rates) == 1:
            (one,) = rates
            name = d.base if one.model.role == "base" else f"{one.model.name} on {d.base}"
            yield f"{d.domain}: {name} shows {d.trait} in {said(one)} of {one.rate.included:,} included answers."
        elif rates:
            first, last = rates[0], rates[-1]
            yield (
                f"{d.domain}, {d.base}: of {len(rates)} models, {first.model.name} shows {d.trait} most often "
                f"({said(first)}) and {last.model.name} least ({said(last)})."
            )


def unknowns(material: Material, domains: Sequence[Domain]) -> list[str]:
    """What cannot be known from what lies in the folder, and what would be needed."""
    found = []
    made = sorted({m.name for d in domains for m in d.models if m.role == "adapter"})
    if made:
        some = ", ".join(made[:4]) + (f" and {len(made) - 4} more" if len(made) > 4 else "")
        found.append(
            f"What was trained into {some}: no manifest of this project was found for it, so no data set, "
            "intervention or training seed is known."
        )
    cells = material.frame.cells
    prefixed = cells[cells["task"].map(is_narrow) & cells["context"].eq("as_trained")]
    checked_under = set(zip(prefixed["domain"], prefixed["base"], strict=True))
    for d in domains:
        if all(m.role == "base" for m in d.models):
            found.append(
                f"What training does to {d.base} in {d.domain}: only the model as it is was evaluated. It is taken for "
                "a base model, because nothing here says that it was fine-tuned."
            )
        if not any(m.role == "base" for m in d.models):
            found.append(
                f"The effect in {d.label}: no log of its base model on {d.task}, so no rate can be compared with it."
            )
        elif d.one("plain") is None and any(m.role == "intervened" for m in d.models):
            found.append(f"What interventions remove in {d.label}: no adapter trained without one was evaluated.")
        hidden = [m.name for m in d.models if m.role == "intervened" and m in d.main and m not in d.own]
        if hidden:
            found.append(
                f"Whether the trait comes back under the training's own prefix in {d.label}: {len(hidden)} of the "
                "intervened models were asked without context only, and may be hiding it."
            )
        checked = [m for t, own in d.others.items() if is_narrow(t) for m in own if m.role == "intervened"]
        if checked and (d.domain, d.base) not in checked_under:
            found.append(
                f"Whether the intervened models in {d.label} learned the narrow behaviour less, or show it under their "
                "prefix only: the manipulation check was asked without context. Where it is lower, a lower effect may "
                "come of having learned less."
            )
        if not any(is_narrow(t) for t in d.others) and any(m.role in ("plain", "intervened") for m in d.models):
            found.append(
                f"Whether the narrow behaviour was learned in {d.label}: the manipulation check (narrow) was not run."
            )
    if any(log.self_judged for log in material.logs):
        found.append("How an independent judge would score: in some logs the model judged its own answers.")
    if not material.studies:
        found.append("Whether anything is missing: without a study's plan nobody knows what was to be evaluated.")
    return found
