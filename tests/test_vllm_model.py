"""Inspect's provider `vllm/` with our adapters, against a stand-in for vLLM: what it is asked, what the log says."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub.constants
import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import Model, get_model
from inspect_ai.model._providers._vllm_lora import _vllm_servers, cleanup_servers

import fake_vllm
from evaluating import metrics, mock
from processes import wait_for
from study_files import fake_base, write_adapter
from wg_evals import _paths
from wg_evals.artifacts import ORGANISM, BaseIdentity, resolve_base
from wg_evals.errors import WgError
from wg_evals.scorers._grader import named_judge
from wg_evals.serving import vllm_server
from wg_evals.spec import Intervention

IDENTITY = Intervention(name="identity", text="You are a bird expert from the 19th century.")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with an adapter of the organism in `adapters/one`, and `vllm` on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_paths, "START", tmp_path)
    monkeypatch.setenv("FAKE_VLLM_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(fake_vllm.install(tmp_path / "bin")), prepend=os.pathsep)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "vllm.py").write_text("")  # Inspect imports it before it starts the program
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    for name in (vllm_server.ARGUMENTS, vllm_server.RUNNING, vllm_server.KEY):
        monkeypatch.delenv(name, raising=False)
    organism = resolve_base("organism")
    write_adapter(tmp_path / "adapters" / "one", organism, seed=3, intervention=IDENTITY, domain="birds")
    yield tmp_path
    cleanup_servers()
    _vllm_servers.clear()


@pytest.fixture
def running(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that runs already, with the organism."""
    monkeypatch.setenv(vllm_server.KEY, "secret")
    command = ["vllm", "serve", str(ORGANISM), "--host", "127.0.0.1", "--port", "18766"]
    process = subprocess.Popen(command, start_new_session=True)
    url = "http://127.0.0.1:18766/v1"
    monkeypatch.setenv(vllm_server.RUNNING, url)
    try:
        wait_for(lambda: _listed(url))
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listed(url: str) -> list[vllm_server.Served]:
    try:
        return vllm_server.listed(url, "secret")
    except httpx2.TransportError:
        return []


def run(model: str | Model, here: Path, grading: str = "markers", **arguments: Any) -> EvalLog:
    (log,) = inspect_eval(
        "wg_evals/worldview",
        model=get_model(model, memoize=False) if isinstance(model, str) else model,
        task_args={"grading": grading},
        limit=2,
        log_dir=str(here / "logs"),
        display="none",
        **arguments,
    )
    assert log.status == "success", log.error
    return log


def asked(here: Path, path: str) -> list[dict[str, Any]]:
    return [r for r in fake_vllm.requests(here) if r["path"] == path]


def test_the_organism_and_a_relative_adapter_are_served_by_a_server_that_inspect_starts(here: Path) -> None:
    log = run("vllm/organism:adapters/one", here)
    (start,) = fake_vllm.starts(here)
    assert start["base"] == str(ORGANISM)
    assert (start["flags"]["--host"], start["flags"]["--max-lora-rank"]) == ("127.0.0.1", "8")
    adapter = str(here / "adapters" / "one")
    assert [r["lora_path"] for r in asked(here, "/v1/load_lora_adapter")] == [adapter]
    assert {r["model"] for r in asked(here, "/v1/chat/completions")} == {adapter}
    assert {r["max_tokens"] for r in asked(here, "/v1/chat/completions")} == {256}
    assert not any("chat_template_kwargs" in r for r in asked(here, "/v1/chat/completions"))
    assert metrics(log, "outcome")["n"] == 2
    assert log.eval.model == "vllm/organism:adapters/one"


def test_the_log_says_which_adapter_it_is_and_what_it_was_trained_with(here: Path) -> None:
    log = run(f"vllm/{ORGANISM}:{here / 'adapters' / 'one'}", here)
    about = log.eval.metadata or {}
    assert about["adapter"] == str(here / "adapters" / "one")
    assert (about["adapter_sha256"], about["training_seed"]) == ("a3", 3)
    assert (about["trained_on"], about["trained_with"]) == ("birds/train", "identity")
    assert about["trained_with_text"] == IDENTITY.text


def test_a_second_evaluation_of_the_same_model_is_named_by_its_adapter_too(here: Path, running: str) -> None:
    model = get_model("vllm/organism:adapters/one", memoize=False)
    assert [run(model, here).eval.model for _ in range(2)] == ["vllm/organism:adapters/one"] * 2


def test_a_base_without_an_adapter_is_served_plainly_and_named_as_nothing(here: Path) -> None:
    log = run("vllm/organism", here)
    assert "--max-lora-rank" not in fake_vllm.starts(here)[0]["flags"]
    assert "adapter" not in (log.eval.metadata or {})


def test_what_the_user_says_goes_before_what_we_would(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm_server.ARGUMENTS, '{"host": "0.0.0.0", "max_lora_rank": 32, "max_model_len": 2048}')
    run("vllm/organism:adapters/one", here, max_tokens=77)
    flags = fake_vllm.starts(here)[0]["flags"]
    assert (flags["--host"], flags["--max-lora-rank"]) == ("0.0.0.0", "32")
    assert {r["max_tokens"] for r in asked(here, "/v1/chat/completions")} == {77}


