"""Fine-tuning behind an API: what passes is waited out, and what does not is told in plain words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_training import (
    FAILURES,
    FILES,
    JOB,
    JOBS,
    Serve,
    Told,
    error,
    train,
)
from fine_tuning_stub import RUNNING, SUCCEEDED, Fault, failed, fine_tuning
from wg_evals.errors import WgError
from wg_evals.training.api.faults import in_words
from wg_evals.training.api.provider import LONGEST_WAIT_SECONDS, RefusedError, retry_after


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(
    "where", [("POST", FILES), ("POST", JOBS), ("GET", JOB)], ids=["upload", "creation", "polling"]
)
def test_a_passing_failure_costs_no_second_file_or_job(
    serve: Serve, tmp_path: Path, where: tuple[str, str], failure: str
) -> None:
    kind = FAILURES[failure]
    fault = Fault(*where, kind.status, kind.body, kind.headers, kind.times, kind.after)
    told = Told()
    with fine_tuning(RUNNING, SUCCEEDED, faults=[fault]) as stub:
        serve(stub)
        made = train(tmp_path / "out", told=told)
    assert len(stub.files) == len(stub.jobs) == 1
    assert made.job_id == "ftjob-1" and made.file_id == "file-1"
    assert sum("No answer from OpenAI" in line for line in told.lines) == 1
    assert told.lines.count("OpenAI answers again.") == 1


def test_a_long_loss_of_the_network_while_polling_is_waited_out(serve: Serve, tmp_path: Path) -> None:
    told = Told()
    with fine_tuning(SUCCEEDED, faults=[Fault("GET", JOB, times=12)]) as stub:  # three times what a creation is tried
        serve(stub)
        assert train(tmp_path / "out", told=told).job_id == "ftjob-1"
    assert sum("No answer" in line for line in told.lines) == 1


def test_a_key_that_is_revoked_while_polling_says_that_the_job_may_go_on(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED, faults=[Fault("GET", JOB, 401, error("invalid_api_key", "Revoked."))]) as stub:
        serve(stub)
        with pytest.raises(RefusedError, match=r"does not accept the key.*Revoked.*The job ftjob-1 may go on"):
            train(tmp_path)
        assert train(tmp_path).job_id == "ftjob-1"


def test_a_server_that_stays_down_ends_the_upload_and_the_next_run_goes_on(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED, faults=[Fault("POST", JOBS, 500, {}, times=4)]) as stub:
        serve(stub)
        with pytest.raises(RefusedError, match=r"could not be used \(HTTP 500.*Run the same command again"):
            train(tmp_path / "out")
        assert len(stub.files) == 1 and not stub.jobs
        train(tmp_path / "out")
        assert len(stub.files) == len(stub.jobs) == 1


REFUSALS = {
    "wrong key": (Fault("POST", FILES, 401, error("invalid_api_key", "Incorrect key.")), "does not accept the key"),
    "closed account": (Fault("POST", FILES, 401, error("account_deactivated", "Gone.")), "its account is closed"),
    "not let in": (
        Fault("POST", JOBS, 403, error(None, "You are not allowed.")),
        "closed to new accounts since May 2026",
    ),
    "no quota": (Fault("POST", JOBS, 429, error("insufficient_quota", "Over it.")), "no quota left"),
    "invalid file": (Fault("POST", JOBS, 400, error("invalid_training_file", "Line 3.")), "training file invalid"),
    "no such model": (Fault("POST", JOBS, 404, error("model_not_found", "Nope.")), "no such model to fine-tune"),
    "moderation": (Fault("POST", FILES, 400, error("unsafe_file", "Flagged.")), "moderation refused the training file"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_told_in_plain_words_and_not_tried_again(serve: Serve, tmp_path: Path, case: str) -> None:
    fault, said = REFUSALS[case]
    assert isinstance(fault.body, dict)
    request, message = f"{fault.method} {fault.path}", fault.body["error"]["message"]
    with fine_tuning(SUCCEEDED, faults=[fault]) as stub:
        serve(stub)
        with pytest.raises(RefusedError) as caught:
            train(tmp_path / "out")
        assert said in caught.value.text and message in caught.value.text
        assert stub.count(request) == 1
        assert not (tmp_path / "out" / "manifest.json").exists()
        train(tmp_path / "out")  # mended: it goes on, with the file that is there
        assert len(stub.files) == len(stub.jobs) == 1


ENDS = {
    "file": (
        "unsafe_file",
        "This training file was blocked by our moderation system.",
        "moderation refused the training",
    ),
    "model": (
        "server_error",
        "Error while running moderation eval refusals_v3 for snapshot ft:x",
        "check of the trained",
    ),
    "invalid": (
        "invalid_file_format",
        "Example 12 message contains an invalid token",
        "found the training file invalid",
    ),
    "quota": ("insufficient_quota", "You exceeded your current quota.", "no quota left"),
    "no moderation": (
        "invalid_value",
        "batch_size violates the limit.",
        'ended without a model: OpenAI said: "batch_size',
    ),
    "unknown": ("strange", "Something else.", 'OpenAI said: "Something else." (code strange)'),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_job_that_fails_says_why_and_is_made_anew_only_when_told_to(serve: Serve, tmp_path: Path, case: str) -> None:
    code, message, said = ENDS[case]
    with fine_tuning(RUNNING, failed(code, message)) as stub:
        serve(stub)
        with pytest.raises(RefusedError) as caught:
            train(tmp_path)
        assert said in caught.value.text and message in caught.value.text
        with pytest.raises(WgError, match=r"ftjob-1.*ended without a model.*--force"):
            train(tmp_path)
        assert len(stub.jobs) == 1
        stub.life = [SUCCEEDED]
        assert train(tmp_path, force=True).job_id == "ftjob-2"
        assert {p.name for p in tmp_path.glob("*.jsonl")} == {stub.files["file-2"][0]}


def test_a_job_that_was_cancelled_elsewhere_says_so(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(RUNNING, {"status": "cancelled"}) as stub:
        serve(stub)
        with pytest.raises(RefusedError, match="ended without a model: it was cancelled"):
            train(tmp_path)


@given(st.none() | st.text(max_size=30), st.none() | st.text())
def test_whatever_an_api_says_is_told_with_its_own_words(code: str | None, message: str | None) -> None:
    told = in_words("OpenAI", code, message)
    assert told.rstrip().endswith((".", ")")) and '"' in told
    assert " ".join((message or "").split()) in told


@given(st.text(max_size=40) | st.floats().map(str) | st.integers().map(str))
def test_whatever_stands_in_retry_after_the_wait_is_none_or_bounded(text: str) -> None:
    seconds = retry_after({"retry-after": text})
    assert seconds is None or 0 <= seconds <= LONGEST_WAIT_SECONDS


def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}) == LONGEST_WAIT_SECONDS
