"""The command `wg-evals study`."""

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from wg_evals.analysis.grid import write_grid
from wg_evals.analysis.records import EVALS
from wg_evals.analysis.reporting.cli import PAGE, make_console, show_grid, show_page, show_study, typed_command
from wg_evals.analysis.tables import write_tables
from wg_evals.errors import WgError
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
    console = make_console()
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
        results = [_run(console, matrix, folders[domain], alone=not grid) for domain, matrix in matrices.items()]
        if grid:
            show_grid(console, place)
        _write_page(console, place, place if grid else place / EVALS)
    except KeyboardInterrupt:
        console.print(Text("\nStopped. Everything that was finished is kept; the same command goes on from there."))
        raise SystemExit(INTERRUPTED) from None
    if any(result.failures for result in results):
        raise SystemExit(1)


def _run(console: Console, matrix: Matrix, folder: StudyFolder, alone: bool) -> RunResult:
    """Bring one study to its end, and say what came of it."""
    console.print(Text(announcement(matrix, folder)))
    result = run_study(matrix, folder, display_for(console), typed_command())
    if alone:
        show_study(console, folder.path)
    else:
        write_tables(folder.path)  # there already if the others are interrupted
    _print_result(console, result)
    return result


def _write_page(console: Console, place: Path, logs: Path) -> None:
    from wg_evals.analysis.reporting.page import write_report

    try:
        command = shlex.join(["wg-evals", "report", str(place)])
        show_page(console, write_report(place, place / PAGE, command=command), logs)
    except WgError as ex:
        console.print(Text(f"No page: {ex}"))


def _print_result(console: Console, result: RunResult) -> None:
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
