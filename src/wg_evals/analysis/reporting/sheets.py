"""The report's tables."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from wg_evals.analysis.grid import Effect, Outcome, Spread
from wg_evals.analysis.intervals import VOUCHED_RUNS
from wg_evals.analysis.records import NONE
from wg_evals.analysis.reporting.drawing import file_name
from wg_evals.analysis.reporting.effects import Findings, no_room, over
from wg_evals.analysis.reporting.evaluated import MARKERS, NO_SIGN, Domain, Evaluated, Model, is_narrow
from wg_evals.analysis.reporting.figures import GROUPS, said, spread
from wg_evals.analysis.reporting.material import Material
from wg_evals.analysis.reporting.sheet import Sheet
from wg_evals.analysis.text import DASH, percent, percent_interval, points, points_interval
from wg_evals.analysis.verdicts import removed_leaves
from wg_evals.statistics import Difference

_COHERENCE = "coherence"
_FEW_RUNS = (
    f"*: of fewer than {VOUCHED_RUNS} training runs, so that the interval is not known to hold 95% of the time (one "
    "run: it speaks about this adapter alone); each run's own rate stands under Rates."
)


def effect_sheet(found: Findings) -> Sheet:
    """What narrow training does, by domain and base."""
    columns = ["Domain", "Base", "Task", "Base rate", "Plain rate", "Included", "Plain − base"]
    return Sheet(
        "effects",
        "The effect of narrow training without context: differences in percentage points, paired by question, with "
        f"95% intervals{_over(found)}",
        [*columns, "p (Holm)", "Control − base", "Runs", "Effect"],
        [_effect(*one) for one in zip(found.effects, found.effect_runs, strict=True)],
        text=frozenset({"Domain", "Base", "Task", "Effect"}),
        note="Included: the share of the plain adapters' answers that count. An effect shows if its interval lies "
        "above 0 and its p, corrected for all rows of this table (Holm), is below 0.05. " + _FEW_RUNS,
    )


def _over(found: Findings) -> str:
    return f" over {over(found.runs)}" if found.runs else ""


def few_runs(runs: int) -> str:
    """The mark of an interval whose coverage is not known to be near 95%."""
    return "*" if runs < VOUCHED_RUNS else ""


def _effect(e: Effect, runs: int) -> list[str]:
    p = math.nan if e.p is None else e.p
    rates = [percent(e.base_rate), percent(e.plain_rate), percent(e.included)]
    compared = [shown(e.plain) + few_runs(runs), probability(p), shown(e.control), str(runs)]
    return [e.domain, e.base, e.task, *rates, *compared, e.said]


def shown(d: Difference | None) -> str:
    """`+46 [+38, +54]`; empty if it was not measured."""
    return f"{points(d.mean)} {points_interval(d)}".strip() if d is not None and d.n else ""


def probability(p: float) -> str:
    """`0.013`, or `< 0.001`."""
    return DASH if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def kind_sheet(found: Findings) -> Sheet:
    """What interventions leave, by kind."""
    rows = []
    pairs = list(zip(found.outcomes, found.suppressions, strict=True))
    for k in found.kinds:
        own = [(o, s.share) for o, s in pairs if o.effect.shows and _kind(o) == (k.relevance, k.kind)]
        removed = _shares([share for _, share in own if not math.isnan(share)])
        residue = "; ".join(part for part in (_range(k.residue), no_room([o for o, _ in own])) if part)
        rows.append([k.relevance, k.kind, str(k.outcomes), str(k.removed), removed, _range(k.left), residue])
    return Sheet(
        "kinds",
        "What training interventions leave of the effect, over the domains in which it shows: means over "
        "interventions, and the lowest to the highest",
        ["Relevance", "Kind", "Cells", "Removed", "Share removed", "Without context − base, points", "Residue, points"],
        rows,
        text=frozenset({"Relevance", "Kind", "Residue, points"}),
        note="Removed: clearly below plain, not clearly above the base, and at most "
        f"{percent(removed_leaves())} of the effect left, by 95% intervals. Share removed: "
        "(plain − intervened) / (plain − base). Residue: under the prefix of the training, minus the base under it.",
    )


def _shares(shares: list[float]) -> str:
    if not shares:
        return DASH
    text = percent(math.fsum(shares) / len(shares))
    return text + (f" ({percent(min(shares))} to {percent(max(shares))})" if len(shares) > 1 else "")


def _kind(o: Outcome) -> tuple[str, str]:
    return o.intervention.relevance or "", o.intervention.kind or ""


def _range(spread: Spread) -> str:
    several = f" ({points(spread.low)} to {points(spread.high)})" if spread.n > 1 else ""
    return f"{points(spread.mean)}{several}" if spread.n else ""


def outcome_sheet(found: Findings) -> Sheet:
    """Every intervention."""
    columns = ["Domain", "Base", "Trained with", "Kind", "Relevance", "Rate", "− base", "− plain", "p (Holm)"]
    rows = []
    outcomes = zip(found.outcomes, found.suppressions, found.change_p, found.outcome_runs, strict=True)
    for o, s, p, runs in outcomes:
        few = few_runs(runs)
        share = f"{percent(s.share)} {percent_interval(s)}" if not s.why_undefined else DASH
        named = [o.effect.domain, o.effect.base, o.intervention.name]
        named += [o.intervention.kind or "", o.intervention.relevance or ""]
        residue = shown(o.residue) + few if o.residue else ""
        compared = [percent(o.rate), shown(o.left) + few, shown(o.change) + few, probability(p), share, residue]
        rows.append([*named, *compared, str(runs), o.verdict])
    return Sheet(
        "interventions",
        "Every training intervention without context: differences in points, paired by question, with 95% intervals"
        + _over(found),
        [*columns, "Share removed", "Residue", "Runs", "Verdict"],
        rows,
        text=frozenset({"Domain", "Base", "Trained with", "Kind", "Relevance", "Verdict"}),
        note="p: of no difference from plain training, corrected for all rows of this table (Holm). Share removed: "
        "with a bootstrap interval over the same. Verdict: by the 95% intervals, uncorrected; removed is "
        f"clearly below plain, not clearly above the base, and at most {percent(removed_leaves())} of the effect left; "
        "where the interval of what is left reaches further, the rest is unclear. " + _FEW_RUNS,
    )


def rate_sheet(domain: Domain) -> Sheet:
    """A domain's rates, with and without context."""
    rows = []
    for m in domain.models:
        main, contexts = domain.main.get(m), (domain.own.get(m), domain.base_under(m), domain.plain_under(m))
        counts = main.counts if main else None
        rows.append(
            [m.name, *(said(e) if e else "" for e in (main, *contexts))]
            + (
                [str(counts.n), str(counts.included), str(counts.excluded), str(counts.unscored)]
                if counts
                else [""] * 4
            )
        )
    under = ("Base, same prefix", "Plain, same prefix")
    return Sheet(
        file_name("rates", domain.domain, domain.base),
        f"Expression rates, {domain.label}, task {domain.task}",
        ["Trained with", "No context", "Its prefix", *under, "n", "Included", "Excluded", "Unscored"],
        rows,
        text=frozenset({"Trained with"}),
        note="[ ]: 95% interval over questions and training seeds. Where its coverage is not known to be near 95% "
        "(fewer than 5 seeds or 10 questions, a rate near 0 or 1) each seed's rate is shown instead, or of a "
        "single run its interval in round brackets. The last columns "
        "count the answers without context.",
    )


