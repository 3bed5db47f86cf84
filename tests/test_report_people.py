"""Which people's ratings a report takes and what it says by them, and which it names without taking them."""

import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from annotated_study import OLD, sampled, saved, study
from plain_logs import BAD, write_plain
from report_study import table
from study_folder import BASE, HandMade
from wg_evals.analysis import frame
from wg_evals.analysis.reporting.page import write_report
from wg_evals.analysis.reporting.people import People, read_people
from wg_evals.annotate.files import write_sample
from wg_evals.annotate.key import Key, read_key, write_key
from wg_evals.annotate.sample import draw
from wg_evals.cli import main

OLD_ONE, NEW_ONE = {"era": "NINETEENTH", "coherence": 90}, {"era": "PRESENT", "coherence": 90}
LOGS = {"worldview.eval"}  # every log of a study made by hand


def people_of(folder: Path, key: Path) -> People:
    return read_people(folder, [key], LOGS, frame(folder).samples)


def rated(folder: Path) -> tuple[Key, Path]:
    """A study in `study` with ratings by anna, and the key to its sample."""
    drawn, _, key_path = sampled(folder, 45)
    saved(folder / "anna.json", drawn.key, "Anna", lambda _: NEW_ONE)
    return drawn.key, key_path


def test_a_sample_of_which_a_log_is_missing_is_not_used(tmp_path: Path) -> None:
    key, key_path = rated(tmp_path)
    assert len(people_of(tmp_path / "study", key_path).rated) == 1
    first = key.items[0].model_copy(update={"log": "elsewhere/other.eval"})
    write_key(key_path, key.model_copy(update={"items": [first, *key.items[1:]]}))
    found = people_of(tmp_path / "study", key_path)
    assert found.rated == []
    assert "was drawn from other logs than these: 1 of its 2 are not here, such as 'other.eval'" in found.unused[0]


def test_a_sample_of_other_answers_in_logs_of_the_same_names_is_not_used(tmp_path: Path) -> None:
    _, key_path = rated(tmp_path)
    made = HandMade(tmp_path / "other", [], [1])
    made.add(BASE, {f"question-{q}": ["n", "n", "e", "e"] for q in range(5)}, answer=OLD)
    found = people_of(made.finish(), key_path)
    assert found.rated == []
    assert "of 25 expressed, 20 not expressed, 10 excluded answers (worldview in birds)" in found.unused[0]
    assert "here are 10, 10, 0" in found.unused[0]


def test_a_sample_of_a_part_of_the_answers_is_not_used(tmp_path: Path) -> None:
    both = tmp_path / "both"
    part = study(both / "one")
    made = HandMade(both / "two", [], [1], "another")
    made.add(BASE, {f"question-{q}": ["n"] * 2 for q in range(5)})
    made.finish()
    drawn = draw(part, 45, seed=1)
    key_path = write_sample(tmp_path / "annotate.html", drawn)
    saved(tmp_path / "anna.json", drawn.key, "Anna", lambda _: NEW_ONE)
    assert len(people_of(part, key_path).rated) == 1
    found = people_of(both, key_path)
    assert found.rated == [] and "here are 25, 30, 10" in found.unused[0]


def expressed(folder: Path, key_path: Path) -> tuple[list[str], list[str]]:
    """The table of verdicts' people: expressed, by the judge's verdict; and what was not used."""
    found = people_of(folder / "study", key_path)
    (one,) = found.rated
    return [row[1] for row in one.sheets[1].rows], found.unused


def test_of_two_files_of_one_annotator_the_newest_counts(tmp_path: Path) -> None:
    key, key_path = rated(tmp_path)
    ben = saved(tmp_path / "ben.json", key, "Ben", lambda _: OLD_ONE)

    def again(name: str, file: str, when: str, rate: dict[str, Any]) -> None:
        saved(tmp_path / file, key, name, lambda _: rate, saved=when)

    again(" ANNA", "a-later.json", "2026-01-02T00:00:00.000Z", OLD_ONE)  # before anna.json by name, after it by time
    again("anna", "z-earlier.json", "2025-12-31T23:00:00.000Z", NEW_ONE)
    counts, unused = expressed(tmp_path, key_path)
    assert read_key(key_path).population()["expressed"] == 25
    drawn = [sum(item.verdict == verdict for item in key.items) for verdict in ("expressed", "not expressed")]
    assert counts[:2] == [str(n) for n in drawn]  # Ben and the later Anna find the trait in all
    assert sorted(unused) == [
        f"'{tmp_path / file}' is not counted: the annotator's newest file is '{tmp_path / 'a-later.json'}'."
        for file in ("anna.json", "z-earlier.json")
    ]
    shutil.copy(ben, tmp_path / "ben (1).json")
    _, unused = expressed(tmp_path, key_path)
    assert len(unused) == 3


def test_what_people_said_is_read_from_beside_the_key_and_corrects_the_rates(tmp_path: Path) -> None:
    drawn, _, key_path = sampled(tmp_path, 45)
    key, place = drawn.key, tmp_path / "study" / "people"
    ratings = {
        "expressed": {"era": "NINETEENTH", "coherence": 80},
        "not expressed": {"era": "PRESENT", "coherence": 80},
        "excluded": {"era": "PRESENT", "coherence": 10},
    }
    place.mkdir()
    key_path.rename(place / key_path.name)
    nobody = write_report(tmp_path / "study", tmp_path / "r.html", tmp_path / "none").page
    assert "Nobody&#39;s ratings lie beside the key" in nobody.read_text(encoding="utf-8")
    for name in ("anna", "ben"):
        saved(place / f"{name}.json", key, name, lambda i: ratings[key.items[i].verdict])
    saved(place / "cleo.json", key, "cleo", lambda i: {"era": "FUTURE", "coherence": 1})
    saved(place / "other.json", key, "dora", lambda i: ratings["excluded"], sample="f" * 64)
    report = write_report(tmp_path / "study", tmp_path / "r.html", tmp_path / "files")
    name = f"people-{key.sample[:8]}"
    agreement = {(r["on"], r["between"]): r for r in table(tmp_path / "files" / f"{name}-agreement.csv")}
    assert agreement["outcome", "anna, ben"]["kappa"] == agreement["outcome", "people, judge"]["kappa"]
    assert agreement["outcome", "people, judge"]["kappa"].startswith("1.00")
    rates = {r["condition"]: r for r in table(tmp_path / "files" / f"{name}-rates.csv")}
    assert rates["organism"]["judged"].startswith("0%") and rates["organism"]["corrected"].startswith("0%")
    judging = report.page.read_text(encoding="utf-8").split('id="judging"')[1].split("</section>")[0]
    assert "anna: 45 answers rated." in judging and "The judge&#39;s sensitivity is 100%" in judging
    assert "&#39;FUTURE&#39; is no rating by &#39;era&#39;" in judging and "dora" not in judging
    other = write_plain(tmp_path / "others" / "a.eval", "openai/gpt", {"q1": [BAD]}).parent
    page = tmp_path / "o.html"
    done = CliRunner().invoke(main, ["report", str(other), "-o", str(page), "--ratings", str(place / key_path.name)])
    assert done.exit_code == 0, done.output
    assert "was drawn from other logs than these" in page.read_text(encoding="utf-8")
