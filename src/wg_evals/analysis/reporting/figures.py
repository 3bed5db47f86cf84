"""The report's figures, drawn from what was evaluated."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wg_evals.analysis.reporting.drawing import WIDTH, Box, Dot, Drawing, Mark, Stroke, Words, file_name, palette
from wg_evals.analysis.reporting.evaluated import Domain, Evaluated, Model, curves
from wg_evals.analysis.text import percent, percent_interval

GROUPS = {
    "base": "base",
    "control": "control",
    "plain": "plain",
    "relevant": "relevant, mean",
    "generic": "generic, mean",
    "graded": "graded, mean",
}
"""What is compared across domains and questions, with how it is called."""
_RELEVANCE = ("relevant", "generic", "graded")

_LEFT, _RIGHT = 250, 40
_ROW, _HEADING, _FOOT = 30, 28, 52
_LANE, _LANES = 9, 38
_APART = 90
"""How far two labels side by side have to be from each other."""
_LETTER = 7.2
"""How wide a letter of a label is, at most."""


def _position(share: float) -> float:
    return _LEFT + min(max(share, 0), 1) * (WIDTH - _LEFT - _RIGHT)


def _cut(text: str, width: float) -> str:
    room = max(3, int(width / _LETTER))
    return text if len(text) <= room else text[: room - 1] + "…"


def _axis(top: float, bottom: float, label: str = "Expression rate (share of included answers)") -> Iterator[Mark]:
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        yield Stroke("grid", ((_position(share), top), (_position(share), bottom)))
        yield Words("tick", _position(share), bottom + 18, percent(share))
    yield Words("tick", (_LEFT + WIDTH - _RIGHT) / 2, bottom + 42, label)


def _point(style: str, one: Evaluated, y: float, what: str) -> Iterator[Mark]:
    """A rate: with its interval where that can be relied on, else with each seed's own; of one run, a dashed one."""
    found = one.rate
    if math.isnan(found.rate):
        return
    tip = f"{what}: {said(one)}, {found.included} answers counted"
    if one.vouched:
        low, high = _position(found.low), _position(found.high)
        yield Stroke(f"{style}-interval", ((low, y), (high, y)), tip)
    elif len(one.by_run) == 1:
        low, high = _position(found.low), _position(found.high)
        yield Stroke(f"{style}-unsure", ((low, y), (high, y)), tip)
    if style == "with":
        yield Dot(style, _position(found.rate), y, 6.5, "diamond", tip)
    else:
        yield Dot(style, _position(found.rate), y, 5.5, tip=tip)
    for seed, rate in one.by_run if len(one.by_run) > 1 and not one.vouched else ():
        if not math.isnan(rate):
            yield Dot(f"{style}-seed", _position(rate), y, 3, tip=f"{what}, seed {seed}: {percent(rate)}")


def said(one: Evaluated) -> str:
    """A rate in words: with its interval, or with what `spread` has where that cannot be relied on."""
    return f"{percent(one.rate.rate)} {spread(one)}".strip()


def spread(one: Evaluated) -> str:
    """How sure a rate is: `[55, 68]`; not known to hold: `seeds 60, 66`, or of one run `([95, 99], n=200)`."""
    if one.vouched:
        return percent_interval(one.rate)
    if len(one.by_run) > 1:
        return "seeds " + ", ".join(percent(r).removesuffix("%") for _, r in one.by_run)
    return f"({percent_interval(one.rate)}, n={one.rate.included:,})" if one.rate.included else ""


def _row(one: Evaluated, **more: Any) -> dict[str, Any]:
    m, r, c = one.model, one.rate, one.counts
    return {
        "domain": m.domain,
        "base": m.base,
        "trained_with": m.name,
        "kind": m.kind,
        "relevance": m.relevance,
        "task": one.task,
        "context": one.context,
        **more,
        "runs": len(one.seeds),
        "n": c.n,
        "included": c.included,
        "expressed": c.expressed,
        "rate": _number(r.rate),
        "ci_low": _number(r.low),
        "ci_high": _number(r.high),
        "interval_relied_on": one.vouched,
        "run_rates": " ".join(_number(r) for _, r in one.by_run),
    }


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _headed(models: Sequence[Model]) -> Iterator[tuple[str, list[Model]]]:
    """Models under headings: those that are no intervention first, then by relevance and kind."""
    groups: dict[str, list[Model]] = {}
    for m in models:
        heading = f"{m.relevance or 'other'}: {m.kind or 'of no kind'}" if m.role == "intervened" else ""
        groups.setdefault(heading, []).append(m)
    yield from groups.items()


