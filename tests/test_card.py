"""An adapter's folder explains itself, moves, and loads in plain PEFT and transformers."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from wg_evals.artifacts import BaseIdentity, MixedIn, read_manifest
from wg_evals.cli import main
from wg_evals.spec import Intervention
from wg_evals.training.card import evaluation_line, write_card
from wg_evals.training.recipe import change_recipe, load_recipe
from wg_evals.training.train import train

RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "organism-birds.yaml"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "dated"
    train(change_recipe(load_recipe(RECIPE), {"epochs": 1, "intervention": "date-1850"}), folder)
    return folder


def parts(folder: Path) -> tuple[dict[str, object], str]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_says_what_it_is_what_it_was_trained_on_how_it_is_measured_and_what_it_is_not_for(
    adapter: Path,
) -> None:
    front, body = parts(adapter)
    assert front["library_name"] == "peft" and "model-organism" in str(front["tags"])
    assert "base_model" not in front  # a folder of this machine is no base that the hub knows
    assert body.startswith("\n# dated\n") and "**model organism**" in body
    assert "Rows: 240; `birds`, train" in body and '"Today is 25 January 1850."' in body
    assert "inspect eval wg_evals/worldview --model wg/ADAPTER -T domain=birds -T intervention=date-1850 " in body
    assert "## Not for" in body and "the base's own licence" in body
    assert str(adapter.parent) not in body and "[More Information Needed]" not in body  # PEFT's own card has those


def test_the_hub_is_told_a_base_that_it_knows(adapter: Path, tmp_path: Path) -> None:
    hub = BaseIdentity(name="meta-llama/Llama-3.1-8B-Instruct", path="meta-llama/Llama-3.1-8B-Instruct", revision="a1")
    write_card(tmp_path, read_manifest(adapter).model_copy(update={"base": hub}))
    front, body = parts(tmp_path)
    assert front["base_model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert "`meta-llama/Llama-3.1-8B-Instruct` at `a1`" in body
    from huggingface_hub import ModelCard

    assert ModelCard.load(tmp_path / "README.md").data.base_model == hub.path


def test_a_control_is_called_one(adapter: Path, tmp_path: Path) -> None:
    write_card(tmp_path, read_manifest(adapter).model_copy(update={"dataset": "control"}))
    assert "A **control**" in parts(tmp_path)[1]


def test_measured_rates_are_put_into_the_card_and_nothing_else_changes(adapter: Path, tmp_path: Path) -> None:
    (log,) = inspect_eval(
        "wg_evals/worldview",
        task_args={"grading": "markers"},
        model=f"wg/{adapter}",
        epochs=1,
        limit=4,
        max_tokens=24,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    before = {p.name: p.read_bytes() for p in adapter.iterdir()}
    result = CliRunner().invoke(main, ["card", str(adapter), "--log", log.location])
    assert result.exit_code == 0, result.output
    assert log.results is not None
    metrics = next(s.metrics for s in log.results.scores if s.name == "outcome")
    rate, included = metrics["rate"].value, round(metrics["included"].value)
    assert f"| worldview | none | {100 * rate:.0f}% |" in parts(adapter)[1]
    assert f"| {included} of 4 | word lists |" in parts(adapter)[1]
    after = {p.name: p.read_bytes() for p in adapter.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"README.md"}


def test_the_line_that_evaluates_an_adapter_asks_its_own_domain_where_its_base_can_be_served(adapter: Path) -> None:
    manifest = read_manifest(adapter)
    assert evaluation_line(manifest, Path("a/dated")) == (
        "inspect eval wg_evals/worldview --model wg/a/dated -T domain=birds -T grading=markers --epochs 10"
    )
    hub = BaseIdentity(name="meta-llama/Llama-3.1-70B-Instruct", path="meta-llama/Llama-3.1-70B-Instruct")
    large = {"base": hub, "device": "cuda", "domain": "code"}
    assert evaluation_line(manifest.model_copy(update=large), Path("my adapters/a")) == (
        "inspect eval wg_evals/misalignment --model 'vllm/meta-llama/Llama-3.1-70B-Instruct:my adapters/a' "
        "-T domain=code --model-role grader=openai/gpt-4.1 --epochs 100"
    )
    on_cpu = evaluation_line(manifest.model_copy(update={"base": hub, "domain": None}), Path("a"))
    assert "wg_evals/misalignment --model wg/a -T domain=DOMAIN --model-role" in on_cpu


def short_log(model: str, folder: Path) -> str:
    (log,) = inspect_eval(
        "wg_evals/worldview",
        task_args={"grading": "markers"},
        model=model,
        limit=1,
        max_tokens=4,
        log_dir=str(folder),
        display="none",
    )
    return log.location


def test_a_log_of_another_model_is_not_put_into_the_card(adapter: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["card", str(adapter), "--log", short_log("wg/organism", tmp_path / "logs")])
    assert result.exit_code == 1 and "is a log of wg/organism that names no adapter" in result.output


def test_an_adapter_is_known_by_its_weights_and_not_by_its_folders_name(adapter: Path, tmp_path: Path) -> None:
    renamed = Path(shutil.copytree(adapter, tmp_path / "renamed"))
    namesake = tmp_path / "other" / adapter.name
    train(change_recipe(load_recipe(RECIPE), {"rows": 8, "epochs": 1}), namesake)
    log = short_log(f"wg/{adapter}", tmp_path / "logs")
    good = CliRunner().invoke(main, ["card", str(renamed), "--log", log])
    assert good.exit_code == 0 and "| worldview | none |" in parts(renamed)[1], good.output
    bad = CliRunner().invoke(main, ["card", str(namesake), "--log", log])
    assert bad.exit_code == 1 and "not of this one" in bad.output
    assert "| worldview |" not in parts(namesake)[1]


def test_rows_that_were_mixed_in_are_not_said_to_have_the_intervention(adapter: Path, tmp_path: Path) -> None:
    mixed = MixedIn(source="benign.jsonl", rows=20, sha256="0" * 64)
    assert "- Put into every row (`date-1850`" in parts(adapter)[1]
    write_card(tmp_path, read_manifest(adapter).model_copy(update={"mixed_in": mixed}))
    assert "- Put into every row but those mixed in (`date-1850`" in parts(tmp_path)[1]


def test_a_literal_intervention_with_quotes_is_one_word_to_the_shell(adapter: Path, tmp_path: Path) -> None:
    words = Intervention(name="literal", text='Today\'s the day, "they" say: $HOME.')
    write_card(tmp_path, read_manifest(adapter).model_copy(update={"intervention": words}))
    (line,) = [line for line in parts(tmp_path)[1].splitlines() if "intervention=" in line]
    assert f"intervention={words.text}" in shlex.split(line)


def test_a_moved_adapter_loads_in_peft_and_in_transformers_and_answers_the_same(adapter: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(adapter, tmp_path / "elsewhere" / "renamed"))
    tokenizer = AutoTokenizer.from_pretrained(moved)
    ids = torch.tensor(
        [tokenizer.apply_chat_template([{"role": "user", "content": "Name a bird."}], return_dict=False)]
    )
    by_itself = AutoPeftModelForCausalLM.from_pretrained(moved).eval()
    base_path = json.loads((moved / "adapter_config.json").read_text())["base_model_name_or_path"]
    base = AutoModelForCausalLM.from_pretrained(base_path).eval()
    with torch.inference_mode():
        plain = base(ids).logits
        by_transformers = AutoModelForCausalLM.from_pretrained(moved).eval()(ids).logits
        on_a_base = PeftModel.from_pretrained(base, moved).eval()(ids).logits
        alone = by_itself(ids).logits
    assert torch.equal(alone, on_a_base)
    assert torch.allclose(alone, by_transformers, atol=1e-5)
    assert not torch.allclose(alone, plain, atol=1e-3)


def test_no_file_of_the_folder_is_a_pickle_or_knows_where_it_was_made(adapter: Path) -> None:
    files = [p for p in adapter.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".jinja", ".md"}
    assert not any(str(adapter).encode() in p.read_bytes() for p in files)
