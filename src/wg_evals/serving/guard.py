"""Run a command for as long as its owner lives: `python guard.py SECONDS COMMAND...`, owned through standard input.

The system closes that pipe when the owner ends, however it ended; then the command is asked to stop, and killed with
all its children if it has not after SECONDS. A server that outlived its study would keep the GPU's memory.
A script of its own, with nothing imported: it starts in milliseconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from types import FrameType


def main() -> int:
    """Run the command; returns its exit status (128 + the signal's number where one ended it)."""
    patience, *command = sys.argv[1:]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(number: int, frame: FrameType | None) -> None:
        _signal(process, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_await_owner, args=(process, float(patience)), daemon=True).start()
    status = process.wait()
    _signal(process, signal.SIGKILL)  # what it leaves behind
    return status if status >= 0 else 128 - status


def _await_owner(process: "subprocess.Popen[bytes]", patience: float) -> None:
    while os.read(0, 1024):  # not `sys.stdin.read`: its lock would be in the way when the interpreter ends
        pass
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    _signal(process, signal.SIGKILL)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to the command and all its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main())