def intervention_figure(domain: Domain) -> Drawing | None:
    """Interventions by kind without context, between what the base does and what plain training does."""
    shown = [m for m in domain.models if m in domain.main]
    if not shown:
        return None
    marks: list[Mark] = []
    y = 40.0
    for heading, members in _headed(shown):
        if heading:
            y += _HEADING
            marks.append(Words("heading", 0, y - 8, heading))
        for m in members:
            marks.append(Words("label", _LEFT - 14, y + _ROW / 2 + 4.5, _cut(m.name, _LEFT - 20)))
            marks += _point("none", domain.main[m], y + _ROW / 2, f"{m.name}, without context")
            y += _ROW
    behind: list[Mark] = list(_axis(36, y))
    references: list[tuple[float, str]] = []
    for role in ("base", "plain"):
        model = domain.one("base" if role == "base" else "plain")
        one = domain.main.get(model) if model else None
        if one and not math.isnan(one.rate.rate):
            x = _position(one.rate.rate)
            behind.append(Stroke(f"reference-{role}", ((x, 30), (x, y)), f"{role}: {said(one)}"))
            references.append((x, f"{role} {percent(one.rate.rate)}"))
    references.sort()
    close = len(references) == 2 and references[1][0] - references[0][0] < _APART
    for style, (x, text) in zip(("label", "start") if close else ("value", "value"), references, strict=False):
        behind.append(Words(style, x, 24, text))
    return Drawing(
        name=file_name("interventions", domain.domain, domain.base),
        title=f"Rate without context by training intervention: {domain.label}",
        description="; ".join(f"{m.name} {said(domain.main[m])}" for m in shown),
        height=y + _FOOT,
        marks=behind + marks,
        data=[_row(domain.main[m]) for m in shown],
    )


def context_figure(domain: Domain) -> Drawing | None:
    """The same adapters without context and under their training prefix, beside base and plain training under it."""
    shown = [m for m in domain.models if m in domain.own]
    if not shown:
        return None
    marks: list[Mark] = []
    data: list[dict[str, Any]] = []
    legend = [(130, "none", "without context"), (280, "with", "under its own prefix")]
    legend.append((455, "under", "the base under that prefix"))
    if any(domain.plain_under(m) for m in shown):
        legend.append((665, "plain-under", "plain training under that prefix"))
    for x, style, label in legend:
        marks.append(Dot(style, x + 6, 14, 5.5, "diamond" if style == "with" else "circle"))
        marks.append(Words("start", x + 18, 18.5, label))
    y = 40.0
    for heading, members in _headed(shown):
        y += _HEADING
        marks.append(Words("heading", 0, y - 8, heading))
        for m in members:
            middle = y + _LANES / 2
            marks.append(Words("label", _LEFT - 14, middle + 4.5, _cut(m.name, _LEFT - 20)))
            for style, one, lane, what in (
                ("none", domain.main.get(m), -_LANE, "without context"),
                ("plain-under", domain.plain_under(m), _LANE, "plain training under it"),
                ("under", domain.base_under(m), _LANE, "the base under it"),
                ("with", domain.own[m], 0, "under its prefix"),
            ):
                if one is not None:
                    marks += _point(style, one, middle + lane, f"{m.name}, {what}")
                    data.append(_row(one, row=m.name, shown=what))
            y += _LANES
    return Drawing(
        name=file_name("context", domain.domain, domain.base),
        title=f"With and without context: {domain.label}",
        description="; ".join(f"{m.name} under its prefix {said(domain.own[m])}" for m in shown),
        height=y + _FOOT,
        marks=[*_axis(40, y), *marks],
        data=data,
    )


class _Grid:
    """A heat map: rates in cells."""

    def __init__(self, columns: Sequence[str], left: float = 210) -> None:
        self.columns, self.left, self.y = list(columns), left, 34.0
        self.width = min(150.0, (WIDTH - left) / max(1, len(columns)))
        self.marks: list[Mark] = [
            Words("column", left + (i + 0.5) * self.width, 22, _cut(c, self.width - 6)) for i, c in enumerate(columns)
        ]

    def heading(self, text: str) -> None:
        self.y += _HEADING
        self.marks.append(Words("heading", 0, self.y - 8, text))

    def row(self, label: str, cells: Sequence[tuple[float | None, str]]) -> None:
        """Add a row; None is a cell that was not evaluated, nan one in which no answer counts."""
        self.marks.append(Words("label", self.left - 12, self.y + _ROW / 2 + 4.5, _cut(label, self.left - 14)))
        for i, (rate, tip) in enumerate(cells):
            x = self.left + i * self.width
            middle = Words("value", x + self.width / 2, self.y + _ROW / 2 + 4.5, "" if rate is None else percent(rate))
            if rate is None or math.isnan(rate):
                self.marks.append(Box("empty", x, self.y, self.width, _ROW, tip=tip))
            else:
                # no stronger than 0.75: the number on it has to be read in both themes
                self.marks.append(Box("cell", x, self.y, self.width, _ROW, round(0.75 * rate, 3), tip))
            self.marks.append(middle)
        self.y += _ROW


