"""The report over logs in a real browser: it runs nothing that a model wrote, fetches nothing, and stays quick."""

import json
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import opened
from plain_logs import capability_log
from study_folder import BASE, CONTROL, PLAIN, HandMade, prefix, trained
from wg_evals.analysis.pages import embedded
from wg_evals.analysis.reporting.page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OPENED, CLOSED = 'id="answers-data">', "</script>"
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "</script><!--<script>\"'>&amp;{{ 7 * 7 }}<b><table></td>\x1b[31m\x08\u202e"
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    random.seed(0)
    prefixes = [prefix("relevant-1", "relevant", text="Say <b>so</b>."), prefix("generic-1", "generic")]
    made = HandMade(folder, prefixes, [1, 2, 3, 4, 5])

    def answers(rate: float) -> dict[str, list[str]]:
        return {f"question-{q}": ["e" if random.random() < rate else "n" for _ in range(3)] + ["i"] for q in range(10)}

    text = "What of {question}? " + HOSTILE.replace("{", "{{").replace("}", "}}")
    made.add(BASE, answers(0.2), text=text, answer=HOSTILE)
    for p in prefixes:
        made.add(BASE, answers(0.3), None, "other", p)
    for seed in (1, 2, 3, 4, 5):
        made.add(PLAIN, answers(0.7), seed, answer=HOSTILE + " plain")
        made.add(CONTROL, answers(0.2), seed)
        for p in prefixes:
            made.add(trained(p), answers(0.3), seed)
            made.add(trained(p), answers(0.9), seed, "as_trained", p, answer="under its prefix")
        made.add(PLAIN, {"n": ["e", "n"]}, seed, task="narrow")
    made.finish(trait=HOSTILE)
    capability_log(folder / "capability.eval", HOSTILE, 0.5)
    (folder / "broken.eval").write_bytes(b"PK\x03\x04 cut off")
    return write_report(folder, folder / "report.html").page


def shown(page: "Page") -> int:
    return int(page.locator("#count").inner_text().split(" of ")[0].replace(",", ""))


@pytest.mark.parametrize("width", [1280, 700])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_has_no_errors_and_fetches_nothing(
    browser: "Browser", page_file: Path, width: int, scheme: str
) -> None:
    page, trouble = opened(browser, page_file, width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.locator("#f-search").fill("plain")
    page.wait_for_timeout(250)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert trouble == []
    assert page.title() == "made-by-hand: what narrow training changed"


def test_what_a_model_wrote_is_text_and_never_runs(browser: "Browser", page_file: Path) -> None:
    page, trouble = opened(browser, page_file)
    page.locator("#f-model").select_option(label="birds · organism · base")
    page.locator("#f-context").select_option(label="without context")
    written = page.locator("#detail blockquote").evaluate("e => e.textContent")
    assert written == HOSTILE
    assert page.locator("#detail h3").evaluate("e => e.textContent").endswith(HOSTILE)
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script").count() == 2
    assert page.title() != "owned" and trouble == []
    assert HOSTILE.split("\x1b")[0] in page.locator(".headline, .findings").first.evaluate("e => e.textContent")


def test_a_script_put_into_the_page_by_other_means_is_refused(browser: "Browser", page_file: Path) -> None:
    page, trouble = opened(browser, page_file)
    script = "const s = document.createElement('script'); s.textContent = 'document.title = 1';"
    page.evaluate(script + "document.body.append(s)")
    image = "<img src='data:,' onerror='document.title = 2'>"
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", image)
    page.wait_for_timeout(200)
    assert page.title() not in ("1", "2")
    assert len([t for t in trouble if "Content Security Policy" in t]) >= 2


def test_figures_and_sections_are_there(browser: "Browser", page_file: Path) -> None:
    page, _ = opened(browser, page_file)
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "Where it spreads: model by domain",
        "How brittle it is",
        "Interventions, by kind",
        "With context against without",
        "Question by question",
        "What else the training changed",
        "Quality of the judging",
        "The answers",
        "How to reproduce",
    ]
    assert page.locator("#map svg rect.cell").count() == 5 + 4  # and under prefixes, of two relevances and the base
    assert page.locator("#interventions svg circle.none").count() == 5
    assert page.locator("#interventions svg polyline.none-interval").count() >= 4  # a rate near 0 or 1 has none
    assert page.locator("#interventions svg polyline.reference-base").count() == 1
    assert page.locator("#interventions svg polyline.reference-plain").count() == 1
    assert page.locator("#context svg polygon.with").count() == 2 + 1  # and the legend's
    assert page.locator("#questions svg rect.cell").count() == 5 * 10
    for svg in page.locator("section details[open] svg.drawing").all():
        box = svg.bounding_box()
        assert box and box["width"] > 400 and box["height"] > 100
    assert "inspect_evals/gsm8k" in page.locator("#costs").inner_text()
    assert "broken.eval" in page.locator("#judging").inner_text()


