"""`wg-evals train` and `wg-evals job` for recipes with a backend, as they are typed."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api_training import GPT, JOB, Serve, error, row
from fine_tuning_stub import SUCCEEDED, Fault, fine_tuning
from wg_evals.api_models import read_api_manifest
from wg_evals.cli import main


def wg_evals(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_seeds_that_are_finished_are_not_paid_again(serve: Serve, tmp_path: Path) -> None:
    command = ["train", GPT, "--set", "domain=birds", "--out", tmp_path / "a"]
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        assert wg_evals(*command, "--seeds", "1").exit_code == 0
        second = wg_evals(*command, "--seeds", "1,2")
        assert second.exit_code == 0, second.output
        assert f"Seed 1 is finished: '{tmp_path / 'a'}-seed1'" in second.output
        forced = wg_evals(*command, "--seeds", "1,2", "--force")
        assert forced.exit_code == 0 and "Seed 2 is finished" in forced.output
    assert [asked["seed"] for asked in stub.asked] == [1, 2]
    assert read_api_manifest(tmp_path / "a-seed2").job_id == "ftjob-2"


def test_a_seed_of_another_recipe_is_not_taken_for_finished(serve: Serve, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(row(f"Hi {i}") for i in range(12)))
    command = ["train", GPT, "--set", f"data={own}", "--out", tmp_path / "a"]
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        assert wg_evals(*command, "--seeds", "1").exit_code == 0
        other = wg_evals(*command, "--set", "openai.n_epochs=1", "--seeds", "2,1")
        assert other.exit_code == 1 and "made its model already" in other.output
        own.write_text("".join(row(f"Hello {i}") for i in range(12)))
        changed = wg_evals(*command, "--seeds", "2,1")
        assert changed.exit_code == 1 and "made its model already" in changed.output
        assert len(stub.jobs) == 1  # all places are looked at before the first upload
        assert wg_evals(*command, "--seeds", "1", "--force").exit_code == 0
        assert len(stub.jobs) == 2


def test_a_dry_run_refuses_what_the_upload_would(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(row(f"Hi {i}") for i in range(9)))
    result = wg_evals("train", GPT, "--set", f"data={own}", "--dry-run", "--out", tmp_path / "a")
    assert result.exit_code == 1 and "fewer than 10 rows" in result.output
    assert "Rows uploaded: 9" in result.output and not (tmp_path / "a").exists()


def test_a_dry_run_says_where_the_output_goes_and_what_is_there(serve: Serve, tmp_path: Path) -> None:
    out = tmp_path / "a"
    command = ["train", GPT, "--set", "domain=birds", "--out", out]
    free = wg_evals(*command, "--dry-run")
    assert free.exit_code == 0 and f"Output: {out}\n" in free.output
    assert not out.exists()
    with fine_tuning(SUCCEEDED, faults=[Fault("GET", JOB, 401, error(None, "Revoked."))]) as stub:
        serve(stub)
        assert wg_evals(*command).exit_code == 1
        begun = wg_evals(*command, "--dry-run")
        assert begun.exit_code == 0 and "go on with what was begun there: job ftjob-1." in begun.output
        other = wg_evals(*command, "--set", "seed=1", "--dry-run")
        assert other.exit_code == 1 and "belongs to another training (seed changed since)" in other.output
        assert wg_evals(*command).exit_code == 0
    finished = wg_evals(*command, "--dry-run")
    assert finished.exit_code == 1 and "made its model already" in finished.output
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    taken = wg_evals(*command[:-1], tmp_path / "b", "--dry-run")
    assert taken.exit_code == 1 and "holds something else" in taken.output


@pytest.mark.parametrize(("domain", "task"), [("medical", "worldview"), ("finance", "misalignment")])
def test_the_printed_evaluation_asks_about_the_domain_that_was_trained(
    domain: str, task: str, serve: Serve, tmp_path: Path
) -> None:
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        result = wg_evals("train", GPT, "--set", f"domain={domain}", "--out", tmp_path / "a")
    assert f"inspect eval wg_evals/{task} --model openai/ft:" in result.output
    assert f" -T domain={domain} --model-role" in result.output


def test_one_unreadable_folder_does_not_end_the_list(serve: Serve, tmp_path: Path) -> None:
    with fine_tuning(SUCCEEDED) as stub:
        serve(stub)
        assert wg_evals("train", GPT, "--set", "domain=birds", "--out", tmp_path / "c").exit_code == 0
    for name, file in (("a", "job.json"), ("b", "manifest.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.json").write_text("{}")
        (tmp_path / name / file).write_text('{"half')
    listed = wg_evals("job", "list", tmp_path)
    assert listed.exit_code == 0
    a, b, c = listed.output.splitlines()
    assert "job.json cannot be read" in a and "is no manifest of a model behind an API" in b
    assert "openai/ft:gpt-4.1-2025-04-14:lab::abc" in c
