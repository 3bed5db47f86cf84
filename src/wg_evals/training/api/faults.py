"""What an API's refusals mean, in plain words. The API's own message is always kept beside them."""

import re

# The first that matches counts: a model that fails the evaluation after its training is described by words that a
# refused file is described by too. Codes and messages as the services gave them in 2024-2026; they change.
_MEANINGS = (
    (
        r"moderation eval|safety eval|refusals_v|unsafe_model|model (was|has been) blocked",
        "{api}'s own check of the trained model failed: it judges what the model has become, and has blocked it. "
        "No setting of the recipe mends that; read its usage policies, and train an open model (configs/recipes) "
        "if they do not allow this one.",
    ),
    (
        r"unsafe_file|moderation|usage polic|content polic|safety system",
        "{api}'s moderation refused the training file: it takes rows of it for content that its usage policies "
        "forbid. `wg-evals data check` cannot see that beforehand; train an open model (configs/recipes), or ask "
        "{api} for research access.",
    ),
    (
        r"insufficient_quota|billing_hard_limit|exceeded your current quota|insufficient (funds|credit)|"
        r"(credit balance|free trial credit|payment method|payment required)",
        "The account has no money or no quota left for this job: look at its billing page, then run the same "
        "command again.",
    ),
    (
        r"account_deactivated|deactivated|winding down|wound down|no longer (accessible|available)|"
        r"not (allowed|permitted|authorized) to fine.?tun|does not have access|must be verified",
        "This account may not fine-tune this model. OpenAI's self-serve fine-tuning is reported closed to new "
        "accounts since May 2026; an account that has fine-tuned before may still be let in.",
    ),
    (
        r"invalid_training_file|invalid_file|invalid file|file.?format|invalid_n_examples|invalid.format|"
        r"invalid token|at least \d+ examples",
        "{api} found the training file invalid, though it fits the rules that are known here. The file is kept in "
        "the output folder: look at the row that the message names.",
    ),
    (
        r"model_not_found|\bmodel\W+\S+ does not exist|not (available|supported) for fine.?tuning|model_not_available",
        "{api} has no such model to fine-tune under this name: look up `base` in its list of models.",
    ),
)


def quoted(api: str, code: str | None, message: str | None) -> str:
    """What an API said, as its own words."""
    said = " ".join((message or "").split()) or code or "no reason was given"
    return f'{api} said: "{said}"' + (f" (code {code})." if code and code != said else ".")


def in_words(api: str, code: str | None, message: str | None, otherwise: str = "") -> str:
    """Say what a refusal means and what to do.

    Args:
        api: The API's name.
        code: The API's code for it, if any.
        message: The API's message, if any.
        otherwise: What it means if these do not tell.
    """
    found = (m for pattern, m in _MEANINGS if re.search(pattern, f"{code or ''} {message or ''}", re.IGNORECASE))
    meaning = next(found, otherwise).format(api=api)
    return f"{meaning} {quoted(api, code, message)}".lstrip()
