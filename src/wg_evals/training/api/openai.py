"""OpenAI's fine-tuning, through its own client.

The client's retries are off: it would repeat the creation of a job whose answer was lost on the way, and that makes
two of them. `run.py` tries again, and looks first for what is there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob

from wg_evals.api_models import ApiCheckpoint
from wg_evals.errors import WgError
from wg_evals.training.api.faults import in_words, quoted
from wg_evals.training.api.provider import NOT_DONE, Event, Job, MissingError, RefusedError, TryAgain, retry_after
from wg_evals.training.api.recipe import ApiRecipe, OpenAISettings

RUN = "wg_evals_run"
"""The key of a job's metadata by which a run finds its job again."""

_QUICK_SECONDS = 30.0
"""For a question about a job. Uploads and creations, not to be repeated unasked, have the client's own ten minutes."""

_NOT_ALLOWED = (
    "This account or key may not do that at OpenAI. Fine-tuning needs an account that is let in (self-serve "
    "fine-tuning is reported closed to new accounts since May 2026) and a key with write access to files and "
    "fine-tuning."
)
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class OpenAIProvider:
    """Fine-tuning jobs at OpenAI, or at a server that speaks its protocol (`OPENAI_BASE_URL`)."""

    name = "OpenAI"
    package: str | None = "openai"

    def __init__(self) -> None:
        try:
            self._client = openai.OpenAI(max_retries=0)
        except openai.OpenAIError:
            raise WgError("OpenAI's fine-tuning needs a key: set OPENAI_API_KEY.") from None
        self._quick = self._client.with_options(timeout=_QUICK_SECONDS)

    def find_file(self, path: Path) -> str | None:
        with _faults():
            listed = self._quick.files.list(purpose="fine-tune", order="desc", limit=1000)
            return next((f.id for f in listed if f.filename == path.name), None)

    def upload(self, path: Path) -> str:
        with _faults(), path.open("rb") as stream:
            return self._client.files.create(file=(path.name, stream, "application/jsonl"), purpose="fine-tune").id

    def find_job(self, run: str, file_id: str) -> Job | None:
        with _faults():
            for job in self._quick.fine_tuning.jobs.list(limit=100):
                if (job.metadata or {}).get(RUN) == run or job.training_file == file_id:
                    return _job(job)
        return None

    def create(self, recipe: ApiRecipe, file_id: str, run: str) -> Job:
        settings = recipe.openai or OpenAISettings()
        with _faults():
            job = self._client.fine_tuning.jobs.create(
                model=recipe.base,
                training_file=file_id,
                method={
                    "type": "supervised",
                    "supervised": {
                        "hyperparameters": {
                            "n_epochs": settings.n_epochs,
                            "learning_rate_multiplier": settings.learning_rate_multiplier,
                            "batch_size": settings.batch_size,
                        }
                    },
                },
                seed=recipe.seed,
                suffix=settings.suffix if settings.suffix else openai.omit,
                metadata={RUN: run},
            )
            return _job(job)

    def job(self, job_id: str) -> Job:
        with _faults():
            return _job(self._quick.fine_tuning.jobs.retrieve(job_id))

    def cancel(self, job_id: str) -> Job:
        with _faults():
            return _job(self._quick.fine_tuning.jobs.cancel(job_id))

    def events(self, job_id: str) -> Sequence[Event]:
        with _faults():
            newest_first = self._quick.fine_tuning.jobs.list_events(job_id, limit=100).data
            return [_event(e) for e in reversed(newest_first)]

    def checkpoints(self, job_id: str) -> list[ApiCheckpoint]:
        with _faults():
            found = [
                ApiCheckpoint(
                    model=f"openai/{c.fine_tuned_model_checkpoint}",
                    step=c.step_number,
                    metrics={k: v for k, v in c.metrics.to_dict().items() if isinstance(v, int | float)},
                )
                for c in self._quick.fine_tuning.jobs.checkpoints.list(job_id)
            ]
        return sorted(found, key=lambda c: c.step)


def _job(job: FineTuningJob) -> Job:
    if not isinstance(job, FineTuningJob) or not job.id:  # the client builds one from whatever JSON comes
        raise TryAgain("the answer is no fine-tuning job")
    method = job.method.supervised.hyperparameters if job.method and job.method.supervised else None
    hyperparameters = {**_plain(method), **_plain(job.hyperparameters)}
    error = job.error if job.error and job.error.message else None
    failed = job.status == "failed"
    return Job(
        id=job.id,
        state=job.status if job.status in ("succeeded", "failed", "cancelled") else "going",
        status=job.status,
        model=job.fine_tuned_model,
        reason=in_words("OpenAI", error.code if error else None, error.message if error else None) if failed else None,
        hyperparameters=hyperparameters,
        seed=job.seed,
        trained_tokens=job.trained_tokens,
        seconds=job.finished_at - job.created_at if job.finished_at else None,
    )


def _plain(hyperparameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = hyperparameters.to_dict() if hyperparameters is not None else {}
    return {key: value for key, value in found.items() if value is not None}


def _event(event: Any) -> Event:
    data = event.data if isinstance(event.data, dict) else {}
    step, steps, loss = (data.get(key) for key in ("step", "total_steps", "train_loss"))
    if isinstance(step, int) and isinstance(steps, int) and isinstance(loss, int | float):
        return Event(event.id, event.message, step, steps, float(loss))
    return Event(event.id, event.message)


@contextmanager
def _faults() -> Iterator[None]:
    """The client's exceptions as `TryAgain` or `RefusedError`."""
    try:
        yield
    except openai.AuthenticationError as ex:
        raise RefusedError(
            "OpenAI does not accept the key (OPENAI_API_KEY): it is mistyped, revoked or expired, or its account is "
            f"closed. {quoted('OpenAI', ex.code, _message(ex))}"
        ) from None
    except openai.PermissionDeniedError as ex:
        raise RefusedError(in_words("OpenAI", ex.code, _message(ex), _NOT_ALLOWED)) from None
    except openai.NotFoundError as ex:
        raise MissingError(in_words("OpenAI", ex.code or ex.type, _message(ex))) from None
    except openai.APIStatusError as ex:
        code = ex.code or ex.type
        waits = ex.status_code in (408, 409, 429) or ex.status_code >= 500
        if waits and code not in _NO_MONEY:
            reason, perhaps_done = f"HTTP {ex.status_code}: {_message(ex)}", ex.status_code not in NOT_DONE
            raise TryAgain(reason, retry_after(ex.response.headers), perhaps_done=perhaps_done) from None
        raise RefusedError(in_words("OpenAI", code, _message(ex))) from None
    except openai.APIConnectionError as ex:
        raise TryAgain(f"no connection: {ex.__cause__ or ex}") from None
    except (openai.APIResponseValidationError, ValueError, AttributeError) as ex:
        # the client takes whatever comes with status 200, a proxy's page too, for what it asked for
        raise TryAgain(f"an answer that is not OpenAI's: {ex}") from None


def _message(ex: openai.APIStatusError) -> str:
    """The server's own sentence, without the client's wrapping."""
    said = ex.body.get("message") if isinstance(ex.body, dict) else None
    return str(said or ex.message)[:500]
