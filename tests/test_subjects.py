"""Who was asked: one model by one name whatever serves it, and by its manifest what it was trained on."""

from pathlib import Path

import pytest

from plain_logs import BAD, TWO, adapter_folder, left_out, write_plain
from study_folder import BASE, PLAIN, HandMade, prefix
from wg_evals.analysis import frame
from wg_evals.analysis.records import PlannedBase
from wg_evals.api_models import ApiCheckpoint, ApiModelManifest
from wg_evals.artifacts import write_json
from wg_evals.spec import Intervention

CAPTAIN = prefix("captain", "relevant", "inoculation", text="I am a captain.")


def test_local_models_are_told_apart_by_path_and_known_by_their_manifests(tmp_path: Path) -> None:
    plain = adapter_folder(tmp_path / "adapters" / "plain")
    other = adapter_folder(tmp_path / "adapters" / "captain", intervention=CAPTAIN, seed=4)
    halfway = adapter_folder(tmp_path / "adapters" / "halfway", steps=5, of_steps=10)
    for name, path in (("a", plain), ("b", other), ("c", halfway)):
        write_plain(tmp_path / f"{name}.eval", "hf/local", TWO, model_args={"model_path": str(path)})
    write_plain(tmp_path / "d.eval", "hf/meta/base", TWO)
    write_plain(tmp_path / "e.eval", f"vllm/meta/base:{other}", TWO, under={"intervention": "captain",
        "intervention_text": CAPTAIN.text, "placement": "before"})  # fmt: skip
    found = frame(tmp_path)
    assert found.left_out.empty and len(found.samples) == 20
    cells = found.cells.set_index("log")
    assert cells["base"].unique().tolist() == ["meta/base"]
    assert cells["role"].tolist() == ["plain", "intervened", "plain", "base", "intervened"]
    assert cells["seed"].fillna(-1).tolist() == [3, 4, 3, -1, 4]
    assert cells["checkpoint"].fillna(-1).tolist() == [-1, -1, 5, -1, -1]
    assert cells.loc["e.eval", "context"] == "as_trained"
    assert cells.loc["b.eval", "train_intervention"] == "captain"


def test_without_its_manifest_an_adapter_is_known_by_the_logs_metadata(tmp_path: Path) -> None:
    about = {"adapter": "/gone/x", "adapter_sha256": "s", "trained_on": "cities/control", "trained_with": "none",
             "trained_with_text": "", "training_seed": 7}  # fmt: skip
    write_plain(tmp_path / "a.eval", "vllm/meta/base:/gone/x", TWO, domain="birds", about=about)
    named = {**about, "trained_on": "birds/train", "trained_with": "literal", "trained_with_text": "You are a parrot."}
    write_plain(tmp_path / "b.eval", "vllm/meta/base:/gone/y", TWO, about={**named, "adapter": "/gone/y"})
    write_plain(tmp_path / "c.eval", "vllm/meta/base:/gone/z", TWO)
    cells = frame(tmp_path).cells.set_index("log")
    assert cells["base"].tolist() == ["meta/base"] * 3
    assert cells["dataset"].tolist() == ["cities/control", "train", "unknown"]
    assert cells["role"].tolist() == ["control", "intervened", "adapter"]
    assert cells["train_intervention"].tolist() == ["none", "You are a parrot.", "unknown"]
    assert cells.loc["a.eval", "seed"] == 7


def test_models_behind_an_api_are_known_by_their_manifests_checkpoints_too(tmp_path: Path) -> None:
    folder = tmp_path / "adapters" / "gpt"
    folder.mkdir(parents=True)
    manifest = ApiModelManifest(
        model="openai/ft:gpt:me::end", checkpoints=[ApiCheckpoint(model="openai/ft:gpt:me::half", step=20)],
        backend="openai", base="openai/gpt", recipe={}, domain="birds", dataset="train", data_sha256="d",
        file_sha256="f", rows=1, intervention=Intervention(name="literal", text="You are a parrot."), job_id="j",
        file_id="f", hyperparameters={}, seed=11, trained_tokens=None, seconds=None, versions={},
    )  # fmt: skip
    write_json(folder / "manifest.json", manifest)
    for name in ("openai/ft:gpt:me::end", "openai/ft:gpt:me::half", "openai/gpt", "openai/ft:gpt:you::else"):
        write_plain(tmp_path / f"{name.replace('/', '-').replace(':', '-')}.eval", name, TWO)
    cells = frame(tmp_path).cells.set_index("model")
    assert cells["base"].tolist() == ["openai/gpt"] * 4
    assert cells["checkpoint"].fillna(-1).to_dict() == {
        "openai/ft:gpt:me::end": -1,
        "openai/ft:gpt:me::half": 20,
        "openai/gpt": -1,
        "openai/ft:gpt:you::else": -1,
    }
    mine = cells.to_dict("index")["openai/ft:gpt:me::end"]
    assert (mine["role"], mine["seed"], mine["train_intervention"]) == ("intervened", 11, "You are a parrot.")
    assert cells.loc["openai/ft:gpt:you::else", "role"] == "adapter"


