"""Interrupted trainings: killed at any moment, they go on to the same weights, and nothing half-written is taken."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_evals.artifacts import MANIFEST, AdapterManifest, folder_sha256, publish_folder, read_manifest, write_json
from wg_evals.errors import WgError
from wg_evals.training.recipe import Checkpoints, Recipe, load_recipe
from wg_evals.training.resuming import ResumeFolder
from wg_evals.training.run import Saving
from wg_evals.training.train import train

RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "organism-birds.yaml"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """240 rows in 30 steps, with a checkpoint after every eighth; LoRA's dropout draws random numbers."""
    changes = {"epochs": 1, "checkpoints": Checkpoints(every_steps=8)}
    return load_recipe(RECIPE).model_copy(update=changes)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> AdapterManifest:
    return train(recipe, tmp_path_factory.mktemp("whole") / "adapter")


def check_published(out: Path, steps: list[int]) -> None:
    """The checkpoints are there and whole, and nothing else in the folder looks like an adapter."""
    places = sorted((out / "checkpoints").iterdir())
    assert [p.name for p in places] == [f"step-{n:06d}" for n in steps]
    for place, step in zip(places, steps, strict=True):
        manifest = read_manifest(place)
        assert (manifest.steps, manifest.of_steps, len(manifest.losses)) == (step, 30, step)
        assert manifest.adapter_sha256 == folder_sha256(place)
    assert {p.parent for p in out.rglob("adapter_config.json")} <= {out, *places}


def test_checkpoints_are_adapters_of_their_own_and_the_state_is_gone_at_the_end(
    recipe: Recipe, whole: AdapterManifest, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    manifest = train(recipe, out)
    assert manifest.adapter_sha256 == whole.adapter_sha256
    check_published(out, [8, 16, 24])
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]
    assert not [p for p in out.rglob("*") if p.suffix in (".bin", ".pt", ".pth")]
    tokens = [read_manifest(out / "checkpoints" / f"step-{n:06d}").tokens for n in (8, 16, 24)]
    assert 0 < tokens[0] < tokens[1] < tokens[2] < manifest.tokens
    plain = train(recipe.model_copy(update={"checkpoints": None}), tmp_path / "plain")
    assert plain.adapter_sha256 == whole.adapter_sha256  # saving draws no random numbers


