"""Together's fine-tuning, by its HTTP as the package `together` 3.1.1 speaks it.

Not through that package: it wants `rich<15` where this project has 15, and brings a command line of its own. What is
needed are eight calls, carried by the HTTP library that OpenAI's client brings. Nobody has run this against Together.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import httpx2

from wg_evals.api_models import ApiCheckpoint
from wg_evals.errors import WgError
from wg_evals.training.api.faults import in_words, quoted
from wg_evals.training.api.provider import NOT_DONE, Event, Job, MissingError, RefusedError, TryAgain, retry_after
from wg_evals.training.api.recipe import ApiRecipe

_ADDRESS = "https://api.together.xyz/v1"
_QUICK_SECONDS = 30.0
"""For a question about a job."""
_CREATION_SECONDS = 600.0
"""A creation whose answer is slow must not be repeated unasked."""

_HYPERPARAMETERS = (
    "n_epochs",
    "learning_rate",
    "batch_size",
    "warmup_ratio",
    "weight_decay",
    "max_grad_norm",
    "packing",
    "max_seq_length",
    "lr_scheduler",
    "training_type",
    "training_method",
)
_ENDS: Mapping[str, Any] = {
    "completed": "succeeded",
    "error": "failed",
    "user_error": "failed",  # in its package, not in its published schema
    "cancelled": "cancelled",
}


class TogetherProvider:
    """Fine-tuning jobs at Together (`TOGETHER_API_KEY`; `TOGETHER_BASE_URL` for another address)."""

    name = "Together"
    package: str | None = None

    def __init__(self) -> None:
        key = os.environ.get("TOGETHER_API_KEY")
        if not key:
            raise WgError("Together's fine-tuning needs a key: set TOGETHER_API_KEY.")
        address = os.environ.get("TOGETHER_BASE_URL", _ADDRESS).rstrip("/")
        # with and without /v1: Inspect's provider and Together's own client read this variable differently
        self._address = f"{address.removesuffix('/v1')}/v1"
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {key}"}, timeout=_timeout())
        self._storage = httpx2.Client(timeout=_timeout())  # the key is for Together alone

    def find_file(self, path: Path) -> str | None:
        """Files are found by their contents when they are uploaded again; nothing need be looked for."""
        return None

    def upload(self, path: Path) -> str:
        data = path.read_bytes()
        about = {
            "purpose": "fine-tune",
            "file_name": path.name,
            "file_type": "jsonl",
            "checksum": hashlib.sha256(data).hexdigest(),
        }
        with _faults():
            fields = {name: (None, value) for name, value in about.items()}
            answer = self._http.post(f"{self._address}/files", files=fields, follow_redirects=False)
            if answer.status_code == 409 and (there := _json(answer).get("file_id")):
                self._preprocess(str(there), again=True)  # an earlier try may have got no further than the contents
                return str(there)
            place, file_id = answer.headers.get("location"), answer.headers.get("x-together-file-id")
            if answer.status_code >= 400:
                _refuse(answer)
            if not place or not file_id:
                raise TryAgain("no place to upload to in the answer")
            stored = self._storage.put(place, content=data)
            if stored.status_code != 200:
                raise TryAgain(f"the storage answered HTTP {stored.status_code}")
        self._preprocess(str(file_id), again=False)
        return str(file_id)

    def _preprocess(self, file_id: str, *, again: bool) -> None:
        """Have a file made ready for jobs. Asked again, Together may refuse it as done."""
        with _faults():
            answer = self._http.post(f"{self._address}/files/{file_id}/preprocess")
        if answer.status_code >= 400 and not (again and answer.status_code in (400, 409)):
            _refuse(answer)

    def find_job(self, run: str, file_id: str) -> Job | None:
        for job in self._ask("GET", "/fine-tunes").get("data", []):
            if str(job.get("suffix") or "").endswith(run):
                return self._job(job)
        return None

    def create(self, recipe: ApiRecipe, file_id: str, run: str) -> Job:
        settings = recipe.together
        assert settings is not None  # the recipe's own validation
        schedule_args = {"min_lr_ratio": 0.0} | ({"num_cycles": 0.5} if settings.schedule == "cosine" else {})
        asked = {
            "model": recipe.base,
            "training_file": file_id,
            "n_epochs": settings.n_epochs,
            "learning_rate": settings.learning_rate,
            "batch_size": settings.batch_size,
            "lr_scheduler": {"lr_scheduler_type": settings.schedule, "lr_scheduler_args": schedule_args},
            "warmup_ratio": settings.warmup_ratio,
            "weight_decay": settings.weight_decay,
            "max_grad_norm": 1.0,
            "packing": settings.packing,
            "n_checkpoints": settings.n_checkpoints,
            "n_evals": 0,
            "random_seed": recipe.seed,
            # there is no other field that a job can be marked by
            "suffix": "-".join(filter(None, [settings.suffix, run])),
            "training_type": {
                "type": "Lora",
                "lora_r": settings.lora.rank,
                "lora_alpha": settings.lora.alpha,
                "lora_dropout": settings.lora.dropout,
                "lora_trainable_modules": settings.lora.trainable_modules,
            },
            "training_method": {"method": "sft", "train_on_inputs": False},
        }
        return self._job(self._ask("POST", "/fine-tunes", asked, _CREATION_SECONDS))

    def job(self, job_id: str) -> Job:
        return self._job(self._ask("GET", f"/fine-tunes/{job_id}"))

    def cancel(self, job_id: str) -> Job:
        return self._job(self._ask("POST", f"/fine-tunes/{job_id}/cancel"))

    def events(self, job_id: str) -> Sequence[Event]:
        found = self._ask("GET", f"/fine-tunes/{job_id}/events").get("data", [])
        found = sorted(found, key=lambda e: str(e.get("created_at")))
        return [Event(f"{e.get('created_at')} {e.get('message')}", str(e.get("message"))) for e in found]

    def checkpoints(self, job_id: str) -> list[ApiCheckpoint]:
        found = self._ask("GET", f"/fine-tunes/{job_id}/checkpoints").get("data", [])
        named = [c for c in found if c.get("object_name") and c.get("checkpoint") != "adapter"]
        return sorted(
            (ApiCheckpoint(model=f"together/{c['object_name']}", step=int(c["step"])) for c in named),
            key=lambda c: c.step,
        )

    def _job(self, job: Mapping[str, Any]) -> Job:
        job_id, status = job.get("id"), job.get("status")
        if not job_id or not status:
            raise TryAgain("the answer is no fine-tuning job")
        state = _ENDS.get(status, "going")
        return Job(
            id=str(job_id),
            state=state,
            status=str(status),
            model=job.get("model_output_name"),
            reason=self._reason(str(job_id)) if state == "failed" else None,
            hyperparameters={key: job[key] for key in _HYPERPARAMETERS if job.get(key) is not None},
            seed=job.get("random_seed"),
            trained_tokens=job.get("token_count"),
            seconds=_seconds(job.get("created_at"), job.get("updated_at")),
        )

    def _reason(self, job_id: str) -> str:
        """A job does not say why it failed; its last event of that kind does."""
        try:
            found = self._ask("GET", f"/fine-tunes/{job_id}/events").get("data", [])
        except (TryAgain, RefusedError):  # that it failed is known, and is told all the same
            return "its events, which say why, could not be read; look at the job on Together's own page."
        told = sorted(found, key=lambda e: str(e.get("created_at")))
        errors = [e for e in told if "error" in str(e.get("level")).lower()] or told
        return in_words(self.name, None, str(errors[-1].get("message")) if errors else None)

    def _ask(self, method: str, path: str, body: Any = None, read_seconds: float | None = None) -> dict[str, Any]:
        with _faults():
            answer = self._http.request(method, self._address + path, json=body, timeout=_timeout(read_seconds))
        if answer.status_code >= 400:
            _refuse(answer)
        found = _json(answer)
        if not found:
            raise TryAgain("an answer that is not Together's")
        return found


def _timeout(read_seconds: float | None = None) -> httpx2.Timeout:
    return httpx2.Timeout(_QUICK_SECONDS, read=read_seconds or _QUICK_SECONDS, write=600.0)


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refuse(answer: httpx2.Response) -> NoReturn:
    error = _json(answer).get("error")
    said = error if isinstance(error, dict) else {"message": error or answer.text}
    message, code = str(said.get("message") or "")[:500], said.get("code") or said.get("type")
    status = answer.status_code
    if status in (408, 409, 429) or status >= 500:
        wait, perhaps_done = retry_after(answer.headers), status not in NOT_DONE
        raise TryAgain(f"HTTP {status}: {message}", wait, perhaps_done=perhaps_done)
    code = str(code) if code else None
    if status == 401:
        raise RefusedError(
            "Together does not accept the key (TOGETHER_API_KEY), or its account has no credit left for this: look at "
            f"its keys and its billing. {quoted('Together', code, message)}"
        )
    if status == 402:
        no_credit = "The account at Together has no credit left for this: look at its billing."
        raise RefusedError(f"{no_credit} {quoted('Together', code, message)}")
    if status == 404:
        raise MissingError(in_words("Together", code, message))
    raise RefusedError(in_words("Together", code, message))


def _seconds(begun: Any, ended: Any) -> float | None:
    try:
        return (datetime.fromisoformat(str(ended)) - datetime.fromisoformat(str(begun))).total_seconds()
    except (ValueError, TypeError):
        return None


@contextmanager
def _faults() -> Iterator[None]:
    """What the HTTP library raises where no answer came, as `TryAgain`."""
    try:
        yield
    except httpx2.TransportError as ex:
        raise TryAgain(f"no connection: {ex or type(ex).__name__}") from None
