"""Waiting for processes, and seeing whether they are gone."""

import time
from pathlib import Path
from typing import Any


def wait_for(condition: Any, seconds: float = 60) -> None:
    """Wait until a condition holds; it is an error if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there, and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
