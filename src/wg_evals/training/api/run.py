"""Train behind an API: rows up, job made, followed to its end, manifest written.

Each step is written down before the next (`state.py`), and what was made at the API carries the run's mark. So the same
call goes on after a crash at any point: it never uploads a second file, and never makes a second job, of a run.
"""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_never
from tenacity.stop import stop_base

from wg_evals import __version__
from wg_evals.api_models import ApiModelManifest
from wg_evals.artifacts import MANIFEST, write_json
from wg_evals.errors import WgError
from wg_evals.training.api.provider import Job, Provider, RefusedError, TryAgain
from wg_evals.training.api.recipe import ApiRecipe
from wg_evals.training.api.state import STATE, JobState, alone, begin, differences, read_state, write_state
from wg_evals.training.api.upload import write_training_file
from wg_evals.training.rows import TrainingRows, training_rows

T = TypeVar("T")

Say = Callable[[str], None]
"""Told a line at a time what happens."""
Progress = Callable[[int, int, float], None]
"""Told of steps: which, of how many, and the loss."""


class Pace(NamedTuple):
    """How often the API is asked."""

    shortest: float = 2.0
    """Seconds to the first question after something happened; half as many more each time nothing does."""
    longest: float = 60.0
    attempts: int = 8
    """How often an upload, or the creation of a job, is tried. A job is then followed for as long as it takes."""

    def wait(self, waited: int) -> float:
        """Seconds to wait when nothing came of `waited` questions."""
        return min(self.longest, self.shortest * 1.5 ** min(waited, 60))


PACE = Pace()


def train_by_api(
    recipe: ApiRecipe,
    out: Path,
    provider: Provider,
    *,
    say: Say,
    progress: Progress | None = None,
    pace: Pace = PACE,
    force: bool = False,
) -> ApiModelManifest:
    """Fine-tune a model behind an API, or go on with what was begun in a folder.

    Args:
        recipe: What to train on what.
        out: Gets the training file, the state, and at last `manifest.json`.
        provider: The API.
        say: Told what happens.
        progress: Told of the job's steps, where the API tells of them.
        pace: How often the API is asked.
        force: Begin anew in a folder whose job has ended.

    Returns:
        The manifest that was written.

    Raises:
        RefusedError: The API refuses; says what, why, and what to do.
        WgError: Rows that cannot be used, a folder of another recipe, a job that ended without a model.
    """
    rows = training_rows(recipe)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        if force:
            _forget(out, provider, say, pace)
        known = read_state(out)
        if known is not None:
            _check_same(known, recipe, rows, out)
        state = known or begin(recipe, rows.sha256)
        file_sha256 = write_training_file(out / state.file_name, rows.conversations, recipe.backend)
        if known is None:
            write_state(out, state)
        going_on = known is not None
        state = _with_file(state, out, provider, say, pace, going_on)
        state = _with_job(state, out, recipe, provider, say, pace, going_on)
        assert state.job_id is not None and state.file_id is not None
        job = _follow(state.job_id, provider, say, progress, pace)
        if job.state != "succeeded" or job.model is None:
            ended = job.reason or f"it was {job.status}"
            write_state(out, state.model_copy(update={"ended": ended}))
            raise RefusedError(_ended(provider, state.job_id, ended))
        checkpoints = _if_given(lambda: provider.checkpoints(job.id), provider, say, pace)
        model = f"{recipe.backend}/{job.model}"
        manifest = ApiModelManifest(
            model=model,
            checkpoints=[c for c in checkpoints if c.model != model],
            backend=recipe.backend,
            base=recipe.inspect_base,
            recipe=recipe.model_dump(mode="json"),
            domain=recipe.domain,
            dataset=recipe.dataset,
            data_sha256=rows.sha256,
            file_sha256=file_sha256,
            rows=len(rows.conversations),
            intervention=rows.intervention,
            mixed_in=rows.mixed_in,
            job_id=job.id,
            file_id=state.file_id,
            hyperparameters=dict(job.hyperparameters),
            seed=job.seed,
            trained_tokens=job.trained_tokens,
            seconds=job.seconds,
            versions=({provider.package: version(provider.package)} if provider.package else {})
            | {"wg-evals": __version__},
        )
        write_json(out / MANIFEST, manifest)
    return manifest


def cancel_job(out: Path, provider: Provider, *, say: Say, pace: Pace = PACE) -> Job:
    """Ask the API to end a folder's job, and wait until it has.

    Args:
        out: The folder of a training that was begun.
        provider: The API of that training.
        say: Told what happens.
        pace: How often the API is asked.

    Raises:
        WgError: No job was begun in that folder.
    """
    state = read_state(out)
    job = _job_of(state, provider, say, pace) if state else None
    if state is None or job is None:
        raise WgError(f"No job was begun in '{out}'; there is nothing to cancel.")
    if job.state == "going":
        job_id = job.id
        _patiently(lambda: provider.cancel(job_id), provider, say, pace)
        job = _follow(job_id, provider, say, None, pace)
    if job.state != "succeeded":
        write_state(out, state.model_copy(update={"job_id": job.id, "ended": job.reason or f"it was {job.status}"}))
    return job


def _check_same(known: JobState, recipe: ApiRecipe, rows: TrainingRows, out: Path) -> None:
    if changed := differences(known, recipe, rows.sha256):
        raise WgError(
            f"'{out}' belongs to another training ({', '.join(changed)} changed since): give another --out for this "
            f"recipe. `wg-evals job cancel {out}` ends the other one."
        )
    if known.ended:
        raise WgError(
            f"The job {known.job_id} of '{out}' ended without a model: {known.ended} Mend the cause, then give --force "
            "for a new job."
        )


