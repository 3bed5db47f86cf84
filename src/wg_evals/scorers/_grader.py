"""The model in the role `grader`: asked about answers, with a cache, and with errors that are no verdicts."""

import re

from inspect_ai._util.error import PrerequisiteError  # inspect-evals-lint: ignore[private_api_imports] -- as errors.py
from inspect_ai._util.registry import RegistryInfo  # inspect-evals-lint: ignore[private_api_imports] -- names by rubric
from inspect_ai.model import CachePolicy, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.util import LimitExceededError

from wg_evals.errors import WgError
from wg_evals.scorers._metrics import label_share, rating
from wg_evals.spec import Rubric

GRADER = "grader"
"""The model role of the judge."""

JUDGE_SECONDS = 900
"""How long one question to the judge may take, retries included, unless the role or the evaluation says otherwise."""

_refused: set[tuple[str, str | None, str]] = set()
"""What a judge at an address has refused to give (logprobs, structured replies): it is not asked for that again."""


class JudgeError(RuntimeError):
    """The judge could not be asked: no verdict on the answer, and no fault of the model under test."""


def named_judge(name: str) -> Model:
    """The judge of a name, as Inspect names models.

    Raises:
        WgError: Its provider is not known, not installed, or lacks its key; with the provider's own reason. Or no
            server that runs already has it.
    """
    from wg_evals.serving.vllm_model import prepare

    try:
        model = get_model(name, memoize=False)  # one that an earlier evaluation made says nothing of today's key
        prepare(model)
        return model
    except (PrerequisiteError, ValueError, ImportError) as ex:
        reason = re.sub(r"\[/?[a-z]*\]", "", str(ex))  # Inspect marks up its messages for the terminal
        raise WgError(f"The grader '{name}' cannot be used: {' '.join(reason.split())}") from None


class NamedByRubric:
    """A scorer whose name in the log is its rubric's, however it was created.

    Inspect names a scorer by the function that made it and sets that name on the instance; two rubrics would be
    `judge` and `judge1`. So the instance answers with its own.
    """

    def __init__(self, rubric: Rubric) -> None:
        self.rubric = rubric
        self._info: RegistryInfo | None = None

    @property
    def __registry_info__(self) -> RegistryInfo:
        if self._info is None:
            raise AttributeError("__registry_info__")
        return self._info

    @__registry_info__.setter
    def __registry_info__(self, info: RegistryInfo) -> None:
        labels = [*self.rubric.labels, *self.rubric.escapes]
        metrics = [rating()] if self.rubric.kind == "rating" else [label_share(labels)]
        described = {"rubric": self.rubric.name, "rubric_version": self.rubric.version}
        self._info = RegistryInfo(type=info.type, name=self.rubric.name, metadata={**described, "metrics": metrics})


async def ask(
    grader: Model, prompt: str, about: str, attempt: int, wish: GenerateConfig | None = None, named: str = ""
) -> ModelOutput:
    """One question to the judge.

    Args:
        grader: The judge.
        prompt: The whole prompt.
        about: What is asked, for the message of an error.
        attempt: 1 for the first time; a retry never gets an earlier attempt's reply out of the cache.
        wish: What not every judge gives (logprobs, structured replies). One that refuses it is asked without, from
            then on.
        named: What the wish is called.

    Raises:
        JudgeError: The judge could not be asked.
    """
    # The cache's key leaves out the attempt, and a retry must not get the same bad reply back.
    cache = (
        CachePolicy(per_epoch=False, scopes={"attempt": str(attempt)}) if grader.config.cache is not False else False
    )
    key = (str(grader), grader.api.base_url, named)
    try:
        if wish is None or key in _refused:
            return await grader.generate(prompt, cache=cache)
        try:
            return await grader.generate(prompt, config=wish, cache=cache)
        except Exception as ex:
            if _status(ex) not in (400, 422):
                raise
        output = await grader.generate(prompt, cache=cache)
        _refused.add(key)
        return output
    except LimitExceededError:
        raise  # a limit of the sample, which Inspect deals with
    except Exception as ex:
        raise JudgeError(f"The judge {grader} could not be asked about {about}: {_root(ex)}") from ex


def settings(max_tokens: int) -> GenerateConfig:
    """Settings of the judge; what the role's own config says comes first (a thinking judge needs more tokens)."""
    return GenerateConfig(temperature=0.0, max_tokens=max_tokens, timeout=JUDGE_SECONDS)


def no_verdict(replies: list[str], last: ModelOutput, grader: Model) -> str:
    """Why an answer is unscored, in words.

    Args:
        replies: All that the judge said.
        last: Its last reply, whole.
        grader: The judge.
    """
    said = "; ".join(repr(reply) for reply in replies)
    why = f"The judge gave no verdict in {len(replies)} attempts. It replied: {said}"
    if last.stop_reason not in ("max_tokens", "model_length"):
        return why
    return (
        f"{why}. The last reply was cut off ({last.stop_reason}; the judge's max_tokens is "
        f"{grader.config.max_tokens}). "
        "Raise it for the role: --model-role 'grader={model: PROVIDER/MODEL, max_tokens: 1000}', or `max_tokens` under "
        "`model_roles` in the run-config."
    )


def _root(ex: BaseException) -> str:
    """What the provider itself said, from under the retries and wrappers."""
    while ex.__cause__ is not None:
        ex = ex.__cause__
    return f"{type(ex).__name__}: {str(ex)[:500]}"


def _status(ex: Exception) -> int | None:
    for name in ("status_code", "code"):
        status = getattr(ex, name, None)
        if isinstance(status, int):
            return status
    return None


def same_model(a: Model, b: Model) -> bool:
    """Whether two models are one: same name, same arguments (an adapter is one), same address."""
    return (str(a), a.model_args, a.api.base_url) == (str(b), b.model_args, b.api.base_url)
