"""What a study shows while it runs: bars on a terminal, a line every few seconds elsewhere."""

import time
from typing import NamedTuple, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_LINE_SECONDS = 5.0
_WHAT_WIDTH = 60
"""Keeps the columns where they are while the cells' names change."""


class Stage(NamedTuple):
    """How far one kind of work is."""

    name: str
    done: int
    total: int


class Doing(NamedTuple):
    """What a worker is doing."""

    worker: int
    what: str
    seconds: float
    amount: tuple[int, int] | None
    """Done and all of it: training steps, or samples."""


class Situation(NamedTuple):
    """How a run stands."""

    stages: list[Stage]
    doing: list[Doing]
    elapsed: float
    workers: int
    failed: int
    serving: str = ""
    """What there is to say of a server that starts."""


class Display(Protocol):
    """Shows how a run stands."""

    def start(self, situation: Situation) -> None: ...

    def show(self, situation: Situation) -> None: ...

    def say(self, text: str) -> None: ...

    def stop(self) -> None: ...


def display_for(console: Console) -> "Display":
    """Bars for a person at a terminal, lines for a file or a pipe."""
    return LiveDisplay(console) if console.is_terminal else LineDisplay(console)


class Pace:
    """Guesses how long the rest takes, from what this run has done itself."""

    def __init__(self, situation: Situation) -> None:
        self._at_start = {s.name: s.done for s in situation.stages}
        self._busy = {s.name: 0.0 for s in situation.stages}
        self._last = situation.elapsed

    def left(self, situation: Situation) -> float | None:
        """Seconds left; None as long as there is nothing to guess from."""
        passed, self._last = situation.elapsed - self._last, situation.elapsed
        for doing in situation.doing:
            self._busy["train" if doing.what.startswith("train ") else "evaluate"] += passed
        seconds, unknown = 0.0, False
        for stage in situation.stages:
            done = stage.done - self._at_start[stage.name]
            if stage.total > stage.done:
                unknown = unknown or done == 0
                seconds += (stage.total - stage.done) * self._busy[stage.name] / max(1, done)
        return None if unknown else seconds / max(1, situation.workers)


class LiveDisplay:
    """A bar per stage and a line per worker, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def start(self, situation: Situation) -> None:
        self._pace = Pace(situation)
        self._live.start()

    def show(self, situation: Situation) -> None:
        self._live.update(self._draw(situation), refresh=True)

    def say(self, text: str) -> None:
        self._live.console.print(Text(text))

    def stop(self) -> None:
        self._live.stop()

    def _draw(self, situation: Situation) -> Group:
        bars = Table.grid(padding=(0, 1))
        for stage in situation.stages:
            bar = ProgressBar(total=max(1, stage.total), completed=stage.done, width=40)
            bars.add_row(stage.name, bar, f"{stage.done} of {stage.total}")
        workers = Table.grid(padding=(0, 1))
        workers.add_column()
        workers.add_column(min_width=_WHAT_WIDTH)
        workers.add_column(justify="right", min_width=9)
        for doing in situation.doing:
            amount = f"{doing.amount[0]}/{doing.amount[1]}" if doing.amount else ""
            name = Text(f"worker {doing.worker}", style="dim")
            workers.add_row(name, Text(doing.what), amount, f"{doing.seconds:.0f} s")
        serving = [Text(situation.serving, no_wrap=True, overflow="ellipsis")] if situation.serving else []
        return Group(bars, workers, *serving, Text(_times(situation, self._pace.left(situation)), style="dim"))


class LineDisplay:
    """One line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = 0.0

    def start(self, situation: Situation) -> None:
        self._pace = Pace(situation)

    def show(self, situation: Situation) -> None:
        left = self._pace.left(situation)
        if time.monotonic() - self._last < _LINE_SECONDS:
            return
        self._last = time.monotonic()
        stages = ", ".join(f"{s.name} {s.done}/{s.total}" for s in situation.stages)
        doing = "; ".join(d.what for d in situation.doing) or situation.serving or "starting"
        self.say(f"{stages} | {_times(situation, left)} | {doing}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        pass


def _times(situation: Situation, left: float | None) -> str:
    rest = f", about {_clock(left)} left" if left is not None else ""
    failed = f", {situation.failed} failed" if situation.failed else ""
    return f"{_clock(situation.elapsed)} elapsed{rest}{failed}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
