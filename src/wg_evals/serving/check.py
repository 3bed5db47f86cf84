"""Look at the model before the first generation: whether its adapter fits, what it was trained on, how it is served."""

import json
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals._paths import user_path
from wg_evals.artifacts import (
    MANIFEST,
    AdapterManifest,
    BaseIdentity,
    check_fit,
    model_positions,
    read_manifest,
    resolve_base,
)
from wg_evals.errors import WgError

_logger = getLogger(__name__)


class Checked(NamedTuple):
    """What is known of the model under test."""

    metadata: dict[str, Any]
    """For the log: which adapter it is, and what it was trained on; empty for a base or a model of another tool."""
    max_tokens: int
    """How long an answer may be, in tokens."""
    extra_body: dict[str, Any] | None = None
    """For each request, beside what Inspect puts into it."""


def check_model(max_tokens: int) -> Checked:
    """Check the model that is about to be evaluated, where it is one with an adapter on this disk.

    Looks at `hf/local -M model_path=ADAPTER`, `vllm/BASE:ADAPTER` and `wg/ADAPTER`, and sets right what Inspect would
    ask vLLM for. An adapter without a manifest was made by another tool and is let through. One that was trained with
    a pinned date in the chat template is asked under that date.

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
        if not isinstance(path, str):
            return Checked({}, max_tokens)
        manifest = _manifest(user_path(path), None)
        _tell_inspect_its_context(name, Path(manifest.base.path) if manifest else user_path(path))
        if manifest and manifest.date_string:
            _logger.warning(
                f"The adapter was trained with the date '{manifest.date_string}' in the chat template, and hf/ writes "
                "today's: use wg/ or vllm/, which give it that date."
            )
        return Checked(_described(user_path(path), manifest), max_tokens)
    if name.startswith("vllm/"):
        from wg_evals.serving.vllm_model import prepare

        served = prepare(model)
        assert served is not None  # by its name
        room = served.room(max_tokens)
        if served.adapter is None:
            return Checked({}, room)
        manifest = _manifest(served.adapter, served.base)
        date = manifest.date_string if manifest else None
        body = {"chat_template_kwargs": {"date_string": date}} if date else None
        return Checked(_described(served.adapter, manifest), room, body)
    if name.startswith("wg/"):
        adapter = getattr(model.api, "adapter", None)  # of `LocalModel`, whose module imports torch
        return Checked(_described(adapter, read_manifest(adapter)) if adapter else {}, max_tokens)
    return Checked({}, max_tokens)


def _tell_inspect_its_context(name: str, base: Path) -> None:
    """Say how many tokens the context of `hf/local` has, which Inspect shows beside an answer.

    With its first answer it would look for a model `local` on the hub: three quarters of a minute of retries where
    there is no network.
    """
    from inspect_ai.model import ModelInfo, set_model_info

    set_model_info(name, ModelInfo(context_length=model_positions(base)))


def _manifest(folder: Path, base: str | None) -> AdapterManifest | None:
    """The manifest of an adapter that fits the base; None if it was made by another tool, or is a base itself."""
    if not folder.is_dir():
        raise WgError(f"No model or adapter at '{folder}': there is no such folder.")
    config = folder / "adapter_config.json"
    if not config.is_file() or not (folder / MANIFEST).is_file():
        return None
    base = base or json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    manifest = read_manifest(folder)
    if base is None or (Path(base).is_absolute() and not Path(base).is_dir()):
        return manifest  # a folder on the server's machine cannot be compared
    if Path(base).is_dir():
        return check_fit(folder, resolve_base(base))
    # which revision of a hub id is served is not known here: it is taken to be the adapter's
    return check_fit(folder, BaseIdentity(name=base, path=base, revision=manifest.base.revision))


def _described(folder: Path, manifest: AdapterManifest | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    trained_with = manifest.intervention
    return {
        "adapter": str(folder),
        "adapter_sha256": manifest.adapter_sha256,
        "trained_on": f"{manifest.domain}/{manifest.dataset}" if manifest.domain else manifest.dataset,
        "trained_with": trained_with.name if trained_with else "none",
        "trained_with_text": trained_with.text if trained_with else "",
        "training_seed": manifest.seed,
    }
