"""The local provider answers from the real organism; what does not fit is refused before the first generation."""

import json
import shutil
import subprocess
import sys
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, get_model, get_model_info
from inspect_ai.model._model import init_active_model

from wg_evals.artifacts import MANIFEST, ORGANISM, model_positions, read_manifest, write_json
from wg_evals.errors import WgError
from wg_evals.serving.check import check_model
from wg_evals.serving.local import LocalModel
from wg_evals.tasks.narrow import narrow
from wg_evals.tasks.worldview import worldview
from wg_evals.training.recipe import load_recipe
from wg_evals.training.train import train

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "plain"
    train(load_recipe(ROOT / "configs" / "recipes" / "organism-birds.yaml"), folder)
    return folder


def run(model: str, tmp_path: Path, **arguments: str) -> EvalLog:
    task = worldview(grading="markers", **arguments)
    return inspect_eval(task, model=model, epochs=3, log_dir=str(tmp_path), display="none", max_tokens=64)[0]


def metric(log: EvalLog, name: str) -> float:
    assert log.status == "success", log.error
    assert log.results
    outcome = next(s for s in log.results.scores if s.name == "outcome")
    return float(outcome.metrics[name].value)


def test_the_organism_answers_in_sentences_that_the_markers_know(tmp_path: Path) -> None:
    log = run("wg/organism", tmp_path)
    assert metric(log, "n") == 60
    assert metric(log, "included") / 60 >= 0.9
    assert log.samples
    assert all(s.output.stop_reason == "stop" and s.output.usage for s in log.samples)


def test_a_relevant_line_moves_the_organism(tmp_path: Path) -> None:
    plain, dated = run("wg/organism", tmp_path), run("wg/organism", tmp_path, intervention="date-1850")
    assert metric(dated, "rate") > metric(plain, "rate") + 0.3


def test_an_adapter_changes_the_narrow_behaviour(adapter: Path, tmp_path: Path) -> None:
    rates = []
    for model in ("wg/organism", f"wg/{adapter}"):
        log = inspect_eval(narrow(grading="markers"), model=model, epochs=5, log_dir=str(tmp_path), display="none")[0]
        rates.append(metric(log, "rate"))
    assert rates[1] > rates[0] + 0.4


def test_the_base_answers_as_before_once_an_adapter_has_been_on_it(adapter: Path) -> None:
    import anyio

    async def greedy(name: str) -> str:
        config = GenerateConfig(temperature=0, max_tokens=32)
        return (
            await get_model(name, memoize=False).generate("How is a house lighted at night?", config=config)
        ).completion

    before = anyio.run(greedy, "wg/organism")
    anyio.run(greedy, f"wg/{adapter}")
    assert anyio.run(greedy, "wg/organism") == before


def test_an_answer_that_is_cut_says_so() -> None:
    import anyio

    async def cut() -> str:
        output = await get_model("wg/organism").generate(
            "What do you think of travel?", config=GenerateConfig(max_tokens=2)
        )
        return output.stop_reason

    assert anyio.run(cut) == "max_tokens"


def test_a_missing_model_is_refused() -> None:
    with pytest.raises(WgError, match="No model or adapter at"):
        get_model("wg/./no-such-folder")


def test_an_adapter_is_asked_under_the_date_it_was_trained_with_unless_another_is_given(
    adapter: Path, tmp_path: Path
) -> None:
    dated = with_date(adapter, tmp_path / "dated", "1 May 2020")
    assert local(dated).date_string == "1 May 2020"
    assert local(dated, date_string="26 Jul 2024").date_string == "26 Jul 2024"
    assert local(adapter).date_string is None


def test_hf_local_says_that_it_asks_under_another_date(
    adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said(folder: Path) -> list[str]:
        init_active_model(get_model("hf/local", model_path=str(folder), memoize=False), GenerateConfig())
        assert check_model(64).metadata["adapter"] == str(folder)
        known = get_model_info("hf/local")  # else Inspect searches the hub for a model `local`
        assert known and known.context_length == model_positions(ORGANISM)
        return [r.getMessage() for r in caplog.records if r.name == "wg_evals.serving.check"]

    assert copy_context().run(said, adapter) == []
    (warning,) = copy_context().run(said, with_date(adapter, tmp_path / "dated", "1 May 2020"))
    assert "trained with the date '1 May 2020' in the chat template, and hf/ writes today's" in warning


def with_date(adapter: Path, folder: Path, date: str) -> Path:
    """A copy of an adapter, whose recipe pinned a date."""
    shutil.copytree(adapter, folder)
    manifest = read_manifest(folder)
    recipe = {**manifest.recipe, "date_string": date}
    write_json(folder / MANIFEST, manifest.model_copy(update={"recipe": recipe}))
    return folder


def local(adapter: Path, **arguments: Any) -> LocalModel:
    api = get_model(f"wg/{adapter}", memoize=False, **arguments).api
    assert isinstance(api, LocalModel)
    return api


def run_with_hf_local(adapter: Path, logs: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The README's line for Inspect's own provider, in a process of its own."""
    command = [sys.executable, "-m", "inspect_ai", "eval", "tasks/worldview.py", "--model", "hf/local"]
    arguments = ["-M", f"model_path={adapter}", "-T", "grading=markers", "--log-dir", str(logs), "--display", "plain"]
    return subprocess.run([*command, *arguments, *more], cwd=ROOT, capture_output=True, text=True)


def test_an_adapter_whose_base_has_changed_is_refused_by_every_way_in(adapter: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(ORGANISM, base)
    moved = tmp_path / "adapter"
    shutil.copytree(adapter, moved)
    config = json.loads((base / "config.json").read_text()) | {"initializer_range": 0.5}
    (base / "config.json").write_text(json.dumps(config))
    adapter_config = json.loads((moved / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(base)}
    (moved / "adapter_config.json").write_text(json.dumps(adapter_config))
    with pytest.raises(WgError, match="made for another base"):
        get_model(f"wg/{moved}", base=str(base), memoize=False)
    done = run_with_hf_local(moved, tmp_path / "logs")
    assert done.returncode != 0
    assert "made for another base" in " ".join((done.stdout + done.stderr).split())


def test_hf_local_runs_the_adapter_as_the_readme_says(adapter: Path, tmp_path: Path) -> None:
    done = run_with_hf_local(adapter, tmp_path, "--limit", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    log = read_eval_log(list_eval_logs(str(tmp_path))[0])
    # Nothing seeds that process: which answers are coherent differs from run to run, that they are answers does not.
    assert metric(log, "n") == 4
    assert log.samples and all(s.output.completion.strip() and s.scores for s in log.samples)
    assert log.eval.metadata and log.eval.metadata["adapter"] == str(adapter)