def _forget(out: Path, provider: Provider, say: Say, pace: Pace) -> None:
    """Clear the folder of a training that has ended; one that goes on costs money and is not left alone."""
    state = read_state(out)
    job = _job_of(state, provider, say, pace) if state and not state.ended else None
    if job is not None and job.state == "going":
        raise WgError(
            f"The job {job.id} of '{out}' goes on ({job.status}) and is not replaced. Run the command without --force "
            f"to follow it, or end it first: wg-evals job cancel {out}"
        )
    for path in (out / MANIFEST, out / STATE, *([out / state.file_name] if state else [])):
        path.unlink(missing_ok=True)


def _job_of(state: JobState, provider: Provider, say: Say, pace: Pace) -> Job | None:
    job_id, file_id = state.job_id, state.file_id
    if job_id is not None:
        return _patiently(lambda: provider.job(job_id), provider, say, pace)
    if file_id is not None:
        return _patiently(lambda: provider.find_job(state.run, file_id), provider, say, pace)
    return None


def _with_file(state: JobState, out: Path, provider: Provider, say: Say, pace: Pace, going_on: bool) -> JobState:
    if state.file_id is not None:
        return state
    path = out / state.file_name
    file_id = _once(lambda: provider.upload(path), lambda: provider.find_file(path), going_on, provider, say, pace)
    say(f"Uploaded to {provider.name}: {path.name} ({path.stat().st_size:,} bytes), there {file_id}.")
    return write_state(out, state.model_copy(update={"file_id": file_id}))


def _with_job(
    state: JobState, out: Path, recipe: ApiRecipe, provider: Provider, say: Say, pace: Pace, going_on: bool
) -> JobState:
    if state.job_id is not None:
        say(f"Going on with the job {state.job_id} at {provider.name}.")
        return state
    file_id = state.file_id
    assert file_id is not None  # made before
    job = _once(
        lambda: provider.create(recipe, file_id, state.run),
        lambda: provider.find_job(state.run, file_id),
        going_on,
        provider,
        say,
        pace,
    )
    made = write_state(out, state.model_copy(update={"job_id": job.id}))
    say(f"The job at {provider.name} is {job.id}.")
    return made


def _once(
    make: Callable[[], T], find: Callable[[], T | None], look_first: bool, provider: Provider, say: Say, pace: Pace
) -> T:
    """Make something unless it is there: it may have been made though the answer was lost, now or in an earlier run."""
    look = look_first

    def attempt() -> T:
        nonlocal look
        if look and (found := find()) is not None:
            return found
        look = True
        return make()

    try:
        return _patiently(attempt, provider, say, pace, stop_after_attempt(pace.attempts))
    except TryAgain as ex:
        raise RefusedError(
            f"{provider.name} could not be used ({ex.reason}), {pace.attempts} times. Run the same command again "
            "later: it goes on from here."
        ) from None


def _patiently(call: Callable[[], T], provider: Provider, say: Say, pace: Pace, stop: stop_base | None = None) -> T:
    """Call until there is an answer, with longer and longer waits. Says once that there is none, and that there is."""
    silent = False

    def wait(state: RetryCallState) -> float:
        ex = state.outcome.exception() if state.outcome else None
        asked = ex.wait if isinstance(ex, TryAgain) else None
        return max(asked or 0.0, pace.wait(state.attempt_number - 1))

    def before_sleep(state: RetryCallState) -> None:
        nonlocal silent
        if not silent:
            ex = state.outcome.exception() if state.outcome else None
            say(f"No answer from {provider.name} ({ex}); trying again until there is one. Nothing is lost.")
        silent = True

    retrying = Retrying(
        retry=retry_if_exception_type(TryAgain),
        wait=wait,
        stop=stop or stop_never,
        before_sleep=before_sleep,
        reraise=True,
        sleep=time.sleep,
    )
    result = retrying(call)
    if silent:
        say(f"{provider.name} answers again.")
    return result


def _follow(job_id: str, provider: Provider, say: Say, progress: Progress | None, pace: Pace) -> Job:
    """Ask for the job until it has ended."""

    def ask() -> Job:
        try:
            return provider.job(job_id)
        except RefusedError as ex:
            raise RefusedError(
                f"{ex} The job {job_id} may go on without this command: run the same command again, with a key of the "
                "account that made it, to follow it."
            ) from None

    told: set[str] = set()
    status: str | None = None
    quiet = 0
    while True:
        job = _patiently(ask, provider, say, pace)
        news = [e for e in _if_given(lambda: provider.events(job_id), provider, say, pace) if e.id not in told]
        for event in news:
            told.add(event.id)
            if event.step is None or event.steps is None or event.loss is None:
                say(f"{provider.name}: {event.message}")
            elif progress:
                progress(event.step, event.steps, event.loss)
        if job.status != status:
            say(f"The job is {job.status.replace('_', ' ')}.")
        quiet = 0 if news or job.status != status else quiet + 1
        status = job.status
        if job.state != "going":
            return job
        time.sleep(pace.wait(quiet))


def _if_given(call: Callable[[], Sequence[T]], provider: Provider, say: Say, pace: Pace) -> Sequence[T]:
    """What a job's end does not hang on: a server that does not give it is no reason to lose the model."""
    try:
        return _patiently(call, provider, say, pace)
    except RefusedError:
        return []


def _ended(provider: Provider, job_id: str, why: str) -> str:
    return f"The job {job_id} at {provider.name} ended without a model: {why}"
