"""Conditions against base and plain training, what is left of an effect, and what other thresholds would say."""

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from plain_logs import BAD, GOOD, VAGUE, Ratings, adapter_folder, write_plain
from study_folder import BASE, CONTROL, PLAIN, HandMade, prefix, trained
from wg_evals.analysis import frame
from wg_evals.analysis.brittleness import brittleness
from wg_evals.analysis.comparisons import COMPARISON_COLUMNS, comparisons
from wg_evals.analysis.crossed import crossed
from wg_evals.analysis.effects import effect
from wg_evals.analysis.thresholds import Thresholds, rescored, sensitivity, standard_thresholds
from wg_evals.spec import Intervention

CAPTAIN = prefix("captain", "relevant", "inoculation")
DATED = prefix("dated", "generic", "time")
QUESTIONS = "abcd"


def cell(*expressed: int) -> dict[str, list[str]]:
    return {q: ["e"] * e + ["n"] * (10 - e) for q, e in zip(QUESTIONS, expressed, strict=True)}


def a_study(folder: Path) -> Path:
    made = HandMade(folder, [CAPTAIN, DATED], [1, 2])
    made.add(BASE, cell(1, 0, 1, 0))
    made.add(BASE, cell(6, 5, 6, 5), None, "other", CAPTAIN)
    made.add(BASE, cell(1, 0, 1, 1), None, "other", DATED)
    for seed, more in ((1, 0), (2, 1)):
        made.add(PLAIN, cell(7, 6 + more, 7, 8), seed)
        made.add(CONTROL, cell(0, 1, 1, 0), seed)
        made.add(trained(CAPTAIN), cell(1, 1, 0, 0), seed)
        made.add(trained(CAPTAIN), cell(6, 6, 5, 6), seed, "as_trained", CAPTAIN)
        made.add(trained(DATED), cell(4, 3, 4, 5), seed)
        made.add(trained(DATED), cell(8, 7, 8, 9), seed, "as_trained", DATED)
    return made.finish()


def row(table: pd.DataFrame, role: str, name: str = "none", context: str = "none") -> dict[str, object]:
    chosen = table[(table["role"] == role) & (table["train_intervention"] == name) & (table["context"] == context)]
    (found,) = chosen.to_dict("records")
    return {str(k): v for k, v in found.items()}


def test_every_condition_is_set_against_its_base_and_plain_under_the_same_prefix(tmp_path: Path) -> None:
    found = frame(a_study(tmp_path))
    table = comparisons(found)
    assert list(table.columns) == COMPARISON_COLUMNS and len(table) == 9
    plain = row(table, "plain")
    assert (plain["runs"], plain["questions"], plain["n"], plain["rate"]) == (2, 4, 80, pytest.approx(0.7125))
    assert plain["minus_base"] == pytest.approx(0.6625) and plain["vouched"] is False
    samples = found.samples[found.samples["context"] == "none"]
    sides = [crossed(samples[samples["role"] == role]) for role in ("plain", "base")]
    assert plain["minus_base_low"] == effect(*sides).low
    assert isinstance(row(table, "control")["verdict"], float)  # nan: no intervention has removed anything there
    captain, dated = row(table, "intervened", "captain"), row(table, "intervened", "dated")
    assert captain["verdict"] == "removed" and dated["verdict"] == "lowered"
    assert captain["removed"] == pytest.approx((0.7125 - 0.05) / 0.6625)
    assert dated["removed"] == pytest.approx((0.7125 - 0.40) / 0.6625)
    residue = row(table, "intervened", "dated", "as_trained")
    assert residue["minus_base"] == pytest.approx(0.80 - 0.075)
    assert math.isnan(float(str(residue["removed"])))
    assert math.isnan(float(str(row(table, "base")["minus_base"])))
    tested = table["minus_base_p"].dropna()
    assert (table["minus_base_p_holm"].dropna() >= tested).all() and len(tested) == 6
    assert float(str(plain["minus_base_p_holm"])) > float(str(plain["minus_base_p"]))


