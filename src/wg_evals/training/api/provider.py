"""What a fine-tuning API has to be able to do, in the words of no API in particular."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from wg_evals.api_models import ApiCheckpoint
from wg_evals.errors import WgError
from wg_evals.training.api.recipe import ApiRecipe

LONGEST_WAIT_SECONDS = 3600.0
"""The most that a server's Retry-After is listened to."""


class Job(NamedTuple):
    """A fine-tuning job as it stands."""

    id: str
    state: Literal["going", "succeeded", "failed", "cancelled"]
    status: str
    """In the API's own word."""
    model: str | None = None
    """The API's name of the model, once there is one."""
    reason: str | None = None
    """Why it failed, in words."""
    hyperparameters: Mapping[str, Any] = {}
    seed: int | None = None
    trained_tokens: int | None = None
    seconds: float | None = None


class Event(NamedTuple):
    """Something that the API says of a job."""

    id: str
    message: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    """Where the event is about a step, these three are there."""


class TryAgain(Exception):
    """Nothing is wrong with what was asked; the same may work later."""

    def __init__(self, reason: str, wait: float | None = None, *, perhaps_done: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        """Seconds to wait at least, where the server says so."""
        self.perhaps_done = perhaps_done
        """Whether it may have been done all the same, its answer lost."""


class RefusedError(WgError):
    """The API will not do it, and would not if asked again."""


class MissingError(RefusedError):
    """The API has nothing at this address: no job of this id, for example."""


NOT_DONE = (409, 429)
"""HTTP statuses to try again after, which say that nothing was done; after the others it may have been."""


class Provider(Protocol):
    """A fine-tuning API. Every method raises `TryAgain` or `RefusedError`."""

    name: str
    """As a person calls it."""
    package: str | None
    """The client's package, whose version a manifest records."""

    def find_file(self, path: Path) -> str | None:
        """The id of an uploaded file of this name, if there is one."""

    def upload(self, path: Path) -> str:
        """Upload a training file; returns its id."""

    def find_job(self, run: str, file_id: str) -> Job | None:
        """The job that was made for this run, if there is one."""

    def create(self, recipe: ApiRecipe, file_id: str, run: str) -> Job:
        """Create a job, and mark it as this run's."""

    def job(self, job_id: str) -> Job:
        """The job as it stands."""

    def cancel(self, job_id: str) -> Job:
        """Ask for the job's end."""

    def events(self, job_id: str) -> Sequence[Event]:
        """What the API has said of the job lately, oldest first."""

    def checkpoints(self, job_id: str) -> list[ApiCheckpoint]:
        """The model's earlier states, by step, as Inspect names them."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (Retry-After: a number or a date); None where none is to be read."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            then = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        seconds = (then - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
