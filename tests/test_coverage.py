"""The 95% intervals cover the truth as often as they say, on answers drawn from a known one."""

from typing import Literal

import pytest
from click.testing import CliRunner

from wg_evals.analysis.simulation import Design
from wg_evals.bench.coverage import EffectSettings, effect_coverage, rate_coverage, read_settings
from wg_evals.cli import main

PROMISED = (0.93, 0.98)
EXACT = 0.005
"""One standard error of a share near 95% over 2,000 datasets: so far may chance carry a measured figure."""
KNOWN = {("a trait of few questions", 0.05), ("no clusters at all", 0.05), ("few answers", 0.05)}
"""Where `docs/statistics.md` says that it is missed; among the intervals that are vouched for it is not undercut."""


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.95])
@pytest.mark.parametrize(
    "design",
    [
        Design(10, 5, 10, 1.0, 0.5, 0.3),
        Design(10, 5, 50, 0.5, 0.3, 0.0),
        Design(20, 5, 10, 1.0, 0.5, 0.3),
        Design(10, 10, 10, 1.0, 1.0, 0.3),
    ],
    ids=str,
)
def test_rates_are_covered_as_often_as_is_promised(design: Design, rate: float) -> None:
    found = rate_coverage("within", design, rate, datasets=2000)
    assert PROMISED[0] <= found.reported <= PROMISED[1], found


def test_the_simpler_interval_would_not_do() -> None:
    found = rate_coverage("within", Design(10, 5, 50, 1.0, 1.0, 0.3), 0.05, datasets=1000)
    assert found.analytic < 0.9 < found.reported


@pytest.mark.parametrize(
    "settings",
    [EffectSettings(base=0.05, plain=0.3, intervened=0.1), EffectSettings(base=0.1, plain=0.1, intervened=0.1)],
)
def test_effects_are_covered_as_often_as_is_promised(settings: EffectSettings) -> None:
    found = effect_coverage(settings, datasets=600)
    assert PROMISED[0] - 2 * EXACT <= found.effect <= PROMISED[1] + EXACT, found


@pytest.mark.parametrize("spread", [(1.0, 0.5, 0.3), (0.5, 1.0, 0.3)])
def test_effects_are_covered_where_one_run_has_ten_times_the_answers(spread: tuple[float, float, float]) -> None:
    settings = EffectSettings(base=0.05, plain=0.3, intervened=0.1, samples=20, spread=spread)
    settings = settings.model_copy(update={"excluded": 0.9, "excluded_by": "run"})
    assert effect_coverage(settings, datasets=400).effect >= PROMISED[0] - 2 * EXACT


@pytest.mark.parametrize("rate", [0.002, 0.02])
@pytest.mark.parametrize("by", ["answer", "question"])
def test_rates_near_0_are_covered_where_answers_are_excluded(rate: float, by: Literal["answer", "question"]) -> None:
    design = Design(10, 1, 10, 1.0, excluded=0.1, excluded_by=by)
    assert rate_coverage("near 0", design, rate, datasets=600).reported >= PROMISED[0]


@pytest.mark.parametrize(
    "design",
    [Design(10, 5, 50, 1.5, 0.5, 0.3), Design(10, 5, 50, 0.3, 1.5, 0.3), Design(50, 5, 10, 1.0, 1.5, 0.3)],
    ids=str,
)
def test_rates_are_covered_where_few_questions_or_runs_make_them(design: Design) -> None:
    found = rate_coverage("within", design, 0.05, datasets=1000)
    assert PROMISED[0] - EXACT <= found.reported <= PROMISED[1], found


@pytest.mark.slow
def test_every_setting_that_is_promised_has_its_coverage() -> None:
    settings = read_settings()
    found = [rate_coverage(s.name, d, rate, 2000) for s in settings.within for d, rate in s.designs()]
    wrong = [f for f in found if not PROMISED[0] - EXACT <= f.reported <= PROMISED[1] + EXACT]
    assert {(f.name, f.rate) for f in wrong} <= KNOWN, wrong
    relied_on = [f for f in found if f.vouched > 0.1 and f.covered_if_vouched < PROMISED[0] - EXACT]
    assert not relied_on, relied_on


def test_the_table_shows_what_is_promised_and_what_lies_outside() -> None:
    result = CliRunner().invoke(main, ["bench-coverage", "--datasets", "2"])
    assert result.exit_code == 0, result.output
    for said in ("-- outside: three seeds", "-- within: few answers", "Within: ", "removed"):
        assert said in result.output