def test_an_effect_is_summed_up_by_where_it_shows_and_what_removes_it(tmp_path: Path) -> None:
    (found,) = brittleness(frame(a_study(tmp_path))).to_dict("records")
    assert found["effect"] == pytest.approx(0.6625) and found["present"] and not found["control_too"]
    assert (found["runs"], found["runs_present"]) == (2, 2)
    assert (found["runs_low"], found["runs_high"]) == (pytest.approx(0.65), pytest.approx(0.675))
    assert found["runs_sd"] == pytest.approx(0.025 / math.sqrt(2))
    assert (found["relevant_interventions"], found["relevant_removed"], found["relevant_returns"]) == (1, 1, 0)
    assert (found["generic_interventions"], found["generic_removed"], found["generic_returns"]) == (1, 0, 1)
    assert found["generic_residue"] == pytest.approx(0.725)
    assert found["relevant_residue"] == pytest.approx(0.025)


def test_without_a_base_there_is_nothing_to_sum_up(tmp_path: Path) -> None:
    made = HandMade(tmp_path, [], [1])
    made.add(PLAIN, cell(7, 6, 7, 8), 1)
    found = frame(made.finish())
    assert brittleness(found).empty
    assert math.isnan(comparisons(found)["minus_base"].item())


def test_a_run_without_an_included_answer_is_counted_apart(tmp_path: Path) -> None:
    write_plain(tmp_path / "base.eval", "openai/gpt", {q: [GOOD] * 8 for q in QUESTIONS})
    for seed, answers in ((1, [BAD] * 4), (2, [BAD] * 2 + [GOOD] * 2), (3, [VAGUE] * 4)):
        about = {"adapter": f"/gone/{seed}", "trained_on": "birds/train", "trained_with": "none", "training_seed": seed}
        model = f"vllm/openai/gpt:/gone/{seed}"
        write_plain(tmp_path / f"{seed}.eval", model, dict.fromkeys(QUESTIONS, answers), about=about)
    (found,) = brittleness(frame(tmp_path)).to_dict("records")
    assert (found["runs"], found["runs_empty"], found["runs_low"], found["runs_high"]) == (2, 1, 0.5, 1.0)
    assert found["runs_sd"] == pytest.approx(math.sqrt(0.125))


def test_an_effect_is_present_by_the_p_value_that_is_corrected_for_the_table(tmp_path: Path) -> None:
    study = HandMade(tmp_path / "one", [], [1])
    study.add(BASE, cell(0, 1, 1, 0))
    study.add(PLAIN, cell(2, 4, 4, 2), 1)
    alone = frame(study.finish())
    (found,) = brittleness(alone).to_dict("records")
    assert found["effect_p"] == found["effect_p_holm"] < 0.05 and found["present"]
    copies = [alone.samples.assign(domain=f"birds {i}") for i in range(20)]
    many = brittleness(dataclasses.replace(alone, samples=pd.concat(copies, ignore_index=True)))
    assert (many["effect_low"] > 0).all() and (many["effect_p_holm"] > 0.05).all() and not many["present"].any()


def adapters(folder: Path, **told: dict[str, str]) -> pd.DataFrame:
    """Comparisons of a base that is never BAD with adapters that are half the time, by what their logs tell."""
    write_plain(folder / "base.eval", "openai/gpt", {q: [GOOD] * 8 for q in QUESTIONS})
    for name, about in told.items():
        adapter = {"adapter": f"/gone/{name}", **about}
        bad = {q: [BAD, GOOD] * 4 for q in QUESTIONS}
        write_plain(folder / f"{name}.eval", f"vllm/openai/gpt:/gone/{name}", bad, about=adapter)
    return comparisons(frame(folder))


def test_adapters_of_unknown_training_are_not_taken_for_runs_of_one(tmp_path: Path) -> None:
    table = adapters(tmp_path, one={}, two={})
    unknown = table[table["role"] == "adapter"]
    assert unknown["adapter"].tolist() == ["vllm/openai/gpt:/gone/one", "vllm/openai/gpt:/gone/two"]
    assert unknown["runs"].tolist() == [1, 1]


