"""What people said of the answers: samples of `wg-evals annotate sample`, with the files that annotators saved."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from wg_evals.analysis.reporting.sheet import Sheet
from wg_evals.annotate.key import Key, read_key
from wg_evals.annotate.ratings import RATINGS, read_ratings
from wg_evals.annotate.score import score
from wg_evals.annotate.show import lines, notes, raters, sheets
from wg_evals.errors import WgError

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


def read_people(folder: Path, keys: Sequence[Path], logs: set[str]) -> People:
    """Read the ratings of a folder's answers.

    The annotators' files are those beside their sample's key. Unfinished ones count as far as they go; the page says
    how far that is.

    Args:
        folder: The keys in it are read.
        keys: Further keys, from elsewhere.
        logs: The names of the logs that count, without folders: a sample of other logs says nothing of these.

    Raises:
        WgError: One of the further keys cannot be read.
    """
    found = People([], [])
    here = sorted(folder.resolve().rglob(KEYS))
    for path in here:
        try:
            _add(found, path, read_key(path), logs)
        except WgError as ex:
            found.unused.append(str(ex))
    for path in keys:
        if path.resolve() not in here:
            _add(found, path, read_key(path), logs)
    return found


def _add(found: People, path: Path, key: Key, logs: set[str]) -> None:
    files = list(_saved(path.parent, key))
    if not any(Path(item.log).name in logs for item in key.items):
        found.unused.append(f"The sample of '{path}' was drawn from other logs than these.")
    elif not files:
        found.unused.append(f"Nobody's ratings lie beside the key '{path}'.")
    else:
        good = []
        for file in files:
            try:
                read_ratings([file], key, partial=True)
                good.append(file)
            except WgError as ex:
                found.unused.append(str(ex))
        if good:
            scored = score(key, read_ratings(good, key, partial=True))
            title = f"What people say: {len(key.items)} answers, {key.task} in {key.domain}"
            sentences = [*raters(key, scored), *lines(scored)]
            found.rated.append(Rated(title, sheets(key, scored), sentences, list(notes(scored))))


def _saved(folder: Path, key: Key) -> Iterator[Path]:
    """The annotators' files of a sample, in a folder that may hold those of others, and anything else."""
    for path in sorted(folder.glob("*.json")):
        try:
            saved = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(saved, dict) and (saved.get("kind"), saved.get("sample")) == (RATINGS, key.sample):
            yield path
