"""The commands `wg-evals study` and `wg-evals report`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from wg_evals.analysis.grid import GRID, read_grid, write_grid
from wg_evals.analysis.grid_report import GridReport, print_grid, write_grid_report
from wg_evals.analysis.report import PAGE, Report, write_report
from wg_evals.analysis.reporting.limits import LIMIT
from wg_evals.analysis.terminal import print_tables
from wg_evals.planning.cli import PRICES_HELP
from wg_evals.planning.prices import read_prices
from wg_evals.study.cells import Matrix, plan_study
from wg_evals.study.grid import is_grid, load_grid
from wg_evals.study.plan import announcement, print_plan
from wg_evals.study.progress import display_for
from wg_evals.study.runner import RunResult, run_study
from wg_evals.study.spec import check_grader, load_study
from wg_evals.study.store import StudyFolder

INTERRUPTED = 130


@click.command("study")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The study's folder; studies/NAME if not given.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; by default as many as fit.")
@click.option("--base", "bases", multiple=True, metavar="MODEL", help="Use these bases instead of the study's own.")
@click.option("--plan", is_flag=True, help="Only say what would be done: cells, answers, judge calls, tokens.")
@click.option("--prices", type=click.Path(path_type=Path), help=f"With --plan. {PRICES_HELP}")
@click.option("--verbose", is_flag=True, help="With --plan: each domain's own tables too, where there are several.")
def study_command(
    study: Path,
    out: Path | None,
    workers: int | None,
    bases: tuple[str, ...],
    plan: bool,
    prices: Path | None,
    verbose: bool,
) -> None:
    """Train and evaluate a whole matrix: STUDY is a YAML file.

    With `domains` in it, it is a study for each of them, laid out alike, and a page that sets them side by side.
    Finished cells are skipped, so the same command goes on after an interruption.
    """
    for option, given in (("--prices", prices is not None), ("--verbose", verbose)):
        if given and not plan:
            raise click.UsageError(f"{option} goes with --plan.")
    if plan:  # rows are read and tokens counted: seconds in which nothing else would be said
        click.echo(f"Reading {study} and what it names ...", err=True)
    console = _console()
    listed = read_prices(prices) if prices else None
    changes: dict[str, Any] = {"workers": workers} if workers is not None else {}
    if bases:
        changes["bases"] = [str(Path(base).resolve()) if Path(base).is_dir() else base for base in bases]
    grid = load_grid(study) if is_grid(study) else None
    loaded = grid.studies if grid else {"": load_study(study)}
    studies = {d: s.model_copy(update={"spec": s.spec.model_copy(update=changes)}) for d, s in loaded.items()}
    matrices = {domain: plan_study(one) for domain, one in studies.items()}
    name = grid.name if grid else studies[""].spec.name
    place = out or Path("studies") / name
    folders = {domain: StudyFolder(place / domain) for domain in studies}
    if plan:
        plans = {domain: (matrix, folders[domain]) for domain, matrix in matrices.items()}
        print_plan(console, plans, place, listed, whole=verbose or len(plans) == 1)
        return
    for one in studies.values():
        check_grader(one)
    if grid:
        write_grid(place, grid.name, {domain: domain for domain in studies})
    try:
        failures = [_run(console, matrix, folders[domain], tables=not grid) for domain, matrix in matrices.items()]
        if grid:
            _print_grid(console, write_grid_report(place))
    except KeyboardInterrupt:
        console.print(Text("\nStopped. Everything that was finished is kept; the same command goes on from there."))
        raise SystemExit(INTERRUPTED) from None
    if any(failures):
        raise SystemExit(1)


def _run(console: Console, matrix: Matrix, folder: StudyFolder, tables: bool) -> int:
    """Bring one study to its end, and say what came of it; returns how many cells failed."""
    console.print(Text(announcement(matrix, folder)))
    result = run_study(matrix, folder, display_for(console), shlex.join(["wg-evals", *sys.argv[1:]]))
    report = write_report(folder.path)
    if tables:
        print_tables(console, report.tables, report.contrasts)
    _print_result(console, report, result)
    return len(result.failures)


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Write the whole report, from any logs, as this HTML file."
)
@click.option(
    "--export", type=click.Path(path_type=Path), help="With -o: a folder for its figures and tables as files."
)
@click.option(
    "--answers",
    type=click.IntRange(min=0),
    default=LIMIT,
    show_default=True,
    help="With -o: how many answers it shows at most.",
)
def report_command(folder: Path, out: Path | None, export: Path | None, answers: int) -> None:
    """Report on the logs in FOLDER, a study's or those of plain `inspect eval`.

    With -o, one page that opens anywhere: findings, figures, tables, the answers themselves; --export adds each figure
    as SVG, PDF, PNG and CSV, and each table as Markdown, LaTeX and CSV. Without it, the tables and pages that a study
    keeps in its own folder are made anew.
    """
    console = _console()
    if out is not None:
        _whole_report(console, folder, out, export, answers)
        return
    if export is not None:
        raise click.UsageError("--export goes with -o.")
    if (folder / GRID).is_file():
        for domain in read_grid(folder).studies:
            write_report(folder / domain)
        _print_grid(console, write_grid_report(folder))
        return
    report = write_report(folder)
    print_tables(console, report.tables, report.contrasts)
    _print_paths(console, report)


def _whole_report(console: Console, folder: Path, out: Path, export: Path | None, answers: int) -> None:
    from wg_evals.analysis.reporting.page import write_logs_report

    report = write_logs_report(folder, out, export, answers, shlex.join(["wg-evals", *sys.argv[1:]]))
    for sentence in report.findings:
        console.print(Text(sentence), soft_wrap=True)
    if report.left_out:
        console.print(Text(f"Not every log was counted, {report.left_out} not; the page names them."))
    console.print(Text(f"Page:   {report.page} ({report.answers:,} answers counted)"), soft_wrap=True)
    if export is not None:
        console.print(Text(f"Files:  {export} ({len(report.files)} files)"), soft_wrap=True)


def _console() -> Console:
    # a table in a file or a pipe should not be folded to the width of a terminal that is not there
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _print_grid(console: Console, report: GridReport) -> None:
    print_grid(console, report.grid)
    for line in (f"Page:   {report.page}", f"Table:  {report.table}"):
        console.print(Text(line), soft_wrap=True)


def _print_result(console: Console, report: Report, result: RunResult) -> None:
    by_message: dict[str, list[str]] = {}
    for cell, message in result.failures.items():
        by_message.setdefault(message, []).append(cell)
    for message, cells in by_message.items():
        others = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        console.print(Text(f"Failed: {cells[0]}{others}: {message}", style="red"))
    if result.failures:
        console.print(Text(f"{len(result.failures)} cells failed; the same command tries them again."))
    record = result.record
    done = f"{record.done} cells in {record.seconds:.0f} s by {record.workers} workers"
    console.print(Text(f"{done}; {record.skipped} were there before."))
    _print_paths(console, report)


def _print_paths(console: Console, report: Report) -> None:
    folder = report.page.parent
    lines = [
        f"Page:   {folder / PAGE}",
        *(f"Table:  {file}" for file in report.files),
        f"Logs:   inspect view --log-dir {shlex.quote(str(folder / 'evals'))}",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
