"""How far people agree with each other and with the judge, and what that makes of the rates."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Literal, NamedTuple, TypeVar

from wg_evals.analysis.logs import OUTCOME
from wg_evals.annotate.correction import UNDEFINED, Correction, Estimate, correct
from wg_evals.annotate.key import VERDICTS, Key, Verdict
from wg_evals.annotate.ratings import JUDGE, PEOPLE, Annotator
from wg_evals.judging.agreement import (
    Agreement,
    Value,
    agree,
    as_units,
    cohens_kappa,
    krippendorff,
    weighted_kappa,
    word,
)
from wg_evals.statistics import NAN, wilson

_REPLICATES = 1000
_ROUNDING = 1e-9

T = TypeVar("T")


class Compared(NamedTuple):
    """Two raters on one rubric, or on the outcome."""

    first: str
    second: str
    agreement: Agreement
    share: Estimate
    """Share 0-1 of equal verdicts, with its Wilson interval; not defined for ratings, which are hardly ever equal."""
    kappa: Estimate
    alpha: Estimate


class Together(NamedTuple):
    """All annotators on one rubric, or on the outcome."""

    score: str
    answers: int
    """Rated by two annotators at least."""
    alpha: Estimate


@dataclass(frozen=True)
class Scored:
    """All that a sample's ratings say."""

    annotators: list[Annotator]
    together: list[Together]
    compared: list[Compared]
    confusion: dict[Verdict, dict[Verdict, float]]
    """The judge's verdict, then people's; an answer without a majority counts in equal parts, one for each annotator.

    Without those answers, the harder ones, the judge's errors would look fewer than they are."""
    undecided: int
    """Answers on which no verdict has more than half of the annotators who rated them."""
    correction: Correction


def score(key: Key, annotators: Sequence[Annotator], seed: int = 1) -> Scored:
    """Compare annotators with each other and with the judge, and correct the rates.

    Agreement is over the sample as drawn, in which the judge's verdicts expressed and not expressed are equally
    frequent; where the trait is rare among all answers, kappa over all of them would be lower. The 95% intervals of
    kappa and alpha are bootstrap percentiles over answers (Efron and Tibshirani 1993, chapter 13).

    Args:
        key: The sample's key.
        annotators: From `read_ratings`.
        seed: Of the bootstrap and of the correction's draws.
    """
    ids = [item.id for item in key.items]
    said: dict[str, dict[str, dict[str, Value]]] = {}
    for rubric in (r.name for r in key.rubrics):
        of = {a.name: {i: v[rubric] for i, v in a.values.items()} for a in annotators}
        judge = {item.id: item.scores[rubric] for item in key.items if rubric in item.scores}
        said[rubric] = _raters(of, {i: v if isinstance(v, str) else float(v) for i, v in judge.items()}, ids)
    outcomes: dict[str, dict[str, Value]] = {a.name: dict(a.outcomes) for a in annotators}
    said[OUTCOME] = _raters(outcomes, {item.id: item.verdict for item in key.items}, ids)
    names = [a.name for a in annotators]
    pairs = [*combinations(names, 2), *((name, JUDGE) for name in names)]
    pairs += [(PEOPLE, JUDGE)] if len(names) > 1 else []
    compared = [_compare(name, raters, *pair, ids, seed) for name, raters in said.items() for pair in pairs]
    together = [_together(name, [raters[n] for n in names], ids, seed) for name, raters in said.items()]
    people = said[OUTCOME][PEOPLE]
    confusion = {v: dict.fromkeys(VERDICTS, 0.0) for v in VERDICTS}
    for item in key.items:
        given = [a.outcomes[item.id] for a in annotators if item.id in a.outcomes]
        majority = people.get(item.id)
        for verdict in set(given):
            part = given.count(verdict) / len(given) if majority is None else verdict == majority
            confusion[item.verdict][verdict] += part
    rated = {i for a in annotators for i in a.outcomes}
    return Scored(
        annotators=list(annotators),
        together=together if len(names) > 1 else [],
        compared=[c for c in compared if c.agreement.both],
        confusion=confusion,
        undecided=len(rated - people.keys()),
        correction=correct(confusion, key.cells, seed),
    )


