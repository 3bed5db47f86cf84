"""The command `wg-evals power`."""

import click

_SD = click.FloatRange(min=0, max=5)


def _numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"whole numbers with commas between them, not '{value}'.") from None
    if min(numbers) < 1:
        raise click.BadParameter(f"numbers from 1 on, not '{value}'.")
    return numbers


@click.command("power")
@click.option("--effect", "difference", type=float, required=True, help="The difference of rates to be seen, e.g. 0.2.")
@click.option("--base-rate", type=float, default=0.05, show_default=True, help="The rate that it is compared with.")
@click.option("--questions", callback=_numbers, metavar="N,N,...", default="10,20", show_default=True)
@click.option(
    "--seeds",
    callback=_numbers,
    metavar="N,N,...",
    default="3,5,10",
    show_default=True,
    help="Trainings of each condition.",
)
@click.option(
    "--samples",
    callback=_numbers,
    metavar="N,N,...",
    default="5,10,20,50,100",
    show_default=True,
    help="Answers per question.",
)
@click.option("--question-sd", type=_SD, default=1.0, show_default=True, help="Questions' spread, on the logit scale.")
@click.option("--seed-sd", type=_SD, default=0.5, show_default=True, help="Seeds' spread, on the logit scale.")
@click.option(
    "--cell-sd", type=_SD, default=0.5, show_default=True, help="Spread of seed x question, on the logit scale."
)
@click.option("--both-trained", is_flag=True, help="The other side has as many seeds (plain against intervened).")
@click.option("--target", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="The power that is wanted.")
@click.option("--studies", type=click.IntRange(min=20), default=400, show_default=True, help="Drawn for each design.")
def power_command(
    difference: float,
    base_rate: float,
    questions: tuple[int, ...],
    seeds: tuple[int, ...],
    samples: tuple[int, ...],
    question_sd: float,
    seed_sd: float,
    cell_sd: float,
    both_trained: bool,
    target: float,
    studies: int,
) -> None:
    """Say how many questions, seeds and answers it takes to see an effect, before a study is run.

    Draws studies with that effect and counts those whose 95% interval leaves out 0. A spread of 1 on the logit scale
    means that two thirds of questions with a mean rate of 50% lie between 27% and 73%; of seeds, 0.5 means 38% to 62%.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from wg_evals.analysis.power import Question, power

    asked = Question(base_rate, difference, question_sd, seed_sd, cell_sd, both_trained)
    found = power(asked, questions, seeds, samples, studies)
    by_design = {(p.design.questions, p.design.runs, p.design.samples): p for p in found}
    title = (
        f"Power to see {100 * difference:+.0f} points from {100 * base_rate:g}% (half-width of the interval, points)"
    )
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("questions", "seeds", *(f"{s} answers" for s in samples)):
        table.add_column(column, justify="right")
    for q in questions:
        for s in seeds:
            shown = (by_design[q, s, n] for n in samples)
            table.add_row(str(q), str(s), *(f"{100 * p.power:.0f}% (±{100 * p.half_width:.0f})" for p in shown))
    console = Console(soft_wrap=True)
    console.print(table)
    worst = max(p.error for p in found)
    console.print(
        Text(
            f"{studies} drawn studies each: the figures are exact to about ±{100 * 1.96 * worst:.0f} points. Answers "
            "are per question and model; every one is taken to be included."
        )
    )
    if 1 in seeds:
        console.print(
            Text(
                "One seed: the effect of that one adapter, whose interval knows nothing of other trainings. It looks "
                "strong beside three for that reason alone, and is not proposed below."
            )
        )
    enough = [p for p in found if p.power >= target and p.design.runs > 1]
    if enough:
        least = min(enough, key=lambda p: (p.answers, p.design.runs))
        d = least.design
        console.print(
            Text(
                f"The fewest answers with {100 * target:.0f}%: {d.questions} questions, {d.runs} seeds, {d.samples} "
                f"answers ({least.answers:,} in all for both sides)."
            )
        )
    else:
        console.print(Text(f"No design of several seeds reaches {100 * target:.0f}%: add seeds or questions first."))