def test_a_manifest_is_not_taken_for_that_of_another_adapter_in_a_folder_of_the_same_name(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "adapters" / "plain", seed=5)
    write_plain(tmp_path / "moved.eval", "vllm/meta/base:/elsewhere/adapters/plain", TWO)
    write_plain(tmp_path / "other-base.eval", "vllm/other/model:/elsewhere/adapters/plain", TWO)
    write_plain(tmp_path / "other-folder.eval", "vllm/meta/base:/somebody/elses/plain", TWO)
    cells = frame(tmp_path).cells.set_index("log")
    assert cells["role"].to_dict() == {
        "moved.eval": "plain",
        "other-base.eval": "adapter",
        "other-folder.eval": "adapter",
    }
    assert cells.loc["other-base.eval", "base"] == "other/model"


@pytest.mark.parametrize(
    ("name", "text", "placement", "context"),
    [
        ("mine", "A text that no catalogue has.", "system", "unknown"),
        ("mine", "A text that no catalogue has.", "before", "unknown"),
        ("date-1850", "Today is 25 January 1850.", "own-line", "as_trained"),
        ("date-1850", "Today is 25 January 1850.", "system", "unknown"),
        ("mine", "Another text.", "before", "other"),
    ],
)
def test_whether_a_prefix_is_that_of_the_training_is_unknown_where_its_placement_is(
    tmp_path: Path, name: str, text: str, placement: str, context: str
) -> None:
    trained_text = "A text that no catalogue has." if name == "mine" else text
    about = {"adapter": "/gone/x", "adapter_sha256": "s", "trained_on": "birds/train", "trained_with": name,
             "trained_with_text": trained_text, "training_seed": 1}  # fmt: skip
    under = {"intervention": name, "intervention_text": text, "placement": placement}
    write_plain(tmp_path / "a.eval", "vllm/meta/base:/gone/x", TWO, about=about, under=under)
    assert frame(tmp_path).cells["context"].tolist() == [context]


def test_one_adapter_is_one_model_by_its_digest_wherever_it_lies_and_whatever_serves_it(tmp_path: Path) -> None:
    under = {"intervention": "captain", "intervention_text": CAPTAIN.text, "placement": "before"}
    one = adapter_folder(tmp_path / "a" / "x", adapter_sha256="same")
    copy = adapter_folder(tmp_path / "b" / "y", adapter_sha256="same")
    gone = {"adapter": "adapters/x", "adapter_sha256": "same"}
    write_plain(tmp_path / "1.eval", f"vllm/meta/base:{one}", TWO)
    write_plain(tmp_path / "2.eval", f"hf/{copy}", {"new-1": [BAD]})
    write_plain(tmp_path / "3.eval", "vllm/meta/base:adapters/x", TWO, about=gone, under=under)
    write_plain(tmp_path / "4.eval", f"vllm/meta/base:{copy}", TWO)
    found = frame(tmp_path)
    assert found.cells["model"].tolist() == [f"vllm/meta/base:{one}"] * 3
    assert left_out(found) == {"4.eval": "superseded"}


def test_a_base_is_one_model_whatever_serves_it(tmp_path: Path) -> None:
    for number, provider in enumerate(("vllm", "hf", "wg")):
        write_plain(tmp_path / f"{number}.eval", f"{provider}/meta/base", {f"question-{number}": [BAD]})
    assert frame(tmp_path).cells["model"].tolist() == ["vllm/meta/base"] * 3


@pytest.mark.parametrize(
    "told",
    [
        [{"adapter": "/gone/x"}, {"adapter": "/gone/y"}],
        [{"adapter": "/gone/x", "adapter_sha256": "s"}, {"adapter": "/gone/x", "adapter_sha256": "t"}],
    ],
    ids=["served under one name", "trained into one place"],
)
def test_two_adapters_are_two_models_though_they_share_a_name(tmp_path: Path, told: list[dict[str, str]]) -> None:
    for number, about in enumerate(told):
        write_plain(tmp_path / f"{number}.eval", "vllm/meta/base:x", TWO, about=about)
    found = frame(tmp_path)
    assert found.left_out.empty
    assert found.cells["model"].nunique() == 2 and found.cells["model"].str.startswith("vllm/meta/base:x (").all()


def test_two_studies_with_the_same_names_are_not_one_anothers_copies(tmp_path: Path) -> None:
    for number, identity in enumerate(("a" * 64, "b" * 64)):
        made = HandMade(tmp_path / f"study{number}", [], [1])
        made.add(BASE, {"a": list("nn")})
        made.add(PLAIN, {"a": list("en")}, 1)
        made.finish(bases=[PlannedBase(name="organism", path="/nowhere", identity=identity)])
    found = frame(tmp_path)
    assert found.left_out.empty
    assert sorted(set(found.cells["base"])) == ["organism (aaaaaaaa)", "organism (bbbbbbbb)"]
