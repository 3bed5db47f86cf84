"""A file's report as text."""

from collections.abc import Iterable, Iterator, Sequence

from wg_evals.datafile.report import FileReport, Length, Problem, Reader
from wg_evals.tokens import ESTIMATE

_READERS: dict[Reader, str] = {
    "trainer": "wg-evals train would refuse",
    "openai": "OpenAI's fine-tuning API would refuse, by its documented rules",
}


def report_lines(report: FileReport) -> Iterator[str]:
    """A file's report, line by line."""
    yield report.file
    yield _fact("sha256", report.sha256)
    known = report.known_as
    yield _fact("published as", f"{known.path} in {known.repository}" if known else "no file that is known here")
    refused = report.rows - report.trainable
    yield _fact("rows", f"{report.trainable:,}" + (f" of {report.rows:,} can be trained on" if refused else ""))
    repeats = f" (lines {ranges(report.duplicates)} repeat earlier ones)" if report.duplicates else ""
    yield _fact("duplicates", f"{len(report.duplicates):,}{repeats}")
    yield _fact(
        "same prompt",
        f"{report.prompts_with_several_answers:,} prompts have more than one answer "
        f"({report.rows_of_such_prompts:,} rows)",
    )
    yield _fact("messages", _counted(report.roles))
    for turns, rows in report.turns.items():
        yield _fact("turns", f"{turns}: {rows:,} rows")
    for length in report.lengths:
        about = "about " if length.unit == "tokens" and report.counted_by == ESTIMATE.how else ""
        yield _fact(f"{length.unit}", about + _length(length))
    if report.lengths:
        hint = "; --base MODEL counts them as MODEL does" if report.counted_by == ESTIMATE.how else ""
        yield _fact("counted by", report.counted_by + hint)
    if report.other_keys:
        yield _fact("other keys", f"{_counted(report.other_keys)}: not trained on; leave them out of an upload")
    for reader, what in _READERS.items():
        problems = [p for p in report.problems if p.refused_by == reader]
        if not problems:
            yield f"  {what}: nothing."
            continue
        yield f"  {what}:"
        yield from (f"    {line}" for line in problem_lines(problems))


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in ascending order, with runs shortened: `1-3, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _fact(name: str, value: str) -> str:
    return f"  {name:<13} {value}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _length(length: Length) -> str:
    of = "in rows" if length.of == "row" else "in answers (what is learned)"
    return (
        f"{length.total:,} {of}; shortest {length.shortest:,}, median {length.median:,.0f}, longest {length.longest:,}"
    )


def problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    """Problems in words, those of one kind in one line."""
    lines: dict[str, list[int]] = {}
    for problem in problems:
        if problem.line is None:
            yield f"the file: {problem.reason}"
        else:
            lines.setdefault(problem.reason, []).append(problem.line)
    for reason, numbers in lines.items():
        yield f"{'line' if len(numbers) == 1 else 'lines'} {ranges(numbers)}: {reason}"
