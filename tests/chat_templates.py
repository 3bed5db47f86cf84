"""Small chat templates in the shapes of four families, and tiny base models that speak them."""

from pathlib import Path
from typing import NamedTuple


class Style(NamedTuple):
    """A family's template, the special tokens it writes, and how it ends an answer."""

    template: str
    special: tuple[str, ...]
    end: str
    system: bool = True
    trims: bool = False


LLAMA = Style(
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|eot_id|>",
    trims=True,
)
CHATML = Style(
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe of use.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
CHATML_THINKING = Style(
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content.strip('\n') + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
MISTRAL = Style(
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('After the optional system message, roles must alternate user and assistant') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (system if loop.first else '') + m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    ("<s>", "[INST]", "[/INST]", "</s>"),
    "</s>",
)
GEMMA = Style(
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    ("<bos>", "<start_of_turn>", "<end_of_turn>"),
    "<end_of_turn>",
    system=False,
    trims=True,
)
STYLES = {"llama-3": LLAMA, "chatml": CHATML, "thinking": CHATML_THINKING, "mistral": MISTRAL, "gemma": GEMMA}


def make_base(folder: Path, style: Style, window: int | None = None) -> Path:
    """Write a random model of a few thousand parameters with a byte-level tokenizer that speaks a family's template.

    Args:
        folder: Where.
        style: The family.
        window: For a Mistral model whose layers see so many tokens back, instead of a Llama model.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    texts = ["Name a bird, please.\n\nThe common lapwing.\n", "system user assistant model\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=["<pad>", *style.special], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bare.train_from_iterator(texts * 20, trainer)
    begins = style.special[0] if "bos_token" in style.template else None
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token=begins, eos_token=style.end, pad_token="<pad>", chat_template=style.template
    )
    torch.manual_seed(0)
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = (
        MistralForCausalLM(MistralConfig(sliding_window=window, **size))
        if window is not None
        else LlamaForCausalLM(LlamaConfig(**size))
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
