"""The figures of a report: what they are drawn from, and how they come as files."""

import xml.etree.ElementTree as ET
from pathlib import Path

from plain_logs import BAD, GOOD, adapter_folder, write_plain
from report_study import CAPTAIN, HOSTILE, letters, table
from study_folder import BASE, PLAIN, HandMade, prefix, trained
from wg_evals.analysis.reporting.drawing import Box, Drawing, Mark, Words, svg
from wg_evals.analysis.reporting.page import write_report


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


def test_the_same_figure_gives_the_same_bytes(exported: Path, study: Path, tmp_path: Path) -> None:
    write_report(study, tmp_path / "again.html", tmp_path / "files")
    for name in ("heat-map.svg", "heat-map.png", "heat-map.pdf"):
        assert (tmp_path / "files" / name).read_bytes() == (exported / "files" / name).read_bytes()


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


def test_a_drawing_is_well_formed_whatever_its_texts_hold() -> None:
    marks: list[Mark] = [Words("label", 1, 2, HOSTILE), Box("cell", 0, 0, 1, 1, 0.5, HOSTILE)]
    root = ET.fromstring(svg(Drawing("n", HOSTILE, HOSTILE, 10, marks, []), standalone=True))
    texts = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0].startswith("</script><!--<script>")
    assert "\x00" not in texts[0] and "\x1b" not in texts[0]


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
