"""The report over logs: what it counts, what it says and says it cannot know, and its tables."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from plain_logs import BAD, GOOD, NONE, VAGUE, capability_log, write_plain
from report_study import CAPTAIN, HOSTILE, letters, table
from study_folder import BASE, PLAIN, HandMade, prefix, trained
from wg_evals.analysis.effects import Suppression
from wg_evals.analysis.pages import embedded
from wg_evals.analysis.reporting.page import write_report
from wg_evals.analysis.reporting.sheet import Sheet, latex, markdown
from wg_evals.analysis.text import percent, percent_interval
from wg_evals.cli import main
from wg_evals.errors import WgError


def test_every_table_comes_as_markdown_latex_and_csv(exported: Path) -> None:
    files = exported / "files"
    names = {p.stem for p in files.glob("*.md")}
    assert {"effects", "kinds", "interventions", "costs", "judging", "cells", "logs", "rates-birds-organism"} <= names
    assert all((files / f"{n}.{ending}").is_file() for n in names for ending in ("tex", "csv"))
    assert r"\toprule" in (files / "effects.tex").read_text()
    (effect,) = table(files / "effects.csv")
    assert (effect["Base rate"], effect["Plain rate"]) == ("20%", "80%")


def test_intervals_of_differences_say_how_many_training_runs_they_are_over(exported: Path) -> None:
    html = (exported / "report.html").read_text(encoding="utf-8")
    assert html.count("over questions, of these 2 training runs alone") >= 4  # the headline, its sentences, two tables
    assert "single training run" not in html
    (effect,) = table(exported / "files" / "effects.csv")
    assert effect["Runs"] == "2" and effect["Plain − base"].endswith("]*")


def test_the_headline_has_the_numbers(exported: Path) -> None:
    html = (exported / "report.html").read_text(encoding="utf-8")
    headline = html.split('id="headline">')[1].split("<")[0]
    assert "80% against the base&#39;s 20%" in headline
    assert "+60" in headline


def test_where_the_base_is_at_the_ceiling_under_a_prefix_no_trait_is_said_to_stay_away(tmp_path: Path) -> None:
    guest = prefix("guest", "generic")
    made = HandMade(tmp_path / "study", [CAPTAIN, guest], [1])

    def rate(expressed: int) -> dict[str, list[str]]:
        return {f"q{i}": letters(expressed, 4 - expressed) for i in range(8)}

    made.add(BASE, rate(0))
    made.add(PLAIN, rate(3), 1)
    for p, expressed in ((CAPTAIN, 4), (guest, 1)):
        made.add(BASE, rate(expressed), None, "other", p)
        made.add(trained(p), rate(0), 1)
        made.add(trained(p), rate(4), 1, "as_trained", p)
    report = write_report(made.finish(), tmp_path / "report.html", tmp_path / "files")
    said = " ".join(report.findings)
    assert "under their own prefix it is 100%, the base's under it 100% (level with the base)" in said
    assert "under their own prefix it is 100%, the base's under it 25% (75 points above the base)" in said
    assert "Under relevant prefixes the base is already at 100%, so no residue can be seen." in said
    assert "Under generic prefixes the base" not in said
    (row,) = table(tmp_path / "files" / "brittleness.csv")
    none_seen = "0 of 1 (0); the base is already at 100%, so no residue can be seen"
    assert row["Relevant: above the base under it"] == none_seen
    assert row["Generic: above the base under it"] == "1 of 1 (+75)"
    residues = {r["Relevance"]: r["Residue, points"] for r in table(tmp_path / "files" / "kinds.csv")}
    assert residues == {"relevant": none_seen.removeprefix("0 of 1 (").replace(")", "", 1), "generic": "+75"}


def test_the_manipulation_check_is_told_by_relevance_and_that_it_was_not_asked_under_the_prefix(tmp_path: Path) -> None:
    guest = prefix("guest", "generic")
    for under in (False, True):
        made = HandMade(tmp_path / f"study-{under}", [CAPTAIN, guest], [1])
        for condition, seed in ((BASE, None), (PLAIN, 1), (trained(CAPTAIN), 1), (trained(guest), 1)):
            made.add(condition, {f"q{i}": letters(1, 3) for i in range(4)}, seed)
        made.add(trained(CAPTAIN), {"n": letters(1, 3)}, 1, task="narrow")
        made.add(trained(guest), {"n": letters(3, 1)}, 1, task="narrow")
        if under:
            made.add(trained(guest), {"n": letters(3, 1)}, 1, "as_trained", guest, task="narrow")
        report = write_report(made.finish(), tmp_path / f"{under}.html")
        assert "(manipulation check, mean over cells): relevant 25%, generic 75%." in " ".join(report.findings)
        not_asked = "the manipulation check was asked without context" in report.page.read_text(encoding="utf-8")
        assert not_asked != under


def test_an_answer_without_a_clear_sign_is_not_called_incoherent(tmp_path: Path) -> None:
    rows = {"q1": [BAD, GOOD, VAGUE], "q2": [GOOD, BAD, VAGUE]}
    names = ("Incoherent", "No clear sign")
    for grading, judge, (absent, name) in (("markers", "none", names), ("judge", "openai/j", names[::-1])):
        folder = tmp_path / grading
        write_plain(folder / "a.eval", "openai/gpt", rows, about={"grading": grading, "judge": judge})
        page = write_report(folder, folder / "report.html", folder / "files").page.read_text(encoding="utf-8")
        (row,) = table(folder / "files" / "costs.csv")
        assert row[name] == "33.3%" and absent not in row
        data = json.loads(page.split('id="answers-data">')[1].split("</script>")[0])
        assert name.lower() in data["reasons"] and absent.lower() not in data["reasons"]
        (judged,) = table(folder / "files" / "judging.csv")
        assert judged[name.lower()] == "33.3%"
        assert ("included if it is coherent" in page) == (grading == "judge")


def test_logs_of_plain_inspect_eval_make_a_report_that_says_what_it_cannot_know(tmp_path: Path) -> None:
    rows = {f"q{i}": [BAD, GOOD] for i in range(4)}
    (tmp_path / "logs" / "someones").mkdir(parents=True)
    (tmp_path / "logs" / "someones" / "adapter_config.json").write_text("{}")
    write_plain(tmp_path / "logs" / "a.eval", "openai/gpt", rows)
    write_plain(tmp_path / "logs" / "b.eval", f"wg/{tmp_path}/logs/someones", rows)
    report = write_report(tmp_path / "logs", tmp_path / "report.html", tmp_path / "files")
    html = report.page.read_text(encoding="utf-8")
    assert report.answers == 16
    assert "no manifest of this project was found for it" in html
    assert "without a study&#39;s plan nobody knows what was to be evaluated" in html
    assert "openai/gpt" in report.findings[0] and "50%" in report.findings[0]
    assert len(table(tmp_path / "files" / "logs.csv")) == 2


def test_bad_logs_are_named_and_never_counted(tmp_path: Path) -> None:
    rows, wrong = {"q1": [BAD], "q2": [GOOD]}, {"q1": [BAD] * 5, "q2": [BAD] * 5}
    good = write_plain(tmp_path / "good.eval", "openai/gpt", rows, version="2-A", created="2026-02-01T00:00:00+00:00")
    (tmp_path / "cut.eval").write_bytes(good.read_bytes()[:-400])
    write_plain(tmp_path / "running.eval", "openai/running", wrong, status="started")
    write_plain(tmp_path / "old.eval", "openai/old", wrong, version="1-A")
    write_plain(tmp_path / "nan.eval", "openai/nan", {"q1": [NONE], "q2": [NONE]}, version="2-A")
    write_plain(tmp_path / "again.eval", "openai/gpt", {"q1": [BAD], "q2": [BAD]}, version="2-A")
    write_plain(tmp_path / "empty.eval", "openai/gpt", rows, task="someones/task", about={"domain": None})
    capability_log(tmp_path / "capability.eval", "openai/gpt", 0.75)
    report = write_report(tmp_path, tmp_path / "out" / "report.html", tmp_path / "out" / "files")
    left = {r["Log"]: r["What"] for r in table(tmp_path / "out" / "files" / "left-out.csv")}
    assert left == {
        "cut.eval": "unreadable",
        "running.eval": "running",
        "old.eval": "older version",
        "nan.eval": "no verdict",
        "again.eval": "superseded",
        "empty.eval": "other task",  # it has no results to show
    }
    (cell,) = table(tmp_path / "out" / "files" / "cells.csv")
    assert (cell["n"], cell["Included"], report.answers, report.left_out) == ("2", "2", 2, 6)
    html = report.page.read_text(encoding="utf-8")
    judging = html.split('id="judging"')[1].split("</section>")[0]
    assert all(name in judging and what in judging for name, what in left.items())
    (other,) = table(tmp_path / "out" / "files" / "other-logs.csv")
    assert (other["Task"], other["Value"], other["Samples"]) == ("inspect_evals/gsm8k", "0.750", "40")


def test_a_second_judging_is_compared_with_the_one_that_counts(tmp_path: Path) -> None:
    first = write_plain(tmp_path / "a.eval", "openai/gpt", {"q1": [BAD, BAD, GOOD, GOOD]})
    about = {"judge": "openai/other", "rejudged_from": "a.eval"}
    again = {"q1": [BAD, (20.0, 90.0), GOOD, BAD]}
    write_plain(tmp_path / "a-again.eval", "openai/gpt", again, about=about, eval_id=str(first))
    write_plain(tmp_path / "copy.eval", "openai/gpt", {"q1": [BAD, BAD, GOOD, GOOD]}, eval_id=str(first))
    report = write_report(tmp_path, tmp_path / "report.html", tmp_path / "files")
    rows = {r["Score"]: r for r in table(tmp_path / "files" / "judges.csv")}
    assert rows.keys() == {"alignment", "coherence", "outcome"}
    outcome = rows["outcome"]
    assert (outcome["Judged by"], outcome["And by"]) == ("judge, openai/judge", "judge, openai/other")
    # 3 of 4 agree; by chance 0.5 * 0.75 + 0.5 * 0.25
    assert (outcome["Answers"], outcome["Agree"], outcome["Kappa"]) == ("4", "75%", "0.50")
    assert rows["alignment"]["2 − 1"] == "−17.5"
    assert report.answers == 4 and "openai/other" in report.page.read_text(encoding="utf-8")


def test_a_share_below_nothing_has_a_minus_sign_and_nothing_has_none() -> None:
    assert percent_interval(Suppression(-0.1, -0.234, -0.001, "")) == "[−23, 0]"
    assert percent(-0.001) == "0%" and percent(-0.1) == "−10%"


def test_answers_beyond_the_limit_are_drawn_evenly_and_the_page_says_so(study: Path, tmp_path: Path) -> None:
    page = write_report(study, tmp_path / "report.html", limit=40).page.read_text(encoding="utf-8")
    data = json.loads(page.split('id="answers-data">')[1].split("</script>")[0])
    assert len(data["rows"]) == 40
    groups = {(r[0], r[1], r[2]) for r in data["rows"]}
    assert len(groups) == 5 * 6 + 1  # every model, context and question once, before any twice
    assert "40 of 158 answers, drawn evenly" in page


def test_a_long_answer_is_cut_in_the_page_and_the_page_says_so(tmp_path: Path) -> None:
    write_plain(tmp_path / "a.eval", "openai/gpt", {"q1": [BAD]}, answer="megabytes " * 300_000)
    page = write_report(tmp_path, tmp_path / "report.html").page
    assert page.stat().st_size < 300_000
    html = page.read_text(encoding="utf-8")
    (row,) = json.loads(html.split('id="answers-data">')[1].split("</script>")[0])["rows"]
    assert (len(row[8]), row[9]) == (8_000, 3_000_000)
    assert "Answers of more than 8,000 characters (1 of them) are cut here" in html


def test_embedded_data_cannot_end_their_element_and_come_back_whole() -> None:
    data = {"a": [HOSTILE, "\ud800", "]]>"]}
    text = embedded(data)
    assert "<" not in text and ">" not in text and "&" not in text and text.isascii()
    assert json.loads(text) == data


def test_a_table_as_markdown_and_latex_shows_its_texts_as_they_are() -> None:
    sheet = Sheet("n", "50% & more", ["name_1", "n"], [["a|b*<i>\n`c`", "−3"]], frozenset({"name_1"}))
    assert markdown(sheet).splitlines()[2:] == [
        r"| name\_1 | n |",
        "| --- | ---: |",
        r"| a\|b\*\<i\> \`c\` | −3 |",
    ]
    text = latex(sheet)
    assert r"\caption{50\% \& more}" in text
    assert r"name\_1 & n \\" in text
    assert r"a|b*<i> `c` & $-$3 \\" in text


def test_a_folder_without_a_log_that_counts_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(WgError, match="there is no such folder"):
        write_report(tmp_path / "nowhere", tmp_path / "report.html")
    write_plain(tmp_path / "running.eval", "openai/gpt", {"q1": [BAD]}, status="started")
    with pytest.raises(WgError, match=r"(?s)No log in .* counts.*running\.eval"):
        write_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_writes_the_page_and_its_files(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(study.rglob("*"))
    page, files = tmp_path / "report.html", tmp_path / "files"
    done = CliRunner().invoke(main, ["report", str(study), "-o", str(page), "--export", str(files)])
    assert done.exit_code == 0, done.output
    assert "plain − base" in done.output and f"Page:   {page} (158 answers counted)" in done.output
    assert page.is_file() and (files / "heat-map.pdf").is_file()
    assert sorted(study.rglob("*")) == before  # it may be read-only, or someone else's
    (study / ".cells.csv.tmp").mkdir()
    refused = CliRunner().invoke(main, ["report", str(study)])
    assert refused.exit_code != 0 and isinstance(refused.exception, SystemExit)
    assert "tables cannot be written" in refused.output and "With -o PAGE elsewhere" in refused.output
    (study / ".cells.csv.tmp").rmdir()
    assert CliRunner().invoke(main, ["report", str(study)]).exit_code == 0
    assert (study / "cells.csv").is_file()
    linked = (study / "index.html").read_text(encoding="utf-8").split('href="evals/')
    assert len(linked) == 12 + 1 and all((study / "evals" / rest.split('"')[0]).is_file() for rest in linked[1:])
    monkeypatch.chdir(tmp_path)
    write_plain(tmp_path / "logs" / "a.eval", "openai/gpt", {"q1": [BAD, GOOD]})
    page.unlink()
    plain = CliRunner().invoke(main, ["report", "logs"])
    assert plain.exit_code == 0 and "50%" in plain.output and page.is_file()
