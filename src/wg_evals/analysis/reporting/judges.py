"""How far two judgings of the same answers agree, where a folder has both: a log, and one that was judged anew."""

import math

from inspect_ai.scorer import Score

from wg_evals.analysis.answer_scores import judged_by
from wg_evals.analysis.frames import Frame
from wg_evals.analysis.log_files import LogFile, UnreadableLogError, read_log_file
from wg_evals.analysis.reporting.sheet import Sheet
from wg_evals.analysis.text import percent
from wg_evals.judging.agreement import Agreement, Value, agree, verdicts

_Pairs = dict[tuple[str, str, str], list[tuple[Value | None, Value | None]]]


def judge_sheet(frame: Frame) -> Sheet:
    """The agreement of the judging that counts with every other one of the same answers, over all logs."""
    pairs: _Pairs = {}
    again = frame.left_out[(frame.left_out["what"] == "superseded") & (frame.left_out["instead"] != "")]
    for row in again.itertuples(index=False):
        try:
            counted, other = (read_log_file(frame.folder / str(log)) for log in (row.instead, row.log))
        except UnreadableLogError:
            continue  # it is left out, and said to be
        if counted.header["eval"].get("eval_id") == other.header["eval"].get("eval_id"):
            _add(pairs, counted, other)
    rows = [_row(first, second, agree(score, both)) for (first, second, score), both in pairs.items()]
    columns = ["Score", "Judged by", "And by", "Answers", "Agree", "Kappa", "Alpha", "Rho", "2 − 1"]
    return Sheet(
        "judges",
        "Agreement of two judgings of the same answers",
        columns,
        rows,
        text=frozenset(columns[:3]),
        note="The first judging is the one that counts. Over the answers on which both gave a verdict. Kappa: Cohen's "
        "(quadratic weights for ratings); alpha: Krippendorff's (interval for ratings); rho: Spearman's rank "
        "correlation; 2 − 1: mean difference of ratings, in points.",
    )


def _add(pairs: _Pairs, counted: LogFile, other: LogFile) -> None:
    first, second = _verdicts(counted), _verdicts(other)
    by = judged_by(counted.header), judged_by(other.header)
    if by[0] == by[1] and first == second:
        return  # a copy
    scores = {score for found in first.values() for score in found}
    for score in sorted(scores & {score for found in second.values() for score in found}):
        both = [(first[k].get(score), second[k].get(score)) for k in first if k in second]
        pairs.setdefault((*by, score), []).extend(both)


def _verdicts(log: LogFile) -> dict[tuple[str, int], dict[str, Value]]:
    return {
        (str(s["id"]), int(s["epoch"])): verdicts(
            {name: Score.model_validate(score) for name, score in (s.get("scores") or {}).items()}
        )
        for s in log.samples
    }


def _row(first: str, second: str, found: Agreement) -> list[str]:
    numbers = (found.kappa, found.alpha, found.rank_correlation)
    difference = "" if math.isnan(found.mean_difference) else f"{found.mean_difference:+.1f}".replace("-", "−")
    shown = ("" if math.isnan(n) else f"{n:.2f}".replace("-", "−") for n in numbers)
    return [found.score, first, second, f"{found.both:,}", percent(found.agreement), *shown, difference]