def consensus(values: Sequence[Value]) -> Value | None:
    """What more than half of the raters say: a word, or, if more than half gave numbers, their median."""
    words = Counter(v for v in values if isinstance(v, str))
    numbers = [v for v in values if isinstance(v, float)]
    if 2 * len(numbers) > len(values):
        return float(median(numbers))
    found = [v for v, n in words.items() if 2 * n > len(values)]
    return found[0] if found else None


def bootstrap(answers: Sequence[T], statistic: Callable[[list[T]], float], seed: int) -> Estimate:
    """A statistic of answers with the middle 95% of what it is on answers drawn with replacement.

    The interval is nan where the statistic is defined on fewer than nine in ten of the draws, and where its bounds are
    equal: answers that are all alike cannot show how much others would vary.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    value = statistic(list(answers))
    if len(answers) < 2:
        return Estimate(value, NAN, NAN)
    draws = generator.integers(len(answers), size=(_REPLICATES, len(answers)))
    found = np.array([statistic([answers[i] for i in draw]) for draw in draws])
    defined = found[~np.isnan(found)]
    if len(defined) < 0.9 * _REPLICATES:
        return Estimate(value, NAN, NAN)
    low, high = (float(q) for q in np.quantile(defined, [0.025, 0.975]))
    return Estimate(value, low, high) if high - low > _ROUNDING else Estimate(value, NAN, NAN)


def _raters(
    people: dict[str, dict[str, Value]], judge: dict[str, Value], ids: Sequence[str]
) -> dict[str, dict[str, Value]]:
    """Everyone's verdicts by answer: each annotator's, the judge's, and `people`'s, which is their `consensus`."""
    together = {i: [values[i] for values in people.values() if i in values] for i in ids}
    agreed = {i: verdict for i, values in together.items() if (verdict := consensus(values)) is not None}
    return {**people, JUDGE: judge, PEOPLE: agreed}


def _compare(
    name: str, raters: dict[str, dict[str, Value]], first: str, second: str, ids: Sequence[str], seed: int
) -> Compared:
    found = agree(name, [(raters[first].get(i), raters[second].get(i)) for i in ids])
    both = [(raters[first][i], raters[second][i]) for i in ids if i in raters[first] and i in raters[second]]
    numbers = [(x, y) for x, y in both if isinstance(x, float) and isinstance(y, float)]
    if found.kind == "rating":
        kappa = bootstrap(numbers, weighted_kappa, seed)
    else:
        kappa = bootstrap([(str(x), str(y)) for x, y in both], cohens_kappa, seed)
    alpha = _alpha(numbers if found.kind == "rating" else both, found.kind, seed)
    same = sum(word(x) == word(y) for x, y in both)
    share = UNDEFINED if found.kind == "rating" else Estimate(found.agreement, *wilson(same, len(both)))
    return Compared(first, second, found, share, kappa, alpha)


def _together(name: str, raters: Sequence[dict[str, Value]], ids: Sequence[str], seed: int) -> Together:
    given = [[r[i] for r in raters if i in r] for i in ids]
    rated = any(isinstance(v, float) for values in given for v in values)
    kept = [[v for v in values if isinstance(v, float)] for values in given] if rated else given
    usable = [values for values in kept if len(values) > 1]
    return Together(name, len(usable), _alpha(usable, "rating" if rated else "label", seed))


def _alpha(answers: Sequence[Sequence[Value]], kind: str, seed: int) -> Estimate:
    level: Literal["nominal", "interval"] = "interval" if kind == "rating" else "nominal"
    return bootstrap(as_units(answers), lambda units: krippendorff(units, level), seed)
