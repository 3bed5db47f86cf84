"""Fine-tuning behind an API: what is lost, late, slow or half done costs no second job, and no model."""

import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api_training import (
    CLIENT,
    FILES,
    GPT,
    JOB,
    JOBS,
    PATIENCE_SECONDS,
    QUICK,
    TOGETHER,
    Children,
    Serve,
    Told,
    api_recipe,
    error,
    train,
)
from fine_tuning_stub import COMPLETED, RUNNING, SUCCEEDED, Fault, event, fine_tuning
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.training.api.backends import open_provider
from wg_evals.training.api.faults import in_words
from wg_evals.training.api.patience import Pace
from wg_evals.training.api.provider import LONGEST_WAIT_SECONDS, MissingError, RefusedError
from wg_evals.training.api.run import cancel_job, train_by_api
from wg_evals.training.api.state import alone, begin, read_state, write_state

CANCEL, PREPROCESS = f"{JOB}/cancel", "/files/*/preprocess"
REVOKED = error("invalid_api_key", "Revoked.")

# a creation whose answer is lost or slow


@pytest.mark.parametrize(("path", "jobs", "end"), [(GPT, JOBS, SUCCEEDED), (TOGETHER, "/fine-tunes", COMPLETED)])
def test_a_list_that_shows_a_new_job_late_costs_no_second_one(
    serve: Serve, tmp_path: Path, path: Path, jobs: str, end: dict[str, Any]
) -> None:
    told = Told()
    with fine_tuning(end, faults=[Fault("POST", jobs, after=True)]) as stub:
        serve(stub)
        stub.late = 5
        train(tmp_path, api_recipe(path), told)
    assert len(stub.jobs) == 1 and stub.count(f"GET {jobs}") == 6
    assert sum("its list may be late" in line for line in told.lines) == 1


def test_a_job_made_before_a_crash_is_found_in_a_late_list(serve: Serve, tmp_path: Path, child: Children) -> None:
    with fine_tuning(SUCCEEDED, faults=[Fault("POST", JOBS, after=True, call=lambda: child[0].kill())]) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(GPT), str(tmp_path)]))
        child[0].wait(PATIENCE_SECONDS)
        stub.late = 5
        with pytest.raises(WgError, match=r"ftjob-1.*goes on.*is not replaced"):
            train(tmp_path, force=True)
        stub.late = 5
        assert train(tmp_path).job_id == "ftjob-1"
    assert len(stub.jobs) == 1


@pytest.mark.parametrize(
    ("path", "jobs", "end", "seconds"),
    [
        (GPT, JOBS, SUCCEEDED, "wg_evals.training.api.openai._QUICK_SECONDS"),
        (TOGETHER, "/fine-tunes", COMPLETED, "wg_evals.training.api.together._QUICK_SECONDS"),
    ],
)
def test_a_creation_may_take_longer_than_a_question(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    jobs: str,
    end: dict[str, Any],
    seconds: str,
) -> None:
    monkeypatch.setattr(seconds, 1.0)
    with fine_tuning(end, faults=[Fault("POST", jobs, slow=2.5)]) as stub:
        serve(stub)
        train(tmp_path, api_recipe(path))
    assert stub.count(f"POST {jobs}") == 1 and stub.count(f"GET {jobs}") == 0


def test_after_a_rate_limit_no_job_is_looked_for(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED, faults=[Fault("POST", JOBS, 429, error("rate_limit_exceeded", "Slow."))]) as stub:
        serve(stub)
        train(tmp_path)
    assert len(stub.jobs) == 1 and stub.count(f"GET {JOBS}") == 0


# answers that are nobody's, and extras that do not come


@pytest.mark.parametrize("body", ["<html>Sign in to this network</html>", '{"id": "half'])
@pytest.mark.parametrize(
    "where", [("POST", FILES), ("POST", JOBS), ("GET", JOB)], ids=["upload", "creation", "polling"]
)
def test_an_answer_that_is_not_the_apis_is_asked_for_again(
    serve: Serve, tmp_path: Path, where: tuple[str, str], body: str
) -> None:
    kind = "text/html" if body.startswith("<") else "application/json"
    with fine_tuning(SUCCEEDED, faults=[Fault(*where, 200, body, {"Content-Type": kind}, after=True)]) as stub:
        serve(stub)
        train(tmp_path)
    assert len(stub.files) == len(stub.jobs) == 1


def test_events_and_checkpoints_that_never_come_do_not_cost_the_model(serve: Serve, tmp_path: Path) -> None:
    down = [Fault("GET", f"{JOB}/{part}", 503, times=99) for part in ("events", "checkpoints")]
    told = Told()
    with fine_tuning(RUNNING, SUCCEEDED, faults=down) as stub:
        serve(stub)
        assert train(tmp_path, told=told).checkpoints == []
    assert stub.count(f"GET {JOB}/checkpoints") == 3
    assert "OpenAI does not tell of the job's checkpoints: the manifest has none." in told.lines


