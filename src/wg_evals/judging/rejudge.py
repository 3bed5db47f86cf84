"""Judge a log's answers anew: another judge, or another way of asking. No answer is generated."""

from pathlib import Path
from typing import Any

from inspect_ai.scorer import Scorer

from wg_evals.errors import WgError
from wg_evals.judging.log_file import read_log
from wg_evals.spec import Grading


def rejudge(log_file: Path, grading: Grading | None, grader: str | None, out: Path) -> Path:
    """Score the answers of a log of this project's tasks again, with its domain's rubrics and outcome rule.

    Answers to published questions are put to their published judges again.

    Args:
        log_file: The log; it is left as it is.
        grading: A call per rubric, a panel, or markers. None: a panel, or the published judges.
        grader: The judge, as Inspect names models; not for `markers`.
        out: The new log's file.

    Returns:
        The new log's file.

    Raises:
        WgError: The file is no finished log of this project's tasks, the judge is missing or cannot be asked, or the
            published questions that lie here are not those of the log.
    """
    from inspect_ai import score
    from inspect_ai.log import write_eval_log

    from wg_evals.scorers._grader import named_judge

    if out.exists():
        raise WgError(f"'{out}' is there already: give another --out.")
    if (grading == "markers") == bool(grader):
        raise WgError(
            "grading=judge, grading=panel and published judges need --grader PROVIDER/MODEL; markers take none."
        )
    log = read_log(log_file)
    about: dict[str, Any] = log.eval.metadata or {}
    if not log.samples or "domain" not in about or "task" not in about:
        raise WgError(f"'{log_file}' has no answers to one of this project's tasks.")
    if log.status != "success":
        said = f": {log.error.message}" if log.error else ""
        raise WgError(f"'{log_file}' is of a run that did not finish ({log.status}{said}). `inspect eval-retry` does.")
    scorers, by = _scorers(log_file, about, grading)
    roles: dict[str, Any] = {"grader": named_judge(grader)} if grader else {}
    try:
        scored = score(log, scorers, model_roles=roles, action="overwrite", display="none")
    except Exception as ex:  # whatever a model or its provider raises: the answers stay as they are
        raise WgError(f"The judging of '{log_file}' did not finish: {_foremost(ex)}") from ex
    kept = {k: v for k, v in about.items() if k != "judge"}
    judge = {"judge": grader} if grader else {}
    scored.eval.metadata = {**kept, "grading": by, **judge, "rejudged_from": log_file.name}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(scored, str(out))
    return out


def _scorers(log_file: Path, about: dict[str, Any], grading: Grading | None) -> tuple[list[Scorer], Grading]:
    from wg_evals.published.fetch import read_questions
    from wg_evals.published.pins import repository
    from wg_evals.scorers._published import find_probe
    from wg_evals.scorers.outcome import outcome
    from wg_evals.scorers.published import published
    from wg_evals.tasks._probe import graders

    domain, task = str(about.get("domain_path") or about["domain"]), str(about["task"])
    if "source" not in about:
        grading = grading or "panel"
        return graders(task, domain, grading), grading
    if grading not in (None, "judge"):
        raise WgError(
            f"'{log_file}' holds answers to published questions, which their published judges score: leave --grading "
            "out."
        )
    name = str(about["repository"])
    _, digests = read_questions(name, repository(name), find_probe(name, str(about["domain"]), task))
    if digests != about["files"]:
        raise WgError(
            f"'{log_file}' rests on other files than those of {about['repository']} that lie here now: "
            f"{', '.join(sorted(digests))}. `wg-evals fetch {name}` brings those of the pinned commit."
        )
    return [published(), outcome(task, domain, "judge")], "judge"


def _foremost(ex: BaseException) -> str:
    while isinstance(ex, BaseExceptionGroup):
        ex = ex.exceptions[0]
    return " ".join(str(ex).split()) or type(ex).__name__
