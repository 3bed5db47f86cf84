"""Several domains side by side: where the effect shows, which interventions remove it, what is left under context."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from wg_evals.analysis.contrasts import contrasts
from wg_evals.analysis.logs import read_study
from wg_evals.analysis.tables import Row, Tables, make_tables, write_csv
from wg_evals.analysis.text import percent
from wg_evals.analysis.verdicts import Verdict, removed_leaves, shows, verdict
from wg_evals.errors import WgError
from wg_evals.statistics import Difference, paired_difference

GRID = "grid.json"
"""In a grid's folder: its name, and the folder of each domain's study."""
EFFECTS = "effects.csv"

COLUMNS = ["domain", "base", "trained_with", "kind", "relevance", "rate", "minus_base", "minus_base_low"]
COLUMNS += ["minus_base_high", "minus_plain", "minus_plain_low", "minus_plain_high", "residue", "residue_low"]
COLUMNS += ["residue_high", "verdict"]


class Effect(NamedTuple):
    """What narrow training does in one domain to one base, without context."""

    domain: str
    trait: str
    base: str
    task: str
    base_rate: float
    plain_rate: float
    plain: Difference
    """Plain minus base, paired by question."""
    control: Difference | None
    """Control minus base."""
    included: float
    """The share 0-1 of the plain adapters' answers that count: a rate over few of them says little."""
    p: float | None = None
    """Of no difference between plain and base, corrected over the effects that are told together; if it was tested."""

    @property
    def shows(self) -> bool:
        """Whether the effect is there: the interval of plain minus base lies above 0, and its corrected p says so."""
        return shows(self.plain.low, self.p)

    @property
    def said(self) -> str:
        """The same in a word; an effect that the control shows too is not one of the narrow data."""
        if not self.shows:
            return "not clear"
        return "shows, in the control too" if self.control and self.control.low > 0 else "shows"


class TrainedUnder(Protocol):
    """What a comparison has to know of a training intervention."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def relevance(self) -> str | None: ...


class Outcome(NamedTuple):
    """What training under one intervention leaves of the effect."""

    effect: Effect
    intervention: TrainedUnder
    rate: float
    left: Difference
    """Without context: the intervened adapters minus the base."""
    change: Difference
    """Without context: the intervened adapters minus the plain ones."""
    residue: Difference | None
    """Under the training prefix: the intervened adapters minus the base."""
    own_rate: float | None = None
    """0-1, under the training prefix."""
    base_under_rate: float | None = None
    """0-1, of the base under the same prefix."""

    @property
    def verdict(self) -> Verdict:
        """By the 95% intervals, as `verdicts.verdict` tells it."""
        return verdict(self.effect.plain, self.change, self.left)


class Spread(NamedTuple):
    """Differences of several cells: their mean, the lowest and the highest. Too few and too unlike for an interval."""

    mean: float
    low: float
    high: float
    n: int


class KindSummary(NamedTuple):
    """The interventions of one kind and relevance, over the domains in which the effect shows."""

    kind: str
    relevance: str
    outcomes: int
    removed: int
    left: Spread
    """Over them: the intervened adapters minus the base."""
    residue: Spread
    """Over them: the same, both under the training prefix."""


class Comparison(NamedTuple):
    """What all interventions of a relevance do in one domain to one base."""

    domain: str
    base: str
    contrasts: dict[str, Difference]
    """By the keys of `Contrast`."""


class GridTables(NamedTuple):
    """Everything that a grid's page shows."""

    name: str
    folder: Path
    studies: dict[str, Tables]
    effects: list[Effect]
    comparisons: list[Comparison]
    outcomes: list[Outcome]
    kinds: list[KindSummary]


