"""`wg-evals train` for a recipe with a `backend`, and `wg-evals job`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_evals.api_models import read_api_manifest
from wg_evals.artifacts import MANIFEST
from wg_evals.errors import WgError
from wg_evals.training.api.recipe import ApiRecipe
from wg_evals.training.api.state import STATE, read_state

if TYPE_CHECKING:
    from wg_evals.training.api.patience import Say
    from wg_evals.training.api.run import Progress

DEFAULT_HOME = Path("adapters")
PRICES = Path("configs/prices.yaml")


@click.group("job")
def job_group() -> None:
    """Fine-tuning jobs behind an API, and the models they made."""


@job_group.command("cancel")
@click.argument("folder", type=click.Path(path_type=Path))
def cancel_command(folder: Path) -> None:
    """End the job that `wg-evals train` began in FOLDER. What was trained until then is billed."""
    from wg_evals.training.api.backends import open_provider
    from wg_evals.training.api.run import cancel_job

    state = read_state(folder)
    if state is None:
        raise WgError(f"'{folder}' holds no job: give the output folder of a `wg-evals train` with a backend.")
    job = cancel_job(folder, open_provider(state.backend), say=_say)
    if job.state == "succeeded":
        raise WgError(f"The job {job.id} had succeeded before. Run `wg-evals train` again for its manifest.")


@job_group.command("list")
@click.argument("root", type=click.Path(path_type=Path), default=DEFAULT_HOME)
def list_command(root: Path) -> None:
    """Say of every job in the folders under ROOT (adapters) which model it made, and of what."""
    folders = sorted(path.parent for path in root.rglob(STATE))
    if not folders:
        click.echo(f"No jobs under '{root}'.")
    for folder in folders:
        try:
            click.echo(f"{folder}: {_what_became_of(folder)}")
        except (WgError, OSError) as ex:  # the others can be read
            click.echo(f"{folder}: {ex}")


def _what_became_of(folder: Path) -> str:
    if not (folder / MANIFEST).is_file():
        state = read_state(folder)
        ended = state.ended if state else None
        return f"no model{f': {ended}' if ended else ' yet; run the same command again to follow it'}"
    made = read_api_manifest(folder)
    context = made.intervention.name if made.intervention else "none"
    return (
        f"{made.model} from {made.base}; {made.domain or 'rows of its own'}, {made.dataset}; "
        f"intervention: {context}; seed {made.seed}; {len(made.checkpoints)} checkpoints"
    )


def train_and_tell(recipe: ApiRecipe, out: Path, *, force: bool, say: "Say", progress: "Progress") -> None:
    """Train behind an API, and print what came of it.

    Args:
        recipe: What to train on what.
        out: The output folder.
        force: Begin anew where a job has ended.
        say: Told what happens.
        progress: Told of the job's steps.

    Raises:
        WgError: As `train_by_api`.
        SystemExit: Ctrl-C; the job goes on.
    """
    from wg_evals.training.api.backends import open_provider
    from wg_evals.training.api.run import train_by_api
    from wg_evals.training.card import evaluation

    try:
        made = train_by_api(recipe, out, open_provider(recipe.backend), say=say, progress=progress, force=force)
    except KeyboardInterrupt:
        say(_left_running(out))
        raise SystemExit(130) from None
    context = made.intervention.name if made.intervention else "none"
    tokens = f"{made.trained_tokens:,} billed tokens; " if made.trained_tokens is not None else ""
    click.echo(f"{made.rows} rows; {tokens}intervention: {context}; settings: {_listed(made.hyperparameters)}.")
    click.echo(f"Model: {made.model}")
    for checkpoint in made.checkpoints:
        click.echo(f"  after step {checkpoint.step}: {checkpoint.model}")
    click.echo(f"Manifest: {out / MANIFEST}")
    click.echo(f"Evaluate it: {evaluation(made.model, recipe.domain)} --model-role grader=openai/gpt-4.1")


def plan_and_tell(recipe: ApiRecipe, out: Path, *, force: bool) -> None:
    """Print what a training behind an API would do, and what it costs where configs/prices.yaml is at hand.

    Args:
        recipe: What to train on what.
        out: The output folder.
        force: Whether it would begin anew where a job has ended.

    Raises:
        WgError: What would stop it: rows that the API would refuse, or a folder that is taken.
    """
    from wg_evals.planning.prices import read_prices
    from wg_evals.training.api.plan import plan_lines
    from wg_evals.training.api.run import check_same
    from wg_evals.training.api.upload import training_data
    from wg_evals.training.rows import training_rows

    prices = read_prices(PRICES) if PRICES.is_file() else None
    for line in [*plan_lines(recipe, prices), f"Output: {out}"]:
        click.echo(line)
    rows = training_rows(recipe)
    training_data(rows.conversations, recipe.backend)
    refuse_taken(out, force)
    state = None if force else read_state(out)
    if state is not None:
        check_same(state, recipe, rows, out)
        click.echo(f"It would go on with what was begun there{f': job {state.job_id}' if state.job_id else ''}.")
    click.echo("Nothing was uploaded.")


def refuse_taken(out: Path, force: bool) -> None:
    """Refuse an output folder that holds a model, unless forced, or anything that is not ours.

    Raises:
        WgError: It is taken.
    """
    if (out / MANIFEST).is_file():
        made = read_api_manifest(out)
        if not force:
            raise WgError(
                f"The job of '{out}' has made its model already: {made.model}. Give another --out, or --force for a "
                "new job."
            )
    elif out.exists() and not (out / STATE).is_file() and not all(_is_left_over(path) for path in out.iterdir()):
        raise WgError(f"'{out}' is there and holds something else: give another --out.")


def _is_left_over(path: Path) -> bool:
    """Whether a run that was killed, or whose disk was full, left this behind before there was a state."""
    return any(path.match(pattern) for pattern in ("*wg-evals-*.jsonl*", f".{STATE}.*.tmp"))


def _left_running(out: Path) -> str:
    state = read_state(out)
    if state is None or state.job_id is None:
        return "Stopped before the job was known to be made. Run the same command again: it goes on from here."
    return (
        f"The job {state.job_id} goes on without this command. Run the same command again to follow it; "
        f"`wg-evals job cancel {out}` ends it."
    )


def _listed(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or "not told"


def _say(line: str) -> None:
    click.echo(line, err=True)
