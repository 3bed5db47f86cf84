"""How often the intervals cover the truth, on answers drawn from a known one (`wg-evals bench-coverage`)."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from wg_evals.analysis.crossed import Crossed
from wg_evals.analysis.effects import effect, suppression
from wg_evals.analysis.intervals import SEED, bootstrap_interval, cluster_robust_interval, rate_interval
from wg_evals.analysis.logs import Counts
from wg_evals.analysis.over_seeds import seeded_rate
from wg_evals.analysis.simulation import Design, ExcludedBy, draw
from wg_evals.analysis.verdicts import Bounds

SETTINGS = Path(__file__).with_name("coverage.yaml")
_RESAMPLES = 400


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateSettings(_Strict):
    """Rates and designs that are tried, each with each."""

    name: str = "within"
    rates: list[float]
    questions: list[int] = [10]
    runs: list[int] = [5]
    samples: list[int] = [10]
    spreads: list[tuple[float, float, float]] = [(1.0, 0.5, 0.3)]
    excluded: float = 0.0
    excluded_by: ExcludedBy = "answer"

    def designs(self) -> Iterator[tuple[Design, float]]:
        """Each design with each rate."""
        grid = itertools.product(self.spreads, self.questions, self.runs, self.samples, self.rates)
        for spread, questions, runs, samples, rate in grid:
            yield Design(questions, runs, samples, *spread, self.excluded, self.excluded_by), rate


class EffectSettings(_Strict):
    """Three true rates, and a design."""

    base: float
    plain: float
    intervened: float
    questions: int = 10
    runs: int = 5
    samples: int = 10
    spread: tuple[float, float, float] = (1.0, 0.5, 0.3)
    excluded: float = 0.0
    excluded_by: ExcludedBy = "answer"


class CoverageSettings(_Strict):
    """What `coverage.yaml` holds."""

    datasets: int
    bootstrapped: int
    within: list[RateSettings]
    outside: list[RateSettings]
    effects: list[EffectSettings]


class RateCoverage(NamedTuple):
    """A setting, and the shares 0-1 of drawn datasets whose interval covers the true rate."""

    name: str
    design: Design
    rate: float
    reported: float
    """By `rate_interval`."""
    width: float
    """Of it, the mean."""
    vouched: float
    """In which share of datasets it is vouched for."""
    covered_if_vouched: float
    """By `rate_interval`, among those; nan if there are none."""
    analytic: float
    """By `cluster_robust_interval`."""
    bootstrap: float
    """By `bootstrap_interval`."""
    table: float
    """By `seeded_rate`, as in a study's own table."""


class EffectCoverage(NamedTuple):
    """A setting, and the shares of drawn datasets whose intervals cover the true effect and the true share removed."""

    settings: EffectSettings
    effect: float
    suppression: float
    """Among the datasets in which it is defined."""
    defined: float
    """In which share of datasets that is."""


def rate_coverage(
    name: str, design: Design, rate: float, datasets: int, bootstrapped: int = 0, seed: int = SEED
) -> RateCoverage:
    """Draw datasets with a true rate, and count the intervals that cover it.

    Args:
        name: Of the group that the setting is in.
        design: Sizes and spreads.
        rate: The truth: the mean over all questions and runs that there might be.
        datasets: How many.
        bootstrapped: For how many of them the bootstrap is run too.
        seed: Of the random numbers.
    """
    random = np.random.default_rng(seed)
    drawn = [draw(random, design, rate) for _ in range(datasets)]
    found = [rate_interval(d) for d in drawn]
    relied_on = [r for r in found if r.vouched()]

    def share(method: Callable[[Crossed], Bounds], of: list[Crossed]) -> float:
        return sum(_covers(method(d), rate) for d in of) / len(of) if of else math.nan

    return RateCoverage(
        name,
        design,
        rate,
        sum(_covers(r, rate) for r in found) / datasets,
        sum(r.high - r.low for r in found) / datasets,
        len(relied_on) / datasets,
        sum(_covers(r, rate) for r in relied_on) / len(relied_on) if relied_on else math.nan,
        share(cluster_robust_interval, drawn),
        share(lambda d: bootstrap_interval(d, _RESAMPLES), drawn[:bootstrapped]),
        share(_table_interval, drawn),
    )


