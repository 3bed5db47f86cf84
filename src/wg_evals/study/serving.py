"""A study's vLLM server: one at a time, of the base whose adapters are being evaluated (`serve: vllm`).

The runner asks for it again and again while it does other things; nothing here waits.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx2

from wg_evals.artifacts import BaseIdentity, model_positions
from wg_evals.errors import WgError
from wg_evals.serving.vllm_server import (
    DEFAULT_KEY,
    KEY,
    RUNNING,
    Argument,
    ServerAccess,
    VllmServer,
    answer_room,
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

    def check(self, bases: Sequence[BaseIdentity], rank: int, own: Mapping[str, Argument], max_tokens: int) -> None:
        """Find, before hours of training, what would keep a server from starting, or a running one from being of use.

        Args:
            bases: All that are still to be served.
            rank: Of the adapters that are still to be trained.
            own: The arguments of `vllm serve` that the study itself names.
            max_tokens: Tokens of an answer that the study asks for.

        Raises:
            WgError: vLLM is not installed, or serves no adapter of a rank that there is. Or the server that runs
                already does not answer, does not serve a base, or gives answers less room than the base has.
        """
        url = os.environ.get(RUNNING)
        if url and own:
            raise WgError(
                f"The study's `server` has arguments for a server of its own, and {RUNNING} names one that runs "
                f"already: leave `server` out, or unset {RUNNING}."
            )
        if url:
            for base in bases:
                _refuse_less_room(_running(url, base), base, max_tokens)
        else:
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
            self._access = self._access or _running(url, base)
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
        if self._access is None:  # another worker's failure has shown it already
            return False
        there = answers(self._access)
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


def _running(url: str, base: BaseIdentity) -> ServerAccess:
    return running_server(url, os.environ.get(KEY, DEFAULT_KEY), [base.path, base.name])


def _refuse_less_room(server: ServerAccess, base: BaseIdentity, max_tokens: int) -> None:
    """A server with a short context would cut answers, and their cells would be named as if it had not."""
    room = answer_room(max_tokens, server.max_model_len)
    if room < answer_room(max_tokens, model_positions(Path(base.path))):
        raise WgError(
            f"The server at {server.url} ({RUNNING}) has a context of {server.max_model_len} tokens, which leaves "
            f"{room} for an answer, and the study's `generation.max_tokens` is {max_tokens}. Start it with a longer "
            "`--max-model-len`, or let the study ask for no more."
        )


def answers(access: ServerAccess) -> bool:
    """Whether a server is still there."""
    try:
        listed(access.url, access.key)
    except (WgError, httpx2.TransportError):
        return False
    return True
