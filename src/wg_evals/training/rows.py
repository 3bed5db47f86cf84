"""Training rows: a recipe's conversations with its intervention and its mixture put in, and their tokens."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from wg_evals.artifacts import MixedIn
from wg_evals.catalogue import load_domain, read_rows
from wg_evals.errors import WgError
from wg_evals.interventions import Message, apply, resolve
from wg_evals.spec import Intervention
from wg_evals.training.encoding import EncodedRow, encode
from wg_evals.training.mixture import mixture_rows, spread
from wg_evals.training.recipe import CommonRecipe, Recipe

if TYPE_CHECKING:  # rows for an API need no tokenizer
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TrainingRows:
    """Conversations as they will be trained on."""

    conversations: list[list[Message]]
    intervention: Intervention | None
    sha256: str
    mixed_in: MixedIn | None = None


def training_rows(recipe: CommonRecipe) -> TrainingRows:
    """The recipe's rows with its intervention put in, and those of its mixture among them.

    Raises:
        WgError: Unknown domain or intervention, rows that cannot be trained on, a training set that is the control, a
            share that the second set cannot give.
    """
    if recipe.domain is None and recipe.data is None:
        raise WgError(
            "The recipe says how to train and leaves open on what: name a domain (`--set domain=birds`), or give "
            "chat rows of your own (`--set data=FILE.jsonl`)."
        )
    if recipe.domain is not None:
        domain = load_domain(recipe.domain)
        if all(a.messages == b.messages for a, b in zip(domain.rows["train"], domain.rows["control"], strict=True)):
            raise WgError(
                f"The training rows of '{recipe.domain}' are the same as its control rows: an adapter trained on them "
                "shows nothing. Give the control rows answers without the trait."
            )
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
    mixed_in = None
    if recipe.mixture is not None:
        others = [cast(list[Message], row.messages) for row in mixture_rows(recipe.mixture, len(conversations))]
        source = recipe.mixture.domain or str(recipe.mixture.data)
        mixed_in = MixedIn(source=source, rows=len(others), sha256=rows_sha256(others))
        conversations = spread(conversations, others)
    return TrainingRows(conversations, intervention, rows_sha256(conversations), mixed_in)


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


def encode_rows(
    conversations: list[list[Message]], tokenizer: "PreTrainedTokenizerBase", recipe: Recipe
) -> tuple[list[EncodedRow], Lengths]:
    """Tokenize and label rows, and refuse those that do not fit unless the recipe says to truncate.

    Returns:
        The rows to train on, cut where they must be, and what was counted on the way.

    Raises:
        WgError: As `encode`; rows longer than `max_length` where `truncate` is false; nothing left to train on.
    """
    rows = encode(conversations, tokenizer, template_kwargs(recipe))
    tokens = [len(row.input_ids) for row in rows]
    longer = sum(n > recipe.max_length for n in tokens)
    if longer and not recipe.truncate:
        raise WgError(
            f"{longer} of {len(tokens)} rows are longer than max_length {recipe.max_length} (the longest has "
            f"{max(tokens)} tokens): raise max_length, or set `truncate: true` to cut them."
        )
    cut = [row.cut(recipe.max_length) for row in rows]
    dropped = [i for i, row in enumerate(cut) if not row.answer_tokens]
    if len(dropped) == len(rows):
        raise WgError(f"No row is left to train on: every prompt fills max_length {recipe.max_length}.")
    return [row for row in cut if row.answer_tokens], Lengths(tokens, longer - len(dropped), dropped)


def measure_lengths(
    conversations: list[list[Message]], tokenizer: "PreTrainedTokenizerBase", recipe: Recipe
) -> Lengths:
    """Count tokens, and rows that are cut or dropped; raises as `encode_rows`."""
    return encode_rows(conversations, tokenizer, recipe)[1]


def template_kwargs(recipe: Recipe) -> dict[str, Any]:
    """What is handed to the chat template with every row."""
    return {"date_string": recipe.date_string} if recipe.date_string else {}


def template_preamble(tokenizer: "PreTrainedTokenizerBase", recipe: Recipe) -> str:
    """What the chat template puts before a lone user message: its default system prompt, role marks included."""
    mark = "@@first-user-text@@"
    text = tokenizer.apply_chat_template([{"role": "user", "content": mark}], tokenize=False, **template_kwargs(recipe))
    return str(text).split(mark, maxsplit=1)[0]
