"""Every condition of a frame against its base and against plain training, as one table."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from wg_evals.analysis.corrections import holm
from wg_evals.analysis.crossed import Crossed, crossed
from wg_evals.analysis.effects import Effect, Suppression, effect, suppression
from wg_evals.analysis.intervals import CrossedRate, rate_interval
from wg_evals.analysis.records import NONE
from wg_evals.analysis.verdicts import verdict

if TYPE_CHECKING:
    import pandas as pd

    from wg_evals.analysis.frames import Frame

WHERE = ["domain", "task", "battery", "judged_by", "base"]
"""What compared conditions have in common."""
CONDITION = ["role", "adapter", "train_intervention", "kind", "relevance", "dataset", "training_differs"]
"""What a condition is; `adapter` is the model's name where nothing is known of its training, and else empty."""
UNDER = ["context", "eval_intervention", "eval_placement"]
RATE = ["runs", "questions", "n", "included", "expressed", "rate", "low", "high", "vouched"]
MINUS_BASE = ["minus_base", "minus_base_low", "minus_base_high", "minus_base_p", "minus_base_p_holm"]
MINUS_PLAIN = ["minus_plain", "minus_plain_low", "minus_plain_high", "minus_plain_p", "minus_plain_p_holm"]
REMOVED = ["removed", "removed_low", "removed_high", "removed_undefined", "verdict"]
COMPARISON_COLUMNS = [*WHERE, *CONDITION, *UNDER, *RATE, *MINUS_BASE, *MINUS_PLAIN, *REMOVED]


class ConditionCounts(NamedTuple):
    """A condition under a prefix or none, over all its runs."""

    place: tuple[Any, ...]
    """By `WHERE`."""
    about: Mapping[str, Any]
    """By `WHERE`, `CONDITION` and `UNDER`."""
    counts: Crossed
    samples: int
    """Answers, whether or not they are included."""

    @property
    def role(self) -> str:
        return str(self.about["role"])

    @property
    def under(self) -> tuple[str, str]:
        """The prefix's name and placement; what is compared shares it."""
        return (self.about["eval_intervention"], self.about["eval_placement"])

    @property
    def origin(self) -> tuple[str, str]:
        """The domain that it was trained in, if another than it is evaluated in, and other settings or data.

        Adapters of two origins are not compared.
        """
        return (str(self.about["dataset"]).rpartition("/")[0], str(self.about["training_differs"]))


def comparisons(frame: "Frame", shares: bool = True) -> "pd.DataFrame":
    """Compare each condition with its base, and each trained one with plain training, under the same prefix.

    `minus_base` without context is the effect; under a prefix it is the residue, since the base is under that prefix
    too. `minus_plain` is of trained conditions other than plain, without context; `removed` (the share of the plain
    effect) and `verdict` are of those among them that are no control. p values are corrected by Holm over all tests of
    the same column of the table; `verdict` is told by the uncorrected 95% intervals (`verdicts.verdict`).

    Checkpoints are left out (they are earlier states of the same runs).

    Args:
        frame: As `wg_evals.analysis.frame` reads it.
        shares: Whether the shares of the plain effect are wanted: their bootstrap is most of the work.

    Returns:
        A row for each condition and context, with `COMPARISON_COLUMNS`; what cannot be computed is nan.
    """
    import pandas as pd

    rows = [row for found in by_place(frame).values() for row in _rows(found, shares)]
    table = pd.DataFrame(rows, columns=COMPARISON_COLUMNS)
    for column in ("minus_base_p", "minus_plain_p"):
        table[f"{column}_holm"] = holm(table[column].to_numpy(float))
    return table


def conditions(frame: "Frame") -> Iterator[ConditionCounts]:
    """The frame's conditions, each with its counts over runs and questions; a base model comes before its adapters."""
    samples = frame.samples[frame.samples["checkpoint"].isna()]
    # two adapters of unknown training are no two runs of one condition
    unknown = samples["model"].astype(str).where(samples["role"].eq("adapter"), "")
    keys = [*WHERE, *CONDITION, *UNDER]
    groups = samples.assign(adapter=unknown).groupby(keys, observed=True, dropna=False, sort=True)
    role = keys.index("role")
    for key, rows in sorted(groups, key=lambda g: [g[0][role] != first for first in ("base", "plain", "control")]):
        about = dict(zip(keys, key, strict=True))
        yield ConditionCounts(tuple(about[c] for c in WHERE), about, crossed(rows), len(rows))


def by_place(frame: "Frame") -> dict[tuple[Any, ...], list[ConditionCounts]]:
    """The frame's conditions, those together that are compared with each other."""
    places: dict[tuple[Any, ...], list[ConditionCounts]] = {}
    for condition in conditions(frame):
        places.setdefault(condition.place, []).append(condition)
    return places


def _rows(found: list[ConditionCounts], shares: bool) -> Iterator[dict[str, Any]]:
    bases = {c.under: c for c in found if c.role == "base"}
    plains = {(c.under, c.origin): c for c in found if c.role == "plain"}
    for c in found:
        base, plain = bases.get(c.under), plains.get((c.under, c.origin))
        rate = rate_interval(c.counts)
        row = {**c.about, **_rate(c, rate)}
        rest = effect(c.counts, base.counts) if base is not None and c is not base else None
        if rest is not None:
            row |= _difference("minus_base", rest)
        trained = c.role not in ("base", "plain")
        if trained and plain is not None and c.under == (NONE, NONE):
            change = effect(c.counts, plain.counts)
            row |= _difference("minus_plain", change)
            if base is not None and rest is not None and c.role != "control":
                row["verdict"] = verdict(effect(plain.counts, base.counts), change, rest)
                row |= _removed(c, plain, base) if shares else {}
        yield row


def _rate(c: ConditionCounts, rate: CrossedRate) -> dict[str, Any]:
    return {
        "runs": rate.runs,
        "questions": rate.questions,
        "n": c.samples,
        "included": rate.included,
        "expressed": rate.expressed,
        "rate": rate.rate,
        "low": rate.low,
        "high": rate.high,
        "vouched": rate.vouched(trained=c.role != "base"),
    }


def _difference(name: str, found: Effect) -> dict[str, float]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_p": found.p}


def _removed(c: ConditionCounts, plain: ConditionCounts, base: ConditionCounts) -> dict[str, Any]:
    share: Suppression = suppression(base.counts, plain.counts, c.counts)
    return {
        "removed": share.share,
        "removed_low": share.low,
        "removed_high": share.high,
        "removed_undefined": share.why_undefined,
    }