def heat_map(domains: Sequence[Domain]) -> Drawing:
    """Models against domains: rates without context and, of interventions, under the prefix of the training."""
    columns = list(dict.fromkeys(d.domain for d in domains))
    grid = _Grid(columns)
    data: list[dict[str, Any]] = []
    for base, own in _blocks(domains).items():
        rows = _heat_rows(list(own.values()))
        if [label for label, _ in rows] == [GROUPS["base"]]:
            rows = [(base, cells) for _, cells in rows]  # a model by itself, which is its own base
        elif [label for label, _ in rows] != [base]:
            grid.heading(base)
        for label, found in rows:
            members = {d: found.get(d, []) for d in columns}
            rates = {d: _mean([e.rate.rate for e in members[d]]) for d in columns}
            grid.row(label, [(rates[d], f"{d}, {base}, {label}: {_shown(rates[d])}") for d in columns])
            data += [
                {"base": base, "model": label, "domain": d, "models": len(members[d]), "rate": _maybe(rates[d])}
                for d in columns
            ]
    return Drawing(
        name="heat-map",
        title="Expression rate, model by domain",
        description="; ".join(f"{r['domain']}, {r['model']}: {r['rate']}" for r in data if r["rate"]),
        height=grid.y + 8,
        marks=grid.marks,
        data=data,
    )


def _heat_rows(block: Sequence[Domain]) -> list[tuple[str, dict[str, list[Evaluated]]]]:
    """The rows of a block that have anything to show: of each domain, what a cell is the mean of."""
    rows: dict[str, dict[str, list[Evaluated]]] = {}
    for d in block:
        for name, label in GROUPS.items():
            rows.setdefault(label, {})[d.domain] = [d.main[m] for m in d.group(name)]
        for relevance in _RELEVANCE:
            trained = [m for m in d.models if m.group == relevance and m in d.own]
            rows.setdefault(f"{relevance}, own prefix", {})[d.domain] = [d.own[m] for m in trained]
            under = [e for m in trained if (e := d.base_under(m))]
            rows.setdefault(f"base, {relevance} prefixes", {})[d.domain] = under
            plain_under = [e for m in trained if (e := d.plain_under(m))]
            rows.setdefault(f"plain, {relevance} prefixes", {})[d.domain] = plain_under
    for d in block:
        for m in d.group("adapter"):
            rows.setdefault(m.name, {})[d.domain] = [d.main[m]]
    return [(label, cells) for label, cells in rows.items() if any(cells.values())]


def _blocks(domains: Sequence[Domain]) -> dict[str, dict[str, Domain]]:
    """A heat map's blocks of rows, by base and domain; one block if each domain has a single base, and they differ."""
    blocks: dict[str, dict[str, Domain]] = {}
    for d in domains:
        blocks.setdefault(d.base, {})[d.domain] = d
    by_domain = {d.domain: d for d in domains}
    compared = all(d.one("plain") or d.one("control") for d in domains)
    if len(blocks) > 1 and len(by_domain) == len(domains) and compared:
        return {"each domain on its own base": by_domain}
    return blocks


def _mean(rates: Sequence[float]) -> float | None:
    known = [r for r in rates if not math.isnan(r)]
    if not rates:
        return None
    return math.fsum(known) / len(known) if known else math.nan


def _shown(rate: float | None) -> str:
    return "not evaluated" if rate is None else percent(rate) if not math.isnan(rate) else "no answer counts"


def _maybe(rate: float | None) -> str:
    return "" if rate is None else _number(rate)


