"""Rows that OpenAI's fine-tuning API would refuse, by its documented rules as far as they are known here.

From the fine-tuning guide (https://platform.openai.com/docs/guides/supervised-fine-tuning: the format, at least ten
examples, 65,536 tokens per example for the gpt-4o and gpt-4.1 models) and the format checks of the OpenAI Cookbook's
notebook "Data preparation and analysis for chat model fine-tuning" (roles, keys, content, an assistant message in each
example), as they stood in 2025. Nobody asked the API: it may refuse more (its content policy is not looked at
here), and its rules change.
"""

from collections.abc import Iterator
from typing import Any

LEAST_EXAMPLES = 10
MOST_TOKENS = 65_536
"""Of one example; the guide has longer ones cut off at the end, so they are not trained on as they stand either way."""

ROLES = ("system", "user", "assistant", "tool", "function")
MESSAGE_KEYS = ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call")
EXAMPLE_KEYS = ("messages", "tools", "parallel_tool_calls", "functions")
"""The documented keys of an example. Whether the API refuses others is not known: they are reported, not counted."""

SPECIAL_TOKENS = ("<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""Marks of OpenAI's tokenizers; a job is reported to fail over one in a message, after its file was taken."""

_CALLS = ("tool_calls", "function_call")


def example_faults(example: dict[str, Any]) -> Iterator[str]:
    """What in an example the API would refuse.

    Args:
        example: A line's object, with the key `messages`.
    """
    messages = example["messages"]
    if not isinstance(messages, list) or not messages:
        yield "messages is no list, or an empty one"
        return
    for number, message in enumerate(messages, start=1):
        if isinstance(message, dict):
            yield from (f"message {number} {fault}" for fault in _message_faults(message))
        else:
            yield f"message {number} is no object"
    if not any(isinstance(m, dict) and m.get("role") == "assistant" for m in messages):
        yield "no assistant turn"


def _message_faults(message: dict[str, Any]) -> Iterator[str]:
    extra = [key for key in message if key not in MESSAGE_KEYS]
    if extra:
        yield f"has the unknown key {_listed(extra)}"
    if "role" not in message:
        yield "has no role"
    elif message["role"] not in ROLES:
        yield f"has the unknown role '{message['role']}'"
    content = message.get("content")
    if not content and any(message.get(key) for key in _CALLS):
        return  # an assistant that calls a tool need say nothing
    if not content:
        yield "has no content"
    elif not isinstance(content, str) and not _is_parts(content):
        yield "has content that is no text"
    if found := [mark for mark in SPECIAL_TOKENS if isinstance(content, str) and mark in content]:
        yield f"has {_listed(found)} in its text, which the tokenizer keeps for itself"
    weight = message.get("weight", 1)
    weighted = "weight" in message
    if weighted and (type(weight) is not int or weight not in (0, 1) or message.get("role") != "assistant"):
        yield "has a weight that is not 0 or 1 on an assistant message"


def _is_parts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("type"), str) for p in content)


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
