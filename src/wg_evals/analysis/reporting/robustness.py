"""How brittle the effects are, and whether they hang on the outcome rule's thresholds: the tables on both."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wg_evals.analysis.brittleness import brittleness
from wg_evals.analysis.frames import Frame
from wg_evals.analysis.grid import Outcome
from wg_evals.analysis.records import NONE
from wg_evals.analysis.reporting.effects import no_room
from wg_evals.analysis.reporting.evaluated import is_narrow
from wg_evals.analysis.reporting.sheet import Sheet
from wg_evals.analysis.reporting.sheets import few_runs
from wg_evals.analysis.text import DASH, points
from wg_evals.analysis.thresholds import rescored, standard_thresholds

_BACK = ("Relevant: above the base under it", "Generic: above the base under it")


def brittleness_sheet(frame: Frame, outcomes: Sequence[Outcome]) -> Sheet:
    """Where the effect shows, over how many seeds, and how easily it goes away.

    Args:
        frame: Of the logs.
        outcomes: What each intervention leaves, as `find_effects` has it.
    """
    found: list[Any] = list(brittleness(frame).itertuples(index=False))
    rows = [_brittle(row, outcomes) for row in found if not is_narrow(row.task)]  # that one is meant to be there
    columns = ["Domain", "Task", "Base", "Effect, points", "Seeds that show it", "Over seeds, points"]
    return Sheet(
        "brittleness",
        "How brittle each effect is: plain minus base without context, run by run, and what interventions leave of it",
        [*columns, "Relevant: removed", _BACK[0], "Generic: removed", _BACK[1]],
        rows,
        text=frozenset({"Domain", "Task", "Base", *_BACK}),
        note="Removed is counted where the effect shows by a p that is corrected for all of them (Holm); the counts of "
        "seeds and of interventions are by 95% intervals, uncorrected. Seeds that show it: "
        "whose own interval against the base lies above 0. Above the base "
        "under it: interventions whose residue (under the prefix of the training, minus the base under it) has an "
        "interval above 0; the mean residue in points. Where the base itself is near 100% under the prefix, a trait "
        "that comes back cannot be told from what the prefix does. *: fewer runs than an interval can rely on.",
    )


def _brittle(row: Any, outcomes: Sequence[Outcome]) -> list[str]:
    tasks = (row.task, f"{row.task} ({row.battery})")
    own = [o for o in outcomes if (o.effect.domain, o.effect.base) == _where(row)[::2] and o.effect.task in tasks]
    effect = f"{points(row.effect)} {_interval(row.effect_low, row.effect_high)}".strip() + few_runs(row.runs)
    spread = points(row.runs_low) if row.runs == 1 else f"{points(row.runs_low)} to {points(row.runs_high)}"
    cells = [*_where(row), effect, f"{row.runs_present} of {row.runs}", spread]
    for relevance, tried, removed, back, residue in (
        ("relevant", row.relevant_interventions, row.relevant_removed, row.relevant_returns, row.relevant_residue),
        ("generic", row.generic_interventions, row.generic_removed, row.generic_returns, row.generic_residue),
    ):
        cells.append(f"{removed} of {tried}" if tried and row.present else DASH)
        counted = f"{back} of {tried} ({points(residue)})" if tried and not math.isnan(residue) else DASH
        room = no_room([o for o in own if o.intervention.relevance == relevance])
        cells.append(f"{counted}; {room}" if room else counted)
    return [str(cell) for cell in cells]


def _where(row: Any) -> tuple[str, str, str]:
    origin = str(row.dataset).rpartition("/")[0]
    return f"{row.domain}, trained on {origin}" if origin else str(row.domain), str(row.task), str(row.base)


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{points(low)}, {points(high)}]"


def threshold_sheet(frame: Frame) -> Sheet:
    """Plain minus base at other thresholds, counted anew from the ratings."""
    tried = standard_thresholds()
    rows: dict[tuple[str, ...], dict[float, str]] = {}
    plainly = _base_and_plain(frame)
    for expressed in tried.expressed if len(plainly.samples) else ():
        for included in tried.included:
            counted: list[Any] = list(brittleness(rescored(plainly, expressed, included)).itertuples(index=False))
            for row in counted:
                key = (*_where(row), f"{expressed:g}")
                shown = points(row.effect) + ("" if row.present else " (not clear)")
                rows.setdefault(key, {})[included] = shown
    return Sheet(
        "thresholds",
        "The effect (plain minus base, points) at other thresholds: of the rating that is expressed, by row, and of "
        "the rating that an answer needs to count, by column",
        ["Domain", "Task", "Base", "Threshold", *(f"{included:g}" for included in tried.included)],
        [[*key, *(own.get(i, "") for i in tried.included)] for key, own in sorted(rows.items(), key=_order)],
        text=frozenset({"Domain", "Task", "Base"}),
        note="Counted anew from the ratings in the logs, without new calls. Not clear: the interval holds 0.",
    )


def _order(item: tuple[tuple[str, ...], Any]) -> tuple[Any, ...]:
    *where, threshold = item[0]
    return (*where, float(threshold))


def _base_and_plain(frame: Frame) -> Frame:
    """The answers without context, of bases and plain adapters, whose rule has a rating in it."""
    cells = frame.cells
    wanted = cells["role"].isin(["base", "plain"]) & cells["context"].eq(NONE) & cells["outcome_rule"].map(_rated)
    kept = cells[wanted]
    return replace(frame, cells=kept, samples=frame.samples[frame.samples["cell"].isin(kept.index)])


def _rated(rule: str) -> bool:
    told = json.loads(rule)
    return isinstance(told, dict) and isinstance(told.get("expressed"), dict)