def test_a_job_that_failed_at_together_has_failed_though_its_events_do_not_come(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning({"status": "error"}, faults=[Fault("GET", "/fine-tunes/*/events", 503, times=99)]) as stub:
        serve(stub)
        with pytest.raises(RefusedError, match=r"ended without a model: its events.*could not be read"):
            train(tmp_path, api_recipe(TOGETHER))
        state = read_state(tmp_path)
        assert state is not None and state.ended


def test_a_users_error_at_together_is_an_end(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning({"status": "user_error"}) as stub:
        serve(stub)
        stub.events[:] = [{"created_at": "2026-01-01T00:00:02Z", "message": "Row 3 is empty", "level": "error"}]
        with pytest.raises(RefusedError, match=r"ended without a model.*Row 3 is empty"):
            train(tmp_path, api_recipe(TOGETHER))
        stub.life = [COMPLETED]
        assert train(tmp_path, api_recipe(TOGETHER), force=True).job_id == "ft-2"


# Together's second step of an upload


@pytest.mark.parametrize("second", [None, 400, 409], ids=["done again", "refused as done", "in conflict"])
def test_a_file_that_got_no_further_than_its_contents_is_preprocessed(
    serve: Serve, tmp_path: Path, second: int | None
) -> None:
    faults = [Fault("POST", PREPROCESS, after=second is not None)]
    if second is not None:
        faults.append(Fault("POST", PREPROCESS, second, error(None, "It is processed.")))
    with fine_tuning(COMPLETED, faults=faults) as stub:
        serve(stub)
        assert train(tmp_path, api_recipe(TOGETHER)).file_id == "file-1"
    assert stub.count(f"POST {PREPROCESS}") == 2 and stub.preprocessed == {"file-1"}


# a death or a full disk between what is written here


DYING = """
import os, signal, sys
from pathlib import Path
replace = Path.replace
def dying(self, target):
    if Path(target).match(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = dying
"""
WRITTEN = {"the state": "job.json", "the training file": "*.jsonl", "the manifest": "manifest.json"}


@pytest.mark.parametrize("what", WRITTEN)
def test_a_kill_before_a_file_is_there_does_not_lock_the_folder(
    serve: Serve, tmp_path: Path, child: Children, what: str
) -> None:
    out = tmp_path / "out"
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", DYING + CLIENT, str(GPT), str(out), WRITTEN[what]]))
        assert child[0].wait(PATIENCE_SECONDS) == -signal.SIGKILL
        result = CliRunner().invoke(main, ["train", str(GPT), "--set", "domain=birds", "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert len(stub.files) == len(stub.jobs) == 1


@pytest.mark.parametrize("what", WRITTEN)
def test_a_full_disk_is_said_and_does_not_lock_the_folder(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    out = tmp_path / "out"
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes | str, **_: object) -> int:
        write_bytes(self, data[:10].encode() if isinstance(data, str) else data[:10])
        if self.match(f".{WRITTEN[what]}.*"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(self, data.encode() if isinstance(data, str) else data)

    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            patch.setattr(Path, "write_text", full)
            with pytest.raises(WgError, match=r"No space left on device\).*Make room"):
                train(out)
        result = CliRunner().invoke(main, ["train", str(GPT), "--set", "domain=birds", "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert len(stub.files) == len(stub.jobs) == 1


# cancelling


def test_a_cancel_whose_answer_is_lost_has_cancelled(serve: Serve, tmp_path: Path) -> None:
    begun(tmp_path)
    with fine_tuning(RUNNING, faults=[Fault("POST", CANCEL, after=True)]) as stub:
        serve(stub)
        open_provider("openai").create(api_recipe(), "file-1", "run")
        assert cancel_job(tmp_path, open_provider("openai"), say=print, pace=QUICK).state == "cancelled"
    assert stub.count(f"POST {CANCEL}") == 2
    state = read_state(tmp_path)
    assert state is not None and state.ended == "it was cancelled"


def test_a_job_that_succeeds_before_its_cancel_arrives_has_succeeded(serve: Serve, tmp_path: Path) -> None:
    begun(tmp_path)
    too_late = Fault("POST", CANCEL, 400, error("invalid_cancel_request", "Job has already succeeded."))
    with fine_tuning(RUNNING, SUCCEEDED, faults=[too_late]) as stub:
        serve(stub)
        open_provider("openai").create(api_recipe(), "file-1", "run")
        assert cancel_job(tmp_path, open_provider("openai"), say=print, pace=QUICK).state == "succeeded"


def test_a_cancel_that_is_refused_while_the_job_goes_on_is_told(serve: Serve, tmp_path: Path) -> None:
    begun(tmp_path)
    with fine_tuning(RUNNING, faults=[Fault("POST", CANCEL, 400, error(None, "Not now."))]) as stub:
        serve(stub)
        open_provider("openai").create(api_recipe(), "file-1", "run")
        with pytest.raises(RefusedError, match="Not now"):
            cancel_job(tmp_path, open_provider("openai"), say=print, pace=QUICK)


def test_a_job_that_another_process_follows_is_cancelled_too(serve: Serve, tmp_path: Path) -> None:
    begun(tmp_path)
    told = Told()
    with fine_tuning(RUNNING) as stub, alone(tmp_path):
        serve(stub)
        open_provider("openai").create(api_recipe(), "file-1", "run")
        assert cancel_job(tmp_path, open_provider("openai"), say=told.say, pace=QUICK).state == "cancelled"
    assert any("Another process follows the job" in line for line in told.lines)


def test_a_job_that_another_process_is_about_to_make_is_not_said_to_be_none(serve: Serve, tmp_path: Path) -> None:
    begun(tmp_path, job_id=None)
    with fine_tuning() as stub, alone(tmp_path):
        serve(stub)
        with pytest.raises(WgError, match=r"Another process is at work.*its job is not known yet: end that process"):
            cancel_job(tmp_path, open_provider("openai"), say=print, pace=QUICK)
    assert not stub.requests


def begun(folder: Path, job_id: str | None = "ftjob-1") -> None:
    """A folder whose training has got as far as its job."""
    state = begin(api_recipe(), "sha")
    write_state(folder, state.model_copy(update={"file_id": "file-1", "job_id": job_id}))


# a job that is gone


def test_a_job_that_is_gone_is_told_as_such_and_force_begins_anew(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED, faults=[Fault("GET", JOB, 401, REVOKED)]) as stub:
        serve(stub)
        with pytest.raises(RefusedError, match="Revoked"):
            train(tmp_path)
        stub.jobs.clear()
        with pytest.raises(MissingError, match=r"OpenAI has no job ftjob-1, at least not for this key") as caught:
            train(tmp_path)
        assert "no such model" not in caught.value.text
        stub.jobs["ftjob-0"] = {}
        told = Told()
        assert train(tmp_path, told=told, force=True).job_id == "ftjob-2"
        assert any("has no job ftjob-1" in line for line in told.lines)


@pytest.mark.parametrize(
    ("message", "of_a_model"),
    [
        ("The model `gpt-9` does not exist or you do not have access to it.", True),
        ("Fine-tuning job ftjob-1 does not exist.", False),
        ("File 'file-1' does not exist.", False),
    ],
)
def test_only_a_missing_model_is_called_a_missing_model(message: str, of_a_model: bool) -> None:
    assert ("no such model" in in_words("OpenAI", None, message)) == of_a_model


# waits


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been slept."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def train_at_its_own_pace(out: Path, told: Told | None = None) -> None:
    train_by_api(api_recipe(), out, open_provider("openai"), say=(told or Told()).say, pace=Pace())


def test_a_silent_api_is_asked_at_longer_and_longer_intervals(serve: Serve, tmp_path: Path, slept: list[float]) -> None:
    told = Told()
    with fine_tuning(SUCCEEDED, faults=[Fault("GET", JOB, 503, times=12)]) as stub:
        serve(stub)
        train_at_its_own_pace(tmp_path, told)
    assert [round(s, 1) for s in slept] == [2, 3, 4.5, 6.8, 10.1, 15.2, 22.8, 34.2, 51.3, 60, 60, 60]
    assert any(line.endswith("trying again, until there is one.") for line in told.lines)


@pytest.mark.parametrize(
    ("asked", "waits"), [("7", [7, 7, 7, 7]), ("4", [4, 4, 4.5, 6.75]), ("90000", [LONGEST_WAIT_SECONDS] * 4)]
)
def test_the_wait_that_a_server_asks_for_is_kept(
    serve: Serve, tmp_path: Path, slept: list[float], asked: str, waits: list[float]
) -> None:
    told = Told()
    with fine_tuning(SUCCEEDED, faults=[Fault("POST", JOBS, 429, {}, {"Retry-After": asked}, times=4)]) as stub:
        serve(stub)
        train_at_its_own_pace(tmp_path, told)
    assert slept == waits
    assert any(line.endswith("trying again, up to 8 times in all.") for line in told.lines)


def test_a_job_of_which_nothing_is_heard_is_asked_for_less_often(
    serve: Serve, tmp_path: Path, slept: list[float]
) -> None:
    queued = {"status": "queued"}
    with fine_tuning(queued, queued, queued, RUNNING, RUNNING, SUCCEEDED) as stub:
        serve(stub)
        stub.events[:] = [event(1, "Job enqueued")]
        train_at_its_own_pace(tmp_path)
    assert slept == [2, 3, 4.5, 2, 3]  # from the start again when something happens


def test_a_job_is_looked_for_over_a_minute_before_another_is_made(
    serve: Serve, tmp_path: Path, slept: list[float]
) -> None:
    with fine_tuning(SUCCEEDED, faults=[Fault("POST", JOBS, after=True)]) as stub:
        serve(stub)
        stub.late = 99
        train_at_its_own_pace(tmp_path)
    assert len(stub.jobs) == 2  # a list that is later than that
    assert 60 <= sum(slept) <= 90
