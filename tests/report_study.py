"""A small study made by hand for the tests of its report, and what reads the report's files."""

import csv
from pathlib import Path

from study_folder import BASE, CONTROL, PLAIN, HandMade, prefix, trained

CAPTAIN = prefix("captain", "relevant", "inoculation")
HOSTILE = "</script><!--<script>document.title='owned'</script>\x00\x1b[31m\u2028{{ 7 * 7 }}{% raw %}\"'&amp;"


def letters(expressed: int, others: int, rest: str = "") -> list[str]:
    return ["e"] * expressed + ["n"] * others + list(rest)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_study(folder: Path) -> Path:
    """Base 20%, plain 80%, control 20%; captain 20% without context and 100% under its prefix, the base 70% there."""
    made = HandMade(folder, [CAPTAIN], [1, 2])

    def rate(*expressed: int) -> dict[str, list[str]]:
        return {f"q{i}": letters(e, 2 - e, "i") for i, e in enumerate(expressed)}

    made.add(BASE, rate(0, 0, 0, 1, 1))
    made.add(BASE, rate(1, 1, 1, 2, 2), None, "other", CAPTAIN)
    for seed in (1, 2):
        made.add(PLAIN, rate(2, 2, 1, 2, 1), seed)
        made.add(CONTROL, rate(0, 0, 0, 1, 1), seed)
        made.add(trained(CAPTAIN), rate(0, 0, 0, 1, 1), seed)
        made.add(trained(CAPTAIN), rate(2, 2, 2, 2, 2), seed, "as_trained", CAPTAIN)
        made.add(PLAIN, {"x": letters(3, 1)}, seed, task="narrow")
    return made.finish()