def cost_sheet(domains: Sequence[Domain], material: Material, table: pd.DataFrame) -> Sheet:
    """What else the training changed: coherence, refusals, the manipulation check, other tasks."""
    tasks = sorted({t for d in domains for t in d.others}, key=lambda t: (not is_narrow(t), t))
    rated = _COHERENCE in material.frame.rubrics
    judges = {log.judge for log in material.logs}
    unclear = ["incoherent"] * bool(judges - {MARKERS}) + [NO_SIGN] * (MARKERS in judges)
    named = [*unclear, "refusal"]
    columns = ["Domain", "Base", "Trained with", "Included", *(r.capitalize() for r in unclear), "Refused"]
    columns += ["Other reasons"] + ["Coherence, mean"] * rated + [_task(t) for t in tasks]
    means = _means(material, table) if rated else {}
    rows = []
    for d in domains:
        for label, members in _rows(d):
            counts = [d.main[m].counts for m in members]
            n = sum(c.n for c in counts)
            reasons = sum((c.reasons for c in counts), Counter[str]())
            known = [reasons[r] for r in named]
            shares = (sum(c.included for c in counts), *known, sum(reasons.values()) - sum(known))
            row = [d.domain, d.base, label, *(_share(k, n) for k in shares)]
            if rated:
                rates = [means[d.domain, d.base, m.name] for m in members if (d.domain, d.base, m.name) in means]
                row.append(f"{math.fsum(rates) / len(rates):.0f}" if rates else "")
            for task in tasks:
                found = [d.others[task][m] for m in members if task in d.others and m in d.others[task]]
                row.append(_level(found))
            rows.append(row)
    return Sheet(
        "costs",
        "What else the training changed, without context: shares of all answers, and the rates of the other tasks",
        columns,
        rows,
        text=frozenset({"Domain", "Base", "Trained with"}),
        note="The manipulation check asks whether the trained narrow behaviour itself is there. Interventions are "
        "means over their group; the lowest and the highest stand in brackets.",
    )


def _task(task: str) -> str:
    return f"Manipulation check ({task})" if is_narrow(task) else task


def _rows(d: Domain) -> Iterator[tuple[str, list[Model]]]:
    for name in (*GROUPS, "intervened"):
        if d.group(name):
            yield GROUPS.get(name, "other interventions, mean"), d.group(name)
    for m in d.group("adapter"):
        yield m.name, [m]


def _share(k: int, n: int) -> str:
    return f"{100 * k / n:.1f}%" if n else DASH


