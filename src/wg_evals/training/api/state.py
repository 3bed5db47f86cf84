"""Where a training behind an API stands: a small file in its output folder, by which it goes on after a crash."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wg_evals.artifacts import write_json
from wg_evals.errors import WgError
from wg_evals.training.api.recipe import ApiRecipe, Backend

STATE = "job.json"


class HeldError(WgError):
    """Another process is at work in the folder."""


class JobState(BaseModel):
    """What was made at the API for a recipe, as far as it has got."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    run: str = Field(default_factory=lambda: uuid.uuid4().hex[:16])
    """Marks the uploaded file's name and the job, so that both are found again if their ids were lost in a crash."""
    backend: Backend
    recipe: dict[str, Any]
    data_sha256: str
    file_id: str | None = None
    job_id: str | None = None
    ended: str | None = None
    """How the job ended without a model, in words."""

    @property
    def file_name(self) -> str:
        """Of the training file, here and at the API."""
        return f"wg-evals-{self.run}.jsonl"


def begin(recipe: ApiRecipe, data_sha256: str) -> JobState:
    """The state of a training of which nothing is done yet."""
    return JobState(backend=recipe.backend, recipe=recipe.model_dump(mode="json"), data_sha256=data_sha256)


def read_state(folder: Path) -> JobState | None:
    """Read a folder's state; None if it has none.

    Raises:
        WgError: It cannot be read; nothing is lost at the API, but a new job must not be made in its place unasked.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        return JobState.model_validate_json(path.read_bytes())
    except ValidationError as ex:
        raise WgError(
            f"{path} cannot be read ({ex.errors()[0]['msg']}), so what was begun at the API is not known from it. Look "
            "for the job on the API's own page, and give another --out for a new one."
        ) from None


def write_state(folder: Path, state: JobState) -> JobState:
    """Write the state, whole or not at all; returns it."""
    try:
        write_json(folder / STATE, state)
    except OSError as ex:
        known = f" The job is {state.job_id} and goes on." if state.job_id else ""
        raise WgError(
            f"{folder / STATE} could not be written ({ex.strerror}).{known} Make room, then run the same command "
            "again: it finds by itself what was made at the API."
        ) from None
    return state


def differences(state: JobState, recipe: ApiRecipe, data_sha256: str) -> list[str]:
    """The recipe's keys that are not as they were when the state began; `rows` where only the data changed."""
    now = recipe.model_dump(mode="json")
    keys = sorted(key for key in now.keys() | state.recipe.keys() if now.get(key) != state.recipe.get(key))
    return keys if keys or data_sha256 == state.data_sha256 else ["rows"]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while the block runs: two of them would make two jobs.

    Raises:
        HeldError: Another one is in it.
    """
    if sys.platform == "win32":  # pragma: no cover - no flock there
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HeldError(f"Another process is following the job of '{folder}'; leave it to that one.") from None
        yield
    finally:
        os.close(descriptor)
