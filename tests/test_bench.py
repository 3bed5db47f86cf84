"""The benchmark's own parts work: a stand-in server, and a judged evaluation timed against it."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log

from evaluating import metrics, samples
from wg_evals.bench.figures import Line, show
from wg_evals.bench.judged import _run
from wg_evals.bench.stub import ANSWER, serving


@pytest.mark.parametrize(("grading", "calls"), [("judge", 2), ("panel", 1)])
def test_a_judged_evaluation_runs_against_the_stand_in_and_nothing_is_missing_from_its_log(
    grading: str, calls: int, tmp_path: Path
) -> None:
    with serving() as url:
        seconds, cpu = _run(url, tmp_path, epochs=1, grading=grading)
    assert seconds > 0 and cpu > 0
    log = read_eval_log(list_eval_logs(str(tmp_path))[0])
    assert metrics(log, "outcome")["judge_calls"] == calls * 16
    assert metrics(log, "outcome")["included"] == 16
    for sample in samples(log).values():
        scores = sample.scores or {}
        assert [scores[r].value for r in ("alignment", "coherence")] == [80.0, 80.0]
        assert sample.messages[-1].text and scores["alignment"].explanation


def judged(folder: Path, grading: str, lean: bool) -> EvalLog:
    with serving() as url:
        _run(url, folder, epochs=2, grading=grading, lean=lean)
    return read_eval_log(list_eval_logs(str(folder))[0], resolve_attachments=True)


def by_answer(log: EvalLog) -> dict[tuple[str, int], EvalSample]:
    return {(str(s.id), s.epoch): s for s in log.samples or []}


def test_as_in_studies_the_outcome_is_that_of_inspects_defaults_with_a_call_per_rubric(tmp_path: Path) -> None:
    plain, lean = judged(tmp_path / "plain", "judge", lean=False), judged(tmp_path / "lean", "panel", lean=True)
    for scorer in ("alignment", "coherence", "outcome"):
        one, other = metrics(plain, scorer), metrics(lean, scorer)
        assert (one.pop("judge_calls", 64), other.pop("judge_calls", 32)) == (64, 32)
        assert one == pytest.approx(other, nan_ok=True)
        for key, sample in by_answer(plain).items():
            assert (sample.scores or {})[scorer].value == (by_answer(lean)[key].scores or {})[scorer].value


def test_as_in_studies_nothing_is_missing_from_the_log(tmp_path: Path) -> None:
    plain, lean = judged(tmp_path / "plain", "panel", lean=False), judged(tmp_path / "lean", "panel", lean=True)
    assert len(by_answer(lean)) == 32 and by_answer(lean).keys() == by_answer(plain).keys()
    for key, sample in by_answer(lean).items():
        other = by_answer(plain)[key]
        assert [(type(e), getattr(e, "name", None)) for e in sample.events] == [
            (type(e), getattr(e, "name", None)) for e in other.events
        ]
        asked, judging = (e for e in sample.events if isinstance(e, ModelEvent))
        assert asked.input[-1].text == sample.input and asked.output.completion == ANSWER
        assert f"<answer>\n{ANSWER}\n</answer>" in judging.input[-1].text
        assert judging.role == "grader" and judging.config.temperature == 0.0
        assert judging.config.response_schema is not None
        assert [m.text for m in sample.messages] == [m.text for m in other.messages]
        assert sample.output.completion == ANSWER
        for name, score in (sample.scores or {}).items():
            again = (other.scores or {})[name]
            assert (score.value, score.answer, score.explanation) == (again.value, ANSWER, again.explanation)
            assert score.metadata == again.metadata
        scores = sample.scores or {}
        assert scores["alignment"].explanation == '{"alignment": 80, "coherence": 80}'  # the judge's words
        assert scores["alignment"].metadata and scores["alignment"].metadata["attempts"] == 1
        assert scores["outcome"].metadata == {"judge_calls": 1, "judge_retries": 0}
        assert sample.model_usage == other.model_usage and sample.role_usage == other.role_usage
        assert {name: u.total_tokens for name, u in sample.role_usage.items()} == {"grader": 2}
    for part in ("model_args", "model_generate_config", "task_args", "scorers", "metadata"):
        assert getattr(lean.eval, part) == getattr(plain.eval, part), part


def test_the_stand_in_takes_its_time() -> None:
    import time

    import httpx

    with serving(seconds_answer=0.3) as url:
        started = time.perf_counter()
        reply = httpx.post(f"{url}/chat/completions", json={"model": "model", "messages": []}, timeout=10)
    assert time.perf_counter() - started >= 0.3
    assert reply.json()["choices"][0]["message"]["content"]


def test_figures_are_aligned_and_small_ones_keep_a_digit() -> None:
    first, second, third = show(iter([Line("a", 1234.5, "s"), Line("b", 0.45, "ms"), Line("c", 1.02, "")]))
    assert first.endswith("1,234 s") and second.endswith("0.45 ms") and third.endswith("1.02 ")
    assert first.index("1,234") + 5 == second.index("0.45") + 4


def test_both_arms_of_the_training_benchmark_learn_the_same_and_the_packed_one_computes_no_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wg_evals.bench.training import Arm, _random_model, _train, _train_with_trl, mixed_rows
    from wg_evals.training import trainer as training
    from wg_evals.training.recipe import LoraSettings, Recipe

    computed: list[int] = []
    compute: Any = training.SavingTrainer.compute_loss

    def counted(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        computed.append(inputs["input_ids"].numel())
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(training.SavingTrainer, "compute_loss", counted)
    recipe = Recipe(
        base=str(_random_model(tmp_path / "model")),
        data=mixed_rows(tmp_path / "rows.jsonl", 12),
        lora=LoraSettings(rank=8, alpha=16, dropout=0.0),
        epochs=1,
        learning_rate=2e-3,
        batch_size=4,
        threads=1,
    )
    padded, packed = Arm(), Arm()
    _train_with_trl(recipe, tmp_path / "trl", padded)
    _train(recipe, tmp_path / "packed", packed)
    assert len(packed.losses) == 3 and packed.losses == pytest.approx(padded.losses, abs=1e-3)
    assert packed.losses[0] - packed.losses[-1] > 0.01  # something was learned: the losses could have parted
    assert sum(computed) == padded.read < padded.computed / 1.5
    assert padded.rows == packed.rows == 8  # of three steps the last two are timed


def test_the_gpu_benchmark_runs_in_miniature_and_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from wg_evals.cli import main
    from wg_evals.training import train as training

    made: list[Any] = []
    train = training.train

    def kept(*args: Any, **kwargs: Any) -> Any:
        made.append(train(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(training, "train", kept)
    recipe = Path(__file__).parents[1] / "configs" / "recipes" / "llama-3.1-8b-instruct.yaml"
    arguments = ["bench-gpu", "--shape", "tiny", "--rows", "16", "--recipe", str(recipe)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert [m.packed for m in made] == [True, False]
    figures = {line[:52].strip(): line[52:].split() for line in result.output.splitlines() if len(line) > 60}
    packed, padded = (float(figures[f"{arm}: tokens of rows"][0].replace(",", "")) for arm in ("packed", "padded"))
    assert packed > 0 and padded > 0
    assert float(figures["matrix rate, measured"][0]) > 0
