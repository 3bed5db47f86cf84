"""How large a study must be, from drawn studies."""

import pytest
from click.testing import CliRunner

from wg_evals.analysis.power import Question, power
from wg_evals.cli import main
from wg_evals.errors import WgError

LITTLE = Question(base=0.05, effect=0.1, question_sd=0.5, run_sd=0.3, cell_sd=0.0)


def test_power_grows_with_answers_seeds_and_questions_and_with_the_effect() -> None:
    small, more_answers = power(LITTLE, [10], [3], [5, 50], studies=150)
    (more_seeds,) = power(LITTLE, [10], [10], [5], studies=150)
    (more_questions,) = power(LITTLE, [40], [3], [5], studies=150)
    (larger,) = power(LITTLE._replace(effect=0.4), [10], [3], [5], studies=150)
    for better in (more_answers, more_seeds, more_questions, larger):
        assert better.power > small.power + 0.1
    assert small.answers == 10 * 5 * (3 + 1)
    assert more_questions.half_width < small.half_width


def test_without_an_effect_a_twentieth_at_most_is_seen() -> None:
    (none,) = power(LITTLE._replace(effect=1e-9), [10], [5], [20], studies=400)
    assert none.power < 0.05  # of one side alone 2.5% is nominal


def test_answers_do_not_stand_in_for_seeds_that_differ() -> None:
    apart = LITTLE._replace(base=0.3, effect=0.15, run_sd=1.5, both_trained=True)
    few, many = power(apart, [20], [3], [10, 200], studies=150)
    assert many.power < 0.5 and abs(many.power - few.power) < 0.2
    assert few.answers == 20 * 10 * 6


@pytest.mark.parametrize(("base", "effect"), [(0.05, -0.1), (0.9, 0.2), (0.0, 0.2)])
def test_an_effect_that_leads_out_of_0_and_1_is_refused(base: float, effect: float) -> None:
    with pytest.raises(WgError, match="must be above 0 and below 1"):
        power(LITTLE._replace(base=base, effect=effect), [10], [3], [5])


def test_the_command_prints_a_table_and_the_fewest_answers() -> None:
    sizes = ["--questions", "10", "--seeds", "1,3", "--samples", "5,20", "--studies", "40"]
    result = CliRunner().invoke(main, ["power", "--effect", "0.5", *sizes])
    assert result.exit_code == 0, result.output
    assert "5 answers" in result.output and "20 answers" in result.output
    assert "The fewest answers with 80%: 10 questions, 3 seeds" in result.output
    assert "One seed: the effect of that one adapter" in result.output
    result = CliRunner().invoke(main, ["power", "--effect", "0.001", *sizes])
    assert "No design of several seeds reaches 80%" in result.output
    result = CliRunner().invoke(main, ["power", "--effect", "0.5", "--seeds", "three"])
    assert result.exit_code == 2 and "whole numbers" in result.output
