"""Several processes that train one adapter together, as `accelerate launch` starts them.

The launcher says by the environment which process this is. The first one writes and speaks; the others compute.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import PartialState
    from torch import nn


def count() -> int:
    """How many processes train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def are_sharded() -> bool:
    """Whether the processes share one model's weights (FSDP) instead of holding one each."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("true", "1")


def start() -> None:
    """Let the processes know each other, before the base is loaded: sharing it, only the first one reads weights."""
    if count() > 1:
        _state()


def wait() -> None:
    """Wait until all processes are here; nothing without a launcher."""
    if count() > 1:
        _state().wait_for_everyone()


def _state() -> "PartialState":
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def agreed(value: bool) -> bool:
    """What the first process says, in all of them: their clocks differ, and all must save or none."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    said = [value]
    broadcast_object_list(said)
    return said[0]


def adapter_weights(model: "nn.Module") -> dict[str, Any] | None:
    """The trained parameters of a model that processes share, put together; None where each holds all of them.

    All processes must call it; the first one gets them.
    """
    if not are_sharded():
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    # without the frozen base, which is larger than a machine's memory
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return get_model_state_dict(model, options=options)
