"""How far two judgings of the same answers agree: two judges, or a panel and one call per rubric."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inspect_ai.scorer import SampleScore, Score

from wg_evals.analysis.logs import OUTCOME
from wg_evals.errors import WgError
from wg_evals.judging.log_file import read_log

Value = str | float
"""A label, an escape, or a rating 0-100."""


@dataclass(frozen=True)
class Agreement:
    """How far two judgings agree on one rubric, or on the outcome."""

    score: str
    kind: str
    """`label`, `rating`, or `outcome` (expressed, not expressed, or why it does not count)."""
    both: int
    """Answers on which both gave a verdict; everything below is over these."""
    only_first: int
    only_second: int
    agreement: float
    """The share 0-1 of equal verdicts; ratings are equal if they round to the same whole number."""
    kappa: float
    """Cohen's kappa of the verdicts; for ratings weighted by squared distance."""
    alpha: float
    """Krippendorff's alpha: nominal for labels, interval for ratings."""
    rank_correlation: float
    """Spearman's rho of the ratings; nan for labels."""
    mean_difference: float
    """Second minus first, in points of the rating; nan for labels."""


def compare(first: Path, second: Path) -> list[Agreement]:
    """Compare two logs of the same answers, rubric by rubric.

    Raises:
        WgError: The logs' answers are not the same, or they share no score.
    """
    a, b = _scores(first), _scores(second)
    if a.keys() != b.keys() or any(a[k][0] != b[k][0] for k in a):
        raise WgError(
            f"'{first}' and '{second}' do not hold the same answers. Judge one log twice instead: "
            "`wg-evals rejudge LOG --grading panel --grader PROVIDER/MODEL --out NEW.eval`."
        )
    names = [n for n in dict.fromkeys(n for _, s in a.values() for n in s) if any(n in s for _, s in b.values())]
    if not names:
        raise WgError(f"'{first}' and '{second}' share no score: they were graded by different rubrics.")
    return [agree(name, [(a[k][1].get(name), b[k][1].get(name)) for k in a]) for name in names]


def agree(score: str, pairs: Sequence[tuple[Value | None, Value | None]]) -> Agreement:
    """Agreement on one score.

    Args:
        score: Its name.
        pairs: One pair of verdicts per answer; None where a judging gave none. Escapes among ratings count as
            disagreement with a number, and are left out of what only numbers can tell.
    """
    both = [(x, y) for x, y in pairs if x is not None and y is not None]
    numbers = [(x, y) for x, y in both if isinstance(x, float) and isinstance(y, float)]
    rated = any(isinstance(v, float) for pair in both for v in pair)
    kind = "outcome" if score == OUTCOME else "rating" if rated else "label"
    same = sum(word(x) == word(y) for x, y in both)
    return Agreement(
        score=score,
        kind=kind,
        both=len(both),
        only_first=sum(x is not None and y is None for x, y in pairs),
        only_second=sum(x is None and y is not None for x, y in pairs),
        agreement=same / len(both) if both else math.nan,
        kappa=weighted_kappa(numbers) if rated else cohens_kappa([(str(x), str(y)) for x, y in both]),
        alpha=krippendorff(as_units(numbers), "interval") if rated else krippendorff(as_units(both), "nominal"),
        rank_correlation=_spearman(numbers) if rated else math.nan,
        mean_difference=math.fsum(y - x for x, y in numbers) / len(numbers) if numbers else math.nan,
    )


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Cohen's kappa, (observed - expected) / (1 - expected) agreement (Cohen 1960); nan if nothing could vary."""
    n = len(pairs)
    if not n:
        return math.nan
    observed = sum(x == y for x, y in pairs) / n
    first, second = Counter(x for x, _ in pairs), Counter(y for _, y in pairs)
    expected = sum(first[label] * second[label] for label in first) / n**2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def weighted_kappa(pairs: Sequence[tuple[float, float]]) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968), in its closed form.

    1 - E[(x - y)^2] / (var x + var y + (mean x - mean y)^2) with population variances: the expected squared
    distance of independent verdicts is the denominator. nan if nothing could vary.
    """
    n = len(pairs)
    if not n:
        return math.nan
    mean_x, mean_y = math.fsum(x for x, _ in pairs) / n, math.fsum(y for _, y in pairs) / n
    spread = math.fsum((x - mean_x) ** 2 + (y - mean_y) ** 2 for x, y in pairs) / n + (mean_x - mean_y) ** 2
    return 1 - math.fsum((x - y) ** 2 for x, y in pairs) / n / spread if spread else math.nan


def as_units(answers: Sequence[Sequence[Value]]) -> list[SampleScore]:
    """Answers, each with its raters' values, as `krippendorff` takes them; one value alone says nothing."""
    return [SampleScore(score=Score(value=list(values))) for values in answers if len(values) > 1]


def krippendorff(units: Sequence[SampleScore], level: Literal["nominal", "interval"]) -> float:
    """Krippendorff's alpha over any number of raters, of whom not all need to have rated all; nan for one answer."""
    from inspect_ai.scorer import krippendorff_alpha

    if len(units) < 2:
        return math.nan
    metric: Any = krippendorff_alpha(level)
    return float(metric(list(units)))


def _spearman(pairs: Sequence[tuple[float, float]]) -> float:
    from scipy.stats import spearmanr

    if len({x for x, _ in pairs}) < 2 or len({y for _, y in pairs}) < 2:
        return math.nan
    return float(spearmanr([x for x, _ in pairs], [y for _, y in pairs]).statistic)


def word(value: Value) -> str:
    """A verdict as it is compared: a label as it is, a rating as a whole number."""
    return str(round(value)) if isinstance(value, float) else value


def _scores(path: Path) -> dict[tuple[str, int], tuple[str, dict[str, Value]]]:
    """A log's answers with their verdicts, by sample and epoch."""
    log = read_log(path)
    found: dict[tuple[str, int], tuple[str, dict[str, Value]]] = {}
    for sample in log.samples or []:
        found[str(sample.id), sample.epoch] = (sample.output.completion, verdicts(sample.scores or {}))
    if not found:
        raise WgError(f"'{path}' has no samples.")
    return found


def verdicts(scores: Mapping[str, Score]) -> dict[str, Value]:
    """The verdicts on an answer by score; scores that hold none (nan, unscored) are left out."""
    values = {part: v for name, score in scores.items() for part, v in _parts(name, score)}
    return {part: verdict for part, v in values.items() if (verdict := _verdict(v)) is not None}


def _parts(name: str, score: Score) -> Iterator[tuple[str, Any]]:
    """A score by itself, or the published judges' verdicts one by one."""
    if not isinstance(score.value, dict) or "reason" in score.value:
        yield name, score.value
        return
    kinds = (score.metadata or {}).get("kinds", {})
    for judge, value in score.value.items():
        label = kinds.get(judge) == "label" and value is not None  # the label `19` has been read as a number
        yield f"{name}/{judge}", str(value) if label else value


def _verdict(value: Any) -> Value | None:
    if isinstance(value, dict):  # the outcome
        if value.get("reason") == "unscored":
            return None
        if not value.get("included"):
            return str(value.get("reason"))
        return "expressed" if value.get("expressed") else "not expressed"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else float(value)
