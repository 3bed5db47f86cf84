"""What ratings say of the judge: closed forms, and intervals that hold the truth."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.scorer import Score

from wg_evals.annotate.correction import correct, rogan_gladen
from wg_evals.annotate.key import VERDICTS, CellCount, Verdict
from wg_evals.annotate.ratings import people_verdict
from wg_evals.annotate.sample import allocate, systematic
from wg_evals.annotate.score import bootstrap, consensus
from wg_evals.catalogue import load_domain, load_rubric
from wg_evals.judging.agreement import as_units, krippendorff
from wg_evals.scorers.outcome import _by_judge

E, N, X = VERDICTS
COUNTS = st.integers(1, 60)


def table(
    expressed: tuple[int, int, int], other: tuple[int, int, int], excluded: tuple[int, int, int] = (0, 0, 0)
) -> dict[Verdict, dict[Verdict, int]]:
    rows = zip(VERDICTS, (expressed, other, excluded), strict=True)
    return {v: dict(zip(VERDICTS, row, strict=True)) for v, row in rows}


def cells(expressed: int, other: int, condition: str = "plain", questions: int = 10) -> list[CellCount]:
    """Counts, spread evenly over questions."""
    share: list[Mapping[Verdict, int]] = [
        {
            E: expressed // questions + (q < expressed % questions),
            N: other // questions + (q >= questions - other % questions),
        }
        for q in range(questions)
    ]
    return [CellCount(condition=condition, question=f"q{q}", run=0, verdicts=dict(c)) for q, c in enumerate(share)]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_correction_undoes_what_the_judge_does(rate: float, sensitivity: float, specificity: float) -> None:
    judged = rate * sensitivity + (1 - rate) * (1 - specificity)
    found = float(rogan_gladen(judged, sensitivity, specificity))
    if sensitivity + specificity > 1.01:
        assert found == pytest.approx(rate, abs=1e-9)
    elif sensitivity + specificity <= 1:
        assert math.isnan(found)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 400), st.integers(0, 400))
def test_over_all_answers_it_is_the_stratified_estimate(a: int, b: int, c: int, d: int, plus: int, minus: int) -> None:
    pool = cells(plus + 1, minus + 1)
    found = correct(table((a, b, 0), (c, d, 0)), pool)
    n_plus, n_minus = plus + 1, minus + 1
    by_hand = (n_plus * a / (a + b) + n_minus * c / (c + d)) / (n_plus + n_minus)
    assert found.people.value == pytest.approx(by_hand)
    assert found.people.low <= by_hand <= found.people.high
    if found.obstacle is None:
        assert found.rates[0].corrected.value == pytest.approx(by_hand)


def test_the_judges_errors_are_weighted_back_from_the_strata() -> None:
    # 100 called expressed of which 40 of 50 are, 900 called not expressed of which 5 of 50 are: 80 and 90 of each
    found = correct(table((40, 10, 0), (5, 45, 0)), cells(100, 900))
    assert found.sensitivity.value == pytest.approx(80 / 170)  # and not 40 / 45
    assert found.specificity.value == pytest.approx(810 / 830)
    assert found.people.value == pytest.approx(170 / 1000)
    assert found.rates[0].judged.rate == 0.1
    assert found.rates[0].corrected.value == pytest.approx(0.17)


def test_what_people_exclude_is_in_no_denominator() -> None:
    pool = [*cells(100, 100), CellCount(condition="plain", question="q0", run=0, verdicts={X: 50})]
    found = correct(table((30, 0, 10), (0, 40, 0), (5, 5, 10)), pool)
    # expressed: 75 + 0 + 12.5; included: 75 + 100 + 25
    assert found.people.value == pytest.approx(87.5 / 200)


def test_a_judge_known_to_be_perfect_leaves_the_interval_as_it_was() -> None:
    found = correct(table((10**7, 0, 0), (0, 10**7, 0)), cells(60, 140))
    judged, corrected = found.rates[0].judged, found.rates[0].corrected
    assert (corrected.value, judged.rate) == pytest.approx((0.3, 0.3))
    assert (corrected.low, corrected.high) == pytest.approx((judged.low, judged.high), abs=0.005)


def test_a_sample_without_an_error_is_not_taken_for_a_judge_without_one() -> None:
    found = correct(table((10, 0, 0), (0, 10, 0)), cells(60, 140))
    assert found.specificity.value == 1.0 and found.specificity.low < 0.97
    assert found.rates[0].corrected.high - found.rates[0].corrected.low > 1.1 * (
        found.rates[0].judged.high - found.rates[0].judged.low
    )


def test_a_judge_no_better_than_chance_allows_no_correction() -> None:
    found = correct(table((10, 10, 0), (10, 10, 0)), cells(100, 100))
    assert found.obstacle is not None and "too near 1" in found.obstacle
    assert math.isnan(found.rates[0].corrected.value)
    assert found.people.value == 0.5  # people's own estimate needs no good judge


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (((0, 0, 0), (3, 9, 0)), "no answer that the judge called expressed"),
        (((0, 0, 0), (0, 0, 0)), "expressed and none that it called not expressed"),
        (((9, 0, 0), (9, 0, 0)), "one kind of error could not be measured"),
    ],
)
def test_what_was_not_measured_is_said(rows: tuple[tuple[int, int, int], ...], said: str) -> None:
    found = correct(table(*rows), cells(100, 100))
    assert found.obstacle is not None and said in found.obstacle
    assert all(math.isnan(r.corrected.value) for r in found.rates)


def test_corrected_intervals_hold_the_truth() -> None:
    """A judge with Se 0.8 and Sp 0.9, 60 answers rated of each verdict; the truth is a rate of 0.3 in the condition."""
    random = np.random.default_rng(7)
    held, people_held, times = 0, 0, 300
    for _ in range(times):
        truths = random.random((2, 10, 40)) < np.array([0.3, 0.6])[:, None, None]
        judged = np.where(truths, random.random(truths.shape) < 0.8, random.random(truths.shape) < 0.1)
        pool = [
            CellCount(condition=c, question=f"q{q}", run=0, verdicts={E: int(j.sum()), N: int((~j).sum())})
            for c, rows in zip(("a", "b"), judged, strict=True)
            for q, j in enumerate(rows)
        ]
        rated = []
        for verdict in (True, False):
            drawn = random.choice(truths[judged == verdict], 60, replace=False)
            rated.append((int(drawn.sum()), int((~drawn).sum()), 0))
        found = correct(table(*rated), pool)
        held += found.rates[0].corrected.low <= 0.3 <= found.rates[0].corrected.high
        people_held += found.people.low <= truths.mean() <= found.people.high
    assert 0.93 <= held / times <= 1
    assert 0.93 <= people_held / times <= 1


@given(st.tuples(*[st.integers(0, 200)] * 3), st.integers(1, 300))
def test_a_sample_is_divided_among_the_verdicts(sizes: tuple[int, int, int], total: int) -> None:
    there = dict(zip(VERDICTS, sizes, strict=True))
    found = allocate(there, total)
    assert sum(found.values()) == min(total, sum(sizes))
    for v in VERDICTS:
        assert 0 <= found[v] <= there[v]
    if found[E] < there[E] and found[N] < there[N]:
        assert abs(found[E] - found[N]) <= 1
        assert found[X] == there[X] or total // 10 <= found[X] <= max(total // 10, total // 3)


def test_rare_exclusions_take_a_tenth_of_the_sample() -> None:
    assert allocate({E: 8343, N: 8055, X: 180}, 120) == {E: 54, N: 54, X: 12}
    assert allocate({E: 300, N: 500, X: 200}, 100) == {E: 40, N: 40, X: 20}


def test_a_rate_that_the_errors_rule_out_is_not_corrected() -> None:
    """Half of what the judge calls expressed is not; where it calls next to nothing so, it must err less often."""
    pool = [*cells(500, 500, "a"), *cells(10, 990, "b")]
    found = correct(table((100, 100, 0), (1, 199, 0)), pool)
    assert [r.is_ruled_out for r in found.rates] == [False, True]
    assert math.isnan(found.rates[1].corrected.value)


@given(st.integers(1, 100), st.data())
def test_a_systematic_sample_has_no_answer_twice(size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, size))
    found = systematic(range(size), count, data.draw(st.integers(0, 99)), "x")
    assert len(set(found)) == len(found) == count
    assert found == sorted(found)


def test_every_answer_has_the_same_chance_of_being_drawn() -> None:
    drawn = np.zeros(10)
    for seed in range(3000):
        drawn[systematic(range(10), 4, seed, "x")] += 1
    assert drawn / 3000 == pytest.approx(np.full(10, 0.4), abs=0.04)


VALUES = st.fixed_dictionaries(
    {
        "alignment": st.one_of(st.integers(0, 100).map(float), st.sampled_from(["CODE", "REFUSAL"])),
        "coherence": st.integers(0, 100).map(float),
    }
)


@given(VALUES)
def test_the_outcome_rule_reads_people_as_it_reads_the_judge(values: dict[str, str | float]) -> None:
    domain = load_domain("code")
    rule = domain.probe("misalignment").outcome
    judged = _by_judge(domain, rule, {name: Score(value=v) for name, v in values.items()})
    expected = "excluded" if judged.reason != "included" else "expressed" if judged.expressed else "not expressed"
    rubrics = {name: load_rubric(name, domain.folder) for name in values}
    assert people_verdict(dict(values), rule, rubrics) == expected


def test_alpha_of_a_table_from_the_textbook() -> None:
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    # 30 of 100 values meet a different one; of all pairs of values 2 * 55 * 45 / (100 * 99) differ
    assert krippendorff(as_units(pairs), "nominal") == pytest.approx(1 - 0.3 / 0.5)
    assert krippendorff(as_units([("y",), ("n",), *pairs]), "nominal") == pytest.approx(0.4)  # rated once: says nothing


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(0, 5))
def test_a_bootstrap_interval_holds_its_share(values: list[bool], seed: int) -> None:
    found = bootstrap(values, lambda v: sum(v) / len(v), seed)
    if len(set(values)) == 1:
        assert math.isnan(found.low) and math.isnan(found.high)  # no draw differs, which is no certainty
    else:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_bootstrap_of_a_share_has_the_binomials_spread() -> None:
    found = bootstrap([True] * 50 + [False] * 50, lambda v: sum(v) / len(v), 1)
    assert (found.low, found.high) == pytest.approx((0.402, 0.598), abs=0.015)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["A", "A", "B"], "A"),
        (["A", "B"], None),
        ([80.0, 60.0, 10.0], 60.0),
        ([80.0, 61.0], 70.5),
        ([80.0, "CODE"], None),
        ([80.0, "CODE", "CODE"], "CODE"),
        (["A"], "A"),
    ],
)
def test_people_agree_where_more_than_half_do(values: list[str | float], expected: str | float | None) -> None:
    assert consensus(values) == expected
