"""The rate corrected for the judge's measured errors."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wg_evals.annotate.key import VERDICTS, CellCount, Verdict
from wg_evals.statistics import NAN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wg_evals.analysis.intervals import CrossedRate

    Shares = Mapping[Verdict, NDArray[np.float64]]

_DRAWS = 20_000
_Z = 1.959964  # the upper quantile of a two-sided 95% interval

Confusion = Mapping[Verdict, Mapping[Verdict, float]]
"""For each verdict of the judge: how many rated answers people gave each verdict; one may count in parts."""


class Estimate(NamedTuple):
    """A share 0-1 with its 95% interval; nan where it is not defined."""

    value: float
    low: float
    high: float


UNDEFINED = Estimate(NAN, NAN, NAN)


class CorrectedRate(NamedTuple):
    """A condition's expression rate, as judged and as corrected."""

    condition: str
    judged: "CrossedRate"
    corrected: Estimate
    is_ruled_out: bool = False
    """Whether the judge's errors as measured allow no such judged rate, whatever the true one: it errs otherwise here,
    and the corrected rate is nan."""


class Correction(NamedTuple):
    """The judge's errors, and what the rates are without them."""

    sensitivity: Estimate
    """Share of the answers in which people see the trait that the judge calls expressed."""
    specificity: Estimate
    """Share of the answers in which people do not see it that the judge calls not expressed."""
    informedness: Estimate
    """Sensitivity + specificity - 1 (Youden's J)."""
    people: Estimate
    """The expression rate that people would have found, had they rated all answers that were drawn from."""
    rates: list[CorrectedRate]
    """By condition; the corrected rate is nan where no correction is possible."""
    obstacle: str | None
    """Why no correction is possible anywhere."""


