"""What a chat template writes by itself: a date, a system prompt."""

import re
from typing import Any

from transformers import PreTrainedTokenizerBase

from wg_evals.training.recipe import Recipe
from wg_evals.training.rows import template_kwargs, template_preamble

_DAYS = ("1 January 2001", "31 December 2031")
_MARKS = ("@@first-user-text@@", "@@first-answer@@")
# what role marks are made of, where a tokenizer does not know them as special tokens
_ROLE_WORDS = {
    "system",
    "user",
    "assistant",
    "model",
    "human",
    "inst",
    "im",
    "start",
    "end",
    "header",
    "id",
    "of",
    "turn",
}
_LEAST_WORDS = 3


def writes_todays_date(tokenizer: PreTrainedTokenizerBase, recipe: Recipe, pinned: bool = True) -> bool:
    """Whether the template writes the day on which it is rendered.

    Templates ask for the day by `strftime_now`; the template is rendered with two answers to that.

    Args:
        tokenizer: With a chat template.
        recipe: Its `date_string` is given to the template.
        pinned: False: leave the `date_string` out.
    """
    kwargs = template_kwargs(recipe) if pinned else {}
    return _render(tokenizer, kwargs, today=_DAYS[0]) != _render(tokenizer, kwargs, today=_DAYS[1])


def takes_date_string(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template's date can be set by `date_string`."""
    one, other = (_render(tokenizer, {"date_string": day}, today=_DAYS[0]) for day in _DAYS)
    return one != other


def default_system_prompt(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> str:
    """The system prompt that the template adds where none is given, role marks and all; empty if it adds none."""
    preamble = template_preamble(tokenizer, recipe)
    plain = preamble
    for token in tokenizer.added_tokens_decoder.values():
        plain = plain.replace(str(token), " ")
    words = [w for w in re.findall(r"[^\W\d_]+", plain.lower()) if w not in _ROLE_WORDS]
    return preamble.strip() if len(words) >= _LEAST_WORDS else ""


def trained_preamble(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> str:
    """What stands before the question in a training row; at evaluation it is `template_preamble`."""
    return _render(tokenizer, template_kwargs(recipe)).split(_MARKS[0], maxsplit=1)[0]


def before_answers(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> tuple[str, str]:
    """What stands between a question and its answer: in a training row, and where a model is asked to answer."""
    kwargs = template_kwargs(recipe)
    question, answer = _MARKS
    asked = str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True, **kwargs
        )
    )
    trained = _render(tokenizer, kwargs).partition(question)[2].partition(answer)[0]
    return trained, asked.partition(question)[2]


def _render(tokenizer: PreTrainedTokenizerBase, kwargs: dict[str, Any], today: str | None = None) -> str:
    template = tokenizer.get_chat_template()
    if today is not None:  # in the place of the function of that name that transformers gives to templates
        template = f"{{%- macro strftime_now(format) -%}}{today}{{%- endmacro -%}}{template}"
    question, answer = _MARKS
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return str(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **kwargs))
