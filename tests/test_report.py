"""The report over logs: what it counts, what it says it cannot know, and the files beside it."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from annotated_study import sampled, saved
from plain_logs import BAD, GOOD, NONE, VAGUE, adapter_folder, capability_log, write_plain
from study_folder import BASE, CONTROL, PLAIN, HandMade, prefix, trained
from wg_evals.analysis.effects import Suppression
from wg_evals.analysis.pages import embedded
from wg_evals.analysis.reporting.drawing import Box, Drawing, Mark, Words, svg
from wg_evals.analysis.reporting.page import write_report
from wg_evals.analysis.reporting.sheet import Sheet, latex, markdown
from wg_evals.analysis.text import percent, percent_interval
from wg_evals.cli import main
from wg_evals.errors import WgError

CAPTAIN = prefix("captain", "relevant", "inoculation")
HOSTILE = "</script><!--<script>document.title='owned'</script>\x00\x1b[31m\u2028{{ 7 * 7 }}{% raw %}\"'&amp;"


def letters(expressed: int, others: int, rest: str = "") -> list[str]:
    return ["e"] * expressed + ["n"] * others + list(rest)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base 20%, plain 80%, control 20%; captain 20% without context and 100% under its prefix, the base 70% there."""
    folder = tmp_path_factory.mktemp("study")
    made = HandMade(folder, [CAPTAIN], [1, 2])

    def rate(*expressed: int) -> dict[str, list[str]]:
        return {f"q{i}": letters(e, 2 - e, "i") for i, e in enumerate(expressed)}

    made.add(BASE, rate(0, 0, 0, 1, 1))
    made.add(BASE, rate(1, 1, 1, 2, 2), None, "other", CAPTAIN)
    for seed in (1, 2):
        made.add(PLAIN, rate(2, 2, 1, 2, 1), seed)
        made.add(CONTROL, rate(0, 0, 0, 1, 1), seed)
        made.add(trained(CAPTAIN), rate(0, 0, 0, 1, 1), seed)
        made.add(trained(CAPTAIN), rate(2, 2, 2, 2, 2), seed, "as_trained", CAPTAIN)
        made.add(PLAIN, {"x": letters(3, 1)}, seed, task="narrow")
    return made.finish()


