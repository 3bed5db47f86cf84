"""A drawing as files: SVG, PDF and PNG, with its data as CSV beside them."""

from pathlib import Path
from typing import Any

from wg_evals.analysis.reporting.drawing import (
    FONT_SIZE,
    Box,
    Dot,
    Drawing,
    Mark,
    Stroke,
    Words,
    clean,
    diamond,
    palette,
    svg,
)
from wg_evals.analysis.tables import write_csv

_DPI = 200
_POINTS = 0.75
"""A drawing's unit is a CSS pixel, of which an inch has 96."""


def write_drawing(drawing: Drawing, folder: Path) -> list[Path]:
    """Write a drawing's four files into a folder.

    The PDF and the PNG are drawn by matplotlib from the same marks as the SVG, and hold no date: the same drawing
    gives the same bytes.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files = [folder / f"{drawing.name}.{ending}" for ending in ("svg", "pdf", "png", "csv")]
    files[0].write_text(svg(drawing, standalone=True) + "\n", encoding="utf-8")
    with rc_context({"pdf.fonttype": 42, "font.family": "sans-serif", "text.parse_math": False}):
        figure = Figure(figsize=(drawing.width / 96, drawing.height / 96))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, drawing.width)
        axes.set_ylim(drawing.height, 0)
        axes.axis("off")
        for order, mark in enumerate(drawing.marks):
            _draw(axes, mark, order)
        figure.savefig(files[1], metadata={"CreationDate": None, "Title": clean(drawing.title)})
        figure.savefig(files[2], dpi=_DPI, metadata={"Software": None})
    write_csv(files[3], list(drawing.data[0]) if drawing.data else [], drawing.data)
    return files


def _draw(axes: Any, mark: Mark, order: int) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, Polygon, Rectangle

    style = palette().styles[mark.style]

    def colour(name: str | None, opacity: float = 1) -> Any:
        return to_rgba(palette().colours[name][0], opacity * style.opacity) if name else "none"

    if isinstance(mark, Words):
        axes.text(
            mark.x,
            mark.y,
            clean(mark.text),
            color=colour(style.text),
            ha={"start": "left", "middle": "center", "end": "right"}[style.anchor],
            va="baseline",
            fontsize=FONT_SIZE * _POINTS,
            fontweight="bold" if style.bold else "normal",
            zorder=order,
        )
        return
    if isinstance(mark, Stroke):
        xs, ys = zip(*mark.points, strict=True)
        line = Line2D(xs, ys, color=colour(style.stroke), linewidth=style.width * _POINTS, zorder=order)
        if style.dash:
            line.set_dashes((style.dash, style.dash))
        axes.add_line(line)
        return
    look = {"edgecolor": colour(style.stroke), "linewidth": style.width * _POINTS if style.stroke else 0}
    if isinstance(mark, Box):
        look["facecolor"] = colour(style.fill, mark.strength)
        axes.add_patch(Rectangle((mark.x, mark.y), mark.width, mark.height, zorder=order, **look))
    elif isinstance(mark, Dot):
        look["facecolor"] = colour(style.fill)
        if mark.shape == "circle":
            axes.add_patch(Circle((mark.x, mark.y), mark.radius, zorder=order, **look))
        else:
            axes.add_patch(Polygon(diamond(mark.x, mark.y, mark.radius), closed=True, zorder=order, **look))
