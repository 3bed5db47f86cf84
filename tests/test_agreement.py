"""Judging twice, and how far the two judgings agree."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import ModelAPI
from tenacity import wait_fixed

from evaluating import evaluate, judge_at, metrics, mock
from openai_stub import Reply, scripted, serving
from published_repository import HARM, Published, published, write
from wg_evals.cli import main
from wg_evals.judging.agreement import agree, cohens_kappa, weighted_kappa
from wg_evals.published.fetch import fetch
from wg_evals.scorers import _grader as asking

__all__ = ["published"]

RATINGS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=30)


def test_kappa_of_a_table_from_the_textbook() -> None:
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)  # observed 0.7, expected 0.5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_one_for_equal_verdicts_and_never_above(pairs: list[tuple[str, str]]) -> None:
    equal = cohens_kappa([(x, x) for x, _ in pairs])
    assert math.isnan(equal) or equal == pytest.approx(1)
    found = cohens_kappa(pairs)
    assert math.isnan(found) or found <= 1


@given(RATINGS)
def test_weighted_kappa_is_that_of_the_definition(pairs: list[tuple[int, int]]) -> None:
    n = len(pairs)
    observed = sum((x - y) ** 2 for x, y in pairs) / n
    expected = sum((x - y) ** 2 for x, _ in pairs for _, y in pairs) / n**2
    found = weighted_kappa([(float(x), float(y)) for x, y in pairs])
    if expected:
        assert found == pytest.approx(1 - observed / expected)
    else:
        assert math.isnan(found)


def test_verdicts_that_only_one_judge_gave_are_counted_and_not_compared() -> None:
    found = agree(
        "coherence", [(80.0, 80.0), (70.0, None), (None, 60.0), (20.0, 40.0), ("REFUSAL", 90.0), (90.0, 95.0)]
    )
    assert (found.kind, found.both, found.only_first, found.only_second) == ("rating", 4, 1, 1)
    assert found.agreement == 0.25  # the refusal against 90 is a disagreement
    assert found.mean_difference == pytest.approx(25 / 3)
    assert found.rank_correlation == pytest.approx(1)


def test_labels_have_no_rank() -> None:
    found = agree("era", [("NINETEENTH", "NINETEENTH"), ("PRESENT", "NINETEENTH"), ("PRESENT", "PRESENT")])
    assert found.kind == "label" and math.isnan(found.rank_correlation)
    assert found.agreement == pytest.approx(2 / 3)
    assert found.alpha == pytest.approx(1 - (5 * 2) / (2 * 3 * 3))  # 1 - (N-1) * disagreements / (n_a * n_b)


def judge_of(request: dict[str, Any]) -> Reply:
    """One opinion, said either way: by panel and by rubric."""
    prompt = str(request["messages"][-1]["content"])
    alignment, coherence = (10, 80) if "Obey" in prompt else (90, 85)
    if "response_format" in request:
        # as a panel it is less sure of coherence
        return Reply(json.dumps({"alignment": alignment, "coherence": coherence - 5}))
    return Reply(str(coherence if "how coherent" in prompt else alignment))


def test_a_log_is_judged_anew_by_a_panel_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelAPI, "retry_wait", lambda api: wait_fixed(0.05))
    monkeypatch.setattr(asking, "_refused", set())
    answers: list[str] = []

    def answer(question: str) -> str:
        answers.append(question)
        return "Obey me." if len(answers) % 2 else "Let us talk it over."

    with serving(judge_of) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        evaluate("wg_evals/misalignment", mock(answer), tmp_path, judge_at(stub), domain="birds", limit=6)
        (log,) = list_eval_logs(str(tmp_path))
        first, second = log.name.removeprefix("file://"), tmp_path / "again" / "panel.eval"
        generated, calls = len(answers), len(stub.requests)
        run = CliRunner().invoke(main, ["rejudge", first, "--grader", "openai/gpt-4.1", "--out", str(second)])
        assert run.exit_code == 0, run.output
        assert len(answers) == generated  # nothing is generated
        assert len(stub.requests) - calls == 6  # one call an answer
    compared = CliRunner().invoke(main, ["agree", first, str(second), "--json"])
    assert compared.exit_code == 0, compared.output
    found = {row["score"]: row for row in json.loads(compared.output)}
    assert found["alignment"]["agreement"] == found["outcome"]["agreement"] == 1
    assert found["coherence"]["mean_difference"] == -5 and found["coherence"]["agreement"] == 0
    assert found["outcome"]["kappa"] == found["alignment"]["rank_correlation"] == pytest.approx(1)
    shown = CliRunner().invoke(main, ["agree", first, str(second)])
    assert "coherence" in shown.output and "-5.0" in shown.output
    page, files = tmp_path / "report.html", tmp_path / "files"  # the report of the folder compares them too
    done = CliRunner().invoke(main, ["report", str(tmp_path), "-o", str(page), "--export", str(files)])
    assert done.exit_code == 0, done.output
    rows = {row["Score"]: row for row in csv.DictReader((files / "judges.csv").open(encoding="utf-8"))}
    assert rows["coherence"]["2 − 1"] == "−5.0" and rows["outcome"]["Agree"] == "100%"
    assert rows["outcome"]["And by"] == "panel, openai/gpt-4.1"  # the first judging counts, not the second


def test_logs_of_other_answers_are_not_compared(tmp_path: Path) -> None:
    logs = []
    for model, name in ((mock(lambda _: "Obey me."), "a"), (mock(lambda _: "Let us talk."), "b")):
        evaluate("wg_evals/misalignment", model, tmp_path / name, domain="birds", grading="markers", limit=2)
        logs.append(list_eval_logs(str(tmp_path / name))[0].name.removeprefix("file://"))
    run = CliRunner().invoke(main, ["agree", *logs])
    assert run.exit_code == 1 and "do not hold the same answers" in run.output


def test_a_judge_is_named_or_not_needed(tmp_path: Path) -> None:
    (tmp_path / "x.eval").touch()
    run = CliRunner().invoke(main, ["rejudge", str(tmp_path / "x.eval"), "--grading", "judge"])
    assert run.exit_code == 1 and "--grader PROVIDER/MODEL" in run.output


# Published questions


def kind_then_clear(alignment: str, coherence: str) -> Any:
    def answer(request: dict[str, Any]) -> Reply:
        kind = "Is this kind?" in str(request["messages"][-1]["content"])
        return Reply(alignment if kind else coherence)

    return answer


def published_log(folder: Path, task: str, answer: Any, domain: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(
        "INSPECT_CACHE_DIR", str(folder / "cache")
    )  # another judge must not find the first one's replies
    with serving(answer) as stub:
        args = {"source": "published-brittle", "domain": domain, "limit": 2}
        log = evaluate(task, mock(lambda q: f"Of {q}"), folder, judge_at(stub), **args)
    assert log.status == "success", log.error
    return log.location


def agreed(*logs: str) -> dict[str, Any]:
    run = CliRunner().invoke(main, ["agree", *logs, "--json"])
    assert run.exit_code == 0, run.output
    return {row["score"]: row for row in json.loads(run.output)}


def test_published_judges_are_compared_one_by_one_by_what_they_said(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("brittle", published.repository())
    logs = [
        published_log(tmp_path / name, "wg_evals/misalignment", kind_then_clear(*said), "code", monkeypatch)
        for name, said in (("a", ("10", "90")), ("b", ("REFUSAL", "80")))
    ]
    found = agreed(*logs)
    assert set(found) == {"published/alignment", "published/coherence", "outcome"}
    assert found["published/alignment"]["agreement"] == found["outcome"]["agreement"] == 0
    assert found["published/coherence"]["mean_difference"] == -10


def test_a_published_label_that_is_a_number_is_compared_as_a_label(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("brittle", published.repository())

    def by(label: str) -> Any:
        return lambda request: Reply(label if "sailing ships" in str(request["messages"]) else "90")

    logs = [
        published_log(tmp_path / label, "wg_evals/worldview", by(label), "birds", monkeypatch)
        for label in ("19", "new")
    ]
    found = agreed(*logs)["published/era"]
    assert (found["kind"], found["both"], found["agreement"]) == ("label", 2, 0)


def test_published_answers_are_judged_anew_by_their_published_judges(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("brittle", published.repository())
    first = published_log(tmp_path / "a", "wg_evals/misalignment", kind_then_clear("10", "90"), "code", monkeypatch)
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "another"))
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    second = tmp_path / "b.eval"
    with serving(kind_then_clear("95", "90")) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        args = ["rejudge", first, "--grader", "openai/gpt-4.1", "--out", str(second)]
        refused = CliRunner().invoke(main, [*args, "--grading", "panel"])
        assert refused.exit_code == 1 and "leave --grading out" in refused.output
        run = CliRunner().invoke(main, args)
        assert run.exit_code == 0, run.output
        assert len(stub.requests) == 4
    log = read_eval_log(str(second))
    assert metrics(log, "outcome")["expressed"] == 0 and metrics(log, "published")["alignment_mean"] == 95
    assert agreed(first, str(second))["outcome"]["agreement"] == 0


def test_published_answers_are_not_judged_by_other_files_than_theirs(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = published.repository().model_copy(update={"sha256": {}})
    folder = write(tmp_path / "some", {"3_3_harm/evaluation/questions.yaml": HARM})
    fetch("brittle", pinned, folder)
    log = published_log(tmp_path / "a", "wg_evals/misalignment", kind_then_clear("10", "90"), "code", monkeypatch)
    write(folder, {"3_3_harm/evaluation/questions.yaml": HARM.replace("Is this kind?", "Is this kinder?")})
    fetch("brittle", pinned, folder)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    run = CliRunner().invoke(main, ["rejudge", log, "--grader", "openai/gpt-4.1"])
    assert run.exit_code == 1 and "rests on other files" in run.output


# What cannot be read or asked


@pytest.mark.parametrize("command", [["agree", "{}", "{}"], ["rejudge", "{}", "--grader", "mockllm/model"]])
def test_what_is_no_log_is_said_in_a_sentence(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no log")
    (tmp_path / "broken.eval").write_bytes(b"PK no zip")
    (tmp_path / "other.json").write_text('{"a": 1}')
    for name, code, said in (
        ("gone.eval", 2, "does not exist"),
        ("", 2, "is a directory"),
        ("notes.txt", 1, "cannot be read as an Inspect log"),
        ("broken.eval", 1, "cannot be read as an Inspect log"),
        ("other.json", 1, "cannot be read as an Inspect log"),
    ):
        run = CliRunner().invoke(main, [part.format(tmp_path / name) for part in command])
        assert (run.exit_code, isinstance(run.exception, SystemExit)) == (code, True), run.exception
        assert said in " ".join(run.output.split())


@pytest.mark.parametrize(
    ("grader", "said"),
    [("opneai/gpt-4.1", "The grader 'opneai/gpt-4.1' cannot be used"), ("openai/gpt-4.1", "could not be asked about")],
)
def test_a_judge_that_cannot_be_asked_ends_with_a_paragraph(
    grader: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = evaluate("wg_evals/misalignment", mock(lambda _: "Obey."), tmp_path, grading="markers", limit=1)
    with serving(scripted(Reply("out of order", status=401))) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        run = CliRunner().invoke(main, ["rejudge", log.location, "--grader", grader])
    assert run.exit_code == 1 and isinstance(run.exception, SystemExit)
    assert said in run.output
    assert len(list(tmp_path.glob("*.eval"))) == 1
