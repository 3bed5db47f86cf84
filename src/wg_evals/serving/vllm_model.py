"""What Inspect's provider `vllm/` is told before its first request, so that any adapter and any way to write it works.

Inspect hands vLLM an adapter's rank as it is (vLLM knows a few values only), sends paths as they were typed (Inspect
and the server may have another working directory), and binds to every interface. `organism` is a name of ours.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.model import Model

from wg_evals._paths import user_path
from wg_evals.artifacts import embedded, model_positions
from wg_evals.errors import WgError
from wg_evals.serving.vllm_server import RUNNING, answer_room, listed, running_server, servable_rank

_named: list[tuple[Any, str]] = []
"""The provider's models with the names that were given for them."""


@hooks(name="wg_evals_vllm_names", description="Keeps the adapter in the names of vLLM's models.")
class AdapterNames(Hooks):
    """Gives models back their names: with its first answer the provider takes the base's for all its adapters.

    The log of the next evaluation of the same model would not say that there is an adapter.
    """

    def enabled(self) -> bool:
        return bool(_named)

    async def on_sample_end(self, data: SampleEnd) -> None:
        for api, name in _named:
            api.model_name = name


class VllmModel(NamedTuple):
    """A model of Inspect's provider `vllm/`, as it will be asked for."""

    base: str
    """A folder or hub id; for a server that runs already, what it has loaded."""
    adapter: Path | None
    """The adapter's folder, where it is on this disk."""
    max_model_len: int | None
    """The served context in tokens; None if that is not known before the start."""

    def room(self, wanted: int) -> int:
        """How many tokens an answer may have."""
        return answer_room(wanted, self.max_model_len)


def prepare(model: Model) -> VllmModel | None:
    """Set right what `model` would ask vLLM for; None for a model of another provider.

    The provider's attributes are read by it when it starts a server or sends the first request.

    Raises:
        WgError: The adapter's folder is not there, or has a rank that vLLM cannot serve; a server that runs already
            does not answer, or serves another base.
    """
    if not str(model).startswith("vllm/"):
        return None
    api: Any = model.api
    if not any(known is api for known, _ in _named):
        _named.append((api, api.model_name))
    adapter = _adapter(api)
    url = api._init_base_url or os.environ.get(RUNNING)
    if url:
        return _at_running_server(api, url, adapter)
    folder = embedded(api.base_model) or user_path(api.base_model)
    if folder.is_dir():
        api.base_model = str(folder)
    api.server_args.setdefault("host", "127.0.0.1")
    if api._server.max_lora_rank:  # of all the adapters that will share the server
        api.server_args.setdefault("max_lora_rank", servable_rank(api._server.max_lora_rank))
    return VllmModel(api.base_model, adapter, _context(folder, api.server_args))


def _adapter(api: Any) -> Path | None:
    if api.adapter is None or api.adapter.is_preloaded:
        return None
    folder = user_path(api.adapter.path)
    if folder.is_dir():
        api.adapter = replace(api.adapter, path=str(folder))
        return folder
    # `adapters/typo` looks like a hub id; where there is a folder `adapters`, nobody means an owner of that name
    if user_path(api.adapter.path.split("/")[0]).is_dir():
        raise WgError(f"No adapter at '{api.adapter.path}': there is no such folder.")
    return None


def _at_running_server(api: Any, url: str, adapter: Path | None) -> VllmModel:
    names = [api.base_model]
    if own := embedded(api.base_model):
        names.append(str(own))
    elif (folder := user_path(api.base_model)).is_dir():
        names.append(str(folder))
    server = running_server(url, api.api_key, names)
    api.base_model = server.model
    loaded = {m.name: m.root for m in listed(url, server.key)}
    if api.adapter is not None and api.adapter.is_preloaded:
        adapter = Path(loaded.get(api.adapter.name, ""))
        adapter = adapter if adapter.is_absolute() and adapter.is_dir() else None
    return VllmModel(loaded[server.model], adapter, server.max_model_len)


def _context(base: Path, arguments: dict[str, Any]) -> int | None:
    given = arguments.get("max_model_len")
    if isinstance(given, int):
        return given
    return model_positions(base)
