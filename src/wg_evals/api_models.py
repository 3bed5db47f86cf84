"""Models fine-tuned behind an API: what each was trained on, found by the name that a log has for it.

Such a model has no folder of weights. `wg-evals train` leaves a folder with a manifest alone; its `model` is what
stands in a log as `eval.model`, and that ties an evaluation to the training intervention. A leaf, as `artifacts.py` is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wg_evals.artifacts import MANIFEST, MixedIn
from wg_evals.errors import WgError
from wg_evals.spec import Intervention


class ApiCheckpoint(BaseModel):
    """A state of the model during its training that can be evaluated too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """As Inspect names it."""
    step: int
    metrics: dict[str, float] = {}
    """As the API reports them."""


class ApiModelManifest(BaseModel):
    """What a model behind an API was made of; written last, so that a folder without one is unfinished."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["api-model"] = "api-model"
    version: int = 1
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    model: str
    """As Inspect names it (`openai/ft:...`): the `eval.model` of its logs."""
    checkpoints: list[ApiCheckpoint] = []
    """Earlier states, by step; empty where the API gives none."""
    backend: str
    base: str
    """As Inspect names it (`openai/gpt-4.1-2025-04-14`)."""
    recipe: dict[str, Any]
    domain: str | None
    dataset: str
    data_sha256: str
    """Over the conversations as trained on, the intervention put in; as in an adapter's manifest."""
    file_sha256: str
    """Of the file that was uploaded."""
    rows: int
    intervention: Intervention | None
    mixed_in: MixedIn | None = None
    job_id: str
    file_id: str
    hyperparameters: dict[str, Any]
    """As the API reports them: what `auto` came to."""
    seed: int | None
    """As the API reports it; None where it does not."""
    trained_tokens: int | None
    """Billed tokens, over all epochs."""
    seconds: float | None
    """From the job's creation to its end, by the API's clock; waiting for its turn included."""
    versions: dict[str, str]


def read_api_manifest(folder: Path) -> ApiModelManifest:
    """Read the manifest of a model behind an API.

    Raises:
        WgError: There is none in the folder, or an unreadable one, or one of an adapter.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise WgError(f"'{folder}' has no {MANIFEST}: its training did not finish. Run `wg-evals train` again.")
    try:
        return ApiModelManifest.model_validate_json(path.read_bytes())
    except ValidationError as ex:
        error = ex.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        raise WgError(f"{path} is no manifest of a model behind an API ({where}: {error['msg']}).") from None


def api_models(root: Path) -> Mapping[str, ApiModelManifest]:
    """Every finished model under a folder, and every checkpoint of one, by the name that Inspect's logs have for it.

    Args:
        root: For example `adapters`. Folders inside it are looked through; other manifests in them are left alone.
    """
    found: dict[str, ApiModelManifest] = {}
    for path in sorted(root.rglob(MANIFEST)):
        try:
            manifest = read_api_manifest(path.parent)
        except WgError:
            continue
        for name in (*(c.model for c in manifest.checkpoints), manifest.model):
            found[name] = manifest
    return found