def effect_coverage(settings: EffectSettings, datasets: int, seed: int = SEED) -> EffectCoverage:
    """Draw base, plain and intervened answers to the same questions, and count the intervals that cover the truth."""
    s = settings
    random = np.random.default_rng(seed)
    trained = Design(s.questions, s.runs, s.samples, *s.spread, s.excluded, s.excluded_by)
    untrained = trained._replace(runs=1, run_sd=0.0)
    truth = (s.plain - s.intervened) / (s.plain - s.base) if s.plain != s.base else math.nan
    covered, defined, shares = 0, 0, 0
    for _ in range(datasets):
        shared = random.standard_normal(s.questions)
        base = draw(random, untrained, s.base, shared)
        plain, intervened = (draw(random, trained, rate, shared) for rate in (s.plain, s.intervened))
        found = effect(plain, base)
        covered += found.low <= s.plain - s.base <= found.high
        share = suppression(base, plain, intervened, _RESAMPLES)
        if not share.why_undefined:
            defined += 1
            shares += share.low <= truth <= share.high
    removed = shares / defined if defined and not math.isnan(truth) else math.nan
    return EffectCoverage(s, covered / datasets, removed, defined / datasets)


def coverage_lines(settings: CoverageSettings) -> Iterator[str]:
    """The tables, as lines to print."""
    datasets = settings.datasets
    error = 100 * 1.96 * math.sqrt(0.95 * 0.05 / datasets)
    yield f"Coverage of 95% intervals, in percent; {datasets} drawn datasets each (exact to about ±{error:.1f})."
    yield "reported: rate_interval; analytic: cluster_robust_interval; bootstrap: bootstrap_interval (fewer datasets);"
    yield "table: over_seeds.seeded_rate, as in a study's own table. vouched: how many of the reported intervals are"
    yield "vouched for; of it: coverage among those."
    head = f"{'rate':>6}{'questions':>10}{'seeds':>6}{'answers':>8}  {'spreads':<15}"
    yield f"{head}{'reported':>9}{'width':>7}{'vouched':>9}{'of it':>6}{'analytic':>9}{'bootstrap':>10}{'table':>7}"
    for group in (settings.within, settings.outside):
        reported, tables = [], []
        for s in group:
            if s.name != "within":
                yield f"-- {'within' if group is settings.within else 'outside'}: {s.name}"
            for design, rate in s.designs():
                found = rate_coverage(s.name, design, rate, datasets, settings.bootstrapped)
                reported.append(found.reported)
                tables.append(found.table)
                yield _line(found)
        if group is settings.within:
            yield f"Within: {_range(reported)} over {len(reported)} settings; the study's own table {_range(tables)}."
            yield f"Below 93%: {sum(r < 0.93 for r in reported)}, above 98%: {sum(r > 0.98 for r in reported)}."
    rates = f"{'base':>6}{'plain':>7}{'intervened':>11}{'questions':>10}{'seeds':>6}{'answers':>8}"
    yield f"{rates}{'effect':>8}{'removed':>9}{'defined':>9}"
    for e in settings.effects:
        c = effect_coverage(e, datasets // 2)
        sizes = f"{e.questions:>10}{e.runs:>6}{e.samples:>8}"
        shares = f"{100 * c.effect:>8.1f}{100 * c.suppression:>9.1f}{100 * c.defined:>9.1f}"
        excluded = f"  {e.excluded:g} excluded by {e.excluded_by}" if e.excluded else ""
        spread = "/".join(f"{sd:g}" for sd in e.spread)
        yield f"{e.base:>6g}{e.plain:>7g}{e.intervened:>11g}{sizes}{shares}  {spread}{excluded}"


def read_settings(path: Path = SETTINGS) -> CoverageSettings:
    """Read what is to be simulated."""
    from wg_evals._yaml import read_yaml

    return read_yaml(path, CoverageSettings)


def _table_interval(counts: Crossed) -> Bounds:
    asked = counts.questions
    runs = zip(counts.expressed.tolist(), counts.included.tolist(), strict=True)
    return seeded_rate([{q: Counts(m, m, e) for q, e, m in zip(asked, *run, strict=True)} for run in runs])


def _range(shares: list[float]) -> str:
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"


def _covers(found: Bounds, rate: float) -> bool:
    return found.low <= rate <= found.high


def _line(c: RateCoverage) -> str:
    d = c.design
    spreads = f"{d.question_sd:g}/{d.run_sd:g}/{d.cell_sd:g}"
    columns = (
        (c.reported, 9),
        (c.width, 7),
        (c.vouched, 9),
        (c.covered_if_vouched, 6),
        (c.analytic, 9),
        (c.bootstrap, 10),
        (c.table, 7),
    )
    shares = "".join(f"{100 * share:>{wide}.1f}" for share, wide in columns)
    return f"{c.rate:>6g}{d.questions:>10}{d.runs:>6}{d.samples:>8}  {spreads:<15}{shares}"