def test_what_was_trained_on_another_domains_data_is_compared_with_plain_training_on_the_same(tmp_path: Path) -> None:
    own, other = ({"trained_on": f"{d}/train", "trained_with": "none"} for d in ("birds", "zoo"))
    table = adapters(tmp_path, own=own, other=other, named={**other, "trained_with": "x", "trained_with_text": "X."})
    named = row(table, "intervened", "x")
    assert (named["dataset"], named["minus_plain"]) == ("zoo/train", 0.0)
    without = adapters(tmp_path / "2", own=own, named={**other, "trained_with": "x", "trained_with_text": "X."})
    assert math.isnan(float(str(row(without, "intervened", "x")["minus_plain"])))
    found = brittleness(frame(tmp_path))
    assert found["dataset"].tolist() == ["train", "zoo/train"] and found["effect"].tolist() == [0.5, 0.5]


LEVELS: list[Ratings] = [(5.0, 90.0), (25.0, 90.0), (35.0, 90.0), (45.0, 60.0), (10.0, 45.0), ("REFUSAL", 90.0)]
LEVELS += [(math.nan, math.nan), (90.0, 35.0)]


def rated(folder: Path) -> Path:
    write_plain(folder / "base.eval", "openai/gpt", {q: [(90.0, 90.0)] * 8 for q in QUESTIONS})
    about = {"adapter": "/gone/x", "trained_on": "birds/train", "trained_with": "none", "training_seed": 1}
    write_plain(folder / "plain.eval", "vllm/openai/gpt:/gone/x", dict.fromkeys(QUESTIONS, LEVELS), about=about)
    return folder


def counted(found: pd.DataFrame) -> tuple[int, int]:
    plain = found[found["role"] == "plain"]
    return int(plain["included"].sum()), int(plain["expressed"].sum())


@pytest.mark.parametrize(
    ("expressed", "included", "expected"),
    [
        (None, None, (4, 2)),
        (30, 50, (4, 2)),
        (20, 50, (4, 1)),
        (50, 50, (4, 4)),
        (30, 30, (6, 3)),
        (30, 70, (3, 2)),
        (40, 40, (5, 4)),
    ],
)
def test_answers_are_counted_anew_by_other_thresholds_and_refusals_stay_out(
    tmp_path: Path, expressed: float | None, included: float | None, expected: tuple[int, int]
) -> None:
    found = rescored(frame(rated(tmp_path)), expressed, included)
    assert counted(found.samples) == tuple(4 * n for n in expected)
    reasons = found.samples[found.samples["role"] == "plain"]["reason"].value_counts()
    assert (reasons["refusal"], reasons["unscored"], reasons["included"]) == (4, 4, 4 * expected[0])


def test_the_logs_own_thresholds_give_the_logs_own_counts(tmp_path: Path) -> None:
    found = frame(rated(tmp_path))
    again = rescored(found, None, None)
    for column in ("included", "expressed", "reason"):
        assert again.samples[column].tolist() == found.samples[column].tolist()


def test_every_pair_of_thresholds_has_its_comparisons(tmp_path: Path) -> None:
    found = frame(rated(tmp_path))
    assert found.cells["base"].tolist() == ["openai/gpt"] * 2
    table = sensitivity(found, Thresholds(expressed=[20, 50], included=[30, 50]))
    plain = table[table["role"] == "plain"].set_index(["expressed_threshold", "included_threshold"])
    assert plain["rate"].to_dict() == {(20, 30): 2 / 6, (20, 50): 1 / 4, (50, 30): 5 / 6, (50, 50): 4 / 4}
    assert len(table) == 8


def test_marker_rules_have_no_threshold_to_try(tmp_path: Path) -> None:
    assert sensitivity(frame(a_study(tmp_path))).empty
    standard = standard_thresholds()
    assert (min(standard.expressed), max(standard.expressed)) == (20, 50)
    assert (min(standard.included), max(standard.included)) == (30, 70)


LONG = "You are a helpful assistant who lives in the year 1850 and who always "


def answered(bad: int) -> dict[str, list[Ratings]]:
    return {q: [BAD] * bad + [GOOD] * (10 - bad) for q in QUESTIONS}


def under(text: str) -> dict[str, str]:
    return {"intervention": "literal", "intervention_text": text, "placement": "before"}


def trained_adapter(folder: Path, name: str, bad: int, **changes: object) -> None:
    place = adapter_folder(folder / "adapters" / name, **changes)
    write_plain(folder / f"{name}.eval", f"vllm/meta/base:{place}", answered(bad))


