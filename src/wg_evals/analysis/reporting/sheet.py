"""A table of the report: on the page, and as Markdown, LaTeX and CSV."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from wg_evals.analysis.tables import write_csv


@dataclass(frozen=True)
class Sheet:
    """A table of texts."""

    name: str
    """Its files' name, without an ending."""
    caption: str
    columns: list[str]
    rows: list[list[str]]
    text: frozenset[str] = field(default=frozenset())
    """Columns of words; the others hold numbers and stand to the right."""
    note: str = ""


def write_sheet(sheet: Sheet, folder: Path) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV into a folder."""
    files = [folder / f"{sheet.name}.{ending}" for ending in ("md", "tex", "csv")]
    files[0].write_text(markdown(sheet), encoding="utf-8")
    files[1].write_text(latex(sheet), encoding="utf-8")
    write_csv(files[2], sheet.columns, (dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows))
    return files


def markdown(sheet: Sheet) -> str:
    """The table as GitHub's Markdown; what a cell holds is shown, never read as Markdown or HTML."""
    rule = [" --- " if c in sheet.text else " ---: " for c in sheet.columns]
    lines = [_line(sheet.columns), f"|{'|'.join(rule)}|", *(_line(row) for row in sheet.rows)]
    return f"{_escaped(sheet.caption)}\n\n" + "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(_escaped(c) for c in cells) + " |"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", _one_line(text))


def latex(sheet: Sheet) -> str:
    """The table as LaTeX, for the package booktabs."""
    import pandas as pd

    frame = pd.DataFrame([[_typed(c) for c in row] for row in sheet.rows], columns=[_typed(c) for c in sheet.columns])
    columns = "".join("l" if c in sheet.text else "r" for c in sheet.columns)
    text: str = frame.to_latex(index=False, escape=False, column_format=columns, caption=_typed(sheet.caption))
    return text


_TYPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
} | {c: f"\\{c}" for c in "&%$#_"}


def _typed(text: str) -> str:
    return "".join(_TYPED.get(c, c) for c in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
