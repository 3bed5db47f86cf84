"""A real local HTTP server that speaks OpenAI's and Together's fine-tuning, and can fail in the middle of it.

Together's answers have the fields of its published schema (the types of its package `together` 3.1.1), and no others.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

RUNNING = {"status": "running"}
SUCCEEDED = {
    "status": "succeeded",
    "fine_tuned_model": "ft:gpt-4.1-2025-04-14:lab::abc",
    "trained_tokens": 4321,
    "finished_at": 1_700_000_600,
    "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0},
}
COMPLETED = {"status": "completed", "model_output_name": "lab/llama-abc", "token_count": 4321}
ENDED = ("succeeded", "failed", "completed", "error", "user_error", "cancelled")
KEYS = ("Bearer sk-stub", "Bearer stub")

_IN_EVERY = frozenset(
    {
        "id",
        "status",
        "user_id",
        "batch_size",
        "created_at",
        "learning_rate",
        "lr_scheduler",
        "max_grad_norm",
        "model",
        "model_output_name",
        "n_checkpoints",
        "n_epochs",
        "n_evals",
        "token_count",
        "training_file",
        "training_method",
        "training_type",
        "updated_at",
        "warmup_ratio",
        "weight_decay",
    }
)
_IN_LISTS = _IN_EVERY | {"max_seq_length", "packing", "random_seed", "suffix"}
"""And in the answer to a cancel."""


def failed(code: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"code": code, "message": message, "param": "training_file"}}


@dataclass
class Fault:
    """What goes wrong with the next requests of a kind."""

    method: str
    path: str
    """The end of the path; `*` for a job's or file's id."""
    status: int | None = None
    """Answer with this; None: the connection is dropped without one."""
    body: dict[str, Any] | str = field(default_factory=dict)
    """Text is sent as it is."""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: bool = False
    """The request is done all the same, and only its answer is lost."""
    call: Callable[[], None] | None = None
    """Called at that moment, for example to kill the client."""
    slow: float = 0.0
    """Seconds that the right answer takes; nothing else goes wrong then."""


@dataclass
class Stub:
    """A running server: what it holds, and what it was asked."""

    url: str
    life: Sequence[dict[str, Any]]
    """What a job becomes, a step at each question for it; the last one stays."""
    faults: list[Fault]
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Name and contents, by id."""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the requests that made a job."""
    requests: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    lives: dict[str, int] = field(default_factory=dict)
    preprocessed: set[str] = field(default_factory=set)
    late: int = 0
    """So many times more the list of jobs is one of before."""

    def count(self, request: str) -> int:
        return self.requests.count(request)


@contextmanager
def fine_tuning(*life: dict[str, Any], faults: Sequence[Fault] = ()) -> Iterator[Stub]:
    """Serve until the block ends."""
    lock = threading.RLock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlparse(self.path).path.removeprefix("/v1")
            shape = _shape(path)
            with lock:
                stub.requests.append(f"{self.command} {shape}")
                fault = _take(stub.faults, self.command, shape)
                if fault is None or fault.after or fault.slow:
                    refusal = _refusal(path, self.headers.get("Authorization"))
                    answer = refusal or _answer(stub, self.command, path, body, self.headers.get("Content-Type", ""))
            if fault is not None and fault.slow:
                time.sleep(fault.slow)
            elif fault is not None:
                if fault.call:
                    fault.call()
                if fault.status is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                answer = (fault.status, fault.body, fault.headers)
            status, content, headers = answer
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # a client that was killed, a connection that was dropped
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub = Stub(f"http://127.0.0.1:{server.server_address[1]}/v1", list(life) or [RUNNING, SUCCEEDED], list(faults))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _shape(path: str) -> str:
    """A path with its ids left out."""
    parts = ["*" if p.startswith(("ftjob-", "ft-", "file-")) else p for p in path.split("/")]
    return "/".join(parts)


def _take(faults: list[Fault], method: str, shape: str) -> Fault | None:
    for fault in faults:
        if fault.method == method and shape == fault.path:
            fault.times -= 1
            if fault.times == 0:
                faults.remove(fault)
            return fault
    return None


Answer = tuple[int, dict[str, Any] | str, dict[str, str]]


def _refusal(path: str, authorization: str | None) -> Answer | None:
    if path.startswith("/storage/"):  # another company's: the key is not for it
        return (400, _error("a key where none belongs"), {}) if authorization else None
    return None if authorization in KEYS else (401, _error("no such key"), {})


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _answer(stub: Stub, method: str, path: str, body: bytes, content_type: str) -> Answer:
    match method, path.strip("/").split("/"):
        case "POST", ["files"]:
            form = _form(content_type, body)
            file_id = f"file-{len(stub.files) + 1}"
            if "checksum" in form:  # Together's way: the contents follow elsewhere
                known = [
                    i for i, (_, data) in stub.files.items() if sha256(data).hexdigest() == form["checksum"].decode()
                ]
                if known:
                    return 409, {"file_id": known[0]}, {}
                place = f"{stub.url.removesuffix('/v1')}/storage/{file_id}"
                return 302, {}, {"Location": place, "X-Together-File-Id": file_id}
            stub.files[file_id] = (form["filename"].decode(), form["file"])
            return 200, _file(stub, file_id), {}
        case "PUT", ["storage", file_id]:
            stub.files[file_id] = (file_id, body)
            return 200, {}, {}
        case "POST", ["files", file_id, "preprocess"]:
            stub.preprocessed.add(file_id)
            return 200, {"id": file_id, "object": "file", "processing_status": "PENDING"}, {}
        case "GET", ["files"]:
            return 200, _list([_file(stub, i) for i in reversed(stub.files)]), {}
        case "POST", ["fine_tuning", "jobs"]:
            asked = json.loads(body)
            stub.asked.append(asked)
            job_id = f"ftjob-{len(stub.jobs) + 1}"
            stub.jobs[job_id] = _openai_job(job_id, asked)
            return 200, stub.jobs[job_id], {}
        case "POST", ["fine-tunes"]:
            asked = json.loads(body)
            if asked["training_file"] not in stub.preprocessed:
                return 400, _error("training file is not processed"), {}
            stub.asked.append(asked)
            job_id = f"ft-{len(stub.jobs) + 1}"
            times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:10:00Z"}
            stub.jobs[job_id] = {**asked, **times, "id": job_id, "status": "pending", "user_id": "user-stub"}
            return 200, _only(_IN_EVERY, stub.jobs[job_id]), {}
        case "GET", ["fine_tuning", "jobs"]:
            return 200, _list(_listed(stub)), {}
        case "GET", ["fine-tunes"]:
            return 200, _list([_only(_IN_LISTS, job) for job in _listed(stub)]), {}
        case "GET", ["fine_tuning", "jobs", job_id] if job_id in stub.jobs:
            return 200, _lived(stub, job_id), {}
        case "GET", ["fine-tunes", job_id] if job_id in stub.jobs:
            return 200, _only(_IN_EVERY, _lived(stub, job_id)), {}
        case "POST", ["fine_tuning", "jobs", job_id, "cancel"] | ["fine-tunes", job_id, "cancel"] if (
            job_id in stub.jobs
        ):
            if (status := stub.jobs[job_id]["status"]) in ENDED:
                return 400, _error(f"Job has already {status}.", "invalid_cancel_request"), {}
            stub.jobs[job_id]["status"] = "cancelled"
            stub.lives[job_id] = len(stub.life)
            return 200, _only(_IN_LISTS, stub.jobs[job_id]) if "user_id" in stub.jobs[job_id] else stub.jobs[job_id], {}
        case "GET", [*_, "events"]:
            return 200, _list(list(reversed(stub.events))), {}
        case "GET", [*_, "checkpoints"]:
            return 200, _list(stub.checkpoints), {}
    return 404, _error(f"no {path}", "not_found"), {}


def _listed(stub: Stub) -> list[dict[str, Any]]:
    """Newest first."""
    if stub.late:
        stub.late -= 1
        return []
    return list(reversed(stub.jobs.values()))


def _only(fields: frozenset[str], job: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if key in fields}


def _lived(stub: Stub, job_id: str) -> dict[str, Any]:
    step = stub.lives.get(job_id, 0)
    if step < len(stub.life):
        stub.jobs[job_id].update(stub.life[step])
        stub.lives[job_id] = min(step + 1, len(stub.life))
    return stub.jobs[job_id]


def _openai_job(job_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": 1_700_000_000,
        "model": asked["model"],
        "organization_id": "org-stub",
        "result_files": [],
        "status": "validating_files",
        "seed": asked.get("seed", 1),
        "training_file": asked["training_file"],
        "metadata": asked.get("metadata"),
        "method": asked["method"],
        "hyperparameters": asked["method"]["supervised"]["hyperparameters"],
        "fine_tuned_model": None,
        "finished_at": None,
        "trained_tokens": None,
        "error": None,
    }


def event(number: int, message: str, **data: Any) -> dict[str, Any]:
    return {
        "id": f"ftevent-{number}",
        "object": "fine_tuning.job.event",
        "created_at": 1_700_000_000 + number,
        "level": "info",
        "message": message,
        "type": "metrics" if data else "message",
        "data": data or None,
    }


def checkpoint(step: int, model: str) -> dict[str, Any]:
    return {
        "id": f"ftckpt-{step}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": 1_700_000_000 + step,
        "fine_tuned_model_checkpoint": model,
        "fine_tuning_job_id": "ftjob-1",
        "metrics": {"step": step, "train_loss": 0.5},
        "step_number": step,
    }


def _file(stub: Stub, file_id: str) -> dict[str, Any]:
    name, data = stub.files[file_id]
    about = {"id": file_id, "object": "file", "bytes": len(data), "created_at": 1_700_000_000, "filename": name}
    return {**about, "purpose": "fine-tune", "status": "processed"}


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": items, "has_more": False}


def _form(content_type: str, body: bytes) -> dict[str, bytes]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    found: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        found[name] = part.get_payload(decode=True)  # type: ignore[assignment]
        if part.get_filename():
            found["filename"] = str(part.get_filename()).encode()
    return found
