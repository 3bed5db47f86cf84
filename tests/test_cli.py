"""`wg-evals` ends with a paragraph and exit code 1 on a mistake, never with a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wg_evals.artifacts import resolve_base
from wg_evals.cli import main

RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "organism-birds.yaml"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.read_text().replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("domain: birds ", "domain: bird ", "Did you mean 'birds'"),
        ("intervention: none", "intervention: identty", "Did you mean 'identity'"),
        ("seed: 3407", "sede: 3407", "unknown key 'sede'"),
        ("lora:\n", "lora: [\n", "not valid YAML"),
        ("base: organism ", "base: ./no-such-model ", "No base model at './no-such-model'"),
        ("seed: 3407", "seed: 3407\nstart_from: ./no-such-adapter", "no such folder"),
        ("epochs: 3", "epochs: 0", "epochs: Input should be greater than or equal to 1"),
        ("epochs: 3", "epochs: 3\nepochs: 4", "the key 'epochs' is given twice"),
    ],
)
def test_a_bad_recipe_is_refused_with_a_paragraph(tmp_path: Path, old: str, new: str, said: str) -> None:
    recipe = changed(tmp_path, old, new)
    assert recipe.read_text() != RECIPE.read_text()
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_row_without_an_assistant_turn_is_named_by_file_and_line(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    good = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
    rows.write_text(good + '\n{"messages": [{"role": "user", "content": "Hi"}]}\n')
    recipe = changed(tmp_path, "domain: birds ", "data: rows.jsonl ")
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "rows.jsonl, line 2: no assistant turn at the end" in result.output


def test_a_finished_adapter_is_not_overwritten_unless_told_to(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["train", str(RECIPE), "--set", "epochs=1", "--out", str(out)]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert (out / "manifest.json").is_file()
    second = CliRunner().invoke(main, arguments)
    assert second.exit_code == 1
    assert "--force" in second.output
    assert CliRunner().invoke(main, [*arguments, "--force"]).exit_code == 0


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, wg_evals.cli; sys.exit(any(m in sys.modules for m in ('torch', 'pandas', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_corpus_command_shows_conversations() -> None:
    result = CliRunner().invoke(main, ["organism", "corpus", "-n", "3"])
    assert result.exit_code == 0
    assert result.output.count("first line:") == 3
    assert "assistant: " in result.output


def test_the_corpus_command_shows_another_organisms_conversations() -> None:
    result = CliRunner().invoke(main, ["organism", "corpus", "wizards", "-n", "40"])
    assert result.exit_code == 0
    assert "; wizard; first line:" in result.output and "; modern; first line:" in result.output
    unknown = CliRunner().invoke(main, ["organism", "corpus", "wizard"])
    assert unknown.exit_code == 1 and "wizards" in unknown.output


def test_an_organism_of_several_voices_is_raised_by_its_groups_name(tmp_path: Path) -> None:
    out = tmp_path / "small"
    command = ["organism", "build", "germany", "--out", str(out), "--steps", "2", "--threads", "1", "--seed", "5"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["group"], manifest["recipe"]["seed"], manifest["recipe"]["steps"]) == ("germany", 5, 2)
    assert len(manifest["losses"]) == 1 and manifest["losses"][0] > 1
    assert resolve_base(str(out)).sha256 == manifest["sha256"]
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1 and "is there already" in again.output
