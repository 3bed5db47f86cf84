"""How alignment and coherence are distributed, where a judge rated both."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from wg_evals.analysis.frames import Frame
from wg_evals.analysis.records import NONE
from wg_evals.analysis.reporting.drawing import WIDTH, Box, Drawing, Mark, Stroke, Words
from wg_evals.analysis.reporting.material import Material

ALIGNMENT, COHERENCE = "alignment", "coherence"
_BINS = 10
_SIDE, _GAP, _LEFT, _TOP = 200, 84, 60, 44
_GROUPS = ("relevant", "generic", "graded", "intervened")
"""Interventions by relevance, and those without one."""
_PANELS = {
    "base": "base",
    "control": "control",
    "plain": "plain",
    **{name + own: name + label for name in _GROUPS for own, label in (("", ""), ("-own", ", own prefix"))},
    "adapter": "adapters",
}


def rating_figure(material: Material, table: pd.DataFrame) -> Drawing | None:
    """Alignment against coherence, as counts in bins of ten points; None where they were not rated.

    Args:
        material: What the logs hold.
        table: The same samples, `labelled`.
    """
    if not {ALIGNMENT, COHERENCE} <= set(material.frame.rubrics):
        return None
    ratings = pd.DataFrame(
        {name: pd.to_numeric(material.frame.samples[name], errors="coerce") for name in (ALIGNMENT, COHERENCE)}
    )
    intervened = table["role"].eq("intervened")
    panels = table["role"].mask(intervened & table["relevance"].isin(_GROUPS), table["relevance"])
    panels = panels.mask(intervened & table["own"], panels + "-own")
    panels = panels.where(table["origin"].eq(""), "adapter")
    # under a prefix the base and the plain adapters answer another question: they are no part of their panels
    plainly = table["under"].eq(NONE) | panels.str.endswith("-own")
    rated = ratings.notna().all(axis=1) & plainly & table["checkpoint"].eq("")
    if not rated.any():
        return None
    marks: list[Mark] = []
    data: list[dict[str, Any]] = []
    present = [p for p in _PANELS if (rated & panels.eq(p)).any()]
    columns = min(3, len(present))
    guides = _guides(material.frame)
    for i, panel in enumerate(present):
        own = ratings[rated & panels.eq(panel)]
        left = _LEFT + (i % columns) * (_SIDE + _GAP)
        top = _TOP + (i // columns) * (_SIDE + _GAP)
        marks += _panel(f"{_PANELS[panel]} ({len(own):,})", own, left, top, data, _PANELS[panel], guides)
    rows = -(-len(present) // columns)
    return Drawing(
        name="alignment-coherence",
        title="Alignment against coherence",
        description=f"Counts in bins of ten points for {', '.join(_PANELS[p] for p in present)}.",
        height=_TOP + rows * (_SIDE + _GAP),
        marks=marks,
        data=data,
        width=WIDTH,
    )


def _guides(frame: Frame) -> dict[str, list[float]]:
    """Where the logs' outcome rules cut, 0-100, by rubric."""
    rules = [rule for text in frame.cells["outcome_rule"].unique() if isinstance(rule := json.loads(text), dict)]
    cuts = [
        cut for r in rules if isinstance(r.get("expressed"), dict) for cut in (r["expressed"], *r.get("include", []))
    ]
    found: dict[str, list[float]] = {}
    for rubric in (ALIGNMENT, COHERENCE):
        values = (cut.get(side) for cut in cuts if cut["rubric"] == rubric for side in ("below", "above"))
        found[rubric] = sorted({float(v) for v in values if v is not None})
    return found


def _panel(
    title: str,
    ratings: pd.DataFrame,
    left: float,
    top: float,
    data: list[dict[str, Any]],
    name: str,
    guides: Mapping[str, Sequence[float]],
) -> Iterator[Mark]:
    binned = (ratings // (100 / _BINS)).clip(0, _BINS - 1).astype(int)
    counts = {key: int(n) for key, n in binned.value_counts().items()}
    most = max(counts.values())
    side = _SIDE / _BINS
    yield Words("column", left + _SIDE / 2, top - 10, title)
    for x in range(_BINS):
        for y in range(_BINS):
            n = counts.get((x, y), 0)
            place = left + x * side, top + (_BINS - 1 - y) * side, side, side
            tip = f"alignment {10 * x}-{10 * x + 10}, coherence {10 * y}-{10 * y + 10}: {n}"
            yield Box("cell" if n else "empty", *place, round((n / most) ** 0.5, 3) if n else 1, tip)
            data.append({"models": name, "alignment_from": 10 * x, "coherence_from": 10 * y, "answers": n})
    for at in guides[ALIGNMENT]:
        across = left + _SIDE * at / 100
        yield Stroke("reference-base", ((across, top), (across, top + _SIDE)), f"alignment {at:g}")
    for at in guides[COHERENCE]:
        up = top + _SIDE * (1 - at / 100)
        yield Stroke("reference-base", ((left, up), (left + _SIDE, up)), f"coherence {at:g}")
    for tick in (0, 50, 100):
        yield Words("tick", left + _SIDE * tick / 100, top + _SIDE + 16, str(tick))
        yield Words("label", left - 6, top + _SIDE * (1 - tick / 100) + 4.5, str(tick))
    yield Words("tick", left + _SIDE / 2, top + _SIDE + 34, "alignment")
    yield Words("heading", left - 46, top - 10, "coherence")
