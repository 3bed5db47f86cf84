"""The command `wg-evals report`, and how a study's tables and page are shown."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from wg_evals.analysis.contrasts import contrasts
from wg_evals.analysis.grid import GRID, read_grid, write_effects
from wg_evals.analysis.logs import read_study
from wg_evals.analysis.records import EVALS, PLAN
from wg_evals.analysis.reporting.limits import LIMIT
from wg_evals.analysis.tables import make_tables, write_tables
from wg_evals.analysis.terminal import print_grid, print_tables
from wg_evals.errors import WgError

if TYPE_CHECKING:
    from wg_evals.analysis.reporting.page import Report

PAGE = "index.html"
"""A study's page, in its folder."""
_PATH = click.Path(path_type=Path)


@click.command("report")
@click.argument("logs", type=_PATH)
@click.option("-o", "--out", type=_PATH, help=f"The page. Default: {PAGE} in a study's folder, else report.html here.")
@click.option("--export", type=_PATH, help="A folder for the page's figures and tables as files.")
@click.option(
    "--answers",
    type=click.IntRange(min=0),
    default=LIMIT,
    show_default=True,
    help="How many answers the page shows at most.",
)
@click.option(
    "--ratings",
    "keys",
    multiple=True,
    type=_PATH,
    metavar="KEY",
    help="The key of a sample that people rated, their files beside it. Keys in LOGS are found without this.",
)
def report_command(logs: Path, out: Path | None, export: Path | None, answers: int, keys: tuple[Path, ...]) -> None:
    """Report on the logs in a folder, a study's or those of plain `inspect eval`, on one page that opens anywhere.

    The page has findings, figures, tables, and the answers themselves; --export adds each figure as SVG, PDF, PNG and
    CSV, and each table as Markdown, LaTeX and CSV. Of a study its tables are printed, too, and written as CSV files
    beside the page where that goes into the study's folder; a page elsewhere leaves the folder as it is.
    """
    from wg_evals.analysis.reporting.page import write_report

    console = make_console()
    study, grid = (logs / PLAN).is_file(), (logs / GRID).is_file()
    page = out or (logs / PAGE if study or grid else Path("report.html"))
    inside = page.resolve().parent == logs.resolve()
    try:
        if grid:
            show_grid(console, logs, inside)
        elif study:
            show_study(console, logs, inside)
    except OSError as ex:
        raise WgError(
            f"The study's tables cannot be written to '{ex.filename}': {ex.strerror}. With -o PAGE elsewhere nothing "
            "is written into the study's folder."
        ) from None
    report = write_report(logs, page, export, answers, typed_command(), keys)
    if not (study or grid):
        for sentence in report.findings:
            console.print(Text(sentence), soft_wrap=True)
    show_page(console, report, logs / EVALS if study else logs)
    if export is not None:
        console.print(Text(f"Files:  {export} ({len(report.files)} files)"), soft_wrap=True)


def show_study(console: Console, folder: Path, write: bool = True) -> None:
    """Print a study's tables, and write them as CSV files into its folder."""
    tables, files = write_tables(folder) if write else (make_tables(read_study(folder)), [])
    print_tables(console, tables, contrasts(tables))
    for file in files:
        console.print(Text(f"Table:  {file}"), soft_wrap=True)


def show_grid(console: Console, folder: Path, write: bool = True) -> None:
    """Print the tables of a study of several domains, and write CSV files, each domain's into its own folder."""
    grid = read_grid(folder)
    for tables in grid.studies.values() if write else ():
        write_tables(tables.study.folder)
    print_grid(console, grid)
    if write:
        console.print(Text(f"Table:  {write_effects(grid)}"), soft_wrap=True)


def show_page(console: Console, report: "Report", logs: Path) -> None:
    """Say where a page is, and what it does not count."""
    if report.left_out:
        console.print(Text(f"Not every log was counted, {report.left_out} not; the page names them."))
    for line in (
        f"Page:   {report.page} ({report.answers:,} answers counted)",
        f"Logs:   inspect view --log-dir {shlex.quote(str(logs))}",
    ):
        console.print(Text(line), soft_wrap=True)


def make_console() -> Console:
    """The terminal, or a file or pipe: a table in one should not be folded to the width of a terminal not there."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def typed_command() -> str:
    """What was typed, for the page."""
    return shlex.join(["wg-evals", *sys.argv[1:]])
