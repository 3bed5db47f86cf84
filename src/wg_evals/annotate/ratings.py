"""The files that annotators save."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, StrictInt, StrictStr, ValidationError

from wg_evals.annotate.key import Key, Verdict
from wg_evals.errors import WgError
from wg_evals.judging.agreement import Value
from wg_evals.spec import JudgedOutcome, Rubric

RATINGS: Literal["wg-evals ratings"] = "wg-evals ratings"
"""The kind of file that the page saves."""
JUDGE, PEOPLE = "judge", "people"
RESERVED = (JUDGE, PEOPLE)
"""Names that tables give to others than an annotator; the page refuses them too."""


class SavedRatings(BaseModel):
    """What the page saves."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal["wg-evals ratings"]
    version: Literal[1]
    sample: str
    annotator: str
    saved: AwareDatetime
    ratings: dict[str, dict[str, StrictInt | StrictStr]]
    """For each answer, by rubric: a whole number 0-100, a label, or an escape."""
    skipped: dict[str, str]
    """Answers that were not rated, each with the reason."""


@dataclass(frozen=True)
class Annotator:
    """One person's verdicts on a sample."""

    name: str
    values: dict[str, dict[str, Value]]
    """By answer and rubric."""
    outcomes: dict[str, Verdict]
    """By answer: what the outcome rule makes of the person's ratings."""
    skipped: dict[str, str]
    saved: datetime
    """When the file was saved."""


def read_ratings(paths: Sequence[Path], key: Key, partial: bool = False) -> list[Annotator]:
    """Read the annotators' files.

    Args:
        paths: One file for each annotator.
        key: The sample's key.
        partial: Take files that are not finished, and count what is there.

    Raises:
        WgError: A file that is none of the page's, is of another sample, holds what the page cannot have saved, is
            not finished, or two files of one annotator.
    """
    found: dict[str, Annotator] = {}
    files: dict[str, Path] = {}
    for path in paths:
        annotator = _annotator(path, key, partial)
        same = annotator.name.casefold()
        if same in files:
            raise WgError(
                f"'{files[same]}' and '{path}' are both of the annotator '{annotator.name}'. Give one file for each: "
                "the later one, if one person saved twice; if they are two people, one of them takes another name "
                '("annotator" in the file).'
            )
        files[same] = path
        found[same] = annotator
    return list(found.values())


def people_verdict(values: dict[str, Value], rule: JudgedOutcome, rubrics: dict[str, Rubric]) -> Verdict:
    """What the domain's outcome rule makes of a person's ratings: as it does with the judge's.

    Args:
        values: By rubric; every rubric that the rule names is there.
        rule: The outcome rule.
        rubrics: By name.
    """
    conditions = [rule.expressed, *rule.include]
    if any(values[c.rubric] in rubrics[c.rubric].escapes for c in conditions):
        return "excluded"
    if not all(c.holds(values[c.rubric]) for c in rule.include):
        return "excluded"
    return "expressed" if rule.expressed.holds(values[rule.expressed.rubric]) else "not expressed"


def _annotator(path: Path, key: Key, partial: bool) -> Annotator:
    saved = _read(path)
    if saved.sample != key.sample:
        raise WgError(
            f"'{path}' is of another sample ({saved.sample[:12]}); the key's is {key.sample[:12]}. Give it with the "
            "key that was written beside its page."
        )
    name = " ".join(saved.annotator.split())
    if not name:
        raise WgError(f"'{path}' names no annotator: put a name into its \"annotator\".")
    if name.casefold() in RESERVED:
        raise WgError(f"'{path}' is of an annotator '{name}', who would be taken for another: change \"annotator\".")
    items = {item.id for item in key.items}
    for what in (saved.ratings, saved.skipped):
        if unknown := sorted(set(what) - items):
            raise WgError(f"'{path}' speaks of an answer '{unknown[0]}' that is not in the sample: it was edited.")
    rubrics = {r.name: r for r in key.rubrics}
    values = {}
    missing = items - set(saved.skipped)
    for item, said in saved.ratings.items():
        if item in saved.skipped:
            raise WgError(f"'{path}' both rates and skips the answer '{item}': it was edited.")
        for rubric, value in said.items():
            if rubric not in rubrics or not _fits(value, rubrics[rubric]):
                raise WgError(f"'{path}', answer '{item}': {value!r} is no rating by '{rubric}': it was edited.")
        if len(said) == len(rubrics):
            values[item] = {r: float(v) if isinstance(v, int) else v for r, v in said.items()}
            missing.discard(item)
    if missing and not partial:
        raise WgError(
            f"'{path}' is not finished: {len(missing)} of {len(items)} answers are neither rated nor skipped. Open the "
            "page again in the same browser under the same name and go on, or count what is there with --partial."
        )
    if not values:
        raise WgError(f"'{path}' rates no answer at all: leave it out.")
    outcomes = {item: people_verdict(v, key.outcome, rubrics) for item, v in values.items()}
    return Annotator(name, values, outcomes, dict(saved.skipped), saved.saved)


def _read(path: Path) -> SavedRatings:
    try:
        return SavedRatings.model_validate_json(path.read_bytes())
    except OSError as ex:
        raise WgError(f"'{path}' cannot be read: {ex.strerror}.") from None
    except ValidationError as ex:
        error = ex.errors()[0]
        where = ".".join(map(str, error["loc"])) or "the file"
        raise WgError(
            f"'{path}' is no file that the annotation page saved ({where}: {error['msg']}). Save it again in the page."
        ) from None


def _fits(value: int | str, rubric: Rubric) -> bool:
    if isinstance(value, str):
        return value in rubric.labels or value in rubric.escapes
    return rubric.kind == "rating" and 0 <= value <= 100
