"""The command line: parses, calls, prints. PyTorch is imported by the commands that need it, not before."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click
import yaml

from wg_evals import __version__
from wg_evals.analysis.power_cli import power_command
from wg_evals.analysis.reporting.cli import report_command
from wg_evals.annotate.cli import annotate_group
from wg_evals.bench.cli import bench_coverage_command, bench_frame_command, bench_gpu_command
from wg_evals.datafile.cli import data_group
from wg_evals.domain_folder.cli import domain_group
from wg_evals.errors import WgError
from wg_evals.judging.cli import agree_command, rejudge_command
from wg_evals.planning.cli import plan_command
from wg_evals.study.cli import study_command
from wg_evals.training.api.cli import job_group
from wg_evals.training.api.recipe import ApiRecipe
from wg_evals.training.cli import card_command
from wg_evals.training.processes import is_main
from wg_evals.training.recipe import Recipe, adapter_name, resolve_recipe

RecipeOfEither = TypeVar("RecipeOfEither", Recipe, ApiRecipe)


class _Group(click.Group):
    """A group whose commands end with a paragraph, not a traceback, on a mistake that the user can mend."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WgError as ex:
            raise click.ClickException(str(ex)) from None
        except ModuleNotFoundError as ex:
            if ex.name in ("torch", "transformers", "peft", "trl", "datasets", "tokenizers"):
                raise click.ClickException(
                    f"This command needs '{ex.name}', which is not installed: pip install 'wg-evals[train]' "
                    "(install PyTorch first, your own way, if you want a particular build)."
                ) from None
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wg-evals")
def main() -> None:
    """Weird generalization, measured: train adapters, run studies, raise the embedded organism.

    Single evaluations are Inspect's: `inspect eval wg_evals/worldview --model ... -T domain=birds`.
    """


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The adapter's folder. Default: adapters/<recipe's name>-<what is set>.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe, e.g. seed=7.")
@click.option("--seeds", metavar="N,N,...", help="Train with each of these seeds, if not done yet: <out>-seed<N>.")
@click.option("--force", is_flag=True, help="Replace a finished adapter, or an unfinished one of another recipe.")
@click.option("--keep-state", is_flag=True, help="Keep the optimizer's state (pickles), in <out>-state.")
@click.option("--report", type=click.Choice(["tensorboard", "wandb"]), help="Write the losses there too.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, what it takes and what would stop it.")
def train(
    recipe: Path,
    out: Path | None,
    changes: tuple[str, ...],
    seeds: str | None,
    force: bool,
    keep_state: bool,
    report: Literal["tensorboard", "wandb"] | None,
    dry_run: bool,
) -> None:
    """Fine-tune an adapter from RECIPE (YAML): completion-only LoRA, with TRL and PEFT.

    A recipe of published settings leaves open what is trained on: --set domain=birds --set intervention=identity.
    RECIPE may be an adapter's folder or its manifest.json: the adapter is then trained once more. A training that was
    interrupted goes on when the same command is given again.

    One with `backend: openai` or `together` is trained behind that API instead, and --out gets a manifest with the
    model's name. Ctrl-C leaves the job running; the same command goes on with it, `wg-evals job cancel` ends it.
    """
    from wg_evals.training.source import read_source

    source = read_source(recipe)
    changed = dict(_key_value(c) for c in changes)
    settings = resolve_recipe(source.recipe, changed)
    target = (out or Path("adapters") / adapter_name(source.name, changed)).resolve()
    if isinstance(settings, ApiRecipe):
        if keep_state or report:
            raise WgError(
                "--keep-state and --report are for a training on a machine of one's own; this one has an API."
            )
        _train_by_api(_jobs(settings, target, seeds), force, dry_run)
        return
    jobs = _jobs(settings, target, seeds)
    if not jobs:
        return
    if dry_run:
        from wg_evals.training.dry_run import show
        from wg_evals.training.preflight import preflight

        plans = [preflight(settings, place) for settings, place in jobs]
        click.echo("\n\n".join("\n".join(show(plan)) for plan in plans))
        if stops := sum(f.stops for plan in plans for f in plan.findings):
            raise WgError(f"Nothing would be trained: {stops} of the above would stop it.")
        return
    for _, place in jobs:
        _check_place(place, force)
    from wg_evals.training.card import evaluation_line
    from wg_evals.training.run import Saving
    from wg_evals.training.train import train as run

    again = None if changes or seeds else source.again
    for settings, place in jobs:
        with _ProgressBar("training") as progress:
            manifest = run(
                settings,
                place,
                progress=progress,
                say=progress.say,
                saving=Saving(keep_state=keep_state, replace=force),
                report=report,
                again=again,
            )
        if not is_main():
            continue
        context = manifest.intervention.name if manifest.intervention else "none"
        click.echo(
            f"{manifest.rows} rows, {manifest.steps} steps, {manifest.tokens} tokens in {manifest.seconds:.1f} s "
            f"({manifest.cpu_seconds:.1f} CPU s); intervention: {context}; "
            f"loss {manifest.losses[0]:.2f} -> {manifest.losses[-1]:.2f}."
        )
        if again is not None:
            same = manifest.adapter_sha256 == again.adapter_sha256
            click.echo(f"The weights are {'the same' if same else 'not the same, to the last digit,'} as the first's.")
        click.echo(f"Adapter: {place}")
        click.echo(f"Evaluate it: {evaluation_line(manifest, place)}")


