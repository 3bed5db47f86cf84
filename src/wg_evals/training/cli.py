"""`wg-evals card`: an adapter's model card, with what evaluations of it found."""

from pathlib import Path

import click

from wg_evals.errors import WgError


@click.command("card")
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An Inspect log of the adapter; several are several rows.",
)
def card_command(adapter: Path, logs: tuple[Path, ...]) -> None:
    """Write ADAPTER's model card (README.md) anew, with the rates of evaluations of it."""
    from inspect_ai.log import read_eval_log

    from wg_evals.artifacts import read_manifest
    from wg_evals.training.card import CARD, measured_by, write_card

    adapter = adapter.expanduser().resolve()
    manifest = read_manifest(adapter)
    missing = [str(p) for p in logs if not p.is_file()]
    if missing:
        raise WgError(f"There is no file '{missing[0]}'.")
    write_card(adapter, manifest, [measured_by(read_eval_log(str(p), header_only=True), manifest) for p in logs])
    click.echo(f"Card: {adapter / CARD}")
