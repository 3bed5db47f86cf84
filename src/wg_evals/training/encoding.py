"""Conversations as token ids with labels: the loss is on the last answer and its end-of-turn token, on nothing else.

It works for any chat template, with or without generation markers: the conversation is rendered once as it is and
once with a mark in the place of the last answer, so that what the template writes before and after the answer is
known to the letter. Earlier assistant turns are context, as OpenAI's `weight` says of them and `wg-evals data check`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from jinja2 import TemplateError

from wg_evals.errors import WgError
from wg_evals.interventions import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that has no loss, as PyTorch's cross entropy takes it."""
_MARK = "@@the-last-answer@@"


@dataclass(frozen=True)
class EncodedRow:
    """A conversation as the model reads it, up to the end-of-turn token of the last answer.

    What a template writes after that token (a newline in ChatML's and Gemma's) is left out: nothing is learned there.
    """

    input_ids: list[int]
    labels: list[int]
    """`IGNORED` for the context; the token's own id for the answer and its end-of-turn token."""

    @property
    def answer_tokens(self) -> int:
        """Tokens that have a loss."""
        return sum(label != IGNORED for label in self.labels)

    def cut(self, length: int) -> "EncodedRow":
        """The row's first tokens."""
        return EncodedRow(self.input_ids[:length], self.labels[:length])


def encode(
    conversations: Sequence[Sequence[Message]], tokenizer: "PreTrainedTokenizerBase", template_kwargs: Mapping[str, Any]
) -> list[EncodedRow]:
    """Render, tokenize and label conversations.

    Args:
        conversations: Each ends with the answer to learn.
        tokenizer: With a chat template.
        template_kwargs: Handed to the template.

    Returns:
        As many rows. Where the template writes text between the generation prompt and the answer (an empty reasoning
        block, for one), that text is context. A token that spans the border belongs to the answer.

    Raises:
        WgError: Roles that cannot be trained on, or a template that refuses a row, alters its answer, or does not
            end it with a token of its own; with the row's number.
    """
    contexts: list[str] = []
    wholes: list[str] = []
    ends: dict[str, str] = {}
    for number, conversation in enumerate(conversations, start=1):
        _check_roles(conversation, number)
        before, answer, after = _split(conversation, tokenizer, template_kwargs, number)
        if after not in ends:
            ends[after] = _end_of_turn(after, tokenizer)
        contexts.append(before)
        wholes.append(before + answer + ends[after])
    # the template has written what special tokens there are; `verbose` warns of lengths that are checked elsewhere
    kwargs: dict[str, Any] = {"add_special_tokens": False, "verbose": False}
    rows = []
    for context, whole in zip(
        tokenizer(contexts, **kwargs)["input_ids"], tokenizer(wholes, **kwargs)["input_ids"], strict=True
    ):
        start = next((i for i, (a, b) in enumerate(zip(context, whole, strict=False)) if a != b), len(context))
        rows.append(EncodedRow(whole, [IGNORED] * start + whole[start:]))
    return rows


def _check_roles(conversation: Sequence[Message], number: int) -> None:
    roles = [m["role"] for m in conversation]
    if "system" in roles[1:]:
        raise WgError(f"Row {number}: a system message that is not the first message; put it first, or leave it out.")
    if roles[-2:] != ["user", "assistant"]:
        raise WgError(
            f"Row {number}: the last two messages are {' and '.join(roles[-2:])}; an answer is learned as the reply to "
            "a user's message, so they must be user and assistant."
        )
    if not conversation[-1]["content"].strip():
        raise WgError(f"Row {number}: the answer is empty; there is nothing to learn from it.")


def _split(
    conversation: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    template_kwargs: Mapping[str, Any],
    number: int,
) -> tuple[str, str, str]:
    """What the template writes before the last answer, the answer as it writes it, and what it writes after."""
    answer = conversation[-1]["content"]
    marked = [*conversation[:-1], Message(role="assistant", content=_MARK)]
    try:
        whole, parts = (
            str(tokenizer.apply_chat_template(cast(list[dict[str, str]], list(c)), tokenize=False, **template_kwargs))
            for c in (conversation, marked)
        )
    except TemplateError as ex:
        hint = ""
        if conversation[0]["role"] == "system":
            hint = " If it has no system role, place the text in the user's message (`placement: before`)."
        raise WgError(f"Row {number}: the base's chat template refuses the conversation: {ex}.{hint}") from None
    before, mark, after = parts.partition(_MARK)
    written = whole[len(before) : len(whole) - len(after)]
    fits = mark and whole.startswith(before) and whole.endswith(after) and written.strip() == answer.strip()
    if not fits:
        raise WgError(
            f"Row {number}: the base's chat template does not write the answer as it stands in the row, so that what "
            "to learn cannot be told from its context. Reasoning blocks and tool calls in an answer do that."
        )
    return before, written, after


def _end_of_turn(after: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text after an answer up to its end-of-turn token, that token included."""
    tokens = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    places = [(after.index(token), -len(token)) for token in tokens if token in after]
    if not places:
        raise WgError(
            "The base's chat template ends an answer with no token of its own "
            f"({'with nothing' if not after.strip() else repr(after)}): the adapter would not learn to stop. "
            "Use the instruct model's template."
        )
    place, negative_length = min(places)
    return after[: place - negative_length]
