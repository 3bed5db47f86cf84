"""Drawings made of a few kinds of marks, as SVG: drawn once, for the page and for the exported files.

A mark's style is a name in `figures.yaml`. On the page colours follow the theme; in an exported file they are those
of the light theme.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from wg_evals._yaml import read_yaml

WIDTH = 960
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif'
FONT_SIZE = 13

Anchor = Literal["start", "middle", "end"]


class Style(BaseModel):
    """How marks of a name look; colours by their names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    anchor: Anchor = "start"
    bold: bool = False
    stroke: str | None = None
    fill: str | None = None
    width: float = 1
    dash: float | None = None
    opacity: float = 1


class Palette(BaseModel):
    """`figures.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ceiling: float
    """A base at this rate (0-1) under a prefix leaves no room for a residue."""
    colours: dict[str, tuple[str, str]]
    """Of the light and of the dark theme."""
    styles: dict[str, Style]


@cache
def palette() -> Palette:
    """The colours and styles of all figures."""
    return read_yaml(Path(__file__).parent / "figures.yaml", Palette)


class Words(NamedTuple):
    """A piece of text; `y` is its baseline."""

    style: str
    x: float
    y: float
    text: str


class Stroke(NamedTuple):
    """A line through points."""

    style: str
    points: tuple[tuple[float, float], ...]
    tip: str = ""


class Box(NamedTuple):
    """A rectangle; `strength` 0-1 is how much of its fill is seen."""

    style: str
    x: float
    y: float
    width: float
    height: float
    strength: float = 1
    tip: str = ""


class Dot(NamedTuple):
    """A mark at a point."""

    style: str
    x: float
    y: float
    radius: float
    shape: Literal["circle", "diamond"] = "circle"
    tip: str = ""


Mark = Words | Stroke | Box | Dot


@dataclass(frozen=True)
class Drawing:
    """A figure with the data that it shows."""

    name: str
    """Its file's name, without an ending."""
    title: str
    description: str
    """What is to be seen, for those who do not see it."""
    height: float
    marks: list[Mark]
    data: list[dict[str, Any]]
    """The rows of its CSV file, all with the same keys."""
    width: float = WIDTH


def file_name(*parts: str) -> str:
    """A name for a file that every system takes."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(p for p in parts if p)).strip("-.").lower()[:100]


def svg(drawing: Drawing, standalone: bool = False) -> str:
    """The drawing as an SVG element, or as a whole file with its own style. Texts are escaped."""
    head = f'<svg class="drawing" viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}" role="img"'
    label = f"{drawing.title}. {drawing.description}"
    if standalone:
        size = f'width="{_n(drawing.width)}" height="{_n(drawing.height)}"'
        head += f' xmlns="http://www.w3.org/2000/svg" {size}'
    parts = [f'{head} aria-label="{_text(label)}">', f"<title>{_text(drawing.title)}</title>"]
    if standalone:
        parts.append(f"<style>{stylesheet(themed=False)}</style>")
        parts.append(f'<rect width="100%" height="100%" fill="{palette().colours["paper"][0]}"/>')
    parts += [_mark(m) for m in drawing.marks]
    return "\n".join([*parts, "</svg>"])


def theme() -> str:
    """The colours as a page's variables, by the system's theme."""
    colours = "; ".join(f"--{name}: {_colour(name, themed=True)}" for name in palette().colours)
    return f":root {{ color-scheme: light dark; {colours} }}"


def stylesheet(themed: bool) -> str:
    """The rules that colour drawings: by the page's theme, or always light."""
    return "\n".join(_rules(themed))


def _rules(themed: bool) -> Iterator[str]:
    yield f".drawing text {{ font: {FONT_SIZE}px {FONT}; }}"
    for name, style in palette().styles.items():
        rules = {
            "fill": _colour(style.text or style.fill, themed),
            "stroke": _colour(style.stroke, themed),
            "stroke-width": _n(style.width) if style.stroke else None,
            "stroke-dasharray": f"{_n(style.dash)} {_n(style.dash)}" if style.dash else None,
            "opacity": _n(style.opacity) if style.opacity < 1 else None,
            "text-anchor": style.anchor if style.text else None,
            "font-weight": "600" if style.bold else None,
        }
        said = "; ".join(f"{key}: {value}" for key, value in rules.items() if value)
        yield f".drawing .{name} {{ {said} }}"


def _colour(name: str | None, themed: bool) -> str:
    if name is None:
        return "none"
    light, dark = palette().colours[name]
    return f"light-dark({light}, {dark})" if themed else light


def _mark(mark: Mark) -> str:
    match mark:
        case Words(style, x, y, text):
            return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}">{_text(text)}</text>'
        case Stroke(style, points, tip):
            path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
            return f'<polyline class="{style}" fill="none" points="{path}">{_tip(tip)}</polyline>'
        case Box(style, x, y, width, height, strength, tip):
            size = f'width="{_n(width)}" height="{_n(height)}" fill-opacity="{_n(strength)}"'
            return f'<rect class="{style}" x="{_n(x)}" y="{_n(y)}" {size}>{_tip(tip)}</rect>'
        case Dot(style, x, y, r, "circle", tip):
            return f'<circle class="{style}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}">{_tip(tip)}</circle>'
        case Dot(style, x, y, r, _, tip):
            corners = " ".join(f"{_n(a)},{_n(b)}" for a, b in diamond(x, y, r))
            return f'<polygon class="{style}" points="{corners}">{_tip(tip)}</polygon>'


def diamond(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """The corners of a diamond about a point."""
    return [(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)]


def _tip(text: str) -> str:
    return f"<title>{_text(text)}</title>" if text else ""


_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """A text without control characters: XML, which an SVG file is, has no way to say most of them."""
    return _FORBIDDEN.sub("\ufffd", text)


def _text(text: str) -> str:
    return escape(clean(text))


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