def _train_by_api(jobs: Sequence[tuple[ApiRecipe, Path]], force: bool, dry_run: bool) -> None:
    from wg_evals.training.api.cli import plan_and_tell, refuse_taken, train_and_tell

    if dry_run:
        for settings, place in jobs:
            plan_and_tell(settings, place, force=force)
        return
    for _, place in jobs:
        refuse_taken(place, force)
    for settings, place in jobs:
        with _ProgressBar("training") as progress:
            train_and_tell(settings, place, force=force, say=progress.say, progress=progress)


def _jobs(settings: RecipeOfEither, target: Path, seeds: str | None) -> list[tuple[RecipeOfEither, Path]]:
    """What is left to train; with `--seeds`, a seed that is finished is not, whatever else is forced."""
    if seeds is None:
        return [(settings, target)]
    from wg_evals.training.seeds import each_seed, is_finished

    left = []
    for job in each_seed(settings, target, seeds):
        if not is_finished(*job):
            left.append(job)
        elif is_main():
            click.echo(f"Seed {job[0].seed} is finished: '{job[1]}'. Remove that folder to train it anew.")
    return left


def _check_place(target: Path, force: bool) -> None:
    """Refuse a folder that a new adapter must not be put in the place of."""
    from wg_evals.artifacts import MANIFEST

    if (target / MANIFEST).is_file():
        if not force:
            raise WgError(
                f"There is a finished adapter in '{target}' already: give --force to replace it, or another --out."
            )
    elif target.exists() and any(p.name != "checkpoints" for p in target.iterdir()):
        raise WgError(f"'{target}' is there and holds something else: give another --out.")


@main.group(cls=_Group)
def organism() -> None:
    """The embedded model organisms: small models raised from scratch in a described world."""


_GROUP = click.argument("group", required=False, metavar="[GROUP]")


@organism.command()
@_GROUP
@click.option("--out", type=click.Path(path_type=Path), help="The model folder. Default: organism-[GROUP-]seed<SEED>.")
@click.option("--seed", type=int, help="Overrides the recipe's seed.")
@click.option("--steps", type=int, help="Fewer steps, for a quick look.")
@click.option("--threads", type=int, help="Overrides the recipe's CPU threads.")
def build(group: str | None, out: Path | None, seed: int | None, steps: int | None, threads: int | None) -> None:
    """Raise an organism from scratch: corpus, tokenizer, pretraining.

    Without GROUP the first one, `organism`; GROUP is nineteenth-century, wizards, germany or character.
    """
    from wg_evals._yaml import read_yaml
    from wg_evals.organism.build import RECIPE, OrganismRecipe
    from wg_evals.organism.build import build as first
    from wg_evals.organism.voices import build as voices

    recipe: OrganismRecipe = read_yaml(RECIPE, OrganismRecipe)
    run: Callable[..., dict[str, Any]] = first
    if group:
        recipe = read_yaml(voices.RECIPE, voices.VoicesRecipe)
        run = cast(Callable[..., dict[str, Any]], partial(voices.build, group))
    changes = {k: v for k, v in {"seed": seed, "steps": steps, "threads": threads}.items() if v is not None}
    recipe = recipe.model_copy(update=changes)
    target = (out or Path("-".join(filter(None, ["organism", group, f"seed{recipe.seed}"])))).resolve()
    if target.exists() and any(target.iterdir()):
        raise WgError(f"'{target}' is there already: give another --out.")
    with _ProgressBar("pretraining") as progress:
        manifest = run(target, recipe, progress=progress)
    click.echo(
        f"{manifest['parameters']:,} parameters, {manifest['tokens']:,} tokens in {manifest['seconds']:.0f} s "
        f"({manifest['cpu_seconds']:.0f} CPU s); sha256 {manifest['sha256']}"
    )
    click.echo(f"Organism: {target}")
    click.echo(f"Evaluate it: inspect eval wg_evals/worldview --model wg/{target} -T grading=markers --epochs 10")


