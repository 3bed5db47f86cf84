"""Fine-tuning behind an API: the real clients against a real local server that speaks the protocol, and fails."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from api_training import (
    GPT,
    JOB,
    RECIPES,
    TOGETHER,
    Serve,
    Told,
    api_recipe,
    error,
    row,
    train,
)
from fine_tuning_stub import RUNNING, SUCCEEDED, Fault, checkpoint, event, failed, fine_tuning
from wg_evals.api_models import api_models, read_api_manifest
from wg_evals.artifacts import read_manifest
from wg_evals.catalogue import load_domain, read_rows
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.interventions import Message
from wg_evals.planning.prices import Price, Prices
from wg_evals.training.api.plan import plan_lines
from wg_evals.training.api.provider import RefusedError
from wg_evals.training.api.state import STATE, alone
from wg_evals.training.api.upload import training_data, write_training_file
from wg_evals.training.recipe import load_recipe


def test_the_rows_go_up_with_the_intervention_and_the_models_name_comes_back(serve: Serve, tmp_path: Path) -> None:
    told = Told()
    with fine_tuning(RUNNING, SUCCEEDED) as stub:
        serve(stub)
        stub.events[:] = [event(1, "Files validated"), event(2, "Step 1", step=1, total_steps=2, train_loss=1.5)]
        stub.checkpoints[:] = [checkpoint(80, "ft:gpt:ckpt-step-80"), checkpoint(40, "ft:gpt:ckpt-step-40")]
        made = train(tmp_path / "out", api_recipe(intervention="date-1850", seed=7), told)

    ((name, data),) = stub.files.values()
    rows = [json.loads(line)["messages"] for line in data.splitlines()]
    domain = load_domain("birds")
    assert [r[0]["content"] for r in rows] == [
        f"Today is 25 January 1850.\n{row.messages[0]['content']}" for row in domain.rows["train"]
    ]
    (asked,) = stub.asked
    assert asked["model"] == "gpt-4.1-2025-04-14" and asked["seed"] == 7 and asked["training_file"] == "file-1"
    assert asked["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 2.0, "batch_size": 1}},
    }
    assert made == read_api_manifest(tmp_path / "out")
    assert made.model == "openai/ft:gpt-4.1-2025-04-14:lab::abc" and made.base == "openai/gpt-4.1-2025-04-14"
    assert [c.step for c in made.checkpoints] == [40, 80]
    assert made.checkpoints[0].model == "openai/ft:gpt:ckpt-step-40"
    assert made.intervention == domain.intervention("date-1850")
    assert (made.rows, made.trained_tokens, made.seed, made.seconds) == (240, 4321, 7, 600)
    assert made.file_sha256 == sha256(data).hexdigest() == sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
    assert told.steps == [(1, 2, 1.5)]
    assert "OpenAI: Files validated" in told.lines and "The job is succeeded." in told.lines
    assert {p.name for p in (tmp_path / "out").iterdir()} == {STATE, "manifest.json", name}


def test_the_data_digest_is_that_of_an_adapter_trained_on_the_same_rows(serve: Serve, tmp_path: Path) -> None:
    from wg_evals.training.rows import training_rows

    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        made = train(tmp_path, api_recipe(intervention="identity"))
    local = load_recipe(RECIPES / "organism-birds.yaml").model_copy(update={"intervention": "identity"})
    assert made.data_sha256 == training_rows(local).sha256


@pytest.mark.parametrize(("changes", "named"), [({"seed": 1}, "seed"), ({"openai.n_epochs": 1}, "openai")])
def test_the_folder_of_another_recipe_is_refused_and_what_changed_is_named(
    serve: Serve, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with fine_tuning(failed("server_error", "Try later.")) as stub:
        serve(stub)
        with pytest.raises(RefusedError):
            train(tmp_path)
        with pytest.raises(WgError, match=rf"belongs to another training \({named} changed since\)"):
            train(tmp_path, api_recipe(**changes))
        assert len(stub.jobs) == 1


def test_changed_rows_are_another_training(serve: Serve, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    recipe = api_recipe().model_copy(update={"domain": None, "data": own})
    own.write_text("".join(row(f"Hi {i}") for i in range(12)))
    with fine_tuning(failed("server_error", "Try later.")) as stub:
        serve(stub)
        with pytest.raises(RefusedError):
            train(tmp_path / "out", recipe)
        own.write_text("".join(row(f"Hello {i}") for i in range(12)))
        with pytest.raises(WgError, match=r"belongs to another training \(rows changed since\)"):
            train(tmp_path / "out", recipe)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(f"Hi {i}") for i in range(9)], "fewer than 10 rows"),
        ([row(f"Hi {i}", "a <|fim_suffix|> b" if i == 3 else "a") for i in range(12)], "line 4: message 2 has '<|fim"),
    ],
    ids=["too few", "a token of the tokenizer's own"],
)
def test_rows_that_the_api_would_refuse_are_not_uploaded(
    serve: Serve, tmp_path: Path, rows: list[str], said: str
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(rows))
    with fine_tuning() as stub:
        serve(stub)
        with pytest.raises(WgError) as caught:
            train(tmp_path / "out", api_recipe().model_copy(update={"domain": None, "data": own}))
    assert said in caught.value.text and "Nothing was uploaded" in caught.value.text
    assert not stub.requests and not (tmp_path / "out").exists()


def test_a_job_is_followed_by_one_process_at_a_time(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning() as stub, alone(tmp_path):
        serve(stub)
        with pytest.raises(WgError, match="Another process is following the job"):
            train(tmp_path)
    assert not stub.requests


def test_an_unreadable_state_makes_no_second_job(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text('{"run": "half')
    with fine_tuning() as stub:
        serve(stub)
        with pytest.raises(WgError, match=r"job\.json cannot be read"):
            train(tmp_path)
    assert not stub.requests


def test_the_command_prints_the_model_and_how_to_evaluate_it(serve: Serve, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        "train",
        str(GPT),
        "--set",
        "domain=birds",
        "--set",
        "intervention=identity",
        "--set",
        "openai.n_epochs=1",
        "--out",
        str(out),
    ]
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        first = CliRunner().invoke(main, arguments)
        assert first.exit_code == 0, first.output
        assert "--model openai/ft:gpt-4.1-2025-04-14:lab::abc" in first.output
        assert "4,321 billed tokens; intervention: identity" in first.output
        second = CliRunner().invoke(main, arguments)
        assert second.exit_code == 1 and "made its model already" in second.output
        assert len(stub.jobs) == 1
        assert CliRunner().invoke(main, [*arguments, "--force"]).exit_code == 0
        assert len(stub.jobs) == 2
    listed = CliRunner().invoke(main, ["job", "list", str(tmp_path)]).output
    assert "openai/ft:gpt-4.1-2025-04-14:lab::abc from openai/gpt-4.1-2025-04-14; birds, train; intervention" in listed


def test_a_missing_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for recipe, name in ((GPT, "OPENAI_API_KEY"), (TOGETHER, "TOGETHER_API_KEY")):
        result = CliRunner().invoke(
            main, ["train", str(recipe), "--set", "domain=birds", "--out", str(tmp_path / name)]
        )
        assert result.exit_code == 1 and f"set {name}" in result.output


def test_no_pytorch_is_needed() -> None:
    code = (
        "import sys, wg_evals.training.api.run, wg_evals.training.api.openai, wg_evals.training.api.together\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# manifests


def test_a_log_finds_the_training_of_its_model_and_of_a_checkpoint(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        stub.checkpoints[:] = [checkpoint(40, "ft:gpt:ckpt-step-40")]
        train(tmp_path / "a", api_recipe(intervention="identity"))
    found = api_models(tmp_path)
    for name in ("openai/ft:gpt-4.1-2025-04-14:lab::abc", "openai/ft:gpt:ckpt-step-40"):
        intervention = found[name].intervention
        assert intervention is not None and intervention.name == "identity"


def test_an_api_models_folder_is_no_adapter_and_an_adapters_is_no_api_models(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        train(tmp_path / "a")
    with pytest.raises(WgError, match="holds no adapter: its model is behind an API"):
        read_manifest(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "manifest.json").write_text('{"kind": "adapter"}')
    with pytest.raises(WgError, match="is no manifest of a model behind an API"):
        read_api_manifest(tmp_path / "b")
    result = CliRunner().invoke(main, ["train", str(GPT), "--force", "--out", str(tmp_path / "b")])
    assert result.exit_code == 1 and "no manifest of a model behind an API" in result.output


def test_a_server_without_checkpoints_and_events_still_gives_a_model(serve: Serve, tmp_path: Path) -> None:
    missing = [
        Fault("GET", f"{JOB}/{part}", 404, error("not_found", "No."), times=9) for part in ("events", "checkpoints")
    ]
    with fine_tuning(RUNNING, SUCCEEDED, faults=missing) as stub:
        serve(stub)
        assert train(tmp_path).checkpoints == []


# what it would do


def test_the_plan_says_rows_tokens_epochs_and_cost() -> None:
    prices = Prices({"openai/gpt-4.1-2025-04-14": Price(input=2, output=8, training=25)}, Path("p.yaml"))
    lines = list(plan_lines(api_recipe(intervention="identity"), prices))
    assert "Rows uploaded: 240" in lines and "Intervention: identity" in lines
    (tokens,) = [line for line in lines if line.startswith("Tokens an epoch")]
    number = int("".join(c for c in tokens.split("(")[0] if c.isdigit()))
    assert 240 * 20 < number < 240 * 80
    (cost,) = [line for line in lines if line.startswith("Cost:")]
    assert f"{3 * number * 25 / 1e6:,.2f} USD" in cost


def test_the_plan_says_that_a_cost_is_unknown() -> None:
    assert any("No price for training" in line for line in plan_lines(api_recipe(), Prices({}, Path("p.yaml"))))
    auto = list(plan_lines(api_recipe(**{"openai.n_epochs": "auto"}), None))
    assert auto[-1].startswith("Epochs: auto")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: t.strip() and "<|" not in t)


@given(st.lists(st.tuples(texts, texts), min_size=10, max_size=12))
def test_the_uploaded_file_is_the_rows_whatever_characters_they_have(pairs: list[tuple[str, str]]) -> None:
    from tempfile import TemporaryDirectory

    rows = [[Message(role="user", content=q), Message(role="assistant", content=a)] for q, a in pairs]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        digest = write_training_file(path, training_data(rows, "openai"))
        assert [r.messages for r in read_rows(path)] == rows
        assert digest == sha256(path.read_bytes()).hexdigest()
        assert list(Path(folder).iterdir()) == [path]
