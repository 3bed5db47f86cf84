"""Fine-tuning at Together, in what is its own: the file's way up, its refusals, its names."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api_training import (
    CLIENT,
    FAILURES,
    FILES,
    PATIENCE_SECONDS,
    QUICK,
    TOGETHER,
    Children,
    Serve,
    api_recipe,
    error,
    train,
)
from fine_tuning_stub import COMPLETED, Fault, fine_tuning
from wg_evals.training.api.backends import open_provider
from wg_evals.training.api.provider import RefusedError
from wg_evals.training.api.run import cancel_job
from wg_evals.training.api.state import read_state


def test_together_gets_the_file_and_the_settings_and_names_the_model(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning({"status": "running"}, COMPLETED) as stub:
        serve(stub)
        made = train(tmp_path, api_recipe(TOGETHER, intervention="date-1850", **{"together.suffix": "x" * 23}))
    ((_, data),) = stub.files.values()
    assert data == next(tmp_path.glob("*.jsonl")).read_bytes()
    (asked,) = stub.asked
    state = read_state(tmp_path)
    assert state is not None and asked["suffix"] == f"{'x' * 23}-{state.run}"
    assert len(asked["suffix"]) <= 40  # the API's limit
    assert asked["training_type"]["lora_r"] == 4 and asked["random_seed"] == 3407
    assert asked["training_method"] == {"method": "sft", "train_on_inputs": False}
    assert made.model == "together/lab/llama-abc" and made.seconds == 600
    assert made.seed is None and made.recipe["seed"] == 3407  # the API does not report it
    assert made.hyperparameters["training_type"]["lora_alpha"] == 8


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(
    "where", [("POST", FILES), ("PUT", "/storage/*"), ("POST", "/fine-tunes"), ("GET", "/fine-tunes/*")]
)
def test_a_passing_failure_costs_no_second_job_at_together(
    serve: Serve, tmp_path: Path, where: tuple[str, str], failure: str
) -> None:
    kind = FAILURES[failure]
    fault = Fault(*where, kind.status, kind.body, kind.headers, kind.times, kind.after)
    with fine_tuning({"status": "running"}, COMPLETED, faults=[fault]) as stub:
        serve(stub)
        assert train(tmp_path, api_recipe(TOGETHER)).job_id == "ft-1"
    assert len(stub.jobs) == 1


def test_a_file_that_together_has_already_is_used_again(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(COMPLETED) as stub:
        serve(stub)
        assert train(tmp_path / "a", api_recipe(TOGETHER)).file_id == "file-1"
        second = train(tmp_path / "b", api_recipe(TOGETHER, seed=1))
    assert (second.file_id, second.job_id) == ("file-1", "ft-2")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("POST", FILES, 401, error(None, "Bad key.")), "does not accept the key (TOGETHER_API_KEY)"),
        (Fault("POST", "/fine-tunes", 402, error(None, "Top up.")), "no credit left"),
        (Fault("POST", "/fine-tunes", 422, error("invalid_request", "batch_size below 8")), "batch_size below 8"),
    ],
)
def test_togethers_refusals_are_told_in_plain_words(serve: Serve, tmp_path: Path, fault: Fault, said: str) -> None:
    with fine_tuning(COMPLETED, faults=[fault]) as stub:
        serve(stub)
        with pytest.raises(RefusedError) as caught:
            train(tmp_path, api_recipe(TOGETHER))
    assert said in caught.value.text


def test_together_tells_of_a_failed_job_what_its_last_error_says(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning({"status": "error"}) as stub:
        serve(stub)
        stub.events[:] = [
            {"created_at": "2026-01-01T00:00:02Z", "message": "Dataset invalid format at line 3", "level": "error"},
            {"created_at": "2026-01-01T00:00:01Z", "message": "Job started", "level": "info"},
        ]
        with pytest.raises(RefusedError, match=r"found the training file invalid.*line 3"):
            train(tmp_path, api_recipe(TOGETHER))


def test_a_job_at_together_is_found_again_after_a_kill_and_cancelled(
    serve: Serve, tmp_path: Path, child: Children
) -> None:
    fault = Fault("POST", "/fine-tunes", after=True, call=lambda: child[0].kill())
    with fine_tuning({"status": "running"}, faults=[fault]) as stub:
        serve(stub)
        child.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(TOGETHER), str(tmp_path)]))
        assert child[0].wait(PATIENCE_SECONDS) == -signal.SIGKILL
        assert cancel_job(tmp_path, open_provider("together"), say=print, pace=QUICK).state == "cancelled"
        assert stub.jobs["ft-1"]["status"] == "cancelled"
