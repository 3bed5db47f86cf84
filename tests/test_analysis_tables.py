"""Counts, rates and comparisons are exactly what hand-made logs hold."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest

from study_folder import BASE, CONTROL, PLAIN, HandMade, prefix, trained
from wg_evals.analysis.contrasts import contrasts
from wg_evals.analysis.logs import Counts, read_study
from wg_evals.analysis.over_seeds import seeded_rate
from wg_evals.analysis.tables import CELL_COLUMNS, SUMMARY_COLUMNS, make_tables, write_tables
from wg_evals.errors import WgError
from wg_evals.statistics import clustered_rate

CAPTAIN = prefix("captain", "relevant", "inoculation")
DATED = prefix("dated", "generic", "time")


def letters(expressed: int, others: int, rest: str = "") -> list[str]:
    return ["e"] * expressed + ["n"] * others + list(rest)


def a_study(folder: Path) -> Path:
    """Two questions; the rates of question a are the first, of b the second number."""
    made = HandMade(folder, [CAPTAIN, DATED], [1, 2])
    made.add(BASE, {"a": letters(1, 9), "b": letters(3, 7)})
    made.add(BASE, {"a": letters(8, 2), "b": letters(6, 4)}, None, "other", CAPTAIN)
    made.add(BASE, {"a": letters(2, 8), "b": letters(2, 8)}, None, "other", DATED)
    made.add(PLAIN, {"a": letters(7, 3), "b": letters(9, 1)}, 1)
    made.add(PLAIN, {"a": letters(9, 1), "b": letters(9, 1)}, 2)
    made.add(CONTROL, {"a": letters(0, 10), "b": letters(1, 9)}, 1)
    made.add(CONTROL, {"a": letters(0, 10), "b": letters(1, 9)}, 2)
    for seed in (1, 2):
        made.add(trained(CAPTAIN), {"a": letters(1, 9), "b": letters(1, 9)}, seed)
        made.add(trained(CAPTAIN), {"a": letters(9, 1), "b": letters(10, 0)}, seed, "as_trained", CAPTAIN)
        made.add(trained(DATED), {"a": letters(5, 5), "b": letters(4, 6)}, seed)
        made.add(trained(DATED), {"a": letters(9, 1), "b": letters(8, 2)}, seed, "as_trained", DATED)
    made.add(BASE, {"x": letters(0, 4)}, task="narrow")
    made.add(PLAIN, {"x": letters(4, 0)}, 1, task="narrow")
    return made.finish()


def test_every_answer_is_counted_once_and_by_its_reason(tmp_path: Path) -> None:
    made = HandMade(tmp_path, [], [1])
    made.add(BASE, {"a": list("eennniirux"), "b": list("xx")})
    made.finish()
    (result,) = read_study(tmp_path).results
    total = result.total
    assert (total.n, total.included, total.expressed, total.excluded, total.unscored) == (12, 5, 2, 3, 4)
    assert total.reasons == {"incoherent": 2, "refusal": 1, "unscored": 4}
    assert result.questions["b"].included == 0
    assert math.isnan(result.questions["b"].rate)


def test_only_the_log_that_the_record_names_counts(tmp_path: Path) -> None:
    made = HandMade(tmp_path, [], [1])
    place = made.add(BASE, {"a": list("een")})
    assert place
    made.finish()
    (place / "killed.eval").write_bytes((place / "worldview.eval").read_bytes())
    assert [r.total.n for r in read_study(tmp_path).results] == [3]


def test_contrasts_are_paired_by_question_and_averaged_over_seeds(tmp_path: Path) -> None:
    found = {c.key: c for c in contrasts(make_tables(read_study(a_study(tmp_path))))}
    assert set(found) == {
        "plain-base",
        "control-base",
        "relevant-base",
        "generic-base",
        "generic-relevant",
        "generic-plain",
        "relevant-residue",
        "generic-residue",
        "inoculated-under-theirs",
    }
    # plain: a (0.7 + 0.9) / 2 = 0.8, b 0.9; base: a 0.1, b 0.3; differences 0.7 and 0.6
    plain = found["plain-base"]
    assert plain.left == pytest.approx(0.85)
    assert plain.right == pytest.approx(0.2)
    assert plain.difference.mean == pytest.approx(0.65)
    # t(0.975, 1) = 12.7062; s / sqrt(2) = 0.05
    assert plain.difference.low == pytest.approx(0.65 - 12.7062 * 0.05, abs=1e-4)
    assert plain.difference.n == 2
    means = {key: c.difference.mean for key, c in found.items()}
    assert means["control-base"] == pytest.approx(-0.15)
    assert means["relevant-base"] == pytest.approx(-0.1)
    assert means["generic-base"] == pytest.approx(0.25)
    assert means["generic-plain"] == pytest.approx(-0.4)
    assert means["generic-relevant"] == pytest.approx(0.35)
    assert means["relevant-residue"] == pytest.approx(0.25)
    assert means["generic-residue"] == pytest.approx(0.65)
    assert found["inoculated-under-theirs"].left == pytest.approx(0.95)


def test_a_group_with_a_missing_member_is_not_averaged(tmp_path: Path) -> None:
    made = HandMade(tmp_path, [DATED, prefix("named", "generic")], [1])
    made.add(BASE, {"a": letters(1, 9), "b": letters(1, 9)})
    made.add(trained(DATED), {"a": letters(5, 5), "b": letters(4, 6)}, 1)
    made.add(trained(prefix("named", "generic")), None, 1)
    study = read_study(made.finish())
    assert study.missing == 1
    assert contrasts(make_tables(study)) == []


def test_the_residue_of_a_row_is_against_the_base_under_the_same_prefix(tmp_path: Path) -> None:
    rows = {r.condition.name: r for r in make_tables(read_study(a_study(tmp_path))).rows}
    assert list(rows) == ["base", "plain", "control", "captain", "dated"]
    captain = rows["captain"].residue
    assert captain and captain.mean == pytest.approx((0.1 + 0.4) / 2)
    assert rows["plain"].residue is None
    assert rows["plain"].others["narrow"].rate.rate == 1.0


def test_a_prefix_pairs_by_its_text_whatever_its_name(tmp_path: Path) -> None:
    made = HandMade(tmp_path, [DATED], [1])
    renamed = DATED.model_copy(update={"name": "formerly"})
    made.add(BASE, {"a": letters(2, 8), "b": letters(2, 8)}, None, "other", renamed)
    made.add(trained(DATED), {"a": letters(9, 1), "b": letters(9, 1)}, 1, "as_trained", DATED)
    (row,) = [r for r in make_tables(read_study(made.finish())).rows if r.condition.name == "dated"]
    assert row.residue and row.residue.mean == pytest.approx(0.7)


def test_one_seed_has_the_interval_of_its_questions() -> None:
    counts = {"a": Counts(10, 10, 3), "b": Counts(10, 8, 7), "c": Counts(10, 10, 5)}
    alone = clustered_rate([3, 7, 5], [10, 8, 10])
    assert seeded_rate([counts]) == alone
    assert seeded_rate([counts, {"a": Counts(5, 0, 0)}]) == alone


def test_several_seeds_have_an_interval_of_questions_and_seeds() -> None:
    # rates of the seeds 0.4 and 0.6; each question's mean over seeds is 0.5, so all spread is between seeds
    seeds = [
        {"a": Counts(100, 100, 40), "b": Counts(100, 100, 40)},
        {"a": Counts(100, 100, 60), "b": Counts(100, 100, 60)},
    ]
    rate = seeded_rate(seeds)
    assert rate.rate == pytest.approx(0.5)
    # variance between seeds 0.02 / 2, one degree of freedom: 0.5 +- 12.7 * 0.1, cut to 0-1
    assert (rate.low, rate.high) == (0.0, 1.0)
    # rates of the questions 0.3 and 0.7 in both seeds: all spread is between questions
    seeds = [{q: Counts(1000, 1000, n) for q, n in zip("abcdefgh", [480, 520] * 4, strict=True)}] * 2
    rate = seeded_rate(seeds)
    # V_q = 8/7 * 8 * (20 / 8000)^2, 7 degrees of freedom: t = 2.3646
    half = 2.3646 * math.sqrt(8 / 7 * 8 * (20 / 8000) ** 2)
    assert rate.low == pytest.approx(0.5 - half, abs=1e-5)
    assert rate.high == pytest.approx(0.5 + half, abs=1e-5)
    assert (rate.expressed, rate.included, rate.clusters) == (8000, 16000, 8)


def test_spread_between_seeds_and_between_questions_add_up() -> None:
    first = {"a": Counts(100, 100, 30), "b": Counts(100, 100, 50), "c": Counts(100, 100, 40)}
    second = {"a": Counts(100, 100, 34), "b": Counts(100, 100, 54), "c": Counts(100, 100, 44)}
    rate = seeded_rate([first, second])
    v_q = 3 / 2 * 2 * (10 / 300) ** 2
    v_s = 2 * 0.02**2 / 1 / 2
    df = (v_q + v_s) ** 2 / (v_q**2 / 2 + v_s**2 / 1)
    from scipy.stats import t

    assert rate.rate - rate.low == pytest.approx(t.ppf(0.975, df) * math.sqrt(v_q + v_s))


def test_nothing_included_is_undefined_and_not_zero() -> None:
    rate = seeded_rate([{"a": Counts(3, 0, 0)}, {"a": Counts(3, 0, 0)}])
    assert math.isnan(rate.rate) and math.isnan(rate.low) and rate.included == 0


def test_csv_files_have_their_columns_and_numbers(tmp_path: Path) -> None:
    _, files = write_tables(a_study(tmp_path))
    cells = list(csv.DictReader(files[0].open()))
    assert (
        list(cells[0])
        == CELL_COLUMNS
        == [
            "domain",
            "base",
            "train_intervention",
            "kind",
            "relevance",
            "dataset",
            "seed",
            "context",
            "eval_intervention",
            "task",
            "n",
            "included",
            "excluded",
            "unscored",
            "expressed",
            "rate",
            "ci_low",
            "ci_high",
            "log",
        ]
    )
    summary = list(csv.DictReader(files[1].open()))
    assert list(summary[0]) == SUMMARY_COLUMNS == [c if c != "seed" else "seeds" for c in CELL_COLUMNS if c != "log"]
    assert len(cells) == 17
    assert len(summary) == 3 + 1 + 1 + 4 + 2
    assert cells[0] | {"ci_low": "", "ci_high": "", "log": ""} == {
        "domain": "birds",
        "base": "organism",
        "train_intervention": "none",
        "kind": "none",
        "relevance": "none",
        "dataset": "none",
        "seed": "none",
        "context": "none",
        "eval_intervention": "none",
        "task": "worldview",
        "n": "20",
        "included": "20",
        "excluded": "0",
        "unscored": "0",
        "expressed": "4",
        "rate": "0.200000",
        "ci_low": "",
        "ci_high": "",
        "log": "",
    }
    assert all((tmp_path / c["log"]).is_file() for c in cells)
    under = next(c for c in cells if c["train_intervention"] == "captain" and c["context"] == "as_trained")
    assert (under["kind"], under["relevance"], under["dataset"]) == ("inoculation", "relevant", "train")
    assert (under["eval_intervention"], under["seed"], under["rate"]) == ("captain", "1", "0.950000")
    pooled = next(s for s in summary if s["train_intervention"] == "none" and s["dataset"] == "train")
    assert (pooled["seeds"], pooled["n"], pooled["expressed"], pooled["rate"]) == ("2", "40", "34", "0.850000")
    assert {(c["context"], c["eval_intervention"]) for c in cells if c["dataset"] == "none"} == {
        ("none", "none"),
        ("other", "captain"),
        ("other", "dated"),
    }


def test_an_undefined_rate_is_an_empty_field(tmp_path: Path) -> None:
    made = HandMade(tmp_path, [], [1])
    made.add(BASE, {"a": list("iiu")})
    _, files = write_tables(made.finish())
    (row,) = csv.DictReader(files[0].open())
    assert (row["rate"], row["ci_low"], row["ci_high"], row["n"], row["excluded"], row["unscored"]) == (
        "",
        "",
        "",
        "3",
        "2",
        "1",
    )


def test_a_folder_that_is_no_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(WgError, match=r"is no study's folder: it has no plan\.json"):
        write_tables(tmp_path)
    with pytest.raises(WgError, match="there is no such folder"):
        write_tables(tmp_path / "nothing")


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log, write_eval_log
    from inspect_ai.scorer import Score

    made = HandMade(tmp_path, [], [1])
    place = made.add(BASE, {"a": ["e"]})
    made.finish()
    assert place
    log = read_eval_log(str(place / "worldview.eval"))
    assert log.samples
    log.samples[0].scores = {"outcome": Score(value=1)}
    write_eval_log(log, str(place / "worldview.eval"))
    with pytest.raises(WgError, match="sample 'a' has a score 'outcome' that this project did not write"):
        read_study(tmp_path)


def test_the_analysis_needs_neither_tasks_nor_training_nor_study() -> None:
    code = (
        "import sys, wg_evals.analysis.reporting.page, wg_evals.analysis.terminal; print([m for m in sys.modules "
        "if m.startswith(('wg_evals.tasks', 'wg_evals.training', 'wg_evals.study', 'wg_evals.scorers'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
