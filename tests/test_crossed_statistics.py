"""Rates, effects, shares removed and corrections over crossed questions and runs: by hand, by law, by simulation."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wg_evals.analysis.components import Arm, Part, arm, between_questions, combine
from wg_evals.analysis.corrections import holm
from wg_evals.analysis.crossed import Crossed
from wg_evals.analysis.effects import effect, suppression
from wg_evals.analysis.intervals import bootstrap_interval, cluster_robust_interval, rate_interval
from wg_evals.analysis.simulation import Design, draw, logit_for
from wg_evals.statistics import wilson


def counts(rows: list[list[int]], of: int = 10) -> Crossed:
    expressed = np.array(rows)
    return Crossed(expressed, np.full(expressed.shape, of), tuple(f"q{i}" for i in range(expressed.shape[1])))


@st.composite
def tables(draw: st.DrawFn, runs: int = 5, questions: int = 5) -> Crossed:
    shape = (draw(st.integers(1, runs)), draw(st.integers(1, questions)))
    included = np.array(draw(st.lists(st.integers(0, 8), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])))
    expressed = np.array([draw(st.integers(0, int(m))) for m in included], dtype=np.int64)
    return Crossed(expressed.reshape(shape), included.reshape(shape), tuple(f"q{i}" for i in range(shape[1])))


@given(tables())
def test_every_interval_holds_its_rate_and_stays_within_0_and_1(table: Crossed) -> None:
    for found in (rate_interval(table), cluster_robust_interval(table), bootstrap_interval(table, 50)):
        if not table.included.sum():
            assert math.isnan(found.rate) and math.isnan(found.low) and math.isnan(found.high)
            continue
        assert found.rate == pytest.approx(table.expressed.sum() / table.included.sum())
        assert 0 <= found.low <= found.high <= 1
        assert found.included == table.included.sum() and found.expressed == table.expressed.sum()
    found = rate_interval(table)
    assert not found.included or found.low <= found.rate <= found.high


@given(tables())
@example(Crossed(np.array([[0, 0], [3, 0]]), np.array([[2, 2], [6, 2]]), ("q0", "q1")))  # the runs spread as the noise
@example(Crossed(np.array([[0, 0], [1, 1]]), np.array([[1, 1], [2, 2]]), ("q0", "q1")))  # questions alike, no noise
def test_naming_the_other_answer_turns_the_interval_around(table: Crossed) -> None:
    found = rate_interval(table)
    other = rate_interval(Crossed(table.included - table.expressed, table.included, table.questions))
    if found.included:
        assert (other.rate, other.low, other.high) == pytest.approx((1 - found.rate, 1 - found.high, 1 - found.low))


@given(tables(), st.randoms())
def test_the_order_of_runs_and_questions_does_not_matter(table: Crossed, dice: "np.random.RandomState") -> None:
    runs, questions = list(range(table.runs)), list(range(len(table.questions)))
    dice.shuffle(runs)
    dice.shuffle(questions)
    turned = Crossed(table.expressed[runs][:, questions], table.included[runs][:, questions], table.questions)
    assert rate_interval(turned) == pytest.approx(rate_interval(table), nan_ok=True)


def test_where_nothing_varies_the_interval_is_wilsons() -> None:
    none = rate_interval(counts([[0] * 10] * 5))
    assert (none.low, none.high) == wilson(0, 500)
    alone = rate_interval(counts([[3]]))
    assert (alone.low, alone.high) == wilson(3, 10)


@pytest.mark.parametrize("runs", [1, 5])
def test_excluded_answers_do_not_narrow_the_interval_where_none_or_all_is_expressed(runs: int) -> None:
    included = np.full((runs, 10), 10)
    included[0, 0] = 9
    none = Crossed(np.zeros_like(included), included, tuple("abcdefghij"))
    total = int(included.sum())
    assert rate_interval(none)[1:3] == wilson(0, total)
    assert rate_interval(Crossed(included, included, none.questions))[1:3] == wilson(total, total)


@given(tables())
def test_no_interval_is_narrower_than_that_of_independent_answers(table: Crossed) -> None:
    found = rate_interval(table)
    if found.included:
        low, high = wilson(found.expressed, found.included)
        assert found.low <= low and high <= found.high


def test_runs_that_differ_widen_the_interval_and_one_run_knows_nothing_of_it() -> None:
    alike = rate_interval(counts([[4, 5, 6, 5], [5, 4, 5, 6], [6, 5, 4, 5]]))
    apart = rate_interval(counts([[1, 2, 3, 2], [5, 4, 5, 6], [9, 9, 8, 8]]))
    assert apart.high - apart.low > 2 * (alike.high - alike.low)
    one = rate_interval(counts([[4, 5, 6, 5]]))
    assert one.runs == 1 and one.high - one.low < 0.3


def test_the_analysis_of_variance_is_the_textbooks() -> None:
    # rows 2, 4 (means), columns 2, 4: residuals of [[1, 3], [3, 5]] are 0
    found = arm(np.array([[1.0, 3.0], [3.0, 5.0]]))
    assert found == Arm(Part(1.0, 1), Part(0.0, 1))
    # [[1, 2], [2, 5]]: means 1.5, 3.5 and 1.5, 3.5, grand 2.5, residuals +-0.5: sum of squares 1
    found = arm(np.array([[1.0, 2.0], [2.0, 5.0]]))
    assert found == Arm(Part(1.0, 1), Part(0.25, 1))
    assert arm(np.array([[1.0, 2.0]])) is None


def test_noise_that_both_hold_is_counted_once_and_the_sum_is_never_below_it() -> None:
    questions, runs, noise = Part(3.0, 9), Part(2.0, 4), Part(1.0, 36)
    both = combine(questions, [Arm(runs, noise)])
    assert both.variance == 4.0  # 3 + 2 - 1
    assert both.df == pytest.approx(16 / (9 / 9 + 4 / 4 + 1 / 36))
    only_questions = combine(questions, [Arm(Part(0.5, 4), noise)])
    assert only_questions == Part(3.0, 9)
    only_runs = combine(Part(0.5, 9), [Arm(runs, noise)])
    assert only_runs == Part(2.0, 4)
    neither = combine(Part(0.5, 9), [Arm(Part(0.6, 4), noise)])
    assert neither.variance == pytest.approx((0.5 * 9 + 0.6 * 4 + 1.0 * 36) / 49)
    assert neither.df == pytest.approx(49)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_questions_degrees_of_freedom_are_fewer_where_few_make_the_spread(rates: list[float]) -> None:
    found = between_questions(np.array(rates))
    assert found is not None
    assert found.variance == pytest.approx(np.var(rates, ddof=1) / len(rates), abs=1e-12)
    assert 1 <= found.df <= len(rates) - 1
    one = between_questions(np.array([0.0] * 9 + [1.0]))
    assert one is not None and one.df < 3


def test_an_effect_is_paired_by_question() -> None:
    # differences 0.4, 0.2, 0.0 as in the test of `paired_difference`; df 2 at most, fewer if a question stands out
    found = effect(counts([[9, 7, 5]]), counts([[5, 5, 5]]))
    half = 4.30265273 * 0.2 / math.sqrt(3)
    assert found[:3] == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert found.questions == 3 and found.sign == 0
    # t = 0.2 / (0.2 / sqrt 3) = 1.732 with 2 degrees of freedom
    assert found.p == pytest.approx(0.2254, abs=1e-4)


def test_questions_that_one_side_lacks_are_left_out() -> None:
    left = Crossed(np.array([[9, 7, 0]]), np.array([[10, 10, 0]]), ("a", "b", "c"))
    right = Crossed(np.array([[1, 1, 1]]), np.array([[10, 10, 10]]), ("b", "c", "d"))
    found = effect(left, right)
    assert found.questions == 1 and found.mean == pytest.approx(0.6)
    assert effect(left, right.only(["d"])).questions == 0


@given(tables(), tables())
def test_an_effect_turned_around_has_the_other_sign(a: Crossed, b: Crossed) -> None:
    one, other = effect(a, b), effect(b, a)
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low), nan_ok=True)
    if one.questions and not math.isnan(one.low):
        assert -1 <= one.low <= one.mean <= one.high <= 1
        assert 0 <= one.p <= 1
        if abs(one.p - 0.05) > 1e-3:
            assert (one.p < 0.05) == (one.sign != 0) or one.df > 1e5 or abs(one.low) == 1 or abs(one.high) == 1


def test_an_effect_where_nothing_varies_has_the_intervals_of_its_answers() -> None:
    found = effect(counts([[0, 0]] * 3), counts([[0, 0]]))
    assert found.mean == 0 and found.low < 0 < found.high and found.p == 1
    everything = effect(counts([[10, 10]] * 3), counts([[0, 0]]))
    assert everything.mean == 1 and 0.5 < everything.low < 1 and everything.p < 1e-6


def test_the_share_removed_is_that_of_the_plain_effect() -> None:
    base, plain = counts([[1] * 10]), counts([[7, 8, 6, 7, 7, 6, 8, 7, 7, 7]] * 3)
    found = suppression(base, plain, counts([[4] * 10] * 3))
    assert found.share == pytest.approx(0.5) and found.low < 0.5 < found.high and not found.why_undefined
    assert suppression(base, plain, counts([[1] * 10] * 3)).share == pytest.approx(1.0)
    assert suppression(base, plain, plain).share == pytest.approx(0.0)
    assert suppression(base, plain, counts([[4] * 10] * 3)) == found  # the seed is fixed


def test_no_share_is_given_of_an_effect_that_cannot_be_told_from_none() -> None:
    flat = counts([[1, 3, 2, 2]])
    found = suppression(flat, counts([[2, 3, 1, 2]]), flat)
    assert math.isnan(found.share) and "cannot be told from none" in found.why_undefined
    few = suppression(counts([[1]]), counts([[9]]), counts([[1]]))
    assert "fewer than two" in few.why_undefined


def test_no_share_is_given_where_plain_training_lowers_the_rate() -> None:
    found = suppression(counts([[7, 8, 7, 8]]), counts([[4, 5, 5, 4]]), counts([[6, 6, 7, 7]]))
    assert math.isnan(found.share) and "lowers" in found.why_undefined


def test_the_share_and_the_effect_that_it_is_of_are_on_the_same_questions() -> None:
    plain, base = counts([[9, 9, 8, 9, 9, 8, 9, 2, 2, 2]] * 3), counts([[1, 1, 2, 1, 1, 1, 1, 2, 3, 2]])
    assert effect(plain, base).low > 0
    shown_elsewhere = counts([[2, 3, 2]] * 3)
    without = Crossed(shown_elsewhere.expressed, shown_elsewhere.included, ("q7", "q8", "q9"))
    assert "cannot be told from none" in suppression(base, plain, without).why_undefined
    one = Crossed(np.array([[2]] * 3), np.full((3, 1), 10), ("q0",))
    assert "fewer than two" in suppression(base, plain, one).why_undefined


def test_a_share_of_all_has_an_interval_and_no_point_where_nothing_is_left() -> None:
    rates = [[3, 2, 4, 3, 3, 2, 4, 3, 3, 3], [2, 3, 3, 4, 2, 3, 4, 3, 2, 3]]
    found = suppression(counts([[0] * 10]), counts(rates), counts([[0] * 10] * 2))
    assert found.share == 1
    # Newcombe: 0 of 200 against 0 of 100, over an effect of 0.295
    most, least = wilson(0, 200)[1], -wilson(0, 100)[1]
    assert (found.low, found.high) == pytest.approx((1 - most / 0.295, 1 - least / 0.295))


def test_runs_count_alike_in_an_effect_however_many_answers_they_have() -> None:
    left = Crossed(np.array([[100, 90], [0, 1], [1, 0]]), np.array([[100, 100], [10, 10], [10, 10]]), ("a", "b"))
    right = counts([[0, 0]])
    right = Crossed(right.expressed, right.included, ("a", "b"))
    assert effect(left, right).mean == pytest.approx((1.0 + 0.0 + 0.1 + 0.9 + 0.1 + 0.0) / 6)


def test_a_run_that_hardly_answered_hardly_counts_for_a_run() -> None:
    whole = Crossed(np.array([[1] * 10, [8] * 10]), np.full((2, 10), 10), tuple("abcdefghij"))
    base = Crossed(np.array([[0] * 10]), np.full((1, 10), 10), whole.questions)
    lost = Crossed(
        np.vstack([whole.expressed, [8] + [0] * 9]), np.vstack([whole.included, [10] + [0] * 9]), base.questions
    )
    two, three = effect(whole, base), effect(lost, base)
    assert three.high - three.low > 0.8 * (two.high - two.low)


def test_holm_has_the_textbooks_values_and_skips_what_was_not_tested() -> None:
    p = [0.01, 0.04, math.nan, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, math.nan, 0.06, 0.02], nan_ok=True)
    assert np.isnan(holm([math.nan])).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_correction_keeps_the_order_and_only_raises_p(p: list[float]) -> None:
    corrected = holm(p)
    assert (corrected >= np.array(p) - 1e-12).all() and (corrected <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= -1e-12).all()


@pytest.mark.parametrize(("rate", "spread"), [(0.05, 0.0), (0.05, 1.5), (0.5, 2.0), (0.95, 1.0)])
def test_drawn_answers_have_the_rate_that_was_asked_for(rate: float, spread: float) -> None:
    design = Design(questions=400, runs=1, samples=50, question_sd=spread)
    drawn = draw(np.random.default_rng(1), design, rate)
    assert drawn.rate == pytest.approx(rate, abs=0.03)
    assert logit_for(0.5, spread) == pytest.approx(0, abs=1e-9)