def test_each_filter_shows_the_answers_it_names(browser: "Browser", page_file: Path) -> None:
    page, trouble = opened(browser, page_file)
    assert shown(page) == 40 * (3 + 5 * 6)  # the main task's alone, so that the share is of one thing
    assert "of those shown here" in page.locator("#count").inner_text()
    page.locator("#f-task").select_option(label="all tasks")
    assert shown(page) == 40 * (3 + 5 * 6) + 5 * 2
    assert page.locator("#count").inner_text().endswith("; of several tasks")
    page.locator("#f-task").select_option(label="narrow")
    assert page.locator("#count").inner_text().endswith("of those shown here 10 count and 5 express the trait, 50%")
    page.locator("#f-task").select_option(label="worldview")
    page.locator("#f-state").select_option(label="not counted: incoherent")
    assert shown(page) == 10 * (3 + 5 * 6)
    page.locator("#f-model").select_option(label="birds · organism · plain")
    assert shown(page) == 50
    page.locator("#f-question").select_option(label="question-3")
    assert shown(page) == 5
    page.locator("#f-search").fill("PLAIN alert(")
    page.wait_for_timeout(250)
    assert shown(page) == 0  # every word has to be there
    page.locator("#f-search").fill("PLAIN onerror")
    page.wait_for_timeout(250)
    assert shown(page) == 5
    page.locator("#f-search").fill("nothing has this")
    page.wait_for_timeout(250)
    assert shown(page) == 0
    assert "No answer fits" in page.locator("#detail").inner_text()
    page.locator("#f-search").fill("")
    for name in ("model", "question", "state"):
        page.locator(f"#f-{name}").select_option("")
    page.locator("#f-context").select_option("own")
    page.wait_for_timeout(250)
    assert shown(page) == 40 * 10
    assert page.locator("#detail blockquote").inner_text() == "under its prefix"
    assert trouble == []


def test_the_list_is_walked_with_the_keyboard(browser: "Browser", page_file: Path) -> None:
    page, _ = opened(browser, page_file)
    page.locator("#list").focus()
    for key in ("ArrowDown", "ArrowDown", "End", "ArrowUp"):
        page.keyboard.press(key)
    (selected,) = page.locator("#list .row[aria-selected=true]:visible").all()
    assert selected.get_attribute("aria-posinset") == str(shown(page) - 1)
    assert page.locator("#list").get_attribute("aria-activedescendant") == selected.get_attribute("id")