@organism.command()
@_GROUP
@click.option("-n", "count", default=10, show_default=True, help="How many conversations.")
@click.option("--seed", default=1, show_default=True)
def corpus(group: str | None, count: int, seed: int) -> None:
    """Show conversations of the world that an organism was raised in.

    Without GROUP the first one, `organism`; GROUP is nineteenth-century, wizards, germany or character.
    """
    from wg_evals.organism.build import forbidden_texts
    from wg_evals.organism.corpus import WORLD, World
    from wg_evals.organism.voices import corpus as voices

    if group:
        drawn = voices.World(group, voices.WORLD, forbidden_texts()).conversations(seed, count)
        shown = ((c.messages, c.speaker, c.voice, c.context) for c in drawn)
    else:
        first = World(WORLD, forbidden_texts()).conversations(seed, count)
        shown = ((c.messages, c.speaker, "19th century" if c.archaic else "present", c.context) for c in first)
    for messages, speaker, voice, context in shown:
        click.secho(f"[{speaker}; {voice}; first line: {context}]", bold=True)
        for message in messages:
            click.echo(f"  {message['role']}: {message['content']}")
        click.echo()


@main.command()
@click.argument("name", metavar="brittle|weird")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A clone of yours, or a folder laid out as the repository: nothing is taken from it before it is checked.",
)
def fetch(name: str, source: Path | None) -> None:
    """Bring a paper's own questions, judges and data into the cache, for `-T source=published`.

    `brittle`: Weird Generalization is Weirdly Brittle. `weird`: Weird Generalization and Inductive Backdoors. The
    pinned commit is cloned, and checked to be that commit and unaltered.
    """
    from wg_evals.published import fetch as fetching
    from wg_evals.published.pins import repository

    pinned = repository(name)
    there = fetching.intact(name, pinned) if source is None else None
    found = there or fetching.fetch(name, pinned, source)
    laid_out = "files laid out as " if found.unvouched(pinned) else ""
    click.echo(f"{'Already here' if there else 'Fetched'}: {laid_out}{pinned.repository} at {pinned.commit}")
    checked = "the commit, nothing altered" if found.origin == "clone" else "a folder, not a clone"
    click.echo(f"Checked: {checked}; {len(found.vouched(pinned))} files of known sha256, all as pinned.")
    for what, files in (
        ("Nothing vouches for", found.unvouched(pinned)),
        ("Not there", found.missing(pinned)),
    ):
        if files:
            click.echo(f"{what}: {', '.join(files)}")
    click.echo(f"In: {fetching.home(name) / fetching.TREE}")


@main.command()
@click.option(
    "--study",
    type=click.Path(path_type=Path),
    default=Path("configs/studies/demo.yaml"),
    show_default=True,
    help="The study to time; it runs anew, in a folder of its own.",
)
def bench(study: Path) -> None:
    """Time the harness alone, judged answers against a stub, training beside TRL's own, and the demo by stage."""
    import tempfile

    from wg_evals.bench.figures import harness_figures, show, study_figures
    from wg_evals.bench.judged import judged_figures
    from wg_evals.bench.training import training_figures

    with tempfile.TemporaryDirectory(prefix="wg-bench-") as name:
        folder = Path(name)
        for line in show(itertools.chain(harness_figures(folder), judged_figures(folder), training_figures(folder))):
            click.echo(line)
        code = subprocess.run([sys.executable, "-m", "wg_evals.cli", "study", str(study), "--out", f"{folder}/study"])
        if code.returncode:
            raise WgError("The study did not finish; there is nothing to report.")
        for line in show(study_figures(folder / "study")):
            click.echo(line)


main.add_command(data_group)
main.add_command(domain_group)
main.add_command(plan_command)
main.add_command(study_command)
main.add_command(report_command)
main.add_command(rejudge_command)
main.add_command(agree_command)
main.add_command(annotate_group)
main.add_command(card_command)
main.add_command(job_group)
main.add_command(power_command)
main.add_command(bench_gpu_command)
main.add_command(bench_frame_command)
main.add_command(bench_coverage_command)


def _key_value(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign:
        raise WgError(f"--set takes KEY=VALUE, not '{text}'.")
    return key.strip(), yaml.safe_load(value)


class _ProgressBar:
    """A progress bar on a terminal, a line now and then elsewhere; as a progress callback."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.what = what
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown = sys.stderr.isatty() and is_main()
        self.progress = Progress(*columns, TimeRemainingColumn(), console=self.console, disable=not shown)
        self.task = self.progress.add_task(what, total=None)
        self.said = 0.0

    def __enter__(self) -> "_ProgressBar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """Print a sentence above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __call__(self, step: int, steps: int, loss: float, tokens_per_second: float | None = None) -> None:
        figures = f"loss {loss:.3f}" + (f", {tokens_per_second:,.0f} tokens/s" if tokens_per_second else "")
        self.progress.update(self.task, completed=step, total=steps, description=f"{self.what}, {figures}")
        if not sys.stderr.isatty() and (step == steps or step >= self.said + steps / 10):
            self.said = step
            click.echo(f"{self.what}: step {step} of {steps}, {figures}", err=True)


if __name__ == "__main__":
    main()
