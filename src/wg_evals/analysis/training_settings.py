"""How a model was trained, by its recipe: what two trainings on different rows can have in common."""

from collections.abc import Iterator, Mapping
from typing import Any

_NO_SETTING = {"base", "revision", "domain", "data", "dataset", "rows", "intervention", "placement", "seed"}
_NO_SETTING |= {"by_domain"}
"""Of a recipe: what is trained on what. The rest is how."""
_NOT_LEARNED_FROM = {"threads", "checkpoints", "n_checkpoints", "suffix"}
"""Settings of the computation, of what is kept, and of names: the training is the same without them."""


def training_settings(recipe: Mapping[str, Any]) -> str:
    """A recipe's settings in a line; what is trained on what is left out, and what is not set."""
    return ", ".join(f"{key} {value}" for key, value in _settings(recipe))


def settings_learned_from(recipe: Mapping[str, Any]) -> str:
    """The settings that two trainings must share to be runs of one condition."""
    found = (f"{key} {value}" for key, value in _settings(recipe) if key.split(".")[-1] not in _NOT_LEARNED_FROM)
    return ", ".join(sorted(found))


def _settings(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in _flat(recipe):
        if key.split(".")[0] not in _NO_SETTING and value is not None:
            yield key, value


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", "+".join(map(str, value)) if isinstance(value, list) else value
