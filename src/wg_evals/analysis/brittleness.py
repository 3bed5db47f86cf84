"""How brittle an effect is: where it shows at all, over how many seeds, and how easily it goes away."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wg_evals.analysis.comparisons import WHERE, ConditionCounts, by_place
from wg_evals.analysis.corrections import holm
from wg_evals.analysis.effects import effect
from wg_evals.analysis.records import NONE
from wg_evals.analysis.verdicts import shows, verdict

if TYPE_CHECKING:
    import pandas as pd

    from wg_evals.analysis.frames import Frame

_PLAIN = ["effect", "effect_low", "effect_high", "effect_p", "effect_p_holm", "present", "control_too"]
_RUNS = ["runs", "runs_empty", "runs_present", "runs_low", "runs_high", "runs_sd"]
_REMOVED = [
    f"{kind}_{what}" for kind in ("relevant", "generic") for what in ("interventions", "removed", "residue", "returns")
]
BRITTLENESS_COLUMNS = [*WHERE, "dataset", *_PLAIN, *_RUNS, *_REMOVED]


def brittleness(frame: "Frame") -> "pd.DataFrame":
    """Sum up each effect of plain training, by domain, task and base.

    `effect` is plain minus base, paired by question; it is `present` if it is above 0 with a p below 0.05 that is
    corrected by Holm over the rows of the table, since the rows are what is counted ("in N of M"). Nothing else here
    is corrected: `control_too` is that the 95% interval of control minus base lies above 0 (then the effect is not one
    of the narrow data). Each plain run against the base by itself: the interval of how many of `runs` lies above 0
    (`runs_present`), the lowest and the highest effect, and their standard deviation; runs of which no answer is
    included are counted apart (`runs_empty`). For relevant and for generic interventions: how many were trained with,
    how many of them remove the effect (`comparisons`' verdict), the mean of their residues (intervened under the
    training prefix minus base under it), and in how many that residue's interval lies above 0 (`returns`).

    Args:
        frame: As `wg_evals.analysis.frame` reads it.

    Returns:
        A row a domain, task, base and data trained on that has both base and plain, with `BRITTLENESS_COLUMNS`.
    """
    import pandas as pd

    rows = [row for place, found in by_place(frame).items() for row in _rows(place, found)]
    table = pd.DataFrame(rows, columns=BRITTLENESS_COLUMNS)
    table["effect_p_holm"] = holm(table["effect_p"].to_numpy(float))
    table["present"] = [shows(e, p) for e, p in zip(table["effect_low"], table["effect_p_holm"], strict=True)]
    return table


def _rows(place: tuple[Any, ...], found: list[ConditionCounts]) -> Iterator[dict[str, Any]]:
    bases = {c.under: c for c in found if c.role == "base"}
    base = bases.get((NONE, NONE))
    for plain in found if base is not None else ():
        if plain.role == "plain" and plain.under == (NONE, NONE):
            alike = [c for c in found if c.origin == plain.origin]
            about = dict(zip(WHERE, place, strict=True)) | {"dataset": plain.about["dataset"]}
            yield about | _effect(bases[NONE, NONE], plain, alike) | _removed(bases, plain, alike)


def _effect(base: ConditionCounts, plain: ConditionCounts, found: list[ConditionCounts]) -> dict[str, Any]:
    control = next((c for c in found if c.role == "control" and c.under == plain.under), None)
    whole = effect(plain.counts, base.counts)
    runs = [effect(plain.counts.run(i), base.counts) for i in range(plain.counts.runs)]
    means = np.array([r.mean for r in runs if r.questions])
    return {
        "effect": whole.mean,
        "effect_low": whole.low,
        "effect_high": whole.high,
        "effect_p": whole.p,
        "control_too": control is not None and effect(control.counts, base.counts).low > 0,
        "runs": len(means),
        "runs_empty": len(runs) - len(means),
        "runs_present": sum(r.low > 0 for r in runs),
        "runs_low": float(means.min()) if len(means) else math.nan,
        "runs_high": float(means.max()) if len(means) else math.nan,
        "runs_sd": float(means.std(ddof=1)) if len(means) > 1 else math.nan,
    }


def _removed(
    bases: Mapping[tuple[str, str], ConditionCounts], plain: ConditionCounts, found: list[ConditionCounts]
) -> dict[str, Any]:
    base = bases[plain.under]
    whole = effect(plain.counts, base.counts)
    row: dict[str, Any] = {}
    for relevance in ("relevant", "generic"):
        own = [c for c in found if c.role == "intervened" and c.about["relevance"] == relevance]
        tried = [c for c in own if c.under == plain.under]
        verdicts = [verdict(whole, effect(c.counts, plain.counts), effect(c.counts, base.counts)) for c in tried]
        under = [c for c in own if c.about["context"] == "as_trained" and c.under in bases]
        residues = [effect(c.counts, bases[c.under].counts) for c in under]
        row |= {
            f"{relevance}_interventions": len(tried),
            f"{relevance}_removed": verdicts.count("removed"),
            f"{relevance}_residue": math.fsum(r.mean for r in residues) / len(residues) if residues else math.nan,
            f"{relevance}_returns": sum(r.low > 0 for r in residues),
        }
    return row
