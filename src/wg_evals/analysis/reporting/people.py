"""What people said of the answers: samples of `wg-evals annotate sample`, with the files that annotators saved."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wg_evals.analysis.reporting.sheet import Sheet
from wg_evals.annotate.key import Key, read_key
from wg_evals.annotate.ratings import RATINGS, Annotator, read_ratings
from wg_evals.annotate.sample import population
from wg_evals.annotate.score import score
from wg_evals.annotate.show import lines, notes, raters, sheets
from wg_evals.errors import WgError

if TYPE_CHECKING:
    import pandas as pd

KEYS = "*.key.json"


class Rated(NamedTuple):
    """A sample that people rated."""

    title: str
    sheets: list[Sheet]
    sentences: list[str]
    notes: list[str]


class People(NamedTuple):
    """All samples of a folder's answers."""

    rated: list[Rated]
    unused: list[str]
    """Files that say nothing here, and why."""


def read_people(folder: Path, keys: Sequence[Path], logs: set[str], samples: "pd.DataFrame") -> People:
    """Read the ratings of a folder's answers.

    The annotators' files are those beside their sample's key, of each annotator the one saved last. Unfinished ones
    count as far as they go; the page says how far that is. A sample counts where it was drawn from these answers, no
    fewer and no more: what it says of the judge and of the rates is about all that it was drawn from.

    Args:
        folder: The logs, and the keys that are read.
        keys: Further keys, from elsewhere.
        logs: The names of the logs that count, without folders.
        samples: Their answers, as `wg_evals.analysis.frame` has them.

    Raises:
        WgError: One of the further keys cannot be read.
    """
    found = People([], [])
    here = sorted(folder.resolve().rglob(KEYS))
    for path in here:
        try:
            _add(found, path, read_key(path), logs, samples)
        except WgError as ex:
            found.unused.append(str(ex))
    for path in keys:
        if path.resolve() not in here:
            _add(found, path, read_key(path), logs, samples)
    return found


def _add(found: People, path: Path, key: Key, logs: set[str], samples: "pd.DataFrame") -> None:
    files = list(_saved(path.parent, key))
    drawn_from = {Path(item.log).name for item in key.items}
    if missing := sorted(drawn_from - logs):
        found.unused.append(
            f"The sample of '{path}' was drawn from other logs than these: {len(missing)} of its {len(drawn_from)} are "
            f"not here, such as '{missing[0]}'."
        )
    elif not files:
        found.unused.append(f"Nobody's ratings lie beside the key '{path}'.")
    elif (there := key.population()) != (now := population(samples, key.domain, key.task)):
        drawn_out_of = ", ".join(f"{n} {verdict}" for verdict, n in there.items())
        found.unused.append(
            f"The sample of '{path}' stands for other answers than these: it was drawn out of "
            f"{drawn_out_of} answers ({key.task} in {key.domain}); here are "
            f"{', '.join(map(str, now.values()))}. Report on the logs that it was drawn from, or draw one from these."
        )
    elif annotators := _annotators(found, files, key):
        scored = score(key, annotators)
        title = f"What people say: {len(key.items)} answers, {key.task} in {key.domain}"
        sentences = [*raters(key, scored), *lines(scored)]
        found.rated.append(Rated(title, sheets(key, scored), sentences, list(notes(scored))))


def _annotators(found: People, files: Sequence[Path], key: Key) -> list[Annotator]:
    """Each annotator's newest file that can be read; the others are named as unused."""
    read: dict[str, list[tuple[datetime, Path, Annotator]]] = {}
    for file in files:
        try:
            [annotator] = read_ratings([file], key, partial=True)
        except WgError as ex:
            found.unused.append(str(ex))
        else:
            read.setdefault(annotator.name.casefold(), []).append((annotator.saved, file, annotator))
    newest = []
    for same in read.values():
        *others, (_, latest, annotator) = sorted(same, key=itemgetter(0))
        newest.append(annotator)
        found.unused.extend(f"'{f}' is not counted: the annotator's newest file is '{latest}'." for _, f, _ in others)
    return newest


def _saved(folder: Path, key: Key) -> Iterator[Path]:
    """The annotators' files of a sample, in a folder that may hold those of others, and anything else."""
    for path in sorted(folder.glob("*.json")):
        try:
            saved = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(saved, dict) and (saved.get("kind"), saved.get("sample")) == (RATINGS, key.sample):
            yield path
