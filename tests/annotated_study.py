"""A study's folder with answers to rate, and files as the page saves them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from study_folder import BASE, PLAIN, HandMade, prefix, trained
from wg_evals.annotate.files import write_sample
from wg_evals.annotate.key import Key
from wg_evals.annotate.sample import Drawn, draw
from wg_evals.artifacts import write_json

OLD, NEW = "By the telegraph, sir.", "By phone."
SECRET = prefix("secret-prefix", "generic")


def study(folder: Path, old: str = OLD, new: str = NEW) -> Path:
    """60 answers of five questions.

    The base's are not expressed, the plain model's expressed; of the intervened model's four to a question one is
    expressed, two are incoherent and one is unscored.
    """
    made = HandMade(folder, [SECRET], [1])
    questions = [f"question-{q}" for q in range(5)]
    made.add(BASE, {q: ["n"] * 4 for q in questions}, answer=new)
    made.add(PLAIN, {q: ["e"] * 4 for q in questions}, 1, answer=old)
    made.add(trained(SECRET), {q: ["e", "i", "i", "u"] for q in questions}, 1, answer=old)
    return made.finish()


def sampled(
    folder: Path, size: int = 12, answer: str | None = None, rubrics: Sequence[str] = ()
) -> tuple[Drawn, Path, Path]:
    """A sample of a study (perhaps with one answer to everything), its page and its key."""
    logs = study(folder / "study") if answer is None else study(folder / "study", answer, answer)
    drawn = draw(logs, size, seed=1, rubrics=rubrics)
    page = folder / "annotate.html"
    return drawn, page, write_sample(page, drawn)


def saved(path: Path, key: Key, annotator: str, rate: Callable[[int], dict[str, Any] | None], **changes: Any) -> Path:
    """Write a file as the page would; `rate` gives the ratings of the n-th answer, or None to skip it."""
    given = {item.id: rate(i) for i, item in enumerate(key.items)}
    data = {
        "kind": "wg-evals ratings",
        "version": 1,
        "sample": key.sample,
        "annotator": annotator,
        "started": "2026-01-01T00:00:00.000Z",
        "saved": "2026-01-01T01:00:00.000Z",
        "ratings": {i: r for i, r in given.items() if r is not None},
        "skipped": {i: "not a language I read" for i, r in given.items() if r is None},
    }
    write_json(path, data | changes)
    return path
