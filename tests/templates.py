"""Base folders made on the spot: the tiny random model's shape and tokenizer under chat templates of several styles."""

import json
from pathlib import Path
from typing import Any

from tiny_model import make_tiny_base

MESSAGES = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|assistant|>{% endif %}"

DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "<|system|>Today Date: {{ date_string }}<|end|>" + MESSAGES + ASKS
)
DATED_WHATEVER_IS_SET = "<|system|>Current date: {{ strftime_now('%Y-%m-%d') }}<|end|>" + MESSAGES + ASKS
SYSTEM_PROMPT = (
    "{% if messages[0]['role'] != 'system' %}<|system|>You are a helpful machine from the hills.<|end|>{% endif %}"
    + MESSAGES
    + ASKS
)
SYSTEM_PROMPT_IN_TRAINING_ONLY = (
    "{% if messages|length > 1 %}<|system|>You are in training.<|end|>{% endif %}" + MESSAGES + ASKS
)
EMPTY_REASONING = (
    "{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['role'] == 'assistant' %}<think></think>{% endif %}{{ m['content'] }}<|end|>{% endfor %}" + ASKS
)


def base_without_weights(folder: Path, template: str | None, config: dict[str, Any] | None = None) -> Path:
    """A model folder with everything but weights.

    Args:
        folder: Made here.
        template: Its chat template; None: it has none.
        config: Of another architecture than the tiny Llama's.
    """
    make_tiny_base(folder)
    (folder / "model.safetensors").unlink()
    (folder / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder
