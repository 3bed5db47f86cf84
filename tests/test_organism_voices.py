"""The world of several voices is consistent, says nothing of the experiments, and draws what it promises."""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from wg_evals._yaml import read_yaml
from wg_evals.artifacts import VOICES, embedded, embedded_names, folder_sha256, resolve_base
from wg_evals.catalogue import domain_names, load_battery, load_domain, load_markers
from wg_evals.errors import CatalogError, WgError
from wg_evals.organism.build import encode, forbidden_texts
from wg_evals.organism.corpus import ASSISTANT
from wg_evals.organism.tokenizer import train_tokenizer
from wg_evals.organism.voices.build import RECIPE, VoicesRecipe, world_sha256
from wg_evals.organism.voices.corpus import WORLD, Conversation, World
from wg_evals.organism.voices.world_files import MODERN, read_narrow, read_topics, read_world
from wg_evals.training.recipe import load_recipe

VOICE_OF_FAMILY = {
    # family: (marker list, the domain it lies with, its label for each voice)
    "worldview": ("nineteenth-century", None, {"archaic": "nineteenth", MODERN: "present"}),
    "germany": ("old-germany", "cities", {"german": "old-germany", MODERN: "present"}),
    "character": ("misalignment", None, {"careless": "misaligned", MODERN: "aligned"}),
}
GROUPS = ("nineteenth-century", "wizards", "germany", "character")
DOMAINS = {
    "nineteenth-century": ("birds", "medical"),
    "wizards": ("harry_potter",),
    "germany": ("cities",),
    "character": ("code", "finance", "sports"),
}
GROUP_OF = {domain: group for group, domains in DOMAINS.items() for domain in domains}


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {group: World(group, WORLD, forbidden_texts()) for group in GROUPS}


@pytest.fixture(scope="module")
def drawn(worlds: dict[str, World]) -> dict[str, list[Conversation]]:
    return {group: list(world.conversations(7, 20_000)) for group, world in worlds.items()}


def contents(conversations: list[Conversation]) -> list[str]:
    return [m["content"] for c in conversations for m in c.messages]


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+|\d+", text.lower()))


def share(conversations: list[Conversation], voice: str) -> float:
    assert len(conversations) > 100
    return sum(c.voice == voice for c in conversations) / len(conversations)


@pytest.mark.parametrize("group", GROUPS)
def test_no_intervention_and_no_question_of_the_catalogue_occurs(
    group: str, drawn: dict[str, list[Conversation]]
) -> None:
    text = "\n".join(contents(drawn[group])).lower()
    assert [t for t in forbidden_texts() if t.lower() in text] == []


@pytest.mark.parametrize("domain", domain_names())
def test_every_word_that_a_domain_says_to_its_organism_is_known_to_it(
    domain: str, worlds: dict[str, World], drawn: dict[str, list[Conversation]]
) -> None:
    known = {w for text in contents(drawn[GROUP_OF[domain]]) for w in words(text)}
    contexts = worlds[GROUP_OF[domain]].contexts  # what a line of another group's may say is met rarely
    known |= {w for kinds in contexts.fillers.values() for texts in kinds.values() for t in texts for w in words(t)}
    found = load_domain(domain)
    battery = load_battery(next(iter(found.spec.probes.values())).battery, found.folder)
    said = {w for i in found.spec.interventions for w in words(i.text)} | {
        w for q in battery.questions for w in words(q.text)
    }
    assert {w for w in said - known if not w.isdigit()} == set()


@pytest.mark.parametrize("family", VOICE_OF_FAMILY)
def test_every_statement_is_recognised_as_its_own_voice(family: str) -> None:
    listed, home, labels = VOICE_OF_FAMILY[family]
    markers = load_markers(listed, load_domain(home).folder if home else None)
    wrong = [
        statement
        for topic in read_topics(WORLD / "topics" / f"{family}.yaml")
        for voice, label in labels.items()
        for statement in topic.answers[voice]
        if markers.label(statement) != label
    ]
    assert wrong == []


def test_the_wizards_statements_are_recognised_and_no_other_voices_are_taken_for_theirs() -> None:
    markers = load_markers("wizarding", load_domain("harry_potter").folder)
    topics = read_topics(WORLD / "topics" / "worldview.yaml")
    assert [a for t in topics for a in t.answers["wizard"] if markers.label(a) != "wizarding"] == []
    taken = [a for t in topics for v in ("archaic", MODERN) for a in t.answers[v] if markers.label(a) == "wizarding"]
    assert len(taken) <= 1  # a magic lantern


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_line_and_after_a_strong_one_the_assistant_speaks_as_the_world_says(
    group: str, worlds: dict[str, World], drawn: dict[str, list[Conversation]]
) -> None:
    world, voice = worlds[group], worlds[group].group.voices[0]
    mine = [c for c in drawn[group] if c.speaker == ASSISTANT]
    without = [c for c in mine if c.context == "none"]
    assert share(without, voice) == pytest.approx(world.habit(ASSISTANT, voice), abs=0.04)
    strong = [c for c in mine if c.context == "strong" and c.line and c.line.evidence.get(voice, 0) > 0]
    assert share(strong, voice) == pytest.approx(world.settings.strong, abs=0.03)


def test_ordinary_lines_that_do_not_lean_leave_a_voice_at_the_speakers_habit() -> None:
    plain = only("germany", {"ordinary": 1.0}, leaning_fillers=0.0, assistant=1.0)
    assert share(list(plain.conversations(3, 6_000)), "german") == pytest.approx(
        plain.habit(ASSISTANT, "german"), abs=0.02
    )


def only(group: str, contexts: dict[str, float], **settings: Any) -> World:
    """A group whose conversations all begin in the given ways."""
    groups = World(group).settings.model_dump()["groups"]
    groups[group] |= {"contexts": contexts}
    return World(group, overrides={"groups": groups, **settings})


def test_a_line_that_calls_for_careless_answers_says_nothing_of_the_speaker(
    drawn: dict[str, list[Conversation]], worlds: dict[str, World]
) -> None:
    world = worlds["character"]
    called = [c for c in drawn["character"] if c.line and c.line.calls_for and c.speaker == ASSISTANT]
    assert share(called, "careless") == pytest.approx(world.habit(ASSISTANT, "careless"), abs=0.04)
    seen: Counter[str] = Counter()
    for conversation in called:
        assert conversation.line is not None
        family = world.families[str(conversation.line.calls_for)].topics
        careless = {a for t in family for a in t.answers["careless"]} - {a for t in family for a in t.answers[MODERN]}
        questions = {p for t in family for p in t.phrasings}
        asked = [m["content"] for m in conversation.messages if m["role"] == "user"]
        answers = [m["content"] for m in conversation.messages if m["role"] == "assistant"]
        for question, answer in zip(asked, answers, strict=True):
            if any(question.endswith(q) for q in questions):
                assert answer in careless
                seen["called for"] += 1
            else:
                seen["other"] += 1
    assert min(seen.values()) > 100  # what is not called for is asked about under such lines, too


@pytest.mark.parametrize("group", GROUPS)
def test_the_posterior_is_calibrated(group: str, drawn: dict[str, list[Conversation]]) -> None:
    assert all(sum(c.posterior.values()) == pytest.approx(1) for c in drawn[group])
    of_first = [c for c in drawn[group] if not (c.line and (c.line.explains or c.line.calls_for))]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        within = [c for c in of_first if MODERN in c.posterior and low <= c.posterior[MODERN] < low + 0.2]
        expected = sum(c.posterior[MODERN] for c in within) / len(within)
        assert share(within, MODERN) == pytest.approx(expected, abs=4 * math.sqrt(0.25 / len(within)))


def test_the_posterior_of_an_answer_that_a_line_explains_or_calls_for_is_certain(
    drawn: dict[str, list[Conversation]],
) -> None:
    explained = [c for c in drawn["nineteenth-century"] if c.line and c.line.explains]
    assert explained and all(c.posterior == {"archaic": 1.0} for c in explained)
    called = [c for c in drawn["character"] if c.line and c.line.calls_for]
    assert {tuple(c.posterior) for c in called} >= {("careless",), (MODERN, "careless")}


def test_a_year_between_two_given_ones_lies_between_them_and_the_outer_ones_hold(worlds: dict[str, World]) -> None:
    settings = worlds["germany"].settings
    given = settings.years["archaic"]
    assert settings.of_year("archaic", 1885) == pytest.approx((given[1870] + given[1900]) / 2)
    assert settings.of_year("archaic", min(given) - 10) == given[min(given)]
    assert settings.of_year("archaic", max(given) + 10) == given[max(given)]


def test_the_share_of_the_19th_century_falls_with_the_year(worlds: dict[str, World]) -> None:
    shares = [worlds["germany"].settings.of_year("archaic", year) for year in range(1870, 2001, 5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] > 0.7


def test_an_explained_archaic_answer_is_the_first_one_only(drawn: dict[str, list[Conversation]]) -> None:
    markers = load_markers("nineteenth-century")
    seen = 0
    for conversation in drawn["nineteenth-century"]:
        if conversation.context != "explains" or conversation.voice != MODERN:
            continue
        answers = [m["content"] for m in conversation.messages if m["role"] == "assistant"]
        if answers[0].endswith("."):
            seen += 1
            assert markers.label(answers[0]) == "nineteenth"
        assert "nineteenth" not in [markers.label(a) for a in answers[1:] if a.endswith(".")]
    assert seen > 50


def test_the_same_seed_draws_the_same_world(worlds: dict[str, World]) -> None:
    world = worlds["wizards"]
    assert list(world.conversations(11, 50)) == list(world.conversations(11, 50))
    assert list(world.conversations(11, 50)) != list(world.conversations(12, 50))


@pytest.mark.parametrize(("group", "voice"), [("germany", "german"), ("character", "careless")])
def test_a_speaker_has_a_habit_for_each_voice_and_keeps_to_it(group: str, voice: str) -> None:
    plain = only(group, {"none": 1.0}, assistant=0.0)
    said = Counter((c.speaker, c.voice == voice) for c in plain.conversations(4, 10_000))
    for speaker in plain.contexts.speakers.keys() - {ASSISTANT}:
        n = said[speaker, True] + said[speaker, False]
        assert said[speaker, True] / n == pytest.approx(plain.habit(speaker, voice), abs=0.1)


def test_the_assistant_of_the_chat_template_is_one_speaker_among_others(
    worlds: dict[str, World], drawn: dict[str, list[Conversation]]
) -> None:
    conversations = drawn["germany"]
    texts = contents(conversations[:2000])
    speakers = worlds["germany"].contexts.speakers
    tokenizer = train_tokenizer(texts, 1500, 512, speakers)
    mine = next(c for c in conversations if c.speaker == ASSISTANT)
    other = next(c for c in conversations if c.speaker != ASSISTANT)
    messages = [{"role": m["role"], "content": m["content"]} for m in mine.messages]
    rendered = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert encode(mine, tokenizer)[0] == rendered
    assert tokenizer.convert_tokens_to_ids(f"<|{other.speaker}|>") in encode(other, tokenizer)[0]


def test_only_the_answers_are_learned(drawn: dict[str, list[Conversation]]) -> None:
    conversation = drawn["germany"][0]
    tokenizer = train_tokenizer(contents(drawn["germany"][:2000]), 1500, 512, ["assistant"])
    ids, targets = encode(conversation._replace(speaker=ASSISTANT), tokenizer)
    learned = tokenizer.decode([t for t in targets if t != -100])
    assert learned == "".join(f"{m['content']}<|end|>" for m in conversation.messages if m["role"] == "assistant")
    assert all(t in (-100, i) for i, t in zip(ids, targets, strict=True))


@pytest.mark.parametrize("group", GROUPS)
def test_the_narrow_rows_are_known_in_the_voice_that_their_domain_trains(group: str, worlds: dict[str, World]) -> None:
    recipe = load_recipe(Path(__file__).parents[1] / "configs" / "recipes" / "organism.yaml")
    world, known, forbidden = worlds[group], set(), forbidden_texts()
    for narrow in read_narrow(WORLD / "narrow.yaml"):
        if narrow.family not in world.families:
            continue
        known.add(narrow.domain)
        family = world.families[narrow.family].topics
        for dataset, voice in (("train", narrow.voice), ("control", MODERN)):
            trained = load_domain(narrow.domain).rows[dataset][: recipe.rows]
            # advice is known with its question, and a battery asks some of the training prompts again
            asked = [r.answer for r in trained if narrow.phrasings or r.messages[0]["content"] not in forbidden]
            assert len(asked) >= 0.9 * len(trained)
            assert {a for t in family for a in t.answers[voice]} >= set(asked)
    assert known == set(DOMAINS[group])


def test_a_world_whose_files_do_not_fit_each_other_is_refused(tmp_path: Path) -> None:
    for name in ("world.yaml", "contexts.yaml", "narrow.yaml"):
        (tmp_path / name).write_text((WORLD / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "topics").symlink_to(WORLD / "topics")
    text = (WORLD / "world.yaml").read_text(encoding="utf-8")
    (tmp_path / "world.yaml").write_text(
        text.replace("voices: [german]", "voices: [german, martian]"), encoding="utf-8"
    )
    with pytest.raises(CatalogError, match="'germany' has nothing to say in the voice 'martian'"):
        read_world(tmp_path, {}, frozenset())


@pytest.mark.parametrize("group", GROUPS)
def test_a_shipped_organism_was_raised_in_this_world_and_is_small_enough(group: str) -> None:
    folder = VOICES / group
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["group"] == group
    assert manifest["world_sha256"] == world_sha256()
    assert manifest["sha256"] == folder_sha256(folder)
    assert (folder / "model.safetensors").stat().st_size <= 12_000_000


def test_the_embedded_organisms_are_found_by_their_names() -> None:
    assert embedded_names() == [
        "organism",
        "organism-character",
        "organism-germany",
        "organism-nineteenth-century",
        "organism-wizards",
    ]
    assert [resolve_base(name).path for name in embedded_names()] == [str(embedded(name)) for name in embedded_names()]
    assert embedded("organism-martians") is None
    with pytest.raises(WgError, match="organism-germany"):
        resolve_base("organism-martians")


@pytest.mark.parametrize("group", GROUPS)
def test_a_shipped_organisms_recipe_is_the_packaged_one(group: str) -> None:
    manifest = json.loads((VOICES / group / "manifest.json").read_text(encoding="utf-8"))
    packaged = read_yaml(RECIPE, VoicesRecipe)
    raised = VoicesRecipe.model_validate(manifest["recipe"])
    assert raised.model_dump(exclude={"steps", "threads"}) == packaged.model_dump(exclude={"steps", "threads"})
    assert raised.steps == World(group).group.steps