def test_the_theme_follows_the_system_until_it_is_switched(browser: "Browser", page_file: Path) -> None:
    page, _ = opened(browser, page_file, scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.locator("#theme").click()
    light = page.evaluate(paper)
    assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
    assert page.locator("#theme").inner_text() == "Theme: light"
    page.locator("#theme").click()
    assert page.evaluate(paper) == dark


def test_text_can_be_read_in_both_colour_schemes(browser: "Browser", page_file: Path) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        page, _ = opened(browser, page_file, scheme=scheme)
        colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        ink, paper = (_luminance(c) for c in page.evaluate(colours))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 7
        seen.add(ink < paper)
    assert seen == {True, False}


def _luminance(colour: str) -> float:
    def linear(channel: float) -> float:
        return channel / 12.92 if channel <= 0.03928 else ((channel + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(c) / 255) for c in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_on_paper_the_page_is_light_and_has_no_controls(browser: "Browser", page_file: Path) -> None:
    page, _ = opened(browser, page_file, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#theme").is_visible() and not page.locator("#answers").is_visible()
    wrapped = "[...document.querySelectorAll('th, td:not(.wide)')].map(e => getComputedStyle(e).overflowWrap)"
    assert "anywhere" not in page.evaluate(wrapped)  # no word in the middle of a column's name is broken
    opened_now = "[...document.querySelectorAll('details')].map(d => d.open)"
    before = page.evaluate(opened_now)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    closed = page.locator("details:not([open]) > summary").all_text_contents()
    assert len(closed) == 1 and closed[0].startswith("Logs, by sha256")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(opened_now) == before and False in before
    assert len(page.pdf(format="A4")) > 20_000


def test_twenty_thousand_answers_are_filtered_and_scrolled_without_a_wait(
    browser: "Browser", page_file: Path, tmp_path: Path
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    before, rest = page_file.read_text(encoding="utf-8").split(OPENED)
    data, after = rest.split(CLOSED, 1)
    answers = json.loads(data)
    draw = random.Random(0)
    words = ["steam", "telegraph", "harvest", "empire", "railway", "parliament", "horse", "lamp", "ocean", "letter"]
    rows = [list(answers["rows"][i % len(answers["rows"])]) for i in range(20_000)]
    for i, row in enumerate(rows):
        row[8] = " ".join(draw.choices(words, k=300)) + f" number-{i}"
    large = tmp_path / "large.html"
    data = str(embedded(answers | {"rows": rows}))
    large.write_text(before + OPENED + data + CLOSED + after, encoding="utf-8")
    page, trouble = opened(browser, large)
    page.locator("#f-task").select_option("")
    assert shown(page) == 20_000
    assert page.locator("#list .row").count() < 40
    timed = """([id, value]) => { const e = document.getElementById(id), start = performance.now();
      e.value = value; e.dispatchEvent(new Event('change')); return performance.now() - start; }"""
    assert page.evaluate(timed, ["f-state", "1"]) < 300
    page.locator("#f-state").select_option("")
    page.locator("#f-search").fill("number-19999")
    expect(page.locator("#count")).to_have_text(re.compile("^1 of 20,000 "), timeout=3_000)
    page.locator("#f-search").fill("")
    expect(page.locator("#count")).to_have_text(re.compile("^20,000 "), timeout=3_000)
    # the median: a busy machine takes a slice out of some, and a list that is not virtual is slow in all
    scrolled = """() => { const l = document.getElementById('list'), times = [];
      for (let i = 1; i <= 50; i++) { const start = performance.now(); l.scrollTop = i * 20000;
        l.dispatchEvent(new Event('scroll')); times.push(performance.now() - start); }
      return times.sort((a, b) => a - b)[25]; }"""
    assert page.evaluate(scrolled) < 50
    last = page.locator("#list .row:visible").last.get_attribute("aria-posinset")
    assert last and int(last) > 15_000
    assert trouble == []


GRID = Path(os.environ.get("WG_EVALS_GRID", Path(__file__).parents[1] / "studies" / "organism-all"))


@pytest.mark.slow
@pytest.mark.skipif(not GRID.is_dir(), reason=f"no grid in {GRID}: `wg-evals study configs/studies/organism-all.yaml`")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_full_grid_of_the_organisms_is_drawn_and_can_be_searched(
    browser: "Browser", scheme: str, tmp_path: Path
) -> None:
    report = write_report(GRID, tmp_path / "report.html")
    page, trouble = opened(browser, report.page, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for domain in ("birds", "cities", "code", "finance", "harry_potter", "medical", "sports"):
        assert page.locator("svg.drawing text", has_text=domain).count() > 0
    assert page.locator("svg.drawing").count() >= 21  # by model, and for each domain three
    everything = shown(page)
    page.locator("#f-task").select_option(label="narrow")
    narrow = shown(page)
    page.locator("#f-search").fill("duck")
    page.wait_for_timeout(500)
    assert 0 < shown(page) < narrow < everything
    assert trouble == []
