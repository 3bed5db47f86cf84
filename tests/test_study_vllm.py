"""A study that is served by vLLM: one server a base, for as long as it is needed. Workers and `vllm` are stand-ins."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from inspect_ai.log import EvalLog, read_eval_log
from rich.console import Console

import fake_vllm
from processes import is_running, wait_for
from study_files import fake_base, matrix_of, write_adapter, write_study
from wg_evals.analysis.logs import read_study
from wg_evals.analysis.records import read_record
from wg_evals.artifacts import ORGANISM, resolve_base
from wg_evals.errors import CatalogError, WgError
from wg_evals.serving import vllm_server
from wg_evals.serving.vllm_server import ServerAccess
from wg_evals.study.jobs import EvaluateJob
from wg_evals.study.progress import LineDisplay
from wg_evals.study.runner import RunResult, run_study
from wg_evals.study.serving import StudyServer
from wg_evals.study.store import StudyFolder

TESTS = Path(__file__).parent
WORKER = (sys.executable, str(TESTS / "fake_worker.py"))
TRAININGS, EVALUATIONS = 3, 6
"""Of a base: plain, captain, dated; and the base itself, each plainly, and one of them under each prefix."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("FAKE_VLLM_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(fake_vllm.install(tmp_path / "bin")), prepend=os.pathsep)
    monkeypatch.setattr(vllm_server, "_ASK_EVERY_SECONDS", 0.05)
    for name in (vllm_server.ARGUMENTS, vllm_server.RUNNING, vllm_server.KEY):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path)
    return tmp_path


def write(here: Path, **changes: Any) -> Path:
    evaluations = {"worldview": {"epochs": 3, "contexts": ["none"]}}
    settings = {"serve": "vllm", "seeds": [1], "controls": False, "evaluations": evaluations} | changes
    return write_study(here, **settings)


def run(here: Path, **orders: Any) -> RunResult:
    (here / "orders.json").write_text(json.dumps({k.replace("_", "-"): v for k, v in orders.items()}))
    display = LineDisplay(Console(file=(here / "said.txt").open("w")))
    return run_study(matrix_of(here / "study.yaml"), StudyFolder(here / "out"), display, "a command", WORKER)


def pids(here: Path) -> list[int]:
    return [pid for start in fake_vllm.starts(here) for pid in start["pids"]]


def test_one_server_serves_all_adapters_once_they_are_trained_and_is_gone_at_the_end(here: Path) -> None:
    assert run(here).failures == {}
    (start,) = fake_vllm.starts(here)
    assert start["base"] == str(here / "base")
    assert start["flags"]["--max-lora-rank"] == "8" and start["flags"]["--dtype"] == "float32"
    assert not any(is_running(p) for p in pids(here))
    lines = [line.split() for line in (here / "done.txt").read_text().splitlines()]
    trained = {pid for pid, folder, _ in lines if "worldview" not in folder}
    served = {pid for pid, folder, _ in lines if "worldview" in folder}
    assert len(trained) == len(served) == 1 and trained.isdisjoint(served)
    (log,) = (here / "out" / "servers").iterdir()
    assert "Loading weights" in log.read_text()


def test_models_are_named_by_base_and_adapter_folder(here: Path) -> None:
    run(here)
    study = read_study(here / "out")
    adapter = next((here / "out" / "adapters").glob("*-plain-seed1-*"))
    models = {r.cell.condition.name: r.record.model for r in study.results}
    assert models["plain"] == f"vllm/{here / 'base'}:{adapter}"
    assert models["base"] == f"vllm/{here / 'base'}"


def test_bases_are_served_one_after_the_other(here: Path) -> None:
    fake_base(here / "other", b"other weights")
    write(here, bases=["./base", "./other"], server={"max_model_len": 99})
    assert run(here).failures == {}
    first, second = fake_vllm.starts(here)
    assert [first["base"], second["base"]] == [str(here / "base"), str(here / "other")]
    assert second["flags"]["--max-model-len"] == "99"
    folders = [line.split()[1] for line in (here / "done.txt").read_text().splitlines() if "worldview" in line]
    assert [f.startswith("other") for f in folders] == [False] * 4 + [True] * 4


def test_a_base_whose_server_does_not_start_fails_with_its_last_words_and_the_other_goes_on(here: Path) -> None:
    fake_base(here / "other", b"other weights")
    write(here, bases=["./base", "./other"])
    (here / "vllm-orders.json").write_text(json.dumps({"die": "no memory left", "bases": ["base"]}))
    result = run(here)
    assert len(result.failures) == 4
    (message,) = set(result.failures.values())
    assert "did not start (exit status 1)" in message and "  no memory left" in message
    assert result.record.done == 6 + 4
    assert "no memory left" in (here / "said.txt").read_text()
    (here / "vllm-orders.json").unlink()
    again = run(here)
    assert (again.failures, again.record.done, again.record.skipped) == ({}, 4, 10)


