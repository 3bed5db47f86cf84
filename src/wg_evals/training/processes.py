"""Which of several processes this is, as `accelerate launch` and `torchrun` say it: by the environment."""

import os


def count() -> int:
    """How many processes train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def are_sharded() -> bool:
    """Whether the processes share one model's weights (FSDP) instead of holding one each."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("true", "1")
