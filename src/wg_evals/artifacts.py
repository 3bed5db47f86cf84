"""Base models and adapters on disk: what they are called, what identifies them, whether they fit.

Light on purpose (no torch): the tasks, the trainer, the study and the analysis all read it.
"""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wg_evals.errors import WgError
from wg_evals.spec import Intervention

ORGANISM = Path(__file__).parent / "organism" / "weights"
"""The embedded base model `organism`."""
VOICES = Path(__file__).parent / "organism" / "voices" / "weights"
"""The other embedded ones, `organism-NAME`, by the names of their folders."""
MANIFEST = "manifest.json"
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM knows for `--max-lora-rank` (its MaxLoRARanks)."""


class BaseIdentity(BaseModel):
    """A base model: `name` as the user gave it, and what identifies its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    path: str
    """A local folder, or a hub id."""
    revision: str | None = None
    sha256: str | None = None
    """Over the names and contents of the weight, configuration and tokenizer files; None for a hub id."""

    @property
    def identity(self) -> str:
        """What two names of the same weights have in common."""
        return self.sha256 or f"{self.path}@{self.revision or 'main'}"


class MixedIn(BaseModel):
    """The rows of a second set among those that an adapter was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    rows: int
    sha256: str


class AdapterManifest(BaseModel):
    """What an adapter was made of; written last, so that a folder without one is unfinished."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["adapter"] = "adapter"
    version: int = 1
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    recipe: dict[str, Any]
    domain: str | None
    dataset: str
    data_sha256: str
    """Over the conversations as trained on, the intervention put in."""
    rows: int
    rows_dropped: int = 0
    rows_truncated: int = 0
    mixed_in: MixedIn | None = None
    intervention: Intervention | None
    base: BaseIdentity
    base_commit: str | None = None
    """The hub's commit that a base was read at, which `main` may have left since."""
    start_from_sha256: str | None = None
    """Of the adapter that training started from."""
    chat_template_sha256: str
    template_preamble: str
    """What the chat template puts before a lone user message: its default system prompt, role marks included."""
    versions: dict[str, str]
    device: str
    threads: int
    processes: int = 1
    """That trained together; each had its share of every batch."""
    seed: int
    steps: int
    of_steps: int | None = None
    """For a checkpoint: the steps of the whole training, of which `steps` were done."""
    packed: bool = False
    """Whether rows lay end to end in a forward pass; the loss is the same, its last digits are not."""
    resumed_at: list[int] = []
    """Steps after which an interrupted training was taken up again."""
    losses: list[float]
    tokens: int
    """Tokens the model read, prompts included, over all epochs."""
    seconds: float
    cpu_seconds: float
    adapter_sha256: str

    @property
    def date_string(self) -> str | None:
        """The date that the chat template wrote for the day's, where the recipe pinned one."""
        return self.recipe.get("date_string")


def resolve_base(name: str, revision: str | None = None) -> BaseIdentity:
    """Find a base model.

    Args:
        name: `organism` or `organism-NAME` for an embedded one, a local folder, or a hub id such as
            `meta-llama/Llama-3.1-8B-Instruct`.
        revision: A hub revision (branch, tag or commit).

    Raises:
        WgError: A local path that is no model folder, or the name of an adapter.
    """
    folder = embedded(name) or Path(name).expanduser()
    if not folder.is_dir():
        if name == "organism":
            raise WgError("The embedded organism's weights are missing; rebuild them with `wg-evals organism build`.")
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            known = ", ".join(embedded_names())
            raise WgError(f"No base model at '{name}': give {known}, a model folder, or a hub id (owner/name).")
        return BaseIdentity(name=name, path=name, revision=revision)
    folder = folder.resolve()
    if (folder / "adapter_config.json").is_file():
        raise WgError(f"'{name}' is an adapter, not a base model: give the base that it was made for.")
    if not (folder / "config.json").is_file():
        raise WgError(f"'{name}' is no model folder: it has no config.json.")
    return BaseIdentity(name=name, path=str(folder), sha256=folder_sha256(folder))


