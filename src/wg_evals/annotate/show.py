"""What the ratings say: on a terminal, as the report's tables, and as data."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wg_evals.analysis.reporting.sheet import Sheet
from wg_evals.analysis.text import DASH, percent, percent_interval
from wg_evals.annotate.correction import Estimate
from wg_evals.annotate.key import VERDICTS, Key
from wg_evals.annotate.ratings import PEOPLE
from wg_evals.annotate.score import Scored


def print_scored(console: Console, key: Key, scored: Scored) -> None:
    """Print the tables of agreement, of verdicts, and of rates."""
    for line in raters(key, scored):
        console.print(Text(line))
    console.print(*map(_table, sheets(key, scored)))
    for line in lines(scored):
        console.print(Text(line))
    for line in notes(scored):
        console.print(Text(line, style="dim"))


def raters(key: Key, scored: Scored) -> Iterator[str]:
    """How much each annotator has rated."""
    for annotator in scored.annotators:
        left = len(key.items) - len(annotator.values) - len(annotator.skipped)
        skipped = f", {len(annotator.skipped)} skipped" if annotator.skipped else ""
        yield f"{annotator.name}: {len(annotator.values)} answers rated{skipped}{f', {left} open' if left else ''}."


def as_data(scored: Scored) -> dict[str, Any]:
    """All of it as JSON's types; what is not defined is null."""
    correction = scored.correction
    data = {
        "annotators": [{"name": a.name, "rated": len(a.values), "skipped": a.skipped} for a in scored.annotators],
        "together": [{"score": t.score, "answers": t.answers, "alpha": t.alpha._asdict()} for t in scored.together],
        "compared": [
            {
                "first": c.first,
                "second": c.second,
                **dataclasses.asdict(c.agreement),
                "intervals": {
                    name: [estimate.low, estimate.high]
                    for name, estimate in (("agreement", c.share), ("kappa", c.kappa), ("alpha", c.alpha))
                },
            }
            for c in scored.compared
        ],
        "confusion": scored.confusion,
        "undecided": scored.undecided,
        "sensitivity": correction.sensitivity._asdict(),
        "specificity": correction.specificity._asdict(),
        "rate_by_people": correction.people._asdict(),
        "obstacle": correction.obstacle,
        "rates": [
            {
                "condition": r.condition,
                "judged": r.judged._asdict(),
                "corrected": r.corrected._asdict(),
                "is_ruled_out": r.is_ruled_out,
            }
            for r in correction.rates
        ],
    }
    return {k: _plain(v) for k, v in data.items()}


def sheets(key: Key, scored: Scored) -> list[Sheet]:
    """The tables of agreement, of verdicts, and of rates, for the terminal and for the report."""
    return [_agreement(key, scored), _confusion(key, scored), _rates(key, scored)]


def _agreement(key: Key, scored: Scored) -> Sheet:
    rows = []
    previous = ""
    for c in scored.compared:
        found = c.agreement
        if found.score != previous:
            for t in (t for t in scored.together if t.score == found.score and len(scored.annotators) > 2):
                rows.append([t.score, "all annotators", str(t.answers), "", "", _shown(t.alpha), "", ""])
        previous = found.score
        rows.append(
            [
                found.score,
                f"{c.first}, {c.second}",
                str(found.both),
                "" if math.isnan(c.share.value) else _percent(c.share),
                _shown(c.kappa),
                _shown(c.alpha),
                _number(found.rank_correlation),
                "" if math.isnan(found.mean_difference) else f"{found.mean_difference:+.1f}",
            ]
        )
    return Sheet(
        f"people-{key.sample[:8]}-agreement",
        "Agreement",
        ["on", "between", "both", "agree", "kappa", "alpha", "rho", "2 - 1"],
        rows,
        text=frozenset({"on", "between"}),
    )


def _confusion(key: Key, scored: Scored) -> Sheet:
    return Sheet(
        f"people-{key.sample[:8]}-verdicts",
        "The outcome: judge and people, answers",
        ["judge", *(f"{PEOPLE}: {verdict}" for verdict in VERDICTS)],
        [[verdict, *(_count(row[v]) for v in VERDICTS)] for verdict, row in scored.confusion.items()],
        text=frozenset({"judge"}),
    )


def _rates(key: Key, scored: Scored) -> Sheet:
    rows = []
    for r in scored.correction.rates:
        judged = _percent(Estimate(r.judged.rate, r.judged.low, r.judged.high))
        corrected = "ruled out" if r.is_ruled_out else _percent(r.corrected)
        rows.append([r.condition, str(r.judged.included), judged, corrected])
    return Sheet(
        f"people-{key.sample[:8]}-rates",
        "Expression rates",
        ["condition", "answers", "judged", "corrected"],
        rows,
        text=frozenset({"condition"}),
    )


def _table(sheet: Sheet) -> Table:
    table = Table(title=Text(sheet.caption), title_justify="left", header_style="bold", pad_edge=False)
    for column in sheet.columns:
        table.add_column(Text(column), justify="left" if column in sheet.text else "right")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def lines(scored: Scored) -> Iterator[str]:
    """What the ratings say of the judge, in sentences."""
    found = scored.correction
    if found.obstacle:
        yield f"No correction is possible: {found.obstacle}."
    if n := sum(r.is_ruled_out for r in found.rates):
        yield (
            f"In {n} of {len(found.rates)} conditions the judged rate is ruled out by the judge's errors as measured, "
            "whatever the true rate is: it does not err alike in all conditions. Take the others with care, or draw a "
            "sample of one condition's logs."
        )
    if not math.isnan(found.sensitivity.value):
        yield (
            f"The judge's sensitivity is {_percent(found.sensitivity)}, its specificity {_percent(found.specificity)} "
            "(among all answers drawn from, with 95% intervals)."
        )
    if not math.isnan(found.people.value):
        yield f"Over all answers drawn from, people would have found the trait in {_percent(found.people)} of them."
    if scored.undecided:
        yield (
            f"{scored.undecided} answers have no majority among the annotators: each annotator's verdict on them "
            "counts in equal parts. The agreement of people with the judge is without them, which flatters the judge."
        )


def notes(scored: Scored) -> Iterator[str]:
    """What the columns mean."""
    yield (
        "Agreement is over the rated answers, in which expressed and not expressed are about equally frequent. kappa: "
        "Cohen's (quadratic weights for ratings); alpha: Krippendorff's (interval for ratings); rho: Spearman's rank "
        "correlation; 2 - 1: mean difference of ratings, in points. 95% intervals: Wilson's for agree, by bootstrap "
        "over answers for kappa and alpha. Where every draw of it gives the same, there is none: that is no certainty."
    )
    if len(scored.annotators) > 1:
        yield f"{PEOPLE}: what more than half of the annotators of an answer say; of numbers, their median."
    yield (
        "Corrected: Rogan and Gladen's estimate, with one sensitivity and specificity for all conditions; the interval "
        "knows of the judge's errors as measured, of questions and of seeds. People's verdict is taken for the truth."
    )


def _shown(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return DASH
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{interval}"


def _count(answers: float) -> str:
    return f"{answers:.1f}".removesuffix(".0")


def _percent(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} {percent_interval(estimate)}".strip()


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
