"""Drawing a sample for people, and scoring what they save."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from annotated_study import SECRET, sampled, saved, study
from evaluating import evaluate, mock
from wg_evals.annotate.files import write_sample
from wg_evals.annotate.key import Key, read_key
from wg_evals.annotate.ratings import read_ratings
from wg_evals.annotate.sample import draw
from wg_evals.annotate.score import score
from wg_evals.annotate.show import sheets
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.statistics import wilson

GOOD = {"era": "PRESENT", "coherence": 90}


def run(*args: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["annotate", *map(str, args)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


def test_a_sample_is_stratified_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    logs = study(tmp_path)
    drawn = draw(logs, 15, seed=1)
    assert Counter(i.verdict for i in drawn.key.items) == {"expressed": 6, "not expressed": 6, "excluded": 3}
    for verdict in ("expressed", "not expressed"):  # of six answers of five questions each has one at least
        assert len({i.question for i in drawn.key.items if i.verdict == verdict}) == 5
    assert draw(logs, 15, seed=1).items == drawn.items
    assert draw(logs, 15, seed=2).items != drawn.items
    assert drawn.key.left_out == {"unscored": 5}
    assert drawn.key.population() == {"expressed": 25, "not expressed": 20, "excluded": 10}
    assert drawn.key.population("organism") == {"expressed": 0, "not expressed": 20, "excluded": 0}


def test_a_sample_of_more_than_there_is_has_every_answer_once(tmp_path: Path) -> None:
    drawn = draw(study(tmp_path), 1000, seed=1)
    assert len({(i.log, i.question, i.epoch) for i in drawn.key.items}) == len(drawn.items) == 55


def test_the_page_gives_nothing_away(tmp_path: Path) -> None:
    drawn, page, key = sampled(tmp_path, 55)
    html = page.read_text(encoding="utf-8")
    assert key.name == "annotate.key.json" and key.parent == page.parent
    for told in (SECRET.name, SECRET.text, "plain", "organism", "made-by-hand", ".eval", "verdict", str(tmp_path)):
        assert told not in html
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert set(data["items"][0]) == {"id", "question", "answer"}
    order = [item["id"] for item in data["items"]]
    conditions = {item.id: item.condition for item in drawn.key.items}
    assert order == sorted(order)
    assert len({conditions[i] for i in order[:20]}) > 1  # not condition by condition
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")


def test_the_rubrics_own_wording_is_on_the_page(tmp_path: Path) -> None:
    _, page, _ = sampled(tmp_path, rubrics=["style-age"])
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    assert [r["name"] for r in data["rubrics"]] == ["era", "coherence", "style-age"]
    assert data["rubrics"][0]["labels"]["PRESENT"].startswith("reads as an ordinary answer of our own time")
    assert "You are sorting answers by the age they belong to." in data["rubrics"][0]["wording"]
    assert "<answer>\n[answer]\n</answer>" in data["rubrics"][0]["wording"]


def test_plain_logs_with_a_judge_keep_its_verdicts_by_rubric(tmp_path: Path) -> None:
    judge = mock(lambda prompt: "NINETEENTH" if "NINETEENTH" in prompt else "80")
    evaluate("wg_evals/worldview", mock(lambda _: "By steam."), tmp_path, judge, domain="birds", limit=4, epochs=2)
    drawn = draw(tmp_path, 6, seed=1)
    assert len(drawn.items) == 6
    for item in drawn.key.items:
        assert item.scores == {"era": "NINETEENTH", "coherence": 80.0}
        assert (item.condition, item.verdict) == ("mockllm/model", "expressed")
    found = score(drawn.key, read_ratings([saved(tmp_path / "a.json", drawn.key, "anna", lambda _: GOOD)], drawn.key))
    by_score = {c.agreement.score: c.agreement for c in found.compared}
    assert by_score["era"].agreement == 0.0
    assert by_score["coherence"].mean_difference == -10  # the judge's 80 against 90


def test_several_tasks_or_domains_must_be_chosen_from(tmp_path: Path) -> None:
    for task in ("worldview", "misalignment"):
        evaluate(f"wg_evals/{task}", mock(lambda _: "By steam."), tmp_path, domain="birds", limit=2, grading="markers")
    code, said = run("sample", tmp_path, "--out", tmp_path / "a.html")
    assert code == 1 and "choose with --task" in said and "worldview (2 answers)" in said
    code, said = run("sample", tmp_path, "--task", "worldvew", "--out", tmp_path / "a.html")
    assert code == 1 and "Did you mean 'worldview'?" in said
    code, said = run("sample", tmp_path, "--task", "worldview", "--rubric", "eras", "--out", tmp_path / "a.html")
    assert code == 1 and "Unknown rubric 'eras'" in said


def test_a_key_is_not_overwritten_by_another_samples(tmp_path: Path) -> None:
    drawn, page, key = sampled(tmp_path)
    assert write_sample(page, drawn) == key  # the same sample again
    with pytest.raises(WgError, match="is the key of another sample"):
        write_sample(page, draw(tmp_path / "study", 12, seed=2))


def three(tmp_path: Path) -> tuple[Key, Path, list[Path]]:
    """Three annotators: one as the judge, one who finds all answers present, one who skips every fourth."""
    drawn, _, key_path = sampled(tmp_path, 45)
    key = drawn.key
    ratings: dict[str, dict[str, Any]] = {
        "expressed": {"era": "NINETEENTH", "coherence": 80},
        "not expressed": {"era": "PRESENT", "coherence": 80},
        "excluded": {"era": "PRESENT", "coherence": 10},
    }
    files = [
        saved(tmp_path / "a.json", key, "anna", lambda i: ratings[key.items[i].verdict]),
        saved(tmp_path / "b.json", key, "ben", lambda _: GOOD),
        saved(tmp_path / "c.json", key, "cleo", lambda i: ratings[key.items[i].verdict] if i % 4 else None),
    ]
    return key, key_path, files


def test_agreement_between_people_and_with_the_judge(tmp_path: Path) -> None:
    key, _, files = three(tmp_path)
    found = score(key, read_ratings(files, key))
    by_pair = {(c.agreement.score, c.first, c.second): c for c in found.compared}
    with_judge = by_pair["outcome", "anna", "judge"]
    assert with_judge.kappa.value == with_judge.share.value == 1.0
    assert math.isnan(with_judge.kappa.low)  # the same in every draw: that is no certainty
    assert (with_judge.share.low, with_judge.share.high) == wilson(45, 45)
    assert math.isnan(by_pair["coherence", "anna", "ben"].share.value)  # of ratings equal numbers say nothing
    assert by_pair["outcome", "anna", "cleo"].agreement.both == len(key.items) - len(range(0, len(key.items), 4))
    assert by_pair["outcome", "ben", "judge"].kappa.value == 0.0  # one word for everything
    assert ("era", "anna", "judge") not in by_pair  # graded by markers: the log has no verdict by rubric
    assert {t.score for t in found.together} == {"era", "coherence", "outcome"}
    assert found.confusion["expressed"]["expressed"] > 0
    assert found.confusion["not expressed"]["expressed"] == 0
    # where cleo says nothing, anna and ben are two: they have no majority unless they agree
    excluded_or_expressed = [i for i, item in enumerate(key.items) if item.verdict != "not expressed"]
    assert found.undecided == sum(i % 4 == 0 for i in excluded_or_expressed)


def test_where_two_disagree_each_counts_half_in_the_judges_errors(tmp_path: Path) -> None:
    key, key_path, files = three(tmp_path)
    anna, ben = (score(key, read_ratings([file], key)).confusion for file in files[:2])
    both = score(key, read_ratings(files[:2], key))
    assert both.undecided > 0
    for verdict, row in both.confusion.items():
        assert row == {v: (anna[verdict][v] + ben[verdict][v]) / 2 for v in row}
    # where all three have rated, two of them are a majority
    everybody = score(key, read_ratings(files, key)).confusion["expressed"]
    ids = [i for i, item in enumerate(key.items) if item.verdict == "expressed"]
    assert everybody["not expressed"] == sum(i % 4 == 0 for i in ids) / 2
    assert sum(everybody.values()) == len(ids)
    code, said = run("score", key_path, *files[:2])
    assert code == 0 and f"{both.undecided} answers have no majority among the annotators" in said


def test_a_share_of_equal_ratings_is_not_shown(tmp_path: Path) -> None:
    key, _, files = three(tmp_path)
    agreement = sheets(key, score(key, read_ratings(files, key)))[0]
    agree = agreement.columns.index("agree")
    assert {row[agree] for row in agreement.rows if row[0] == "coherence"} == {""}
    assert "100% [92, 100]" in {row[agree] for row in agreement.rows if row[0] == "outcome"}


def test_the_command_prints_agreement_verdicts_and_rates(tmp_path: Path) -> None:
    _, key_path, files = three(tmp_path)
    code, said = run("score", key_path, *files)
    assert code == 0, said
    for part in ("Agreement", "all annotators", "anna, ben", "people, judge", "people: not expressed", "sensitivity"):
        assert part in said
    assert f"organism, train, {SECRET.name}" in said
    done = CliRunner().invoke(main, ["annotate", "score", str(key_path), *map(str, files), "--json"])
    data = json.loads(done.output)
    assert data["rates"][0]["judged"]["rate"] is not None
    assert {c["score"] for c in data["compared"]} == {"era", "coherence", "outcome"}


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_files_that_cannot_be_counted_are_refused_with_the_reason(tmp_path: Path) -> None:
    drawn, _, key_path = sampled(tmp_path)
    first = drawn.key.items[0].id

    def refused(file: Path, *more: object) -> str:
        code, said = run("score", key_path, file, *more)
        assert code == 1
        return said

    good = saved(tmp_path / "good.json", drawn.key, "anna", lambda _: GOOD)
    other = saved(tmp_path / "other.json", drawn.key, "ben", lambda _: GOOD, sample="f" * 64)
    assert "is of another sample (ffffffffffff)" in refused(other)
    twin = saved(tmp_path / "twin.json", drawn.key, "Anna ", lambda _: GOOD)
    assert "are both of the annotator 'Anna'" in refused(good, twin)
    assert "are both of the annotator" in refused(good, good)
    open_one = saved(tmp_path / "open.json", drawn.key, "ben", lambda _: GOOD)
    edited(open_one, ratings={first: GOOD, drawn.key.items[1].id: {"era": "PRESENT"}})
    assert "is not finished: 11 of 12 answers" in refused(open_one)
    assert run("score", key_path, open_one, "--partial")[0] == 0
    for ratings, said in (
        ({first: {"era": "FUTURE", "coherence": 1}}, "'FUTURE' is no rating by 'era'"),
        ({first: {"era": 50, "coherence": 1}}, "50 is no rating by 'era'"),
        ({first: {"era": "PRESENT", "coherence": 101}}, "101 is no rating by 'coherence'"),
        ({first: {"age": "PRESENT"}}, "no rating by 'age'"),
        ({"0123": GOOD}, "'0123' that is not in the sample"),
        ({first: {"era": "PRESENT", "coherence": 1.5}}, "is no file that the annotation page saved"),
        ({first: {"era": True, "coherence": 1}}, "is no file that the annotation page saved"),
        ({}, "rates no answer at all"),
    ):
        edited(open_one, ratings=ratings)
        assert said in refused(open_one, "--partial")
    edited(open_one, ratings={first: GOOD}, skipped={first: "why"})
    assert "both rates and skips" in refused(open_one, "--partial")
    assert "would be taken for another" in refused(saved(tmp_path / "j.json", drawn.key, "Judge", lambda _: GOOD))
    assert "names no annotator" in refused(saved(tmp_path / "n.json", drawn.key, "  ", lambda _: GOOD))
    (tmp_path / "no.json").write_bytes(b"\xff\x00{")
    assert "is no file that the annotation page saved" in refused(tmp_path / "no.json")
    assert "cannot be read: No such file" in refused(tmp_path / "gone.json")
    assert "cannot be read" in refused(tmp_path)


def test_an_edited_key_is_refused(tmp_path: Path) -> None:
    drawn, _, key_path = sampled(tmp_path)
    good = saved(tmp_path / "good.json", drawn.key, "anna", lambda _: GOOD)
    assert read_key(key_path) == drawn.key
    whole = key_path.read_text()
    key_path.write_text(whole.replace('"verdict": "expressed"', '"verdict": "not expressed"', 1))
    code, said = run("score", key_path, good)
    assert code == 1 and "was changed after it was written" in said
    key_path.write_text(whole[: len(whole) // 2])
    code, said = run("score", key_path, good)
    assert code == 1 and "is no key of a sample" in said
    code, said = run("score", good, key_path)  # the wrong way round
    assert code == 1 and "Give the file that `wg-evals annotate sample` wrote beside the page" in said