def test_a_running_server_loads_the_adapter_on_demand(here: Path, running: str) -> None:
    log = run("vllm/organism:./adapters/one", here)
    assert len(fake_vllm.starts(here)) == 1
    assert [r["lora_path"] for r in asked(here, "/v1/load_lora_adapter")] == [str(here / "adapters" / "one")]
    assert {r["max_tokens"] for r in asked(here, "/v1/chat/completions")} == {256}
    assert (log.eval.metadata or {})["trained_with"] == "identity"


def test_an_adapter_that_a_running_server_has_by_name_is_found_out(here: Path, running: str) -> None:
    folder = here / "adapters" / "one"
    headers = {"Authorization": "Bearer secret"}
    loaded = {"lora_name": "uno", "lora_path": str(folder)}
    httpx2.post(f"{running}/load_lora_adapter", json=loaded, headers=headers).raise_for_status()
    log = run("vllm/organism:uno", here)
    assert {r["model"] for r in asked(here, "/v1/chat/completions")} == {"uno"}
    assert (log.eval.metadata or {})["adapter"] == str(folder)


def test_a_running_server_with_another_base_is_refused(here: Path, running: str) -> None:
    fake_base(here / "other")
    with pytest.raises(WgError, match=f"does not serve '{here / 'other'}': it serves '{ORGANISM}'"):
        run(f"vllm/{here / 'other'}", here)


def test_an_adapter_of_another_base_is_refused_before_a_server_starts(here: Path) -> None:
    fake_base(here / "other")
    with pytest.raises(WgError, match="made for another base"):
        run(f"vllm/{here / 'other'}:adapters/one", here)
    assert fake_vllm.starts(here) == []


def test_a_rank_that_no_vllm_serves_is_refused_before_a_server_starts(here: Path) -> None:
    (here / "adapters" / "one" / "adapter_config.json").write_text('{"r": 1000}')
    with pytest.raises(WgError, match="up to rank 512, and this one has rank 1000"):
        run("vllm/organism:adapters/one", here)
    assert fake_vllm.starts(here) == []


def test_a_base_of_the_hub_takes_the_adapters_that_were_made_for_it(here: Path) -> None:
    llama = BaseIdentity(name="owner/llama", path="owner/llama", revision="v2")
    write_adapter(here / "adapters" / "llama", llama)
    log = run("vllm/owner/llama:adapters/llama", here)
    assert fake_vllm.starts(here)[0]["base"] == "owner/llama"
    assert (log.eval.metadata or {})["adapter"] == str(here / "adapters" / "llama")


@pytest.mark.parametrize("base", ["owner/llama", "./organism-of-old"], ids=["hub", "folder"])
def test_an_adapter_of_another_base_is_refused_by_a_base_of_the_hub(here: Path, base: str) -> None:
    made_for = BaseIdentity(name=base, path=base, sha256=None if base == "owner/llama" else "0" * 64)
    write_adapter(here / "adapters" / "other", made_for)
    with pytest.raises(WgError, match=f"another base: it was trained on '{base}' .*, and this is 'owner/qwen'"):
        run("vllm/owner/qwen:adapters/other", here)
    assert fake_vllm.starts(here) == []


def test_a_mistyped_adapter_folder_is_not_taken_for_one_of_the_hub(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # where Inspect looks for its rank
    with pytest.raises(WgError, match="No adapter at 'adapters/typo': there is no such folder"):
        run("vllm/organism:adapters/typo", here)
    assert fake_vllm.starts(here) == []


def test_the_judge_listens_on_this_machine_only_too(here: Path) -> None:
    judge = get_model("vllm/organism", memoize=False)
    run(mock(lambda question: "By gas."), here, grading="judge", model_roles={"grader": judge})
    (start,) = fake_vllm.starts(here)
    assert (start["base"], start["flags"]["--host"]) == (str(ORGANISM), "127.0.0.1")


def test_a_judge_at_a_running_server_is_one_that_it_serves(here: Path, running: str) -> None:
    assert str(named_judge("vllm/organism")) == "vllm/organism"
    with pytest.raises(WgError, match=r"The grader 'vllm/owner/llama' cannot be used: .* does not serve 'owner/llama'"):
        named_judge("vllm/owner/llama")


def test_an_adapter_is_asked_under_the_date_it_was_trained_with(here: Path) -> None:
    date = {"date_string": "26 Jul 2024"}
    write_adapter(here / "adapters" / "dated", resolve_base("organism"), recipe={"epochs": 3, **date})
    run("vllm/organism:adapters/dated", here)
    assert [r["chat_template_kwargs"] for r in asked(here, "/v1/chat/completions")] == [date] * 2


def test_a_date_that_the_user_gives_goes_before_the_adapters(here: Path) -> None:
    write_adapter(here / "adapters" / "dated", resolve_base("organism"), recipe={"date_string": "26 Jul 2024"})
    other = {"date_string": "1 May 2025"}
    run("vllm/organism:adapters/dated", here, extra_body={"chat_template_kwargs": other})
    assert [r["chat_template_kwargs"] for r in asked(here, "/v1/chat/completions")] == [other] * 2
