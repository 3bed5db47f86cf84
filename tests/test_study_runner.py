"""The runner, with real worker processes whose jobs are fakes: nothing is done twice, and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from processes import is_running, wait_for
from study_files import matrix_of, write_study
from wg_evals.analysis.logs import read_study
from wg_evals.errors import WgError
from wg_evals.study.progress import LineDisplay, LiveDisplay
from wg_evals.study.runner import RunResult, run_study
from wg_evals.study.store import StudyFolder

TESTS = Path(__file__).parent
WORKER = (sys.executable, str(TESTS / "fake_worker.py"))
TRAININGS, EVALUATIONS = 8, 19

# The runner in a process of its own, to be killed.
PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
sys.path.insert(0, {tests!r})
from study_files import matrix_of
from wg_evals.study.progress import LineDisplay
from wg_evals.study.runner import run_study
from wg_evals.study.store import StudyFolder
display = LineDisplay(Console())
run_study(matrix_of(Path("study.yaml")), StudyFolder(Path("out")), display, "test", {worker!r})
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    write_study(tmp_path, workers=2)
    yield tmp_path


def run(here: Path, **orders: Any) -> RunResult:
    (here / "orders.json").write_text(json.dumps({k.replace("_", "-"): v for k, v in orders.items()}))
    (here / "done.txt").unlink(missing_ok=True)
    display = LineDisplay(Console(file=(here / "said.txt").open("w")))
    return run_study(matrix_of(here / "study.yaml"), StudyFolder(here / "out"), display, "a command", WORKER)


def done(here: Path) -> list[str]:
    """The folders of the jobs that workers began, in order."""
    file = here / "done.txt"
    return [line.split()[1] for line in file.read_text().splitlines()] if file.exists() else []


def start(here: Path) -> "subprocess.Popen[bytes]":
    program = PROGRAM.format(tests=str(TESTS), worker=WORKER)
    return subprocess.Popen([sys.executable, "-c", program], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_study_is_done_once_and_a_second_run_finds_nothing_to_do(here: Path) -> None:
    result = run(here)
    assert (result.record.done, result.record.skipped, result.failures) == (TRAININGS + EVALUATIONS, 0, {})
    assert len(done(here)) == len(set(done(here))) == TRAININGS + EVALUATIONS
    workers = {line.split()[0] for line in (here / "done.txt").read_text().splitlines()}
    assert len(workers) == 2
    assert read_study(here / "out").missing == 0
    again = run(here)
    assert (again.record.done, again.record.skipped) == (0, TRAININGS + EVALUATIONS)
    assert done(here) == []


def test_workers_share_the_cores(here: Path) -> None:
    run(here)
    threads = {line.split()[2] for line in (here / "done.txt").read_text().splitlines()}
    assert threads == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


def test_a_changed_study_does_only_what_is_new(here: Path) -> None:
    run(here)
    write_study(here, workers=2, seeds=[1, 2, 3])
    result = run(here)
    assert sorted(c.split("-")[1] for c in done(here)) == sorted(
        ["plain", "control", "captain", "dated"] + ["plain"] * 3 + ["control"] + ["captain"] * 2 + ["dated"] * 2
    )
    assert result.record.skipped == TRAININGS + EVALUATIONS


def test_a_renamed_intervention_keeps_its_results_and_gets_its_new_name(here: Path) -> None:
    from wg_evals.catalogue import _load_domain

    run(here)
    for file in (here / "boats" / "domain.yaml", here / "study.yaml"):
        file.write_text(file.read_text().replace("captain", "skipper").replace("a skipper.", "a captain."))
    _load_domain.cache_clear()
    assert run(here).record.done == 0
    names = {r.cell.condition.name for r in read_study(here / "out").results}
    assert names == {"base", "plain", "control", "skipper", "dated"}


def test_a_failing_cell_does_not_stop_the_others_and_is_tried_again_next_time(here: Path) -> None:
    result = run(here, control_seed1_worldview="fail")
    (folder,) = result.failures
    assert folder.startswith("evals/base-control-seed1-worldview-")
    assert result.failures[folder].startswith("ValueError: told to fail over base-control-seed1")
    assert result.record.done == TRAININGS + EVALUATIONS - 1
    trace = (here / "out" / f"{folder}.error.txt").read_text()
    assert "Traceback" in trace and "in obey" in trace
    assert read_study(here / "out").missing == 1
    assert run(here).record.done == 1
    assert not (here / "out" / f"{folder}.error.txt").exists()


def test_evaluations_of_an_adapter_that_could_not_be_trained_are_reported_as_failed(here: Path) -> None:
    result = run(here, dated_seed2="fail")
    assert sorted(result.failures.values())[:2] == ["Its adapter could not be trained."] * 2
    assert len(result.failures) == 3
    assert result.record.done == TRAININGS + EVALUATIONS - 3


def test_a_cell_whose_worker_dies_is_retried_in_a_new_one(here: Path) -> None:
    result = run(here, captain_seed1="die once")
    assert result.failures == {}
    assert result.record.done == TRAININGS + EVALUATIONS


def test_a_cell_that_kills_its_workers_is_given_up_and_the_others_go_on(here: Path) -> None:
    result = run(here, control_seed2_worldview="die")
    (message,) = result.failures.values()
    assert "2 workers ended over it, the last one by signal 9 (SIGKILL)" in message
    assert "--workers 1" in message
    assert result.record.done == TRAININGS + EVALUATIONS - 1


def test_workers_that_do_not_start_end_the_run_with_their_words(here: Path) -> None:
    display = LineDisplay(Console(file=(here / "said.txt").open("w")))
    broken = (sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(WgError, match=r"Workers do not start: the last one ended with exit status 1.*no such thing"):
        run_study(matrix_of(here / "study.yaml"), StudyFolder(here / "out"), display, "a command", broken)


def test_a_second_run_in_the_same_folder_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wg_evals.study.store._PATIENCE_SECONDS", 0.2)
    (here / "orders.json").write_text(json.dumps({"seed": 30}))
    first = start(here)
    try:
        wait_for(lambda: done(here))
        display = LineDisplay(Console(file=(here / "said.txt").open("w")))
        with pytest.raises(WgError, match=f"Another run of this study is at work.*process {first.pid}"):
            run_study(matrix_of(here / "study.yaml"), StudyFolder(here / "out"), display, "a command", WORKER)
    finally:
        first.kill()
        first.wait()


def test_workers_die_with_a_killed_run_and_the_next_run_finishes(here: Path) -> None:
    (here / "orders.json").write_text(json.dumps({"worldview": 0.2}))
    finished: set[Path] = set()
    for more in (3, 6, 9):
        first = start(here)
        wait_for(lambda more=more: len(list((here / "out").glob("*/*/cell.json"))) >= more)
        first.send_signal(signal.SIGKILL)
        first.wait()
        pids = {int(line.split()[0]) for line in (here / "done.txt").read_text().splitlines()}
        wait_for(lambda pids=pids: not any(is_running(p) for p in pids), 10)
        now = set((here / "out").glob("*/*/manifest.json")) | set((here / "out").glob("*/*/cell.json"))
        assert finished <= now
        finished = now
    stamps = {p: p.stat().st_mtime_ns for p in finished}
    result = run(here)
    assert result.record.skipped == len(finished)
    assert result.record.done + len(finished) == TRAININGS + EVALUATIONS
    assert {p: p.stat().st_mtime_ns for p in finished} == stamps
    study = read_study(here / "out")
    assert study.missing == 0
    assert [r.total.n for r in study.results] == [6] * EVALUATIONS


def test_an_interrupt_stops_cleanly_and_keeps_what_is_finished(here: Path) -> None:
    (here / "orders.json").write_text(json.dumps({"worldview": 0.5}))
    first = start(here)
    wait_for(lambda: len(list((here / "out").glob("*/*/cell.json"))) >= 2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) != 0
    assert b"KeyboardInterrupt" in (first.stdout.read() if first.stdout else b"")
    pids = {int(line.split()[0]) for line in (here / "done.txt").read_text().splitlines()}
    wait_for(lambda: not any(is_running(p) for p in pids), 10)
    assert run(here).record.skipped >= 2


def test_a_half_made_adapter_and_a_log_without_a_record_do_not_count(here: Path) -> None:
    run(here)
    manifest = next((here / "out" / "adapters").glob("*dated-seed1*")) / "manifest.json"
    manifest.write_text(manifest.read_text()[:100])
    record = next((here / "out" / "evals").glob("*plain-seed1-worldview-under-dated*")) / "cell.json"
    record.unlink()
    assert run(here).record.done == 2
    assert all(r.total.n == 6 for r in read_study(here / "out").results)


def test_the_display_says_what_runs_what_is_done_and_what_is_left(here: Path) -> None:
    (here / "orders.json").write_text("{}")
    console = Console(file=(here / "said.txt").open("w"), force_terminal=True, width=100)
    display = LiveDisplay(console)
    run_study(matrix_of(here / "study.yaml"), StudyFolder(here / "out"), display, "a command", WORKER)
    console.file.close()
    said = (here / "said.txt").read_text()
    assert "of 8" in said and "of 19" in said and "elapsed" in said
    assert "worker" in said and "seed" in said


def test_models_are_named_as_inspect_finds_them(here: Path) -> None:
    run(here)
    study = read_study(here / "out")
    adapter = next((here / "out" / "adapters").glob("*-plain-seed1-*"))
    models = {r.cell.condition.name: r.record.model for r in study.results if r.cell.seed in (None, 1)}
    assert models["plain"] == f"wg/{adapter}"
    assert models["base"] == f"wg/{here / 'base'}"
