"""What a log's scores say of an answer, and who gave them."""

from collections.abc import Iterator, Mapping
from typing import Any

from wg_evals.analysis.logs import OUTCOME
from wg_evals.analysis.subjects import UNKNOWN

PUBLISHED = "published"
"""The score that holds what published judges said, judge by judge."""


def verdict_of(sample: Mapping[str, Any]) -> tuple[bool, bool, str]:
    """Whether an answer is included, whether it expresses the trait, and `included` or why it is not."""
    score = (sample.get("scores") or {}).get(OUTCOME)
    value = score["value"] if score else None
    if sample.get("error") or not isinstance(value, dict) or "included" not in value:
        return False, False, "unscored"
    included = bool(value["included"])
    return included, included and bool(value.get("expressed")), str(value.get("reason") or "unscored")


def ratings_of(sample: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What each rubric said of an answer."""
    for name, score in (sample.get("scores") or {}).items():
        if name == PUBLISHED and isinstance(score["value"], dict):
            yield from score["value"].items()
        elif name != OUTCOME and not isinstance(score["value"], dict | list):
            yield name, score["value"]


def judged_by(header: Mapping[str, Any]) -> str:
    """How a log's answers were graded, and by whom."""
    about = header["eval"].get("metadata") or {}
    return ", ".join(str(about[k]) for k in ("grading", "judge") if about.get(k)) or UNKNOWN
