"""Studies of several domains: laid out alike, run one after the other, set side by side."""

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from browsing import opened
from mini_domain import write_domain
from study_files import write_study
from study_folder import BASE, CONTROL, PLAIN, HandMade, prefix, trained
from tiny_model import make_tiny_base
from wg_evals.analysis.grid import read_grid, write_effects, write_grid
from wg_evals.analysis.records import Context
from wg_evals.catalogue import load_battery
from wg_evals.cli import main
from wg_evals.errors import WgError
from wg_evals.study.cells import plan_study
from wg_evals.study.grid import is_grid, load_grid

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def write_grid_file(folder: Path, **changes: Any) -> Path:
    """Two small domains, and a grid of them."""
    path = write_study(folder)
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in ("domain", "interventions"):
        del study[key]
    write_domain(folder / "ships")
    spec = (folder / "ships" / "domain.yaml").read_text(encoding="utf-8")
    (folder / "ships" / "domain.yaml").write_text(spec.replace("name: boats", "name: ships", 1), encoding="utf-8")
    study |= {"domains": ["./boats", "./ships"], "evaluations": {"trait": {"epochs": 2, "questions": 1}}}
    grid = folder / "grid.yaml"
    text = yaml.safe_dump({k: v for k, v in (study | changes).items() if v is not None}, sort_keys=False)
    grid.write_text(text, encoding="utf-8")
    return grid


# What is asked


@given(st.integers(1, 60))
def test_a_shortened_battery_asks_each_topic_once_before_any_twice(count: int) -> None:
    battery = load_battery("worldview-extended")
    kept = battery.first(count)
    asked = [len(t.questions) for t in kept.topics]
    assert sum(asked) == min(count, 40) == len(kept.questions)
    assert len(kept.topics) == min(count, 20) and max(asked) - min(asked) <= 1
    assert [q for q in battery.questions if q in kept.questions] == kept.questions


def test_a_battery_that_is_not_shortened_stays_as_it_is() -> None:
    battery = load_battery("worldview")
    assert battery.first(None) == battery == battery.first(20)


def test_how_many_questions_are_asked_is_part_of_a_cells_identity(tmp_path: Path) -> None:
    hashes = set()
    for questions in (None, 1):
        evaluation = {"worldview": {"epochs": 2, **({"questions": questions} if questions else {})}}
        matrix = plan_study(load_grid(write_grid_file(tmp_path, evaluations=evaluation)).studies["boats"])
        hashes |= {c.hash for c in matrix.evaluations}
        asked = matrix.questions("worldview")
        assert matrix.samples == asked * 2 * len(matrix.evaluations)
        assert asked == 1 if questions else asked > 1
    assert len(hashes) == 2 * len(matrix.evaluations)


# The file


def test_a_domain_may_have_bases_of_its_own(tmp_path: Path) -> None:
    path = write_grid_file(tmp_path, bases_by_domain={"./ships": ["organism-germany", "organism"]})
    studies = load_grid(path).studies
    assert studies["ships"].spec.bases == ["organism-germany", "organism"]
    assert studies["boats"].spec.bases == yaml.safe_load(path.read_text(encoding="utf-8"))["bases"]
    with pytest.raises(WgError, match="bases_by_domain: 'shps' is no domain"):
        load_grid(write_grid_file(tmp_path, bases_by_domain={"shps": ["organism"]}))


