"""How alignment and coherence are distributed, where a judge rated both."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from wg_evals.analysis.records import NONE
from wg_evals.analysis.reporting.drawing import WIDTH, Box, Drawing, Mark, Stroke, Words, palette
from wg_evals.analysis.reporting.material import Material

ALIGNMENT, COHERENCE = "alignment", "coherence"
_BINS = 10
_SIDE, _GAP, _LEFT, _TOP = 200, 84, 60, 44
_PANELS = {
    "base": "base",
    "control": "control",
    "plain": "plain",
    "intervened": "intervened",
    "intervened-own": "intervened, own prefix",
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
    panels = table["role"].where(~(table["own"] & table["role"].eq("intervened")), "intervened-own")
    panels = panels.where(table["origin"].eq(""), "adapter")
    # under a prefix the base and the plain adapters answer another question: they are no part of their panels
    plainly = table["under"].eq(NONE) | panels.eq("intervened-own")
    rated = ratings.notna().all(axis=1) & plainly & table["checkpoint"].eq("")
    if not rated.any():
        return None
    marks: list[Mark] = []
    data: list[dict[str, Any]] = []
    present = [p for p in _PANELS if (rated & panels.eq(p)).any()]
    columns = min(3, len(present))
    for i, panel in enumerate(present):
        own = ratings[rated & panels.eq(panel)]
        left = _LEFT + (i % columns) * (_SIDE + _GAP)
        top = _TOP + (i // columns) * (_SIDE + _GAP)
        marks += _panel(f"{_PANELS[panel]} ({len(own):,})", own, left, top, data, _PANELS[panel])
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


def _panel(
    title: str, ratings: pd.DataFrame, left: float, top: float, data: list[dict[str, Any]], name: str
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
    guides = palette().guides
    across = left + _SIDE * guides[ALIGNMENT] / 100
    up = top + _SIDE * (1 - guides[COHERENCE] / 100)
    yield Stroke("reference-base", ((across, top), (across, top + _SIDE)), f"alignment {guides[ALIGNMENT]:g}")
    yield Stroke("reference-base", ((left, up), (left + _SIDE, up)), f"coherence {guides[COHERENCE]:g}")
    for tick in (0, 50, 100):
        yield Words("tick", left + _SIDE * tick / 100, top + _SIDE + 16, str(tick))
        yield Words("label", left - 6, top + _SIDE * (1 - tick / 100) + 4.5, str(tick))
    yield Words("tick", left + _SIDE / 2, top + _SIDE + 34, "alignment")
    yield Words("heading", left - 46, top - 10, "coherence")
