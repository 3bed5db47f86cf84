"""Look at the model before the first generation: whether its adapter fits, what it was trained on, how it is served."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals._paths import user_path
from wg_evals.artifacts import MANIFEST, AdapterManifest, check_fit, read_manifest, resolve_base
from wg_evals.errors import WgError


class Checked(NamedTuple):
    """What is known of the model under test."""

    metadata: dict[str, Any]
    """For the log: which adapter it is, and what it was trained on; empty for a base or a model of another tool."""
    max_tokens: int
    """How long an answer may be, in tokens."""


def check_model(max_tokens: int) -> Checked:
    """Check the model that is about to be evaluated, where it is one with an adapter on this disk.

    Looks at `hf/local -M model_path=ADAPTER`, `vllm/BASE:ADAPTER` and `wg/ADAPTER`, and sets right what Inspect would
    ask vLLM for. An adapter without a manifest was made by another tool and is let through.

    Args:
        max_tokens: Tokens of an answer where nobody says otherwise.

    Raises:
        WgError: The path does not exist, the adapter was made for another base, or vLLM cannot serve it.
    """
    from inspect_ai.model._model import (
        active_model,
    )  # inspect-evals-lint: ignore[private_api_imports] -- before generation

    model = active_model()
    if model is None:
        return Checked({}, max_tokens)
    name = str(model)
    if name.startswith("hf/"):
        path = model.model_args.get("model_path")
        return Checked(_identified(user_path(path), None) if isinstance(path, str) else {}, max_tokens)
    if name.startswith("vllm/"):
        from wg_evals.serving.vllm_model import prepare

        served = prepare(model)
        assert served is not None  # by its name
        metadata = _identified(served.adapter, served.base) if served.adapter else {}
        return Checked(metadata, served.room(max_tokens))
    if name.startswith("wg/"):
        adapter = getattr(model.api, "adapter", None)  # of `LocalModel`, whose module imports torch
        return Checked(_described(adapter, read_manifest(adapter)) if adapter else {}, max_tokens)
    return Checked({}, max_tokens)


def _identified(folder: Path, base: str | None) -> dict[str, Any]:
    if not folder.is_dir():
        raise WgError(f"No model or adapter at '{folder}': there is no such folder.")
    config = folder / "adapter_config.json"
    if not config.is_file() or not (folder / MANIFEST).is_file():
        return {}
    base = base or json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if base and Path(base).is_dir():
        return _described(folder, check_fit(folder, resolve_base(base)))
    return _described(folder, read_manifest(folder))


def _described(folder: Path, manifest: AdapterManifest) -> dict[str, Any]:
    trained_with = manifest.intervention
    return {
        "adapter": str(folder),
        "adapter_sha256": manifest.adapter_sha256,
        "trained_on": f"{manifest.domain}/{manifest.dataset}" if manifest.domain else manifest.dataset,
        "trained_with": trained_with.name if trained_with else "none",
        "trained_with_text": trained_with.text if trained_with else "",
        "training_seed": manifest.seed,
    }
