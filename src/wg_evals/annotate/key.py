"""The key of a sample for annotators: what the page must not say, and what the scoring needs."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wg_evals.artifacts import write_json
from wg_evals.errors import WgError
from wg_evals.spec import JudgedOutcome, Rubric

Verdict = Literal["expressed", "not expressed", "excluded"]
VERDICTS: tuple[Verdict, ...] = ("expressed", "not expressed", "excluded")
"""What the judge, or people, can make of an answer; `excluded` is incoherent, a refusal, code or another escape."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyItem(_Part):
    """One answer of the sample."""

    id: str
    """What the page calls it."""
    log: str
    """Relative to the folder that was drawn from."""
    question: str
    """The Inspect sample's id."""
    epoch: int
    condition: str
    verdict: Verdict
    """The judge's, by which the sample is stratified."""
    scores: dict[str, str | float]
    """The judge's verdicts by rubric, as far as the log has them."""


class CellCount(_Part):
    """How many answers there were to draw from, in one condition, to one question, from one model."""

    condition: str
    question: str
    run: int
    """Which of the condition's models: one for each training seed."""
    verdicts: dict[Verdict, int]


class Key(_Part):
    """All about a sample."""

    kind: Literal["wg-evals annotation key"] = "wg-evals annotation key"
    version: Literal[1] = 1
    sample: str
    """The sample's digest: of the rubrics and of every answer in it."""
    seed: int
    domain: str
    task: str
    created: str
    rubrics: list[Rubric]
    outcome: JudgedOutcome
    items: list[KeyItem]
    cells: list[CellCount]
    left_out: dict[str, int]
    """Answers that were not drawn from, by reason."""
    checksum: str = ""
    """Of all of the above."""

    def sealed(self) -> "Key":
        """The key with its checksum."""
        return self.model_copy(update={"checksum": self._sum()})

    @property
    def is_intact(self) -> bool:
        """Whether the checksum is that of the contents."""
        return self.checksum == self._sum()

    def population(self, condition: str | None = None) -> dict[Verdict, int]:
        """How many answers have each verdict of the judge, in all or in one condition."""
        cells = [c for c in self.cells if condition in (None, c.condition)]
        return {v: sum(c.verdicts.get(v, 0) for c in cells) for v in VERDICTS}

    def _sum(self) -> str:
        return digest(self.model_dump(mode="json", exclude={"checksum"}))


def digest(data: Any) -> str:
    """The sha256 of data as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_key(path: Path, key: Key) -> None:
    """Write a key with its checksum."""
    write_json(path, key.sealed())


def read_key(path: Path) -> Key:
    """Read a key.

    Raises:
        WgError: No such file, no key, or one that was changed after it was written.
    """
    try:
        key = Key.model_validate_json(path.read_bytes())
    except OSError as ex:
        raise WgError(f"The key '{path}' cannot be read: {ex.strerror}.") from None
    except ValidationError as ex:
        error = ex.errors()[0]
        where = ".".join(map(str, error["loc"])) or "the file"
        raise WgError(
            f"'{path}' is no key of a sample ({where}: {error['msg']}). Give the file that "
            "`wg-evals annotate sample` wrote beside the page; the annotators' files come after it."
        ) from None
    if not key.is_intact:
        raise WgError(
            f"The key '{path}' was changed after it was written: its checksum is not that of its contents. Take the "
            "original, or draw the sample again from the same logs with the same seed."
        )
    return key