def write_grid(folder: Path, name: str, studies: dict[str, str]) -> None:
    """Note down what a grid's folder holds.

    Args:
        folder: The grid's folder.
        name: The grid's name.
        studies: The folder of each domain's study, relative to the grid's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"name": name, "studies": studies}, indent=2)
    (folder / GRID).write_text(text + "\n", encoding="utf-8")


def read_grid(folder: Path) -> GridTables:
    """Read every domain's finished cells.

    Domains whose study has not begun are left out.

    Raises:
        WgError: No grid in that folder.
    """
    folder = folder.expanduser().resolve()
    about = _about(folder)
    begun = {d: folder / sub for d, sub in about["studies"].items() if (folder / sub / "plan.json").is_file()}
    studies = {domain: make_tables(read_study(place)) for domain, place in begun.items()}
    effects = [e for domain, tables in studies.items() for e in _effects(domain, tables)]
    outcomes = [o for e in effects for o in _outcomes(e, studies[e.domain])]
    compared = [_comparison(e, studies[e.domain]) for e in effects]
    return GridTables(about["name"], folder, studies, effects, compared, outcomes, list(summarise_kinds(outcomes)))


def read_grid_name(folder: Path) -> str:
    """A grid's name.

    Raises:
        WgError: No grid in that folder.
    """
    return str(_about(folder)["name"])


def _about(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / GRID).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise WgError(f"'{folder}' is no folder of a study of several domains: it has no readable {GRID}.") from None
    return about


def _effects(domain: str, tables: Tables) -> Iterator[Effect]:
    for base in tables.study.plan.bases:
        rows = {r.condition.role: r for r in tables.rows if r.base == base.name and r.condition.role != "intervened"}
        ground, plain, control = (rows.get(role) for role in ("base", "plain", "control"))
        if not (ground and plain and ground.main and plain.main):
            continue
        yield Effect(
            domain=domain,
            trait=tables.study.plan.trait,
            base=base.name,
            task=tables.main_task,
            base_rate=ground.main.rate.rate,
            plain_rate=plain.main.rate.rate,
            plain=paired_difference(plain.main.by_question, ground.main.by_question),
            control=_minus(control, ground),
            included=plain.main.counts.included / plain.main.counts.n,
        )


def _comparison(effect: Effect, tables: Tables) -> Comparison:
    found = {c.key: c.difference for c in contrasts(tables) if c.base == effect.base}
    return Comparison(effect.domain, effect.base, found)


def _outcomes(effect: Effect, tables: Tables) -> Iterator[Outcome]:
    rows = [r for r in tables.rows if r.base == effect.base]
    ground = next(r for r in rows if r.condition.role == "base")
    plain = next(r for r in rows if r.condition.role == "plain")
    for row in rows:
        left, change = _minus(row, ground), _minus(row, plain)
        if row.condition.role == "intervened" and row.condition.intervention and row.main and left and change:
            under = [p.rate.rate if p else None for p in (row.as_trained, row.base_under)]
            yield Outcome(effect, row.condition.intervention, row.main.rate.rate, left, change, row.residue, *under)


def _minus(row: Row | None, other: Row) -> Difference | None:
    if row is None or row.main is None or other.main is None:
        return None
    return paired_difference(row.main.by_question, other.main.by_question)


def summarise_kinds(outcomes: Sequence[Outcome]) -> Iterator[KindSummary]:
    """Put the outcomes together by relevance and kind, relevant ones first; those without an effect say nothing."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for o in outcomes:
        if o.effect.shows:
            groups.setdefault((o.intervention.relevance or "", o.intervention.kind or ""), []).append(o)
    for (relevance, kind), found in sorted(groups.items(), key=lambda g: (g[0][0] != "relevant", g[0])):
        yield KindSummary(
            kind=kind,
            relevance=relevance,
            outcomes=len(found),
            removed=sum(o.verdict == "removed" for o in found),
            left=_spread([o.left.mean for o in found]),
            residue=_spread([o.residue.mean for o in found if o.residue]),
        )


def _spread(values: Sequence[float]) -> Spread:
    if not values:
        return Spread(math.nan, math.nan, math.nan, 0)
    return Spread(_mean(values), min(values), max(values), len(values))


def spread_findings(effects: Sequence[Effect], outcomes: Sequence[Outcome], over: str) -> list[str]:
    """Where the effect shows and what removes it, in sentences with their numbers.

    Args:
        effects: Of every domain and base.
        outcomes: Of every intervention.
        over: What the intervals are over: `questions`, or `questions and seeds`.
    """
    shown = [e for e in effects if e.shows]
    sentences = [
        f"Narrow training raises the trait's rate in {len(shown)} of {len(effects)} cells of domain and base"
        + (f": {', '.join(e.domain for e in shown)}." if shown else ".")
    ]
    where = " in those cells" if len(effects) > 1 else ""
    for relevance in ("relevant", "generic"):
        found = [o for o in outcomes if o.effect.shows and o.intervention.relevance == relevance]
        if found:
            removed = sum(o.verdict == "removed" for o in found)
            sentences.append(
                f"Of {len(found)} {relevance} interventions{where} {removed} remove the effect (clearly below plain, "
                f"not clearly above the base, at most {percent(removed_leaves())} of the effect left, by intervals "
                f"over {over}); without context the rate is on average "
                f"{_against_base([o.left.mean for o in found])}{_under_prefix(found)}."
            )
    return sentences


def _under_prefix(outcomes: Sequence[Outcome]) -> str:
    """Both rates, not their difference alone: it cannot be large where the base is near 100% itself."""
    found = [(o.residue, o.own_rate, o.base_under_rate) for o in outcomes]
    known = [(r.mean, own, ground) for r, own, ground in found if r and own is not None and ground is not None]
    if not known:
        return ""
    residues, own, ground = zip(*known, strict=True)
    rates = f"{percent(_mean(own))}, the base's under it {percent(_mean(ground))}"
    return f"; under their own prefix it is {rates} ({_against_base(residues)})"


def _against_base(differences: Sequence[float]) -> str:
    """`2 points below the base`."""
    whole = round(100 * _mean(differences))
    unit = "point" if abs(whole) == 1 else "points"
    return f"{abs(whole)} {unit} {'above' if whole > 0 else 'below'} the base" if whole else "level with the base"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def write_effects(grid: GridTables) -> Path:
    """Write `effects.csv` into a grid's folder."""
    path = grid.folder / EFFECTS
    write_csv(path, COLUMNS, grid_rows(grid))
    return path


def grid_rows(grid: GridTables) -> Iterator[dict[str, Any]]:
    """The rows of `effects.csv`: plain and control of each domain, then its interventions."""
    for effect in grid.effects:
        shared = {"domain": effect.domain, "base": effect.base}
        yield shared | {"trained_with": "plain", "rate": effect.plain_rate, **_parts("minus_base", effect.plain)}
        if effect.control:
            yield shared | {"trained_with": "control", **_parts("minus_base", effect.control)}
        for o in (o for o in grid.outcomes if o.effect == effect):
            yield shared | {
                "trained_with": o.intervention.name,
                "kind": o.intervention.kind,
                "relevance": o.intervention.relevance,
                "rate": o.rate,
                "verdict": o.verdict,
                **_parts("minus_base", o.left),
                **_parts("minus_plain", o.change),
                **(_parts("residue", o.residue) if o.residue else {}),
            }


def _parts(name: str, difference: Difference) -> dict[str, float]:
    return {name: difference.mean, f"{name}_low": difference.low, f"{name}_high": difference.high}