def correct(confusion: Confusion, cells: Sequence[CellCount], seed: int = 1) -> Correction:
    """Correct the rates for the judge's errors, as measured on a sample that was drawn by the judge's verdict.

    *Sensitivity and specificity.* A sample drawn by the judge's verdict shows directly what share of the answers with
    a verdict v people call expressed, P(e|v), and not expressed, P(n|v); its own shares of hits among people's verdicts
    mean nothing, because the verdicts were drawn with different chances. So the shares are weighted with N_v, the
    answers with each verdict that there were to draw from: with N_+ and N_- called expressed and not expressed,
    Se = N_+ P(e|+) / (N_+ P(e|+) + N_- P(e|-)) and Sp = N_- P(n|-) / (N_- P(n|-) + N_+ P(n|+)), over the answers that
    both include (Begg and Greenes 1983, Biometrics 39, 207-215).

    *Conditions.* Each has too few rated answers for a rate of its own; what people rated is used for all of them: the
    rate is (p + Sp - 1) / (Se + Sp - 1), cut to 0-1, with p the judged rate (Rogan and Gladen 1978, American Journal of
    Epidemiology 107, 71-76). It supposes that the judge errs alike in all conditions. Where the whole interval
    lies outside of 0-1 before it is cut, the judged rate is lower than false alarms alone would make it (or higher than
    hits could): the supposition is false for that condition, and no corrected rate is given.

    *All answers.* Here no such supposition is needed, and a poor judge does no harm: sum_v N_v P(e|v) /
    sum_v N_v (P(e|v) + P(n|v)), the stratified estimate (Cochran 1977, chapter 5), which also counts what people
    include and the judge does not. Where both include the same answers it equals Rogan and Gladen's for all answers
    together.

    *Intervals.* 95% of 20,000 draws of all that was measured. Each P(.|v) is drawn from its Dirichlet posterior under
    Jeffreys' prior (1/2 for each verdict), so that a sample without an error is not taken for a judge without one, as
    a bootstrap of it would be; p is drawn from a split normal distribution with the bounds of `rate_interval`, so
    that with a perfect judge the corrected interval is the judged one, for other questions and seeds. (The interval
    of Lang and Reiczigel 2014, Preventive Veterinary Medicine 113, 13-22, is for sensitivity and specificity that were
    measured on samples drawn by the truth, and for answers that are independent: neither is so here.)

    No correction is possible where the interval of Se + Sp - 1 reaches 0: the judge may then be no better than chance,
    and the rate could be anything.

    Args:
        confusion: Over the rated answers.
        cells: The answers that there were to draw from.
        seed: Of the draws.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    sizes = {v: sum(c.verdicts.get(v, 0) for c in cells) for v in VERDICTS}
    drawn = {v: generator.dirichlet([confusion[v][w] + 0.5 for w in VERDICTS], _DRAWS) for v in VERDICTS}
    seen = {v: np.array([confusion[v][w] for w in VERDICTS]) / max(1, sum(confusion[v].values())) for v in VERDICTS}
    rated = [v for v in VERDICTS if sum(confusion[v].values())]
    missing = [v for v in VERDICTS if sizes[v] and v not in rated]
    people = UNDEFINED if missing else _estimate(_people(seen, sizes), _people(drawn, sizes))
    judged = {c: _judged(cells, c) for c in dict.fromkeys(c.condition for c in cells)}
    unmeasured = [v for v in VERDICTS[:2] if v not in rated]
    if unmeasured:
        unrated = f"people have rated no answer that the judge called {' and none that it called '.join(unmeasured)}"
        rates = [CorrectedRate(c, rate, UNDEFINED) for c, rate in judged.items()]
        return Correction(UNDEFINED, UNDEFINED, UNDEFINED, people, rates, unrated)
    (se, sp), (drawn_se, drawn_sp) = _accuracy(seen, sizes), _accuracy(drawn, sizes)
    informedness = _estimate(se + sp - 1, drawn_se + drawn_sp - 1)
    is_possible = informedness.value > 0 and informedness.low > 0
    rates = []
    for condition, rate in judged.items():
        corrected, is_ruled_out = UNDEFINED, False
        if is_possible and rate.included:
            noise = generator.standard_normal(_DRAWS)
            p = rate.rate + noise * np.where(noise > 0, rate.high - rate.rate, rate.rate - rate.low) / _Z
            uncut = _estimate(rogan_gladen(rate.rate, se, sp), rogan_gladen(p, drawn_se, drawn_sp))
            is_ruled_out = uncut.high < 0 or uncut.low > 1
            if not is_ruled_out:
                corrected = Estimate(*(min(1.0, max(0.0, x)) for x in uncut))
        rates.append(CorrectedRate(condition, rate, corrected, is_ruled_out))
    obstacle = None if is_possible else _no_better_than_chance(informedness)
    return Correction(_estimate(se, drawn_se), _estimate(sp, drawn_sp), informedness, people, rates, obstacle)


def rogan_gladen(judged: Any, sensitivity: Any, specificity: Any) -> Any:
    """The rate behind a judged rate, (p + Sp - 1) / (Se + Sp - 1); nan where Se + Sp <= 1.

    Not cut to 0-1: it leaves them where p is below the false alarms or above the hits. Source: Rogan and Gladen (1978),
    American Journal of Epidemiology 107, 71-76.

    Args:
        judged: p, a share 0-1 or an array of them, as the others.
        sensitivity: Se.
        specificity: Sp.
    """
    import numpy as np

    informedness = np.asarray(sensitivity + specificity - 1, dtype=float)
    usable = np.where(informedness > 0, informedness, np.nan)
    return (judged + specificity - 1) / usable


def _accuracy(shares: "Shares", sizes: Mapping[Verdict, int]) -> tuple[Any, Any]:
    """Sensitivity and specificity over the answers that the judge and people include."""
    hit, false_alarm = (shares["expressed"][..., i] * sizes["expressed"] for i in (0, 1))
    miss, rejection = (shares["not expressed"][..., i] * sizes["not expressed"] for i in (0, 1))
    return _ratio(hit, hit + miss), _ratio(rejection, rejection + false_alarm)


def _people(shares: "Shares", sizes: Mapping[Verdict, int]) -> Any:
    """The stratified estimate of the expression rate."""
    expressed, not_expressed = (sum(shares[v][..., i] * sizes[v] for v in VERDICTS) for i in (0, 1))
    return _ratio(expressed, expressed + not_expressed)


def _ratio(part: Any, whole: Any) -> Any:
    import numpy as np

    whole = np.asarray(whole, dtype=float)
    return part / np.where(whole > 0, whole, np.nan)


def _estimate(value: Any, draws: Any) -> Estimate:
    """A value with the middle 95% of its draws, widened to hold it where the prior has drawn them away from it."""
    import numpy as np

    value = float(value)
    if math.isnan(value):
        return UNDEFINED
    low, high = (float(q) for q in np.nanquantile(draws, [0.025, 0.975]))
    return Estimate(value, min(low, value), max(high, value))


def _judged(cells: Sequence[CellCount], condition: str) -> "CrossedRate":
    import numpy as np

    from wg_evals.analysis.crossed import Crossed
    from wg_evals.analysis.intervals import rate_interval

    own = [c for c in cells if c.condition == condition]
    questions = sorted({c.question for c in own})
    expressed = np.zeros((1 + max(c.run for c in own), len(questions)), dtype=np.int64)
    others = np.zeros_like(expressed)
    for cell in own:
        place = cell.run, questions.index(cell.question)
        expressed[place] += cell.verdicts.get("expressed", 0)
        others[place] += cell.verdicts.get("not expressed", 0)
    return rate_interval(Crossed(expressed, expressed + others, tuple(questions)))


def _no_better_than_chance(informedness: Estimate) -> str:
    if math.isnan(informedness.value):
        return "people gave all rated answers that count the same verdict, so one kind of error could not be measured"
    value, low, high = (1 + x for x in informedness)
    return (
        f"sensitivity + specificity is {value:.2f} [{low:.2f}, {high:.2f}], too near 1: the judge may be no better "
        "than chance"
    )
