"""Train behind an API: rows up, job made, followed to its end, manifest written.

Each step is written down before the next (`state.py`), and what was made at the API carries the run's mark, so the same
call goes on after a crash at any point. Where a creation's answer was lost, a job may be there all the same: it is
looked for, for about a minute, before another is made. Only an API whose list of jobs is later than that gets a second.
"""

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from wg_evals import __version__
from wg_evals.api_models import ApiModelManifest
from wg_evals.artifacts import MANIFEST, write_json
from wg_evals.errors import WgError
from wg_evals.training.api.patience import PACE, Caller, Pace, Say
from wg_evals.training.api.provider import Job, MissingError, Provider, RefusedError
from wg_evals.training.api.recipe import ApiRecipe
from wg_evals.training.api.state import STATE, HeldError, JobState, alone, begin, differences, read_state, write_state
from wg_evals.training.api.upload import training_data, write_training_file
from wg_evals.training.rows import TrainingRows, training_rows

Progress = Callable[[int, int, float], None]
"""Told of steps: which, of how many, and the loss."""


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
        WgError: Rows that cannot be used, a folder of another recipe, a job that ended without a model, a full disk.
    """
    caller = Caller(provider.name, say, pace)
    rows = training_rows(recipe)
    data = training_data(rows.conversations, recipe.backend)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        if force:
            _forget(out, provider, caller)
        known = read_state(out)
        if known is not None:
            check_same(known, recipe, rows, out)
        # the state comes before the file: a folder that holds the one without the other is known to be ours
        state = known or write_state(out, begin(recipe, rows.sha256))
        file_sha256 = write_training_file(out / state.file_name, data)
        state = _with_file(state, out, provider, caller, perhaps_made=known is not None)
        perhaps_made = known is not None and known.file_id is not None
        state = _with_job(state, out, recipe, provider, caller, perhaps_made=perhaps_made)
        assert state.job_id is not None and state.file_id is not None
        job = _follow(state.job_id, provider, caller, progress)
        if job.state != "succeeded" or job.model is None:
            ended = job.reason or f"it was {job.status}"
            write_state(out, state.model_copy(update={"ended": ended}))
            raise RefusedError(f"The job {state.job_id} at {provider.name} ended without a model: {ended}")
        checkpoints = caller.if_given(lambda: provider.checkpoints(job.id))
        if checkpoints is None:
            say(f"{provider.name} does not tell of the job's checkpoints: the manifest has none.")
        model = f"{recipe.backend}/{job.model}"
        manifest = ApiModelManifest(
            model=model,
            checkpoints=[c for c in checkpoints or [] if c.model != model],
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
        try:
            write_json(out / MANIFEST, manifest)
        except OSError as ex:
            raise WgError(
                f"{out / MANIFEST} could not be written ({ex.strerror}). The model is there: {model}. Make room, then "
                "run the same command again for its manifest."
            ) from None
    return manifest


def cancel_job(out: Path, provider: Provider, *, say: Say, pace: Pace = PACE) -> Job:
    """Ask the API to end a folder's job, and wait until it has.

    Args:
        out: The folder of a training that was begun.
        provider: The API of that training.
        say: Told what happens.
        pace: How often the API is asked.

    Raises:
        RefusedError: The API does not end it, or has no such job.
        WgError: No job was begun in that folder, or another process is about to make it.
    """
    if read_state(out) is None:
        raise _nothing_to_cancel(out)
    caller = Caller(provider.name, say, pace)
    try:
        with alone(out):
            return _cancel(out, provider, caller)
    except HeldError:
        state = read_state(out)
        if state is None or state.job_id is None:
            raise WgError(
                f"Another process is at work in '{out}', and its job is not known yet: end that process (Ctrl-C), then "
                "cancel again."
            ) from None
        say(f"Another process follows the job of '{out}'; it will see the job's end.")
        return _cancel(out, provider, caller)


def _cancel(out: Path, provider: Provider, caller: Caller) -> Job:
    state = read_state(out)
    job = _job_of(state, provider, caller) if state else None
    if state is None or job is None:
        raise _nothing_to_cancel(out)
    if job.state == "going":
        job_id = job.id
        try:
            caller.ask(lambda: provider.cancel(job_id))
        except RefusedError:
            # it may have ended meanwhile, or have been cancelled by an earlier try whose answer was lost
            job = caller.ask(lambda: _job(job_id, provider))
            if job.state == "going" and "cancel" not in job.status:
                raise
        job = _follow(job_id, provider, caller, None)
    if job.state != "succeeded":
        write_state(out, state.model_copy(update={"job_id": job.id, "ended": job.reason or f"it was {job.status}"}))
    return job


def _nothing_to_cancel(out: Path) -> WgError:
    return WgError(f"No job was begun in '{out}'; there is nothing to cancel.")


def check_same(known: JobState, recipe: ApiRecipe, rows: TrainingRows, out: Path) -> None:
    """Make sure that a folder's state is of this recipe, and that there is something to go on with.

    Raises:
        WgError: It is another recipe's, or its job has ended without a model.
    """
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


def _forget(out: Path, provider: Provider, caller: Caller) -> None:
    """Clear the folder of a training that has ended; one that goes on costs money and is not left alone."""
    state = read_state(out)
    try:
        job = _job_of(state, provider, caller) if state and not state.ended else None
    except MissingError as ex:
        caller.say(str(ex))
        job = None
    if job is not None and job.state == "going":
        raise WgError(
            f"The job {job.id} of '{out}' goes on ({job.status}) and is not replaced. Run the command without --force "
            f"to follow it, or end it first: wg-evals job cancel {out}"
        )
    # the state last: until then the folder is known to be ours
    for path in (out / MANIFEST, *([out / state.file_name] if state else []), out / STATE):
        path.unlink(missing_ok=True)


def _job_of(state: JobState, provider: Provider, caller: Caller) -> Job | None:
    job_id, file_id = state.job_id, state.file_id
    if job_id is not None:
        return caller.ask(lambda: _job(job_id, provider))
    if file_id is not None:
        return caller.ask(lambda: caller.look(lambda: provider.find_job(state.run, file_id), caller.pace.looks))
    return None


def _job(job_id: str, provider: Provider) -> Job:
    try:
        return provider.job(job_id)
    except MissingError as ex:
        raise MissingError(
            f"{provider.name} has no job {job_id}, at least not for this key: it was deleted, or another account made "
            f"it. With that account's key `wg-evals train` follows it; with --force it begins a new one. {ex}"
        ) from None


def _with_file(state: JobState, out: Path, provider: Provider, caller: Caller, *, perhaps_made: bool) -> JobState:
    if state.file_id is not None:
        return state
    path = out / state.file_name
    # looked for once: a second file costs nothing
    file_id = caller.once(
        lambda: provider.upload(path), lambda: provider.find_file(path), looks=1, perhaps_made=perhaps_made
    )
    caller.say(f"Uploaded to {provider.name}: {path.name} ({path.stat().st_size:,} bytes), there {file_id}.")
    return write_state(out, state.model_copy(update={"file_id": file_id}))


def _with_job(
    state: JobState, out: Path, recipe: ApiRecipe, provider: Provider, caller: Caller, *, perhaps_made: bool
) -> JobState:
    if state.job_id is not None:
        caller.say(f"Going on with the job {state.job_id} at {provider.name}.")
        return state
    file_id = state.file_id
    assert file_id is not None  # made before
    job = caller.once(
        lambda: provider.create(recipe, file_id, state.run),
        lambda: provider.find_job(state.run, file_id),
        looks=caller.pace.looks,
        perhaps_made=perhaps_made,
    )
    made = write_state(out, state.model_copy(update={"job_id": job.id}))
    caller.say(f"The job at {provider.name} is {job.id}.")
    return made


def _follow(job_id: str, provider: Provider, caller: Caller, progress: Progress | None) -> Job:
    """Ask for the job until it has ended."""

    def ask() -> Job:
        try:
            return _job(job_id, provider)
        except MissingError:
            raise
        except RefusedError as ex:
            raise RefusedError(
                f"{ex} The job {job_id} may go on without this command: run the same command again, with a key of the "
                "account that made it, to follow it."
            ) from None

    told: set[str] = set()
    status: str | None = None
    quiet = 0
    while True:
        job = caller.ask(ask)
        news = [e for e in caller.if_given(lambda: provider.events(job_id)) or [] if e.id not in told]
        for event in news:
            told.add(event.id)
            if event.step is None or event.steps is None or event.loss is None:
                caller.say(f"{provider.name}: {event.message}")
            elif progress:
                progress(event.step, event.steps, event.loss)
        if job.status != status:
            caller.say(f"The job is {job.status.replace('_', ' ')}.")
        quiet = 0 if news or job.status != status else quiet + 1
        status = job.status
        if job.state != "going":
            return job
        time.sleep(caller.pace.wait(quiet))