def test_each_domain_gets_its_own_main_task_and_all_its_interventions(tmp_path: Path) -> None:
    path = write_grid_file(tmp_path)
    assert is_grid(path) and not is_grid(tmp_path / "study.yaml")
    grid = load_grid(path)
    assert list(grid.studies) == ["boats", "ships"]
    for name, study in grid.studies.items():
        assert study.domain.name == name == Path(study.spec.domain).name
        assert [i.name for i in study.interventions] == study.domain.intervention_names
        assert list(study.spec.evaluations) == [next(iter(study.domain.spec.probes))]
        assert study.spec.name == f"small-{name}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"domains": ["./boats", "./boats"]}, "domain ./boats is given twice"),
        ({"domains": ["./boats", "./boots"]}, "no such file"),
        ({"interventions": ["captain", "captian"]}, "line .*Unknown intervention 'captian'"),
        ({"domain": "./boats"}, "unknown key 'domain'"),
        (
            {"evaluations": {"trade": {"epochs": 1}}},
            "The domain 'boats' has no task 'trade'; it has misalignment, worldview",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(WgError, match=reason):
        load_grid(write_grid_file(tmp_path, **changes))


def row(output: str, name: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def test_the_plan_of_several_domains_is_one_table_with_their_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_grid_file(tmp_path, grading="judge", grader="openai/gpt-4.1")
    (tmp_path / "prices.yaml").write_text("openai/gpt-4.1: {input: 2, output: 8}\n")
    command = ["study", "grid.yaml", "--plan", "--prices", "prices.yaml"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.stderr == "Reading grid.yaml and what it names ...\n"
    boats, ships, total = (row(result.stdout, name) for name in ("boats", "ships", "total"))
    assert len(total) == 9 and number(total[0]) == 16
    assert [number(c) for c in total] == [number(a) + number(b) for a, b in zip(boats, ships, strict=True)]
    cost = (number(total[-2]) * 2 + number(total[-1]) * 8) / 1e6
    assert f"Cost, at most: {cost:,.2f} USD" in result.stdout
    for once in ("Cost, at most", "Not priced in", "Nothing was run", "left to do"):
        assert result.stdout.count(once) == 1
    assert "Study small-boats: " not in result.stdout
    assert not (tmp_path / "studies").exists()
    verbose = CliRunner().invoke(main, [*command, "--verbose"]).stdout
    assert "Study small-boats: " in verbose and "Study small-ships: " in verbose
    assert verbose.count("Not priced in") == 1 and row(verbose, "total") == total


def test_the_details_of_a_plan_go_with_a_plan(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["study", str(write_grid_file(tmp_path)), "--verbose"])
    assert result.exit_code == 2 and "--verbose goes with --plan" in result.output


# What it comes to

KEEPER, GUEST = prefix("keeper", "relevant"), prefix("guest", "generic")


def hand_made(folder: Path, domain: str, plain: str) -> None:
    """Base never; control never; under keeper never but under its prefix half; guest half without and more with it."""
    study = HandMade(folder / domain, [KEEPER, GUEST], [1])

    def cell(condition: Any, letters: str, seed: int | None = 1, under: Any = None) -> None:
        context: Context = "none" if under is None else "as_trained" if condition.intervention == under else "other"
        study.add(condition, {f"q{i}": list(letters) for i in range(8)}, seed, context, under)

    cell(BASE, "nnnn", None)
    cell(BASE, "nnnn", None, KEEPER)
    cell(BASE, "nnnn", None, GUEST)
    cell(PLAIN, plain)
    cell(CONTROL, "nnnn")
    cell(trained(KEEPER), "nnnn")
    cell(trained(KEEPER), "eenn", under=KEEPER)
    cell(trained(GUEST), "enni")
    cell(trained(GUEST), "eeen", under=GUEST)
    study.finish(domain=domain)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    hand_made(tmp_path, "birds", "eeen")
    hand_made(tmp_path, "cities", "nnnn")
    write_grid(tmp_path, "two", {"birds": "birds", "cities": "cities", "medical": "medical"})
    return tmp_path


def test_where_the_effect_shows_and_what_removes_it(made: Path) -> None:
    grid = read_grid(made)
    assert [(e.domain, e.shows, round(e.plain.mean, 2)) for e in grid.effects] == [
        ("birds", True, 0.75),
        ("cities", False, 0.0),
    ]
    verdicts = {(o.effect.domain, o.intervention.name): o.verdict for o in grid.outcomes}
    assert verdicts == {
        ("birds", "keeper"): "removed",
        ("birds", "guest"): "lowered",
        ("cities", "keeper"): "no effect to remove",
        ("cities", "guest"): "no effect to remove",
    }
    by = {(k.relevance, k.kind): k for k in grid.kinds}
    relevant, generic = by["relevant", "identity"], by["generic", "identity"]
    assert (relevant.outcomes, relevant.removed, relevant.left.mean) == (1, 1, 0.0)
    assert (generic.outcomes, generic.removed, round(generic.left.mean, 3)) == (1, 0, 0.333)
    assert (relevant.residue.mean, generic.residue.mean) == (0.5, 0.75)


def test_the_page_and_the_table_say_so(made: Path) -> None:
    with write_effects(read_grid(made)).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["trained_with"] for r in rows if r["domain"] == "birds"] == ["plain", "control", "keeper", "guest"]
    guest = next(r for r in rows if r["domain"] == "birds" and r["trained_with"] == "guest")
    assert (guest["verdict"], float(guest["residue"])) == ("lowered", 0.75)
    printed = CliRunner().invoke(main, ["report", str(made)])
    assert printed.exit_code == 0, printed.output
    said = " ".join(printed.output.split())
    assert "in 1 of 2 cells of domain and base: birds." in said and "by intervals over questions)" in said
    assert "without context the rate is on average 33 points above the base; under their own prefix it is 75%" in said
    assert all((made / name / "cells.csv").is_file() for name in ("birds", "cities"))
    page = (made / "index.html").read_text(encoding="utf-8")
    assert "in 1 of 2 cells of domain and base: birds." in page
    assert "over questions, each of a single training run" in page and "questions and seeds)" not in page
    assert "In 6 of 6 comparisons there is a single training run" in page
    assert "birds, organism, generic, own prefix: 75%" in page and "birds, organism, base, generic prefixes: 0%" in page


def test_relevant_and_generic_interventions_are_set_side_by_side_with_and_without_context(made: Path) -> None:
    grid = read_grid(made)
    birds = next(c for c in grid.comparisons if c.domain == "birds")
    found = {key: round(birds.contrasts[key].mean, 2) for key in ("relevant-base", "generic-base", "generic-plain")}
    assert found == {"relevant-base": 0.0, "generic-base": 0.33, "generic-plain": -0.42}


def test_a_folder_without_a_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WgError, match=r"no readable grid\.json"):
        read_grid(tmp_path)


@pytest.fixture(scope="module")
def run_grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organisms' grid, run on a random model, in two domains and as little of everything as will do."""
    folder = tmp_path_factory.mktemp("grid")
    configs = Path(__file__).parents[1] / "configs"
    make_tiny_base(folder / "base")
    shutil.copy(configs / "recipes" / "organism.yaml", folder / "recipe.yaml")
    grid = yaml.safe_load((configs / "studies" / "organism-all.yaml").read_text(encoding="utf-8"))
    grid |= {"domains": ["birds", "harry_potter"], "bases": ["./base"], "recipe": "recipe.yaml", "seeds": [1]}
    grid |= {"interventions": ["first-name"], "controls": False, "generation": {"max_tokens": 8}}
    grid["evaluations"] = {"trait": {"questions": 2, "epochs": 1, "contexts": ["none", "as_trained"]}}
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    recipe = (folder / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "recipe.yaml").write_text(recipe.replace("epochs: 6", "epochs: 1"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        first = CliRunner().invoke(main, ["study", "grid.yaml"])
    assert first.exit_code == 0, first.output
    return folder


def test_a_grid_is_run_and_taken_up_again(run_grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = run_grid / "studies" / "organism-all"
    assert json.loads((place / "grid.json").read_text())["studies"] == {
        "birds": "birds",
        "harry_potter": "harry_potter",
    }
    assert (place / "index.html").is_file() and (place / "effects.csv").is_file()
    logs = [p.stat().st_mtime_ns for p in sorted(place.glob("*/evals/*/*.eval"))]
    assert len(logs) == 2 * 6  # base, plain and first-name, each without and under the prefix
    monkeypatch.chdir(run_grid)
    second = CliRunner().invoke(main, ["study", "grid.yaml"])
    assert second.exit_code == 0 and second.output.count("0 of 2 adapters to train") == 2
    assert logs == [p.stat().st_mtime_ns for p in sorted(place.glob("*/evals/*/*.eval"))]


def test_the_page_of_a_grid_opens_without_an_error_or_a_request(run_grid: Path, browser: "Browser") -> None:
    page, trouble = opened(browser, run_grid / "studies" / "organism-all" / "index.html")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.locator("#count").inner_text().startswith("24 of 24 answers")
    page.locator("#f-context").select_option("own")
    assert page.locator("#count").inner_text().startswith("4 of 24 answers")
    for column in ("birds", "harry_potter"):
        assert page.locator("#map svg text.column", has_text=column).count() == 1
    settings = page.locator("#reproduce").inner_text()
    assert "epochs 1" in settings and "torch" in settings and "What made the logs" in settings
    assert trouble == []
