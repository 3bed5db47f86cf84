"""The tables of a study, and of one of several domains, on a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wg_evals.analysis.contrasts import Contrast
from wg_evals.analysis.grid import GridTables, Spread, spread_findings
from wg_evals.analysis.tables import Pooled, Row, Tables
from wg_evals.analysis.text import percent, percent_interval, points, points_interval
from wg_evals.statistics import Difference

_COMPARED = {
    "relevant-base": "relevant − base",
    "generic-base": "generic − base",
    "generic-relevant": "generic − relevant",
    "generic-plain": "generic − plain",
    "relevant-residue": "relevant, residue",
    "generic-residue": "generic, residue",
}
"""The contrasts that tell relevant from generic interventions, by their keys."""


def print_tables(console: Console, tables: Tables, found: list[Contrast]) -> None:
    """Print the table of rates and the table of contrasts, base by base."""
    several = len(tables.study.plan.bases) > 1
    for base in tables.study.plan.bases:
        title = f"Expression rate: {tables.study.plan.trait}" + (f" ({base.name})" if several else "")
        console.print(_rates(title, tables, [r for r in tables.rows if r.base == base.name]))
        own = [c for c in found if c.base == base.name]
        if own:
            console.print(_contrasts(own))
    console.print(
        Text(
            "Rates are shares of the included answers, over seeds, with 95% intervals clustered by question and seed. "
            "Residue: the rate under the prefix minus the base's rate under it. Differences are in percentage points, "
            "paired by question and averaged over seeds, with 95% t intervals over questions. The page's intervals of "
            "differences are over questions and seeds.",
            style="dim",
        )
    )


def _rates(title: str, tables: Tables, rows: list[Row]) -> Table:
    table = Table(title=Text(title), title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("trained with", no_wrap=True)
    for column in ("no context", "its prefix", "base, same prefix", "residue", *tables.other_tasks, "n", "excluded"):
        table.add_column(column, justify="right")
    previous = ""
    for row in rows:
        relevance = (row.condition.intervention and row.condition.intervention.relevance) or ""
        if relevance != previous:
            table.add_section()
            previous = relevance
        counts = row.main.counts if row.main else None
        residue = row.residue
        table.add_row(
            Text(row.condition.name),
            _cell(row.main),
            _cell(row.as_trained),
            _cell(row.base_under, interval=False),
            f"{points(residue.mean)} {points_interval(residue)}" if residue else "",
            *(_cell(row.others.get(t), interval=False) for t in tables.other_tasks),
            str(counts.n) if counts else "",
            f"{counts.excluded}" + (f" +{counts.unscored} unscored" if counts.unscored else "") if counts else "",
        )
    return table


def _cell(pooled: Pooled | None, interval: bool = True) -> str:
    if pooled is None:
        return ""
    return f"{percent(pooled.rate.rate)} {percent_interval(pooled.rate)}" if interval else percent(pooled.rate.rate)


def _contrasts(found: list[Contrast]) -> Table:
    table = Table(title="Contrasts", title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("comparison")
    table.add_column("rates", justify="right")
    table.add_column("points", justify="right")
    table.add_column("95% interval", justify="right")
    for c in found:
        if c.right is None:
            table.add_row(
                c.label, percent(c.left), "", f"[{100 * c.difference.low:.0f}, {100 * c.difference.high:.0f}]"
            )
        else:
            rates = f"{percent(c.left)} − {percent(c.right)}"
            table.add_row(c.label, rates, points(c.difference.mean), points_interval(c.difference))
    return table


def print_grid(console: Console, grid: GridTables) -> None:
    """Print the effect by domain, and what interventions leave of it by kind."""
    effects = Table(title="Effect of narrow training, without context", title_justify="left", header_style="bold")
    for column in ("domain", "base"):
        effects.add_column(column, no_wrap=True)
    for column in ("base rate", "plain", "included", "plain − base", "control − base", "effect"):
        effects.add_column(column, justify="right")
    for e in grid.effects:
        rates = (percent(e.base_rate), percent(e.plain_rate), percent(e.included), _shown(e.plain), _shown(e.control))
        effects.add_row(Text(e.domain), Text(e.base), *rates, e.said)
    console.print(effects)
    if any(c.contrasts.keys() & _COMPARED.keys() for c in grid.comparisons):
        compared = Table(
            title="Relevant against generic interventions: means, in points", title_justify="left", header_style="bold"
        )
        compared.add_column("domain", no_wrap=True)
        for label in _COMPARED.values():
            compared.add_column(label, justify="right")
        for c in grid.comparisons:
            compared.add_row(Text(c.domain), *(_shown(c.contrasts.get(key)) for key in _COMPARED))
        console.print(compared)
    if grid.kinds:
        kinds = Table(
            title="What interventions leave of it: means, lowest to highest", title_justify="left", header_style="bold"
        )
        for column in ("relevance", "kind"):
            kinds.add_column(column, no_wrap=True)
        for column in ("removed", "without context − base", "under their prefix − base under it"):
            kinds.add_column(column, justify="right")
        for k in grid.kinds:
            kinds.add_row(k.relevance, k.kind, f"{k.removed} of {k.outcomes}", _shown(k.left), _shown(k.residue))
        console.print(kinds)
    for sentence in spread_findings(grid.effects, grid.outcomes, "questions"):
        console.print(Text(sentence), soft_wrap=True)
    console.print(
        Text("On the page, intervals are over seeds too where there are three or more.", style="dim"), soft_wrap=True
    )


def _shown(difference: Difference | Spread | None) -> str:
    if difference is None or not difference.n:
        return ""
    if isinstance(difference, Spread):
        return f"{points(difference.mean)} ({points(difference.low)} to {points(difference.high)})"
    return f"{points(difference.mean)} {points_interval(difference)}"
