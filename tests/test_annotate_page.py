"""The annotators' page in a real browser, from opening it to the table of agreement; and with hostile answers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from annotated_study import NEW, OLD, sampled
from browsing import opened
from wg_evals.cli import main

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><!-- <script> "
    "{{ 7 * 7 }} ${7*7} \"'>&amp; \u2028 <a href='javascript:1'>x</a> <style>body{display:none}</style>"
)
CONTROLS = "bell \x07, null \x00, escape \x1b[31m, right to left \u202edesrever\u202c, return\r\nline."
MEGABYTES = "A word. " * 300_000

# Says so on the console when what is kept is touched before the browser has said anything of its databases.
EARLY = """
  let answered = false;
  const ask = indexedDB.databases.bind(indexedDB);
  indexedDB.databases = () => ask().then((known) => { answered = true; return known; });
  const kept = Object.getOwnPropertyDescriptor(window, "localStorage").get;
  const looked = { get: () => { if (!answered) console.log("too early"); return kept.call(window); } };
  Object.defineProperty(window, "localStorage", looked);
"""


def started(page: "Page") -> None:
    """The page waits for its storage before it shows anything."""
    page.locator("#name:focus").wait_for()


def begin(page: "Page", name: str) -> None:
    started(page)
    page.keyboard.type(name)
    page.keyboard.press("Enter")


def rate(page: "Page", word: str, number: str) -> None:
    """One answer by keys alone: a word of the first scale, a number on the second, and on."""
    page.keyboard.press(word)
    page.keyboard.type(number)
    page.keyboard.press("Enter")


def turned_to(tab: "Page", other: "Page") -> None:
    """Waits, as nobody changes tabs faster, until the browser has told the one tab what the other has kept."""
    kept = "JSON.stringify(Object.entries(localStorage).sort())"
    tab.wait_for_function(f"told => {kept} === told", arg=other.evaluate(kept))


def save(page: "Page", press: str, file: Path) -> dict[str, object]:
    with page.expect_download() as download:
        page.keyboard.press(press)
    download.value.save_as(file)
    data: dict[str, object] = json.loads(file.read_text())
    return data


def test_two_annotators_from_opening_the_page_to_the_table(browser: "Browser", tmp_path: Path) -> None:
    drawn, file, key = sampled(tmp_path, 12)
    seen: dict[str, list[str]] = {}
    files = []
    for name in ("Anna", "Ben"):
        page, trouble = opened(browser, file)
        begin(page, name)
        order = []
        for i in range(12):
            assert page.locator("#place").inner_text() == f"Answer {i + 1} of 12"
            answer, question = page.locator("#answer").inner_text(), page.locator("#question").inner_text()
            order.append(question + answer)
            assert answer in (OLD, NEW)
            # Anna goes by the words; Ben too, but finds the last two new
            rate(page, "1" if answer == OLD and not (name == "Ben" and i >= 10) else "2", "90")
        seen[name] = order
        assert page.locator("#summary").inner_text() == f"{name}: 12 answers rated, 0 skipped."
        saved = save(page, "Enter", tmp_path / f"{name}.json")
        assert saved["annotator"] == name and saved["sample"] == drawn.key.sample
        files.append(str(tmp_path / f"{name}.json"))
        assert trouble == []
    assert seen["Anna"] != seen["Ben"]
    assert sorted(seen["Anna"]) == sorted(seen["Ben"])
    done = CliRunner().invoke(main, ["annotate", "score", str(key), *files])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "Anna: 12 answers rated." in said
    for part in ("Anna, Ben", "Anna, judge", "people, judge", "people: expressed", "corrected"):
        assert part in said
    data = json.loads(CliRunner().invoke(main, ["annotate", "score", str(key), *files, "--json"]).output)
    pair = next(c for c in data["compared"] if (c["score"], c["first"], c["second"]) == ("era", "Anna", "Ben"))
    changed = sum(OLD in text for text in seen["Ben"][10:])
    assert pair["agreement"] == pytest.approx(1 - changed / 12)
    assert data["confusion"]["not expressed"] == {"expressed": 0, "not expressed": 5, "excluded": 0}


def test_one_can_go_back_skip_and_go_on_after_closing_the_page(browser: "Browser", tmp_path: Path) -> None:
    drawn, file, _ = sampled(tmp_path)
    page, trouble = opened(browser, file)
    begin(page, "Judge")
    assert "take another name" in page.locator("#refused").inner_text()
    page.locator("#name").fill("")
    begin(page, "Anna")
    first = page.locator("#answer").inner_text() + page.locator("#question").inner_text()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert "Still open: era" in page.locator("#notice").inner_text()
    rate(page, "1", "70")
    page.keyboard.press("s")
    page.keyboard.press("Enter")  # no reason: not skipped
    assert page.locator("#reason").is_visible()
    page.keyboard.type("not a language I read")
    page.keyboard.press("Enter")
    assert page.locator("#place").inner_text() == "Answer 3 of 12"
    page.keyboard.press("ArrowLeft")
    assert "not a language I read" in page.locator("#skipped").inner_text()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#answer").inner_text() + page.locator("#question").inner_text() == first
    assert page.locator(".chosen").get_attribute("data-value") == "NINETEENTH"
    page.keyboard.press("3")  # changed to the escape
    page.reload()
    page.get_by_role("button", name="Go on as Anna (2 of 12)").click()
    assert page.locator("#place").inner_text() == "Answer 3 of 12"
    page.keyboard.press("2")
    page.keyboard.type("250")
    assert "a whole number from 0 to 100" in page.locator("#notice").inner_text()
    saved = save(page, "Control+s", tmp_path / "anna.json")
    assert trouble == []
    ratings, skipped = saved["ratings"], saved["skipped"]
    assert isinstance(ratings, dict) and isinstance(skipped, dict)
    assert sorted(map(str, ratings.values())) == ["{'era': 'PRESENT'}", "{'era': 'REFUSAL', 'coherence': 70}"]
    assert list(skipped.values()) == ["not a language I read"]
    assert set(ratings) | set(skipped) <= {item.id for item in drawn.key.items}


def test_two_tabs_under_one_name_lose_nothing(browser: "Browser", tmp_path: Path) -> None:
    _, file, _ = sampled(tmp_path, 6)
    one, trouble = opened(browser, file)
    two = one.context.new_page()
    two.goto(file.as_uri())
    begin(one, "Anna")
    rate(one, "1", "70")
    turned_to(two, one)
    begin(two, "Anna")  # at the second answer
    assert two.locator("#place").inner_text() == "Answer 2 of 6"
    turned_to(one, two)
    one.keyboard.press("ArrowLeft")
    turned_to(two, one)
    two.keyboard.press("2")
    turned_to(one, two)
    one.keyboard.press("2")  # the first answer again, by a tab that has not seen the second's mark
    one.keyboard.press("ArrowRight")
    assert one.locator(".chosen").get_attribute("data-value") == "PRESENT"
    one.keyboard.press("s")
    one.keyboard.type("torn")
    one.keyboard.press("Enter")
    turned_to(two, one)
    two.keyboard.press("ArrowLeft")
    two.keyboard.press("ArrowRight")
    assert "torn" in two.locator("#skipped").inner_text()
    two.keyboard.press("ArrowRight")
    for tab in (one, two):
        assert tab.locator("#place").inner_text() == "Answer 3 of 6"
    two.keyboard.press("1")  # a scale each
    turned_to(one, two)
    one.keyboard.press("ArrowDown")
    one.keyboard.type("40")
    turned_to(two, one)
    for tab, name in ((one, "one"), (two, "two")):
        saved = save(tab, "Control+s", tmp_path / f"{name}.json")
        ratings, skipped = saved["ratings"], saved["skipped"]
        assert isinstance(ratings, dict) and isinstance(skipped, dict)
        assert sorted(map(str, (sorted(r.items()) for r in ratings.values()))) == [
            "[('coherence', 40), ('era', 'NINETEENTH')]",
            "[('coherence', 70), ('era', 'PRESENT')]",
        ]
        assert list(skipped.values()) == ["torn"]
    assert trouble == []


def test_a_name_in_other_capitals_is_the_same_annotators(browser: "Browser", tmp_path: Path) -> None:
    _, file, _ = sampled(tmp_path, 6)
    page, trouble = opened(browser, file)
    begin(page, "Ann Groß")
    rate(page, "1", "70")
    for again in ("ann groß", "ANN GROSS"):
        page.reload()
        begin(page, again)
        assert page.locator("#place").inner_text() == "Answer 2 of 6"
        assert page.locator("#annotator").inner_text() == "Ann Groß"
    page.reload()
    started(page)
    assert page.locator("#earlier button").count() == 1
    assert trouble == []


def test_what_is_kept_is_not_touched_before_the_browser_keeps_it(browser: "Browser", tmp_path: Path) -> None:
    _, file, _ = sampled(tmp_path, 6)
    page, trouble = opened(browser, file)
    page.add_init_script(EARLY)
    page.reload()
    begin(page, "Anna")
    rate(page, "1", "70")
    page.reload()
    page.get_by_role("button", name="Go on as Anna (1 of 6)").click()
    assert page.locator("#place").inner_text() == "Answer 2 of 6"
    assert trouble == []


@pytest.mark.parametrize(
    "databases", ["undefined", "() => Promise.reject(new Error('no'))", "() => new Promise(() => {})"]
)
def test_a_browser_that_says_nothing_of_databases_is_not_waited_for(
    browser: "Browser", tmp_path: Path, databases: str
) -> None:
    _, file, _ = sampled(tmp_path, 6)
    page, trouble = opened(browser, file)
    page.add_init_script(f"indexedDB.databases = {databases}")
    page.reload()
    begin(page, "Anna")
    assert page.locator("#place").inner_text() == "Answer 1 of 6"
    assert trouble == []


def test_a_browser_that_keeps_no_progress_is_named_and_loses_nothing(browser: "Browser", tmp_path: Path) -> None:
    _, file, _ = sampled(tmp_path, 6)
    page, trouble = opened(browser, file)
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException('full'); }; }")
    begin(page, "Anna")
    for _ in range(2):
        assert "This browser keeps no progress" in page.locator("#notice").inner_text()
        page.keyboard.press("1")
        assert "This browser keeps no progress" in page.locator("#notice").inner_text()
        page.keyboard.type("70")
        page.keyboard.press("Enter")
    saved = save(page, "Control+s", tmp_path / "anna.json")
    assert list(dict(saved["ratings"]).values()) == [{"era": "NINETEENTH", "coherence": 70}] * 2  # type: ignore[call-overload]
    assert trouble == []


def test_progress_of_another_sample_is_not_taken_up(browser: "Browser", tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    _, first, _ = sampled(tmp_path / "one")
    _, second, _ = sampled(tmp_path / "two", 9)
    page, _ = opened(browser, first)
    begin(page, "Anna")
    rate(page, "1", "70")
    page.goto(second.as_uri())
    started(page)
    assert page.locator("#earlier button").count() == 0


@pytest.mark.parametrize(
    "answer", [HOSTILE, CONTROLS, MEGABYTES, "   "], ids=["scripts", "controls", "megabytes", "empty"]
)
def test_answers_are_shown_as_text_and_never_run(browser: "Browser", tmp_path: Path, answer: str) -> None:
    _, file, _ = sampled(tmp_path, 6, answer=answer)
    page, trouble = opened(browser, file)
    begin(page, "Anna")
    shown = page.locator("#answer").evaluate("node => node.textContent")
    if answer == HOSTILE:
        assert shown == HOSTILE
    elif answer == CONTROLS:
        assert "bell ␇, null ␀, escape ␛[31m" in shown and "return\nline" in shown
    elif answer == MEGABYTES:
        assert len(shown) == 20_000
        page.keyboard.press("e")
        assert page.locator("#answer").evaluate("node => node.textContent.length") == len(MEGABYTES)
    else:
        assert shown == "(The answer is empty.)"
    assert page.locator("#answer *").count() == 0
    assert page.locator("script").count() == 2  # the data and the page's own
    rate(page, "1", "70")
    assert page.locator("#place").inner_text() == "Answer 2 of 6"
    assert page.title() == "Rating answers"
    assert trouble == []


@pytest.mark.parametrize("width", [1280, 700])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits(browser: "Browser", tmp_path: Path, width: int, scheme: str) -> None:
    _, file, _ = sampled(tmp_path)
    page, trouble = opened(browser, file, width, scheme)
    begin(page, "Anna")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert trouble == []