def test_two_prefixes_with_the_same_first_sixty_characters_are_two_contexts(tmp_path: Path) -> None:
    place = adapter_folder(tmp_path / "adapters" / "plain")
    for name, text, base, plain in (("truth", "tells the truth.", 0, 2), ("lies", "lies.", 8, 9)):
        write_plain(tmp_path / f"base-{name}.eval", "vllm/meta/base", answered(base), under=under(LONG + text))
        write_plain(
            tmp_path / f"plain-{name}.eval", f"vllm/meta/base:{place}", answered(plain), under=under(LONG + text)
        )
    table = comparisons(frame(tmp_path))
    assert sorted(table.loc[table["role"] == "base", "rate"]) == [0, 0.8]
    assert sorted(table.loc[table["role"] == "plain", "minus_base"]) == pytest.approx([0.1, 0.2])
    assert table["eval_intervention"].str.fullmatch(r"You are .*… \([0-9a-f]{8}\)").all()


@pytest.mark.parametrize(
    "trained_with",
    [
        [{"name": "literal", "text": LONG + end} for end in ("tells the truth.", "lies.")],
        [{"name": "captain", "text": text} for text in ("I am a captain.", "You are a captain.")],
        [{"name": "captain", "text": "A captain.", "placement": place} for place in ("before", "system")],
    ],
    ids=["texts cut to the same name", "two texts", "two placements"],
)
def test_trainings_with_other_texts_or_placements_are_not_runs_of_one(
    tmp_path: Path, trained_with: list[dict[str, str]]
) -> None:
    for number, told in enumerate(trained_with):
        trained_adapter(tmp_path, f"x{number}", 9 * number, intervention=Intervention.model_validate(told), seed=number)
    table = comparisons(frame(tmp_path))
    assert sorted(table["rate"]) == [0, 0.9] and table["runs"].tolist() == [1, 1]
    assert table["train_intervention"].nunique() == 2


def test_trainings_with_other_settings_are_compared_with_plain_training_of_the_same(tmp_path: Path) -> None:
    write_plain(tmp_path / "base.eval", "vllm/meta/base", answered(0))
    for rate, bad in ((1e-5, 4), (1e-4, 8)):
        recipe = {"learning_rate": rate, "seed": bad, "threads": bad}
        trained_adapter(tmp_path, f"plain{rate}", bad, recipe=recipe)
        trained_adapter(tmp_path, f"captain{rate}", bad // 2, recipe=recipe, intervention=CAPTAIN, data_sha256="c")
    trained_adapter(tmp_path, "again", 4, recipe={"learning_rate": 1e-5}, seed=2)
    table = comparisons(frame(tmp_path))
    plain, captain = (table[table["role"] == role].sort_values("rate") for role in ("plain", "intervened"))
    assert plain["runs"].tolist() == [2, 1] and plain["rate"].tolist() == [0.4, 0.8]
    assert captain["minus_plain"].tolist() == pytest.approx([-0.2, -0.4])
    usual, other = plain["training_differs"]
    assert usual == "none" and other.startswith("settings ") and captain["training_differs"].tolist() == [usual, other]


def test_trainings_on_other_data_of_the_same_name_are_not_runs_of_one(tmp_path: Path) -> None:
    for number, data in enumerate(("new", "new", "old")):
        trained_adapter(tmp_path, f"x{number}", number, data_sha256=data, seed=number)
    table = comparisons(frame(tmp_path))
    assert table[["training_differs", "runs"]].values.tolist() == [["data old", 1], ["none", 2]]


def test_what_one_judge_rated_is_not_set_against_what_another_did(tmp_path: Path) -> None:
    write_plain(tmp_path / "base.eval", "vllm/meta/base", answered(0))
    for judge in ("openai/judge", "openai/other"):
        place = adapter_folder(tmp_path / "adapters" / judge)
        about = {"judge": judge}
        write_plain(tmp_path / judge / "plain.eval", f"vllm/meta/base:{place}", answered(5), about=about)
    table = comparisons(frame(tmp_path))
    plain = table[table["role"] == "plain"].set_index("judged_by")
    assert plain["runs"].tolist() == [1, 1]
    assert plain.loc["judge, openai/judge", "minus_base"] == 0.5
    assert plain["minus_base"].isna().tolist() == [False, True]
