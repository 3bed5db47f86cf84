"""The report: one HTML file that needs nothing but a browser, and its figures and tables as files."""

import hashlib
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from wg_evals import __version__
from wg_evals.analysis.grid import GRID, read_grid_name
from wg_evals.analysis.pages import embedded, script, template, write_page
from wg_evals.analysis.reporting import sheets
from wg_evals.analysis.reporting.answers import Answers, read_answers
from wg_evals.analysis.reporting.drawing import Drawing, stylesheet, svg, theme
from wg_evals.analysis.reporting.drawing_files import write_drawing
from wg_evals.analysis.reporting.effects import find_effects
from wg_evals.analysis.reporting.evaluated import Domain, domains, evaluations, labelled
from wg_evals.analysis.reporting.figures import (
    context_figure,
    curve_figures,
    heat_map,
    intervention_figure,
    question_figure,
)
from wg_evals.analysis.reporting.headline import headline, unknowns, warnings
from wg_evals.analysis.reporting.judges import judge_sheet
from wg_evals.analysis.reporting.limits import LIMIT, LONGEST
from wg_evals.analysis.reporting.material import Material, read_material
from wg_evals.analysis.reporting.people import People, read_people
from wg_evals.analysis.reporting.rating_figure import rating_figure
from wg_evals.analysis.reporting.robustness import brittleness_sheet, threshold_sheet
from wg_evals.analysis.reporting.sheet import Sheet, write_sheet
from wg_evals.analysis.subjects import UNKNOWN
from wg_evals.errors import WgError


class Report(NamedTuple):
    """What `write_report` made."""

    page: Path
    findings: list[str]
    answers: int
    """Counted in the report."""
    left_out: int
    """Logs that were not counted; the page names them."""
    files: list[Path]
    """Figures and tables."""


class _Section(NamedTuple):
    """What the page shows of one base model in one domain."""

    domain: Domain
    rates: Sheet
    interventions: Drawing | None
    context: Drawing | None
    questions: Drawing | None


class _Contents(NamedTuple):
    """Everything that the page shows."""

    findings: list[str]
    warnings: list[str]
    unknowns: list[str]
    heat: Drawing
    sections: list[_Section]
    ratings: Drawing | None
    curves: list[Drawing]
    tables: dict[str, Sheet]
    people: People

    @property
    def drawings(self) -> list[Drawing]:
        own = [f for s in self.sections for f in (s.interventions, s.context, s.questions)]
        return [f for f in (self.heat, *own, self.ratings, *self.curves) if f is not None]

    @property
    def sheets(self) -> list[Sheet]:
        people = (s for one in self.people.rated for s in one.sheets)
        return [s for s in (*self.tables.values(), *(one.rates for one in self.sections), *people) if s.rows]


def write_report(
    folder: Path,
    page: Path,
    export: Path | None = None,
    limit: int = LIMIT,
    command: str = "",
    keys: Sequence[Path] = (),
) -> Report:
    """Read a folder of logs, and write the report.

    Args:
        folder: Logs, of studies or of plain `inspect eval`; its subfolders are read too.
        page: The HTML file.
        export: A folder for the figures (SVG, PDF, PNG, CSV) and the tables (Markdown, LaTeX, CSV).
        limit: How many answers are put into the page at most.
        command: What was typed, for the section on reproducing.
        keys: Of samples that people rated, besides those in the folder; their ratings lie beside them.

    Raises:
        WgError: No such folder, no log in it that counts, a key that cannot be read, or a place that cannot be
            written.
    """
    material = read_material(folder)
    table = labelled(material.frame)
    found = evaluations(table)
    traits = material.frame.cells.drop_duplicates("domain").set_index("domain")["trait"].to_dict()
    parts = domains(found, {str(domain): str(trait) for domain, trait in traits.items() if trait != UNKNOWN})
    compared = find_effects(parts)
    contents = _Contents(
        findings=headline(compared, parts),
        warnings=warnings(compared),
        unknowns=unknowns(material, parts),
        heat=heat_map(parts),
        sections=[
            _Section(d, sheets.rate_sheet(d), intervention_figure(d), context_figure(d), question_figure(d))
            for d in parts
        ],
        ratings=rating_figure(material, table),
        curves=list(curve_figures(found)),
        tables={
            "effects": sheets.effect_sheet(compared),
            "kinds": sheets.kind_sheet(compared),
            "brittleness": brittleness_sheet(material.frame, compared.outcomes),
            "thresholds": threshold_sheet(material.frame),
            "outcomes": sheets.outcome_sheet(compared),
            "costs": sheets.cost_sheet(parts, material, table),
            "others": sheets.other_sheet(material),
            "judging": sheets.judging_sheet(material, table),
            "judges": judge_sheet(material.frame),
            "left_out": sheets.left_out_sheet(material),
            "cells": sheets.cell_sheet(found),
            "logs": sheets.log_sheet(material),
            "trainings": sheets.training_sheet(material),
        },
        people=read_people(
            material.folder, keys, {Path(log.log).name for log in material.logs}, material.frame.samples
        ),
    )
    tasks = {d.task for d in parts}
    answers = read_answers(material, table, limit, tasks.pop() if len(tasks) == 1 else "")
    files: list[Path] = []
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_page(page, _render(material, contents, answers, page, command))
        if export is not None:
            export.mkdir(parents=True, exist_ok=True)
            for drawing in contents.drawings:
                files += write_drawing(drawing, export)
            for sheet in contents.sheets:
                files += write_sheet(sheet, export)
    except OSError as ex:
        raise WgError(f"The report cannot be written to '{ex.filename}': {ex.strerror}.") from None
    return Report(page, contents.findings, answers.of, material.uncounted, files)


def _render(material: Material, contents: _Contents, answers: Answers, page: Path, command: str) -> str:
    html = template("wg_evals.analysis", "report.html.j2")
    html.globals["drawn"] = lambda drawing: Markup(svg(drawing))
    return html.render(
        name=_name(material),
        commands=list(dict.fromkeys(s.run.command for s in material.studies if s.run)),
        contents=contents,
        tables=contents.tables,
        material=material,
        linked=page.resolve().parent == material.folder,
        answers=answers,
        longest=LONGEST,
        embedded=embedded(answers.data),
        script=script("wg_evals.analysis", "report.js"),
        theme=Markup(theme()),
        figure_rules=Markup(stylesheet(themed=True)),
        bases=sorted({s.domain.base for s in contents.sections}),
        named=sorted({s.domain.domain for s in contents.sections}),
        models=len({m for s in contents.sections for m in s.domain.models}),
        judges=sorted({log.judge for log in material.logs}),
        sampling=sorted({log.sampling for log in material.logs if log.sampling}),
        made_with={
            "wg-evals": Counter(log.wg_evals for log in material.logs),
            "Inspect": Counter(log.inspect for log in material.logs),
        },
        logs_sha256=logs_digest(material),
        command=command,
        log_dir=shlex.quote(_typed(material.folder)),
        organism=any(s.domain.base.split("-")[0] == "organism" for s in contents.sections),
        version=__version__,
    )


def _typed(path: Path) -> str:
    """A path as one would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _name(material: Material) -> str:
    """Of the study, or of the folder if there is none or several."""
    if (material.folder / GRID).is_file():
        return read_grid_name(material.folder)
    names = [s.plan.name for s in material.studies]
    return names[0] if len(names) == 1 else material.folder.name


def logs_digest(material: Material) -> str:
    """One digest over all logs that count: of `sha256sum`'s lines, ordered by name."""
    lines: Any = (f"{log.sha256}  {log.log}\n" for log in sorted(material.logs, key=lambda one: one.log))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