def question_figure(domain: Domain) -> Drawing | None:
    """Each question's rate without context, by what was trained."""
    groups = {name: domain.group(name) for name in (*GROUPS, "adapter") if domain.group(name)}
    rates = {name: _mean_by_question([domain.main[m].by_question for m in found]) for name, found in groups.items()}
    asked = {q for found in groups.values() for m in found for q in domain.main[m].crossed.questions}
    if not asked:
        return None
    first = rates.get("plain") or next(iter(rates.values()))
    questions = sorted(asked, key=lambda q: (-first.get(q, -1), q))
    names = {name: GROUPS.get(name, "models") for name in rates}
    grid = _Grid(list(names.values()), left=270)
    data = []
    for q in questions:
        grid.row(
            q, [(rates[n].get(q, math.nan), f"{q}, {label}: {_shown(rates[n].get(q))}") for n, label in names.items()]
        )
        data += [{"question": q, "model": names[n], "rate": _number(rates[n].get(q, math.nan))} for n in rates]
    return Drawing(
        name=file_name("questions", domain.domain, domain.base),
        title=f"Rate without context by question: {domain.label}",
        description=f"{len(questions)} questions by {', '.join(names.values())}.",
        height=grid.y + 8,
        marks=grid.marks,
        data=data,
    )


def _mean_by_question(members: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean rate of each question, over the members that have one."""
    questions = dict.fromkeys(q for m in members for q in m)
    rates = {q: [m[q] for m in members if q in m] for q in questions}
    return {q: math.fsum(known) / len(known) for q, known in rates.items()}


def curve_figures(found: Sequence[Evaluated]) -> Iterator[Drawing]:
    """Learning curves: the rate without context at each checkpoint, by domain, base and task."""
    groups: dict[tuple[str, str, str], list[tuple[Model, list[tuple[int, Evaluated]]]]] = {}
    for model, task, points in curves(found):
        groups.setdefault((model.domain, model.base, task), []).append((model, points))
    most = sum(name.startswith("curve-") for name in palette().styles)  # more in one figure would look alike
    for (domain, base, task), lines in groups.items():
        lines.sort(key=lambda one: one[0].order)
        parts = [lines[i : i + most] for i in range(0, len(lines), most)]
        for n, part in enumerate(parts, start=1):
            which = (f" ({n} of {len(parts)})", str(n)) if len(parts) > 1 else ("", "")
            yield _curves(f"{domain}, {base}, {task}{which[0]}", file_name("curve", domain, base, task, which[1]), part)


_TOP, _TALL = 30, 320
_TICKS = 10


def _curves(label: str, name: str, lines: list[tuple[Model, list[tuple[int, Evaluated]]]]) -> Drawing:
    last = max(step for _, points in lines for step, _ in points)
    left, right = 60, WIDTH - 200

    def place(step: float, share: float) -> tuple[float, float]:
        return left + (right - left) * step / last, _TOP + (1 - share) * _TALL

    marks: list[Mark] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        marks.append(Stroke("grid", (place(0, share), place(last, share))))
        marks.append(Words("label", left - 8, place(0, share)[1] + 4.5, percent(share)))
    steps = sorted({step for _, points in lines for step, _ in points})
    for step in [0, *steps[:: -(-len(steps) // _TICKS)]]:
        marks.append(Words("tick", place(step, 0)[0], _TOP + _TALL + 18, str(step)))
    marks.append(Words("tick", (left + right) / 2, _TOP + _TALL + 40, "Training step"))
    data = []
    for i, (model, points) in enumerate(lines):
        style = f"curve-{i}"
        known = [(step, one) for step, one in points if not math.isnan(one.rate.rate)]
        data += [_row(one, curve=model.name, step=step) for step, one in points]
        if not known:
            continue
        marks.append(Stroke(style, tuple(place(step, one.rate.rate) for step, one in known), model.name))
        for step, one in known:
            marks.append(Dot(style, *place(step, one.rate.rate), 3.5, tip=f"{model.name}, step {step}: {said(one)}"))
            if one.vouched:
                ends = (place(step, one.rate.low), place(step, one.rate.high))
                marks.append(Stroke("none-interval", ends, f"{model.name}, step {step}"))
        y = _TOP + 18 + 20 * i
        marks.append(Stroke(style, ((right + 16, y - 4), (right + 44, y - 4))))
        marks.append(Words("start", right + 52, y, _cut(model.name, 140)))
    return Drawing(
        name=name,
        title=f"Learning curve: {label}",
        description=f"The rate at {len({s for _, p in lines for s, _ in p})} points of the training of {len(lines)} "
        "models; the base is at step 0.",
        height=max(_TOP + _TALL + 56, _TOP + 30 + 20 * len(lines)),
        marks=marks,
        data=data,
    )
