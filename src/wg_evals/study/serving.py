"""A study's vLLM server: one at a time, of the base whose adapters are being evaluated (`serve: vllm`).

The runner asks for it again and again while it does other things; nothing here waits.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import httpx2

from wg_evals.artifacts import BaseIdentity
from wg_evals.errors import WgError
from wg_evals.serving.vllm_server import (
    DEFAULT_KEY,
    KEY,
    RUNNING,
    Argument,
    ServerAccess,
    VllmServer,
    listed,
    running_server,
    servable_rank,
    vllm_command,
)

LOGS = "servers"
"""The servers' own logs, in the study's folder."""
_DEATHS = 3
"""A base over which so many servers have ended is given up."""


class ServerGone(WgError):
    """The server ended while it served; another can be started."""


class StudyServer:
    """Starts, watches and ends the servers of a run, or finds the one at `VLLM_BASE_URL`."""

    def __init__(
        self,
        folder: Path,
        ranks: Callable[[BaseIdentity], int | None],
        at_once: int,
        arguments: Mapping[str, Argument],
        lock: int,
    ) -> None:
        """Start nothing yet.

        Args:
            folder: The study's.
            ranks: Gives the largest rank among a base's adapters.
            at_once: Evaluations that run at the same time, each with an adapter of its own.
            arguments: Of `vllm serve`.
            lock: A file descriptor to hold until the server has ended.
        """
        self._folder, self._ranks, self._at_once, self._arguments, self._lock = folder, ranks, at_once, arguments, lock
        self._base: BaseIdentity | None = None
        self._server: VllmServer | None = None
        self._access: ServerAccess | None = None
        self._deaths: Counter[str] = Counter()

    def check(self, bases: Iterable[BaseIdentity], rank: int) -> None:
        """Find, before hours of training, what would keep a server from starting.

        Args:
            bases: All that are to be served.
            rank: Of the adapters that are still to be trained.

        Raises:
            WgError: vLLM is not installed, or serves no adapter of a rank that there is.
        """
        if RUNNING not in os.environ:
            vllm_command()
        for found in (rank, *(self._ranks(base) for base in bases)):
            servable_rank(found or rank)

    def serve(self, base: BaseIdentity) -> ServerAccess | None:
        """See to it that this base is served, and no other.

        Returns:
            How the server is reached; None as long as it is starting.

        Raises:
            ServerGone: It has ended; asked again, another one is started.
            WgError: It cannot be served.
        """
        if self._base != base:
            self.stop()
            self._base = base
        if url := os.environ.get(RUNNING):
            key = os.environ.get(KEY, DEFAULT_KEY)
            self._access = self._access or running_server(url, key, [base.path, base.name])
            return self._access
        if self._server is None:
            log = self._folder / LOGS / f"{Path(base.path).name}-{base.identity[:8]}.log"
            rank = self._ranks(base)
            self._server = VllmServer(base.path, log, rank, self._at_once, self._arguments, [self._lock])
        served = self._access is not None
        try:
            self._access = self._server.access()
        except WgError as ex:
            self.stop()
            self._deaths[base.identity] += 1
            if served and self._deaths[base.identity] < _DEATHS:
                raise ServerGone(ex.text) from None
            raise
        return self._access

    def serves(self, base: BaseIdentity) -> bool:
        """Whether this base was being served when last looked at."""
        return self._base == base and self._access is not None

    def answers(self) -> bool:
        """Whether the server is still there; one that somebody else has started is looked for anew if not."""
        there = answers(self.access)
        if not there and self._server is None:
            self._access = None
        return there

    @property
    def access(self) -> ServerAccess:
        """How the server is reached; only once it is ready."""
        assert self._access is not None
        return self._access

    def situation(self) -> str:
        """What there is to show of it: a line while it starts, else nothing."""
        if self._server is None or self._access is not None:
            return ""
        return f"vLLM server starting, {self._server.seconds:.0f} s: {self._server.last_line()}"

    def stop(self) -> None:
        """End the server, if one runs."""
        if self._server is not None:
            self._server.stop()
        self._base = self._server = self._access = None


def answers(access: ServerAccess) -> bool:
    """Whether a server is still there."""
    try:
        listed(access.url, access.key)
    except (WgError, httpx2.TransportError):
        return False
    return True