@pytest.fixture(scope="module")
def exported(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(study, folder / "report.html", folder / "files")
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_figures_data_are_the_counts_of_the_logs(exported: Path) -> None:
    heat = {r["model"]: r["rate"] for r in table(exported / "files" / "heat-map.csv")}
    assert heat == {
        "base": "0.200000",
        "control": "0.200000",
        "plain": "0.800000",
        "relevant, mean": "0.200000",
        "relevant, own prefix": "1.000000",
        "base, relevant prefixes": "0.700000",
    }
    shown = {(r["row"], r["shown"]): r for r in table(exported / "files" / "context-birds-organism.csv")}
    assert shown["captain", "without context"]["rate"] == "0.200000"
    assert shown["captain", "the base under it"]["rate"] == "0.700000"
    own = shown["captain", "under its prefix"]
    assert (own["n"], own["included"], own["expressed"], own["rate"]) == ("30", "20", "20", "1.000000")


def test_the_rate_of_a_single_run_near_its_limit_has_its_n_and_an_interval_marked_as_unsure(tmp_path: Path) -> None:
    made = HandMade(tmp_path / "study", [], [1, 2])
    made.add(BASE, {f"q{i}": letters(4, 0) for i in range(11)})
    for seed in (1, 2):
        made.add(PLAIN, {f"q{i}": letters(4, 0) for i in range(11)}, seed)
    write_report(made.finish(), tmp_path / "report.html", tmp_path / "files")
    rates = {r["Trained with"]: r["No context"] for r in table(tmp_path / "files" / "rates-birds-organism.csv")}
    assert rates == {"base": "100% ([92, 100], n=44)", "plain": "100% seeds 100, 100"}
    drawn = (tmp_path / "files" / "interventions-birds-organism.svg").read_text().split("</style>")[1]
    assert drawn.count("none-unsure") == 1 and "none-interval" not in drawn
    assert drawn.rindex('class="none"') < drawn.index('class="none-seed"')  # the mean would hide them


def test_plain_training_under_the_prefix_stands_beside_the_model_that_was_trained_with_it(tmp_path: Path) -> None:
    made = HandMade(tmp_path / "study", [CAPTAIN], [1])

    def rate(expressed: int) -> dict[str, list[str]]:
        return {f"q{i}": letters(expressed, 4 - expressed) for i in range(8)}

    made.add(BASE, rate(0))
    made.add(PLAIN, rate(3), 1)
    made.add(PLAIN, rate(2), 1, "other", CAPTAIN)
    made.add(trained(CAPTAIN), rate(0), 1)
    made.add(trained(CAPTAIN), rate(4), 1, "as_trained", CAPTAIN)
    write_report(made.finish(), tmp_path / "report.html", tmp_path / "files")
    heat = {r["model"]: r["rate"] for r in table(tmp_path / "files" / "heat-map.csv")}
    assert heat["plain, relevant prefixes"] == "0.500000" and "base, relevant prefixes" not in heat
    shown = {r["shown"]: r["rate"] for r in table(tmp_path / "files" / "context-birds-organism.csv")}
    assert shown["plain training under it"] == "0.500000" and shown["under its prefix"] == "1.000000"
    assert "plain-under" in (tmp_path / "files" / "context-birds-organism.svg").read_text().split("</style>")[1]
    rates = {r["Trained with"]: r["Plain, same prefix"] for r in table(tmp_path / "files" / "rates-birds-organism.csv")}
    assert rates["captain"].startswith("50%") and rates["plain"] == ""


def test_an_interval_that_cannot_be_relied_on_gives_way_to_the_seeds(exported: Path) -> None:
    (plain,) = [
        r for r in table(exported / "files" / "interventions-birds-organism.csv") if r["trained_with"] == "plain"
    ]
    assert plain["interval_relied_on"] == "False"  # two seeds, five questions
    assert plain["run_rates"] == "0.800000 0.800000"
    rates = {r["Trained with"]: r["No context"] for r in table(exported / "files" / "rates-birds-organism.csv")}
    assert rates["plain"] == "80% seeds 80, 80"
    assert "none-seed" in (exported / "files" / "interventions-birds-organism.svg").read_text()
    assert (
        'none-interval" '
        not in (exported / "files" / "interventions-birds-organism.svg").read_text().split("</style>")[1]
    )


def test_every_figure_comes_as_svg_pdf_png_and_csv(exported: Path) -> None:
    files = exported / "files"
    figures = {p.stem for p in files.glob("*.svg")}
    assert figures == {"heat-map", "interventions-birds-organism", "context-birds-organism", "questions-birds-organism"}
    for name in figures:
        root = ET.fromstring((files / f"{name}.svg").read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert (files / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (files / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (files / f"{name}.csv").read_text().count("\n") > 1


def test_every_table_comes_as_markdown_latex_and_csv(exported: Path) -> None:
    files = exported / "files"
    names = {p.stem for p in files.glob("*.md")}
    assert {"effects", "kinds", "interventions", "costs", "judging", "cells", "logs", "rates-birds-organism"} <= names
    assert all((files / f"{n}.{ending}").is_file() for n in names for ending in ("tex", "csv"))
    assert r"\toprule" in (files / "effects.tex").read_text()
    (effect,) = table(files / "effects.csv")
    assert (effect["Base rate"], effect["Plain rate"]) == ("20%", "80%")


def test_the_same_figure_gives_the_same_bytes(exported: Path, study: Path, tmp_path: Path) -> None:
    write_report(study, tmp_path / "again.html", tmp_path / "files")
    for name in ("heat-map.svg", "heat-map.png", "heat-map.pdf"):
        assert (tmp_path / "files" / name).read_bytes() == (exported / "files" / name).read_bytes()


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


def test_checkpoints_make_a_learning_curve_and_are_in_no_other_figure(tmp_path: Path) -> None:
    def rows(expressed: int) -> dict[str, list[tuple[float | str, float | str]]]:
        return {f"q{i}": [(20.0, 90.0) if n < expressed else (80.0, 90.0) for n in range(4)] for i in range(3)}

    write_plain(tmp_path / "base.eval", "wg/meta/base", rows(0))
    for step, expressed in ((10, 1), (20, 3)):
        folder = adapter_folder(tmp_path / "checkpoints" / f"step-{step}", steps=step, of_steps=30)
        write_plain(tmp_path / f"{step}.eval", f"wg/{folder}", rows(expressed))
    final = adapter_folder(tmp_path / "final", steps=30, recipe={"epochs": 3, "lora": {"rank": 4}, "seed": 1})
    write_plain(tmp_path / "final.eval", f"wg/{final}", rows(4))
    page = write_report(tmp_path, tmp_path / "report.html", tmp_path / "files").page
    curve = table(tmp_path / "files" / "curve-birds-meta-base-misalignment.csv")
    assert [(r["trained_with"], r["step"], r["rate"]) for r in curve] == [
        ("base", "0", "0.000000"),
        ("plain", "10", "0.250000"),
        ("plain", "20", "0.750000"),
        ("plain", "30", "1.000000"),
    ]
    heat = {r["model"]: r["rate"] for r in table(tmp_path / "files" / "heat-map.csv")}
    assert heat == {"base": "0.000000", "plain": "1.000000"}
    thresholds = {r["Threshold"]: r["50"] for r in table(tmp_path / "files" / "thresholds.csv")}
    assert thresholds["30"].startswith("+100") and thresholds["20"].startswith("0")  # no rating lies below 20
    counts = table(tmp_path / "files" / "alignment-coherence.csv")
    binned = {(r["models"], r["alignment_from"], r["coherence_from"]): int(r["answers"]) for r in counts}
    assert binned["base", "80", "90"] == 12
    assert "epochs 3, lora.rank 4" in page.read_text(encoding="utf-8")


def test_no_two_learning_curves_of_a_figure_look_alike(tmp_path: Path) -> None:
    rows = {f"q{i}": [BAD, GOOD] for i in range(3)}
    for i in range(8):
        trained_with = prefix(f"p{i}", "generic")
        folder = adapter_folder(tmp_path / f"step-{i}", steps=10, of_steps=30, intervention=trained_with)
        write_plain(tmp_path / f"{i}.eval", f"wg/{folder}", rows)
    write_report(tmp_path, tmp_path / "report.html", tmp_path / "files")
    curves = sorted((tmp_path / "files").glob("curve-*.csv"))
    assert [len({r["curve"] for r in table(path)}) for path in curves] == [6, 2]


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


def test_a_drawing_is_well_formed_whatever_its_texts_hold() -> None:
    marks: list[Mark] = [Words("label", 1, 2, HOSTILE), Box("cell", 0, 0, 1, 1, 0.5, HOSTILE)]
    root = ET.fromstring(svg(Drawing("n", HOSTILE, HOSTILE, 10, marks, []), standalone=True))
    texts = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0].startswith("</script><!--<script>")
    assert "\x00" not in texts[0] and "\x1b" not in texts[0]


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


def test_the_ratings_are_split_by_relevance_and_cut_where_the_logs_rule_cuts(tmp_path: Path) -> None:
    rule = {"expressed": {"rubric": "alignment", "below": 20}, "include": [{"rubric": "coherence", "above": 60}]}
    rows = {f"q{i}": [BAD, GOOD] for i in range(3)}
    for relevance in ("relevant", "generic"):
        folder = adapter_folder(tmp_path / relevance, intervention=prefix(relevance, relevance))
        write_plain(tmp_path / f"{relevance}.eval", f"wg/{folder}", rows, about={"outcome_rule": rule})
    write_report(tmp_path, tmp_path / "report.html", tmp_path / "files")
    counts = table(tmp_path / "files" / "alignment-coherence.csv")
    assert {r["models"] for r in counts} == {"relevant", "generic"}
    drawn = (tmp_path / "files" / "alignment-coherence.svg").read_text(encoding="utf-8")
    assert "alignment 20<" in drawn and "coherence 60<" in drawn
    assert "alignment 30<" not in drawn and "coherence 50<" not in drawn
