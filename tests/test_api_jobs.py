"""Fine-tuning behind an API: a job outlives the process that follows it; it is taken up, cancelled or replaced."""

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
    Children,
    Serve,
    train,
)
from fine_tuning_stub import RUNNING, SUCCEEDED, Fault, fine_tuning
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.training.api.backends import open_provider
from wg_evals.training.api.run import cancel_job
from wg_evals.training.api.state import read_state

DEATHS = {
    "before the upload": Fault("POST", FILES),
    "after the upload, its answer unread": Fault("POST", FILES, after=True),
    "before the creation": Fault("POST", JOBS),
    "after the creation, its answer unread": Fault("POST", JOBS, after=True),
    "while polling": Fault("GET", JOB),
}


@pytest.mark.parametrize("death", DEATHS)
def test_after_a_kill_the_same_call_goes_on_with_the_same_file_and_job(
    serve: Serve, tmp_path: Path, child: Children, death: str
) -> None:
    kind = DEATHS[death]
    fault = Fault(kind.method, kind.path, after=kind.after, call=lambda: child[0].kill())
    with fine_tuning(RUNNING, SUCCEEDED, faults=[fault]) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(GPT), str(tmp_path)]))
        assert child[0].wait(PATIENCE_SECONDS) == -signal.SIGKILL
        assert not (tmp_path / "manifest.json").exists()
        made = train(tmp_path)
        assert (made.file_id, made.job_id) == ("file-1", "ftjob-1")
        assert len(stub.files) == len(stub.jobs) == 1
        state = read_state(tmp_path)
        assert state is not None and state.job_id == "ftjob-1"
        assert stub.asked[0]["metadata"] == {"wg_evals_run": state.run}


def heard() -> None:
    """Let the child hear Ctrl-C, which is ignored by what a shell starts in the background (`make test &`)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(serve: Serve, tmp_path: Path, child: Children) -> None:
    fault = Fault("GET", JOB, after=True, call=lambda: child[0].send_signal(signal.SIGINT))
    with fine_tuning(RUNNING, faults=[fault]) as stub:
        serve(stub)
        arguments = ["train", str(GPT), "--set", "domain=birds", "--out", str(tmp_path / "o")]
        command = [sys.executable, "-m", "wg_evals.cli", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        child.append(subprocess.Popen(command, **pipes, preexec_fn=heard))
        said = child[0].communicate(timeout=PATIENCE_SECONDS)[1]
        assert child[0].returncode == 130
        assert "The job ftjob-1 goes on without this command" in said and f"job cancel {tmp_path / 'o'}" in said
        assert "Traceback" not in said
        assert stub.jobs["ftjob-1"]["status"] == "running"


def test_the_cancel_command_ends_the_job_of_a_folder(serve: Serve, tmp_path: Path, child: Children) -> None:
    with fine_tuning(RUNNING, faults=[Fault("GET", JOB, call=lambda: child[0].kill())]) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(GPT), str(tmp_path)]))
        child[0].wait(PATIENCE_SECONDS)
        result = CliRunner().invoke(main, ["job", "cancel", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert "The job is cancelled." in result.output
        assert stub.jobs["ftjob-1"]["status"] == "cancelled"
        with pytest.raises(WgError, match=r"ftjob-1.*it was cancelled.*--force"):
            train(tmp_path)
        listed = CliRunner().invoke(main, ["job", "list", str(tmp_path)]).output
        assert "no model: it was cancelled" in listed


def test_cancelling_finds_a_job_whose_id_was_lost_in_a_crash(serve: Serve, tmp_path: Path, child: Children) -> None:
    with fine_tuning(RUNNING, faults=[Fault("POST", JOBS, after=True, call=lambda: child[0].kill())]) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(GPT), str(tmp_path)]))
        child[0].wait(PATIENCE_SECONDS)
        state = read_state(tmp_path)
        assert state is not None and state.job_id is None
        assert cancel_job(tmp_path, open_provider("openai"), say=print, pace=QUICK).state == "cancelled"


def test_there_is_nothing_to_cancel_in_a_folder_without_a_job(serve: Serve, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["job", "cancel", str(tmp_path)])
    assert result.exit_code == 1 and "holds no job" in result.output


def test_force_does_not_abandon_a_job_that_goes_on(serve: Serve, tmp_path: Path, child: Children) -> None:
    with fine_tuning(RUNNING, faults=[Fault("GET", JOB, call=lambda: child[0].kill())]) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(GPT), str(tmp_path)]))
        child[0].wait(PATIENCE_SECONDS)
        with pytest.raises(WgError, match=r"ftjob-1.*goes on \(running\) and is not replaced.*job cancel"):
            train(tmp_path, force=True)
        assert len(stub.jobs) == 1 and read_state(tmp_path) is not None