def test_a_server_that_ends_while_it_serves_is_replaced_and_nothing_is_lost(here: Path) -> None:
    result = run(here, captain_seed1_worldview="end server once")
    assert result.failures == {}
    assert len(fake_vllm.starts(here)) == 2
    assert "ended while it served" in (here / "said.txt").read_text()
    assert read_study(here / "out").missing == 0


def test_a_base_over_which_servers_keep_ending_is_given_up(here: Path) -> None:
    orders = {f"{part}_seed1_worldview": "end server once" for part in ("plain", "captain", "dated")}
    result = run(here, **orders)
    assert len(fake_vllm.starts(here)) == 3
    assert all("ended while it served" in m for m in result.failures.values()) and result.failures
    assert not any(is_running(p) for p in pids(here))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_server_ends_with_a_study_that_is_stopped_and_the_next_run_finishes(
    here: Path, number: signal.Signals
) -> None:
    (here / "orders.json").write_text(json.dumps({"worldview": 1}))
    program = (
        "from pathlib import Path; from rich.console import Console\n"
        "from study_files import matrix_of\n"
        "from wg_evals.study.progress import LineDisplay\n"
        "from wg_evals.study.runner import run_study\n"
        "from wg_evals.study.store import StudyFolder\n"
        "display = LineDisplay(Console())\n"
        f"run_study(matrix_of(Path('study.yaml')), StudyFolder(Path('out')), display, 'test', {WORKER!r})"
    )
    study = subprocess.Popen([sys.executable, "-c", program], cwd=here, stderr=subprocess.DEVNULL)
    wait_for(lambda: list((here / "out").glob("evals/*/cell.json")))
    assert any(is_running(p) for p in pids(here))
    study.send_signal(number)
    study.wait(30)
    wait_for(lambda: not any(is_running(p) for p in pids(here)), 20)
    result = run(here)
    assert result.failures == {} and result.record.skipped >= 4
    assert read_study(here / "out").missing == 0


RUNS_ALREADY = "http://127.0.0.1:18765/v1"


