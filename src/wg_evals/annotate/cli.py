"""The commands `wg-evals annotate ...`."""

import json
import shlex
from pathlib import Path

import click


@click.group("annotate")
def annotate_group() -> None:
    """People's own ratings: a blind sample to rate, and what it says of the judge."""


@annotate_group.command("sample")
@click.argument("logs", type=click.Path(path_type=Path))
@click.option("-n", "--size", type=click.IntRange(min=3), default=120, show_default=True, help="How many answers.")
@click.option("--domain", help="Needed where LOGS holds several.")
@click.option("--task", help="Needed where LOGS holds several.")
@click.option("--rubric", "rubrics", multiple=True, help="A further rubric to rate, besides the outcome rule's.")
@click.option("--seed", default=1, show_default=True, help="Draws the same answers again from the same logs.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("annotate.html"),
    show_default=True,
    help="The page; the key goes beside it.",
)
def sample_command(
    logs: Path, size: int, domain: str | None, task: str | None, rubrics: tuple[str, ...], seed: int, out: Path
) -> None:
    """Draw a blind sample of the judged answers in the folder LOGS, and write a page on which people rate them.

    The page is one file that works offline. The key, NAME.key.json, says what is what: keep it from the annotators.
    """
    from wg_evals.annotate.files import write_sample
    from wg_evals.annotate.sample import draw

    drawn = draw(logs, size, seed, domain, task, rubrics)
    key_path = write_sample(out, drawn)
    key = drawn.key
    population = key.population()
    counts = {v: sum(item.verdict == v for item in key.items) for v in population}
    click.echo(f"{len(key.items)} answers to rate by {', '.join(r.name for r in key.rubrics)}:")
    for verdict, n in counts.items():
        click.echo(f"  judged {verdict}: {n} of {population[verdict]}")
    if key.left_out:
        click.echo(f"Not drawn from: {', '.join(f'{n} {reason}' for reason, n in key.left_out.items())}.")
    for log, why in drawn.logs_left_out:
        click.echo(f"Left out: {log}: {why}")
    click.echo(f"Page, for every annotator:        {out}")
    click.echo(f"Key, not for the annotators:      {key_path}")
    click.echo(f"With the files that they save:    wg-evals annotate score {shlex.quote(str(key_path))} FILES...")


@annotate_group.command("score")
@click.argument("key", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--partial", is_flag=True, help="Count what is there in files that are not finished.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score_command(key: Path, files: tuple[Path, ...], partial: bool, as_json: bool) -> None:
    """How far the annotators of FILES agree with each other and with the judge, and the rates without its errors."""
    from rich.console import Console

    from wg_evals.annotate.key import read_key
    from wg_evals.annotate.ratings import read_ratings
    from wg_evals.annotate.score import score
    from wg_evals.annotate.show import as_data, print_scored

    known = read_key(key)
    scored = score(known, read_ratings(files, known, partial))
    if as_json:
        click.echo(json.dumps(as_data(scored), indent=2))
        return
    console = Console()
    console.width = max(console.width, 110)  # a narrow terminal may break lines; it must not hide names
    print_scored(console, known, scored)
