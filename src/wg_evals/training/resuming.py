"""What an interrupted training leaves, so that the same command goes on from there.

It lies in a hidden folder beside the adapter's, and holds the Trainer's own checkpoints (pickles: optimizer, schedule,
random numbers), never more than the newest whole one. Each is written aside and renamed, so that one that is found is
whole. The folder goes when the adapter is there.
"""

import errno
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from wg_evals.artifacts import MANIFEST, BaseIdentity, write_json
from wg_evals.errors import WgError
from wg_evals.training import processes

_ORIGIN = "origin.json"
_SPENT = "spent.json"
_LEAST_BYTES = 1 << 20


class Origin(BaseModel):
    """What decides the weights that a training comes to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: dict[str, Any]
    data_sha256: str
    base: BaseIdentity
    start_from_sha256: str | None
    versions: dict[str, str]
    device: str
    threads: int
    processes: int = 1

    def differences(self, other: "Origin") -> list[str]:
        """What is not the same, as recipe keys or fields; where the same training would be computed is left out."""
        mine, its = self.recipe, other.recipe
        found = [key for key in sorted({*mine, *its} - {"threads"}) if mine.get(key) != its.get(key)]
        if self.data_sha256 != other.data_sha256:
            found.append("the rows")
        if self.base.identity != other.base.identity:
            found.append("the base's weights")
        if self.start_from_sha256 != other.start_from_sha256:
            found.append("the adapter to start from")
        return found

    def moved_from(self, versions: dict[str, str], device: str, threads: int, processes: int) -> list[str]:
        """Where this training would be computed otherwise than another, though it is the same."""
        pairs = [(name, versions.get(name, "none"), v) for name, v in self.versions.items()]
        pairs += [("device", device, self.device), ("threads", str(threads), str(self.threads))]
        pairs.append(("processes", str(processes), str(self.processes)))
        return [f"{name} {then} -> {now}" for name, then, now in pairs if then != now]


class Spent(BaseModel):
    """What went into a training up to one of its states."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tokens: int = 0
    resumed_at: list[int] = []


class ResumeFolder:
    """The hidden folder of one adapter's training."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(f".{out.name}.resume")
        self.adapter = self.path / "adapter"
        """Where the finished adapter is put together."""
        self._aside = self.path / "writing"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are published; aside, while a finished adapter stands there that is being replaced."""
        return (self.path if (self.out / MANIFEST).is_file() else self.out) / "checkpoints"

    def put_back_checkpoints(self) -> None:
        """Undo their move into an adapter that was not published."""
        moved = self.adapter / "checkpoints"
        if moved.is_dir() and not self.checkpoints.exists():
            self.checkpoints.parent.mkdir(exist_ok=True)
            moved.rename(self.checkpoints)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other trainings of the same adapter out while the block runs; leave nothing that is of no use.

        Raises:
            WgError: Another process is training this adapter.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as stream:
            if sys.platform != "win32":
                import fcntl

                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise WgError(
                        f"Another process is training '{self.out}'; wait for it, or give another --out."
                    ) from None
            try:
                yield
            finally:
                self._tidy()
                if self.newest() is None:
                    self.remove()

    def _tidy(self) -> None:
        self.put_back_checkpoints()
        shutil.rmtree(self._aside, ignore_errors=True)
        shutil.rmtree(self.adapter, ignore_errors=True)

    def newest(self) -> Path | None:
        """The newest state, or None; all that are found are whole."""
        return max(self.path.glob("checkpoint-*"), key=step_of, default=None)

    def take_up(self, origin: Origin, replace: bool) -> str:
        """Find out whether there is a training to go on with, and write down what this one is.

        Args:
            origin: Of the training that is asked for.
            replace: Whether a training of something else may be thrown away.

        Returns:
            What to tell the person (empty: nothing); `newest` then gives the state to go on from.

        Raises:
            WgError: There is an unfinished training of something else.
        """
        self._tidy()  # of a process that was killed
        state, said = self.newest(), ""
        if state is not None:
            changed, said = self._compare(origin)
            if changed and not replace:
                raise WgError(
                    f"An unfinished training for '{self.out}' is at step {step_of(state)}, but of something else "
                    f"(changed: {', '.join(changed)}): give --force to throw it away, or another --out."
                )
            if changed:
                said = f"Thrown away: an unfinished training with other settings ({', '.join(changed)})."
                self._clear()
                state = None
            else:
                said = f"Going on after step {step_of(state)} of a training that was interrupted{said}."
        if state is None:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            write_json(self.path / _ORIGIN, origin)
        return said

    def _compare(self, origin: Origin) -> tuple[list[str], str]:
        try:
            before = Origin.model_validate_json((self.path / _ORIGIN).read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return ["all, as far as can be told"], ""
        moved = origin.moved_from(before.versions, before.device, before.threads, before.processes)
        said = f" (other than then: {', '.join(moved)}; the last digits may differ)" if moved else ""
        return origin.differences(before), said

    def _clear(self) -> None:
        for state in self.path.glob("checkpoint-*"):
            shutil.rmtree(state)

    @contextmanager
    def saving(self, spent: Spent) -> Iterator[Path]:
        """A folder that the Trainer writes its next `checkpoint-N` into; it counts once it is whole.

        Of several processes the first one makes it and moves it to its place; all of them write into it.

        Args:
            spent: What went into the training so far.
        """
        if not processes.is_main():
            processes.wait()
            yield self._aside
            processes.wait()
            return
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir()
        processes.wait()
        yield self._aside
        processes.wait()
        (written,) = self._aside.glob("checkpoint-*")
        write_json(written / _SPENT, spent)
        target = self.path / written.name
        written.rename(target)
        for old in self.path.glob("checkpoint-*"):
            if old != target:
                shutil.rmtree(old)

    def keep(self) -> Path:
        """Put what is here beside the adapter, in sight, where no later training takes it up."""
        kept = self.out.with_name(f"{self.out.name}-state")
        shutil.rmtree(kept, ignore_errors=True)
        self.path.rename(kept)
        (kept / "lock").unlink()
        return kept

    def remove(self) -> None:
        """Throw everything away."""
        shutil.rmtree(self.path, ignore_errors=True)


def step_of(state: Path) -> int:
    """The optimizer step after which a state was saved."""
    return int(state.name.rpartition("-")[2])


def spent_until(state: Path | None) -> Spent:
    """What had gone into the training when a state was saved."""
    if state is None:
        return Spent()
    return Spent.model_validate(json.loads((state / _SPENT).read_text(encoding="utf-8")))


@contextmanager
def enough_room(folder: Path, lost: str) -> Iterator[None]:
    """Say in plain words when the disk is full, whichever library hit it.

    Args:
        folder: Where the block writes.
        lost: What to tell the person about the work so far.

    Raises:
        WgError: The disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as ex:
        number = getattr(ex, "errno", None)
        told = number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(ex)
        if told or _free(folder) < _LEAST_BYTES:
            raise WgError(f"The disk is full: '{folder}' could not be written. {lost}") from ex
        raise


def _free(folder: Path) -> int:
    there = next(p for p in (folder, *folder.parents) if p.exists())
    return shutil.disk_usage(there).free