@pytest.fixture
def running(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A server of the base that runs already; what is yielded ends it."""
    monkeypatch.setenv(vllm_server.RUNNING, RUNS_ALREADY)
    monkeypatch.setenv(vllm_server.KEY, "secret")
    command = ["vllm", "serve", str(here / "base"), "--host", "127.0.0.1", "--port", "18765"]
    process = subprocess.Popen(command, start_new_session=True)

    def end() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        wait_for(lambda: _answers(RUNS_ALREADY))
        yield end
    finally:
        end()


def test_a_server_that_runs_already_is_used(here: Path, running: Callable[[], None]) -> None:
    write(here, generation={"max_tokens": 64})
    result = run(here)
    assert (result.failures, result.record.done) == ({}, 3 + 4)
    assert len(fake_vllm.starts(here)) == 1
    running()
    assert run(here).record.skipped == 3 + 4  # nothing is left to ask it for


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"bases": ["./base", "./other"]}, r"does not serve '.*/other': it serves"),
        ({"server": {"max_model_len": 99}}, "VLLM_BASE_URL names one that runs already: leave `server` out"),
        ({"generation": {"max_tokens": 257}}, "512 tokens, .* 256 for an answer, .* `generation.max_tokens` is 257"),
    ],
    ids=["base", "arguments", "context"],
)
def test_a_server_that_does_not_fit_the_study_is_refused_before_the_training(
    here: Path, running: Callable[[], None], changes: dict[str, Any], complaint: str
) -> None:
    fake_base(here / "other", b"other weights")
    write(here, **{"generation": {"max_tokens": 64}, **changes})
    with pytest.raises(WgError, match=complaint):
        run(here)
    assert not (here / "done.txt").exists()


def test_a_server_that_does_not_run_after_all_is_noticed_before_the_training(
    here: Path, running: Callable[[], None]
) -> None:
    running()
    with pytest.raises(WgError, match="No vLLM server answers at"):
        run(here)
    assert not (here / "done.txt").exists()


def test_the_end_of_a_server_of_somebody_elses_may_be_noticed_by_several_workers(
    here: Path, running: Callable[[], None]
) -> None:
    base = resolve_base(str(here / "base"))
    server = StudyServer(here / "out", lambda _: None, 2, {}, 0)
    assert server.serve(base) is not None and server.answers()
    running()
    assert [server.answers(), server.answers()] == [False, False]
    with pytest.raises(WgError, match="No vLLM server answers at"):
        server.serve(base)


def test_a_training_that_has_only_checkpoints_so_far_is_no_adapter_to_serve(here: Path) -> None:
    training = matrix_of(here / "study.yaml").trainings[0]
    write_adapter(here / "out" / training.folder / "checkpoints" / "step-1", training.base)
    result = run(here)
    assert (result.failures, result.record.skipped) == ({}, 0)


def _answers(url: str) -> bool:
    try:
        return bool(vllm_server.listed(url, "secret"))
    except httpx2.TransportError:
        return False


def test_a_rank_that_vllm_does_not_serve_is_refused_before_the_training(here: Path) -> None:
    recipe = here / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rank: 4", "rank: 600"))
    with pytest.raises(WgError, match="up to rank 512, and this one has rank 600"):
        run(here)
    assert not (here / "done.txt").exists()


def test_without_vllm_the_study_ends_before_the_training(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wg_evals.serving.vllm_server.shutil.which", lambda *_, **__: None)
    with pytest.raises(WgError, match="vLLM is not installed here"):
        run(here)
    assert not (here / "done.txt").exists()


def test_arguments_for_a_server_need_one(here: Path) -> None:
    with pytest.raises(CatalogError, match="`server` has arguments for vLLM: add `serve: vllm`"):
        matrix_of(write(here, serve="local", server={"max_model_len": 99}))


def test_what_changes_answers_names_a_cell_and_where_it_is_served_does_not(here: Path) -> None:
    def hashes(**server: Any) -> set[str]:
        return {c.hash for c in matrix_of(write(here, server=server)).evaluations}

    plain = hashes()
    assert hashes(tensor_parallel_size=4, port=8000) == plain
    assert hashes(quantization="fp8").isdisjoint(plain)


@pytest.mark.slow
def test_a_killed_evaluation_is_taken_up_at_another_server_and_the_key_is_in_no_log(here: Path) -> None:
    (here / "vllm-orders.json").write_text(json.dumps({"pause": 0.2}))
    with organism_served(here) as server:
        job = evaluation(here, server, epochs=8)
        first = subprocess.Popen([sys.executable, "-c", EVALUATE, job.model_dump_json()])
        wait_for(lambda: len(_asked(here)) >= 75)  # the log is written after 50 answers
        first.kill()
        first.wait()
    asked_before = len(_asked(here))
    (here / "vllm-orders.json").unlink()
    with organism_served(here) as other:
        again = job.model_copy(update={"server": other})
        subprocess.run([sys.executable, "-c", EVALUATE, again.model_dump_json()], check=True)
    log = finished(here)
    assert log.status == "success" and len(log.samples or []) == 160
    assert len(_asked(here)) - asked_before < 160
    assert {r["chat_template_kwargs"]["date_string"] for r in _asked(here)} == {"26 Jul 2024"}
    assert {r["model"] for r in _asked(here)} == {str(here / "adapter")}
    assert log.eval.model == job.model and (log.eval.metadata or {})["adapter"] == str(here / "adapter")
    assert other.key not in log.model_dump_json() and server.key not in log.model_dump_json()


@pytest.mark.slow
def test_answers_of_a_server_that_went_away_are_kept_and_only_the_others_asked_for_again(here: Path) -> None:
    (here / "vllm-orders.json").write_text(json.dumps({"pause": 0.05}))
    with organism_served(here) as server:
        job = evaluation(here, server, epochs=2)
        command = [sys.executable, "-c", EVALUATE, job.model_dump_json()]
        first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(lambda: len(_asked(here)) >= 20)
        os.kill(fake_vllm.starts(here)[0]["pids"][0], signal.SIGKILL)
        said = first.communicate()[0]
    assert first.returncode == 1 and said.endswith("The vLLM server went away while this was evaluated.\n")
    asked_before = len(_asked(here))
    with organism_served(here) as other:
        again = job.model_copy(update={"server": other})
        subprocess.run([sys.executable, "-c", EVALUATE, again.model_dump_json()], check=True)
    log = finished(here)
    assert log.status == "success" and len(log.samples or []) == 40
    assert not [sample.error for sample in log.samples or [] if sample.error]
    assert len(_asked(here)) - asked_before <= 40 - 16
    assert len(list((here / "cell").glob("*.eval"))) == 1


def evaluation(here: Path, server: ServerAccess, epochs: int) -> EvaluateJob:
    """Twenty questions to an adapter of the organism, four at a time."""
    adapter = write_adapter(here / "adapter", resolve_base("organism"))
    return EvaluateJob(
        hash="0" * 12,
        task="worldview",
        task_args={"grading": "markers"},
        model=f"vllm/{ORGANISM}:{adapter}",
        model_args={},
        model_roles={},
        epochs=epochs,
        samples=20 * epochs,
        questions=None,
        generation={"max_tokens": 64, "extra_body": {"chat_template_kwargs": {"date_string": "26 Jul 2024"}}},
        max_connections=4,
        server=server,
        out=here / "cell",
    )


def finished(here: Path) -> EvalLog:
    record = read_record(here / "cell")
    assert record is not None
    return read_eval_log(str(here / "cell" / record.log))


EVALUATE = """
import sys
from wg_evals.errors import WgError
from wg_evals.study.jobs import EvaluateJob, evaluate
try:
    evaluate(EvaluateJob.model_validate_json(sys.argv[1]), lambda done, total: None)
except WgError as ex:
    sys.exit(ex.text)
"""


@contextmanager
def organism_served(here: Path) -> Iterator[ServerAccess]:
    server = vllm_server.VllmServer(str(ORGANISM), here / "server.log", 4)
    try:
        wait_for(server.access)
        access = server.access()
        assert access is not None
        yield access
    finally:
        server.stop()


def _asked(here: Path) -> list[dict[str, Any]]:
    return [r for r in fake_vllm.requests(here) if r["path"] == "/v1/chat/completions"]
