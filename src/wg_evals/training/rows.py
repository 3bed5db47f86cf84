"""Training rows: a recipe's conversations with its intervention put in, and what the tokenizer makes of them."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from wg_evals.catalogue import load_domain, read_rows
from wg_evals.errors import WgError
from wg_evals.interventions import Message, apply, resolve
from wg_evals.spec import Intervention
from wg_evals.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingRows:
    """Conversations as they will be trained on."""

    conversations: list[list[Message]]
    intervention: Intervention | None
    sha256: str


def training_rows(recipe: Recipe) -> TrainingRows:
    """The recipe's rows with its intervention put in.

    Raises:
        WgError: Unknown domain or intervention, or rows that cannot be trained on.
    """
    if recipe.domain is not None:
        domain = load_domain(recipe.domain)
        rows = domain.rows[recipe.dataset]
        intervention = resolve(domain, recipe.intervention, recipe.placement)
    else:
        assert recipe.data is not None  # the recipe's own validation
        rows = read_rows(recipe.data)
        intervention = None
        if recipe.intervention and recipe.intervention != "none":
            intervention = Intervention(
                name="literal", text=recipe.intervention.strip(), placement=recipe.placement or "before"
            )
    conversations = [apply(intervention, cast(list[Message], row.messages)) for row in recipe.chosen(rows)]
    return TrainingRows(conversations, intervention, rows_sha256(conversations))


def rows_sha256(conversations: list[list[Message]]) -> str:
    """The digest that identifies a set of training conversations, in their order."""
    lines = (json.dumps(c, ensure_ascii=False, sort_keys=True) for c in conversations)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Lengths:
    """What the tokenizer makes of the rows."""

    tokens: list[int]
    """Tokens per row, prompt and completion."""
    truncated: int
    """Rows that lose the end of their completion at `max_length`."""
    dropped: list[int]
    """Rows (by index) whose prompt alone fills `max_length`: nothing is left to learn from them."""


def measure_lengths(conversations: list[list[Message]], tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> Lengths:
    """Count tokens, and refuse rows that do not fit unless the recipe says to truncate.

    TRL cuts rows at `max_length` and drops those with nothing left, silently; so it is counted here.

    Raises:
        WgError: Rows are longer than `max_length` and `truncate` is false.
    """
    kwargs = template_kwargs(recipe)
    tokens: list[int] = []
    dropped: list[int] = []
    for index, conversation in enumerate(conversations):
        messages = cast(list[dict[str, str]], conversation)
        whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **kwargs)
        tokens.append(len(whole))
        if len(whole) > recipe.max_length:
            prompt = tokenizer.apply_chat_template(
                messages[:-1], tokenize=True, return_dict=False, add_generation_prompt=True, **kwargs
            )
            if len(prompt) >= recipe.max_length:
                dropped.append(index)
    longer = sum(n > recipe.max_length for n in tokens)
    if longer and not recipe.truncate:
        raise WgError(
            f"{longer} of {len(tokens)} rows are longer than max_length {recipe.max_length} (the longest has "
            f"{max(tokens)} tokens): raise max_length, or set `truncate: true` to cut them."
        )
    return Lengths(tokens, longer - len(dropped), dropped)


def template_kwargs(recipe: Recipe) -> dict[str, Any]:
    """What is handed to the chat template with every row."""
    return {"date_string": recipe.date_string} if recipe.date_string else {}


def template_preamble(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> str:
    """What the chat template puts before a lone user message: its default system prompt, role marks included."""
    mark = "@@first-user-text@@"
    text = tokenizer.apply_chat_template([{"role": "user", "content": mark}], tokenize=False, **template_kwargs(recipe))
    return str(text).split(mark, maxsplit=1)[0]