def test_a_training_killed_on_its_way_goes_on_to_the_same_weights_and_says_so(
    whole: AdapterManifest, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    changes = ["--set", "epochs=1", "--set", "checkpoints={every_steps: 8}"]
    command = [sys.executable, "-m", "wg_evals.cli", "train", str(RECIPE), *changes, "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob(".adapter.resume/checkpoint-16")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(WgError, match="no adapter_config"):
        read_manifest(out)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Going on after step" in again.stderr
    manifest = read_manifest(out)
    assert manifest.adapter_sha256 == whole.adapter_sha256
    assert manifest.losses == whole.losses and manifest.tokens == whole.tokens
    assert manifest.resumed_at and manifest.resumed_at[0] >= 16
    check_published(out, [8, 16, 24])
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


KILLS = {
    # half of an adapter's weights are on the disk
    "adapter": (
        "import peft; save, calls = peft.PeftModel.save_pretrained, []\n"
        "def half(self, folder, **kwargs):\n"
        "    calls.append(folder); save(self, folder, **kwargs)\n"
        # of the first checkpoint's adapter and state, then of the second's adapter
        "    if len(calls) == 3:\n"
        "        os.truncate(f'{folder}/adapter_model.safetensors', 1000); kill()\n"
        "peft.PeftModel.save_pretrained = half\n"
    ),
    # the optimizer's state is on the disk, the random numbers' is not
    "state": (
        "from transformers import Trainer; calls = []\n"
        "save = Trainer._save_rng_state\n"
        "def none(self, folder):\n"
        "    calls.append(folder); kill() if len(calls) == 2 else save(self, folder)\n"
        "Trainer._save_rng_state = none\n"
    ),
    # the finished adapter is whole, and not yet in its place
    "end": (
        "from wg_evals.training import train as t; publish = t.publish_folder\n"
        "t.publish_folder = lambda a, b: kill() if b.name == 'adapter' else publish(a, b)\n"
    ),
}


@pytest.mark.parametrize("where", ["adapter", pytest.param("state", marks=pytest.mark.slow), "end"])
def test_killed_while_saving_the_earlier_checkpoint_is_whole_and_the_end_is_the_same(
    where: str, recipe: Recipe, whole: AdapterManifest, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{KILLS[where]}"
        "from wg_evals.training.recipe import Recipe; from wg_evals.training.train import train\n"
        "train(Recipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, recipe.model_dump_json(), str(out)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    if where != "end":
        check_published(out, [8] if where == "adapter" else [8, 16])
    assert not (out / MANIFEST).exists()
    said: list[str] = []
    manifest = train(recipe, out, say=said.append)
    going_on = [line for line in said if line.startswith("Going on")]
    assert going_on == [f"Going on after step {24 if where == 'end' else 8} of a training that was interrupted."]
    assert manifest.adapter_sha256 == whole.adapter_sha256 and manifest.losses == whole.losses
    check_published(out, [8, 16, 24])
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def interrupt_after(step: int) -> Any:
    def progress(at: int, steps: int, loss: float, tokens_per_second: float) -> None:
        if at == step:
            raise KeyboardInterrupt

    return progress


def test_an_unfinished_training_of_another_recipe_is_refused_or_thrown_away(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, progress=interrupt_after(10))
    other = recipe.model_copy(update={"seed": 1, "learning_rate": 1e-3})
    with pytest.raises(WgError, match=r"at step 8, .*changed: learning_rate, seed\): give --force"):
        train(other, out)
    check_published(out, [8])
    said: list[str] = []
    manifest = train(other, out, saving=Saving(replace=True), say=said.append)
    assert "Thrown away: an unfinished training with other settings (learning_rate, seed)." in said
    assert not [line for line in said if line.startswith("Going on")]
    assert manifest.resumed_at == []
    assert {read_manifest(p).seed for p in (out / "checkpoints").iterdir()} == {1}


def test_a_training_that_saved_nothing_leaves_nothing(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "adapter", progress=interrupt_after(5))
    assert list(tmp_path.iterdir()) == []


def test_the_state_is_saved_by_the_clock_and_kept_if_asked_for(
    recipe: Recipe, whole: AdapterManifest, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    plain = recipe.model_copy(update={"checkpoints": None})
    with pytest.raises(KeyboardInterrupt):
        train(plain, out, progress=interrupt_after(5), saving=Saving(state_minutes=0))
    assert [p.name for p in ResumeFolder(out).path.glob("checkpoint-*")] == ["checkpoint-4"]
    manifest = train(plain, out, saving=Saving(keep_state=True))
    assert manifest.resumed_at == [4]
    assert manifest.adapter_sha256 == whole.adapter_sha256
    assert {p.name for p in tmp_path.iterdir()} == {"adapter", "adapter-state"}
    assert (tmp_path / "adapter-state" / "checkpoint-30" / "optimizer.pt").is_file()


def test_a_training_that_adds_up_gradients_goes_on_to_the_same_weights(recipe: Recipe, tmp_path: Path) -> None:
    parts = recipe.model_copy(update={"checkpoints": None, "micro_batch_size": 2})
    whole = train(parts, tmp_path / "whole")
    out = tmp_path / "adapter"
    with pytest.raises(KeyboardInterrupt):
        train(parts, out, progress=interrupt_after(7), saving=Saving(state_minutes=0))
    manifest = train(parts, out)
    assert manifest.resumed_at == [6]
    assert (manifest.losses, manifest.tokens) == (whole.losses, whole.tokens)
    assert manifest.adapter_sha256 == whole.adapter_sha256


def test_two_processes_do_not_train_the_same_adapter(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    with ResumeFolder(out).held(), pytest.raises(WgError, match="Another process is training"):
        train(recipe, out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    if shutil.which("mount") is None or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_the_training_goes_on_when_there_is_room(
    recipe: Recipe, whole: AdapterManifest, small_disk: Path
) -> None:
    out, others = small_disk / "adapter", small_disk / "others"

    def fill(step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        if step == 10:
            with others.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(4096))

    with pytest.raises(WgError, match=r"The disk is full: .*it goes on after step 8\."):
        train(recipe, out, progress=fill)
    check_published(out, [8])
    with pytest.raises(WgError, match=r"The output takes up to .* MiB, and .* has 0\.0 MiB free"):
        train(recipe, out)
    others.unlink()
    assert train(recipe, out).adapter_sha256 == whole.adapter_sha256
    check_published(out, [8, 16, 24])


def test_an_error_while_the_adapter_is_put_in_its_place_leaves_the_checkpoints(
    recipe: Recipe, whole: AdapterManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "adapter"
    publish = publish_folder

    def full(unfinished: Path, target: Path) -> None:
        if target == out:
            raise OSError(28, "No space left on device")
        publish(unfinished, target)

    with monkeypatch.context() as patch:
        patch.setattr("wg_evals.training.train.publish_folder", full)
        with pytest.raises(WgError, match=r"The disk is full: .*goes on after step 24"):
            train(recipe, out)
    check_published(out, [8, 16, 24])
    assert train(recipe, out).adapter_sha256 == whole.adapter_sha256
    check_published(out, [8, 16, 24])


def test_a_finished_adapter_keeps_its_checkpoints_until_the_one_that_replaces_it_is_there(
    recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    train(recipe, out)
    other = recipe.model_copy(update={"seed": 9})
    with pytest.raises(KeyboardInterrupt):
        train(other, out, progress=interrupt_after(10))
    check_published(out, [8, 16, 24])
    assert {read_manifest(p).seed for p in [out, *(out / "checkpoints").iterdir()]} == {recipe.seed}
    assert train(other, out).resumed_at == [8]
    check_published(out, [8, 16, 24])
    assert {read_manifest(p).seed for p in [out, *(out / "checkpoints").iterdir()]} == {9}
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_a_training_that_is_interrupted_often_counts_its_tokens_once(
    recipe: Recipe, whole: AdapterManifest, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    for step in (3, 4, 6, 20):
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out, progress=interrupt_after(step), saving=Saving(state_minutes=0))
    manifest = train(recipe, out)
    assert manifest.resumed_at == [2, 3, 5, 19]
    assert (manifest.tokens, manifest.adapter_sha256) == (whole.tokens, whole.adapter_sha256)


@pytest.mark.parametrize("rate", [1e30, 1e300])
def test_a_training_that_leaves_the_numbers_is_stopped(recipe: Recipe, tmp_path: Path, rate: float) -> None:
    changes = {"learning_rate": rate, "checkpoints": None}
    with pytest.raises(WgError, match="lower the learning rate"):
        train(recipe.model_copy(update=changes), tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_end_loses_nothing(
    recipe: Recipe, whole: AdapterManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "adapter"

    def full(path: Path, data: Any) -> None:
        if data.of_steps is None:
            raise OSError(28, "No space left on device")
        write_json(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("wg_evals.training.run.write_json", full)
        with pytest.raises(WgError, match=r"The disk is full: .*goes on after step 24"):
            train(recipe, out)
    check_published(out, [8, 16, 24])
    assert train(recipe, out).adapter_sha256 == whole.adapter_sha256