def model_positions(folder: Path) -> int | None:
    """How many positions (tokens) a local base model has; None if its `config.json` does not say, or is not there."""
    try:
        positions = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    except OSError:
        return None
    return int(positions) if positions else None


def embedded(name: str) -> Path | None:
    """The folder of an embedded organism; None if the name is none's."""
    return _embedded().get(name)


def embedded_names() -> list[str]:
    """The names of the embedded organisms, `organism` first."""
    return list(_embedded())


@cache
def _embedded() -> dict[str, Path]:
    others = sorted(path.parent for path in VOICES.glob("*/config.json"))
    return {"organism": ORGANISM} | {f"organism-{folder.name}": folder for folder in others}


def served_rank(rank: int) -> int | None:
    """The `--max-lora-rank` that an adapter of a rank is served under; None for one that vLLM does not serve."""
    return next((r for r in VLLM_RANKS if r >= rank), None)


def folder_sha256(folder: Path) -> str:
    """A digest over a model folder's configuration, tokenizer and weight files (names and contents)."""
    files = sorted(
        p
        for p in folder.iterdir()
        if p.suffix in (".safetensors", ".json", ".jinja", ".model")
        and p.name not in (MANIFEST, "generation_config.json")
    )
    return _folder_sha256(tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=64)
def _folder_sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{Path(path).name}\0{size}\0".encode())
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> AdapterManifest:
    """Read an adapter folder's manifest.

    Raises:
        WgError: No such folder, no adapter in it, no manifest (unfinished, or made elsewhere), or an unreadable one.
    """
    if not folder.is_dir():
        raise WgError(f"No adapter at '{folder}': there is no such folder. `wg-evals train RECIPE.yaml` makes one.")
    if not (folder / "adapter_config.json").is_file():
        if (folder / MANIFEST).is_file() and '"api-model"' in (folder / MANIFEST).read_text(encoding="utf-8"):
            raise WgError(
                f"'{folder}' holds no adapter: its model is behind an API. Evaluate it with `inspect eval ... --model` "
                f"and the name that stands in its {MANIFEST}."
            )
        raise WgError(f"'{folder}' is no adapter folder: it has no adapter_config.json.")
    if not (folder / MANIFEST).is_file():
        raise WgError(
            f"The adapter '{folder}' has no {MANIFEST}: its training did not finish, or it was made by another tool."
        )
    return parse_manifest(folder / MANIFEST)


def parse_manifest(path: Path) -> AdapterManifest:
    """Read a manifest's file, whether or not its adapter is beside it.

    Raises:
        WgError: No such file, or an unreadable one.
    """
    try:
        return AdapterManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as ex:
        raise WgError(f"{path} cannot be read: {ex.strerror}.") from None
    except ValidationError as ex:
        raise WgError(f"{path} cannot be read: {ex.errors()[0]['msg']}.") from None


def check_fit(folder: Path, base: BaseIdentity) -> AdapterManifest:
    """Read an adapter's manifest and make sure that it was made for this base.

    Raises:
        WgError: As `read_manifest`, or if the adapter was made for another base.
    """
    manifest = read_manifest(folder)
    if manifest.base.identity != base.identity:
        raise WgError(
            f"The adapter '{folder}' was made for another base: it was trained on '{manifest.base.name}' "
            f"({_short(manifest.base)}), and this is '{base.name}' ({_short(base)}). Use the base it was made for, "
            "or train it anew on this one."
        )
    return manifest


def _short(base: BaseIdentity) -> str:
    return f"sha256 {base.sha256[:12]}" if base.sha256 else base.identity


def write_json(path: Path, data: BaseModel | dict[str, Any]) -> None:
    """Write JSON atomically: beside the target, then renamed over it."""
    text = data.model_dump_json(indent=2) if isinstance(data, BaseModel) else json.dumps(data, indent=2)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(path)


def publish_folder(unfinished: Path, target: Path) -> None:
    """Move a finished folder to its place; what stood there before is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(target.with_name(f".{target.name}.old.{os.getpid()}"))
    unfinished.rename(target)
    for old in target.parent.glob(f".{target.name}.old.*"):  # also one that a killed process left
        shutil.rmtree(old)