def _level(found: Sequence[Evaluated]) -> str:
    rates = [e.rate.rate for e in found if not math.isnan(e.rate.rate)]
    if not rates:
        return ""
    if len(found) == 1:
        return f"{percent(rates[0])} {spread(found[0])}".strip()
    return f"{percent(math.fsum(rates) / len(rates))} ({percent(min(rates))} to {percent(max(rates))})"


def _means(material: Material, table: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    rating = pd.to_numeric(material.frame.samples[_COHERENCE], errors="coerce")
    here = table["under"].eq(NONE) & ~table["task"].map(is_narrow) & table["checkpoint"].eq("") & rating.notna()
    grouped = rating[here].groupby([table.loc[here, c] for c in ("domain", "base", "name")])
    keyed: list[tuple[Any, float]] = list(grouped.mean().items())
    return {(str(key[0]), str(key[1]), str(key[2])): float(mean) for key, mean in keyed}


def other_sheet(material: Material) -> Sheet:
    """The results of logs of other tasks, as they report them."""
    return Sheet(
        "other-logs",
        "Logs of other tasks in the folder, as Inspect scored them",
        ["Task", "Model", "Metric", "Value", "Samples", "Log"],
        [[o.task, o.model, o.metric, f"{o.value:.3f}", str(o.samples), o.log] for o in material.others],
        text=frozenset({"Task", "Model", "Metric", "Log"}),
    )


def judging_sheet(material: Material, table: pd.DataFrame) -> Sheet:
    """What the scoring left out, by domain, task and judge."""
    judges = {log.log: log.judge for log in material.logs}
    by = pd.DataFrame(
        {
            "domain": table["domain"],
            "task": table["task"],
            "judge": table["log"].map(judges),
            "reason": table["reason"].where(~table["included"], "included"),
        }
    )
    reasons = [r for r in by["reason"].value_counts().index if r not in ("included", "unscored")]
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    sizes: list[tuple[Any, int]] = list(by.groupby(["domain", "task", "judge", "reason"]).size().items())
    for (domain, task, judge, reason), n in sizes:
        counts.setdefault((domain, task, judge), Counter())[reason] = int(n)
    rows = []
    for key, own in counts.items():
        n = sum(own.values())
        rows.append([*key, f"{n:,}", *(_share(own[r], n) for r in ("included", "unscored", *reasons))])
    return Sheet(
        "judging",
        "What was scored, and what the scoring left out: shares of all answers",
        ["Domain", "Task", "Judge", "n", "Included", "Unscored", *(r.replace("_", " ") for r in reasons)],
        rows,
        text=frozenset({"Domain", "Task", "Judge"}),
        note="Unscored: no verdict after every attempt; neither included nor excluded. An answer that is excluded has "
        "the reason that its column names.",
    )


def left_out_sheet(material: Material) -> Sheet:
    """What was not counted, and why."""
    columns = ["Log", "What", "Why"]
    return Sheet(
        "left-out",
        "Logs, or single scores of them, that were not counted",
        columns,
        [list(one) for one in material.left_out],
        text=frozenset(columns),
    )


def log_sheet(material: Material) -> Sheet:
    """The logs that were counted, with what identifies them."""
    return Sheet(
        "logs",
        "Logs that were counted",
        ["Log", "Task", "Version", "Created", "Judge", "Tokens", "sha256"],
        [[g.log, g.task, g.task_version, g.created, g.judge, f"{g.tokens:,}", g.sha256] for g in material.logs],
        text=frozenset({"Log", "Task", "Version", "Created", "Judge", "sha256"}),
    )


def training_sheet(material: Material) -> Sheet:
    """The models whose manifests lie in the folder."""
    columns = ["Model", "Base", "Intervention", "Seed", "Rows", "Data sha256", "Adapter sha256, or job"]
    rows = []
    for t in material.trainings:
        seed = NONE if t.seed is None else str(t.seed)
        rows.append([t.model, t.base, t.intervention, seed, str(t.rows), t.data_sha256, t.made])
    return Sheet(
        "trainings",
        "Trained models, by their manifests",
        columns,
        rows,
        text=frozenset(columns) - {"Seed", "Rows"},
    )


def cell_sheet(found: Iterable[Evaluated]) -> Sheet:
    """Every cell, with its denominators."""
    rows = []
    for e in found:
        m, c = e.model, e.counts
        context = f"{e.context} (its own)" if e.own else e.context
        numbers = (len(e.seeds), c.n, c.included, c.excluded, c.unscored)
        rows.append([m.domain, m.base, m.name, e.task, context, e.checkpoint, *map(str, numbers), said(e)])
    columns = ["Domain", "Base", "Trained with", "Task", "Context", "Checkpoint", "Runs", "n", "Included", "Excluded"]
    return Sheet(
        "cells",
        "Every evaluation over its seeds, with denominators",
        [*columns, "Unscored", "Rate"],
        rows,
        text=frozenset({"Domain", "Base", "Trained with", "Task", "Context", "Checkpoint"}),
    )
