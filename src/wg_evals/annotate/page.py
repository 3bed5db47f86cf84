"""The annotators' page: one HTML file that needs nothing but a browser, and runs nothing but its own script."""

import re

from markupsafe import Markup

from wg_evals.analysis.pages import embedded, script, template
from wg_evals.analysis.reporting.drawing import theme
from wg_evals.annotate.ratings import RESERVED
from wg_evals.annotate.sample import Drawn
from wg_evals.spec import Rubric


def render(drawn: Drawn) -> str:
    """The page as text.

    The answers lie in it as JSON, and its script puts them into the page as text, never as HTML. The content security
    policy names the script by its hash, so that nothing else can run, and lets no request out.
    """
    return template("wg_evals.annotate", "annotate.html.j2").render(
        theme=Markup(theme()),
        script=script("wg_evals.annotate", "annotate.js"),
        data=embedded(_page_data(drawn)),
    )


def _page_data(drawn: Drawn) -> dict[str, object]:
    """All that the page knows: nothing of conditions, logs or the judge."""
    return {
        "sample": drawn.key.sample,
        "rubrics": [_shown(r) for r in drawn.key.rubrics],
        "reserved": list(RESERVED),
        "items": [{"id": i.id, "question": i.question, "answer": i.answer} for i in drawn.items],
    }


def _shown(rubric: Rubric) -> dict[str, object]:
    return {
        "name": rubric.name,
        "kind": rubric.kind,
        "labels": rubric.labels,
        "escapes": list(rubric.escapes),
        "low": rubric.low,
        "high": rubric.high,
        "wording": _wording(rubric.prompt),
    }


def _wording(prompt: str) -> str:
    """What the judge is told, word for word, with `[question]` and `[answer]` where it gets them."""
    return re.sub(r"\{(question|answer)\}", r"[\1]", prompt).strip()
