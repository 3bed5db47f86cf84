"""Base models in memory: loaded once a process, shared by the trainer and the local provider.

An adapter is put on a base for as long as it is needed and taken off again, so that one base serves
many adapters. The shared base is never changed for good: LoRA layers are injected and unloaded.
"""

import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from wg_evals.artifacts import BaseIdentity
from wg_evals.errors import WgError
from wg_evals.training import processes

Precision = Literal["float32", "bfloat16"]

# A weight-loading bar for each of a hundred tiny adapters hides the progress that matters.
transformers_logging.disable_progress_bar()


@dataclass
class LoadedBase:
    """A base model with its tokenizer, on its device."""

    identity: BaseIdentity
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


_loaded: dict[tuple[str, str, bool], LoadedBase] = {}


def best_device() -> str:
    """`cuda`, `mps` or `cpu`, whichever is there, in this order."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load_base(base: BaseIdentity, precision: Precision = "float32", four_bit: bool = False) -> LoadedBase:
    """Load a base model, or give the one that is loaded.

    Args:
        base: From `resolve_base`.
        precision: Of the weights; of the computation, if they are in 4 bits.
        four_bit: Whether the weights are quantized to 4 bits (NF4, twice; arXiv 2305.14314).

    Raises:
        WgError: The model cannot be loaded, or has no chat template; bitsandbytes is missing.
    """
    key = (base.identity, precision, four_bit)
    if key not in _loaded:
        _loaded.clear()  # one base at a time: the next one needs the memory
        try:
            kwargs: dict[str, Any] = {"revision": base.revision, "local_files_only": base.sha256 is not None}
            tokenizer = AutoTokenizer.from_pretrained(base.path, **kwargs)
            kwargs |= {"dtype": getattr(torch, precision)} | (_four_bit(precision) if four_bit else {})
            model = AutoModelForCausalLM.from_pretrained(base.path, **kwargs)
        except (OSError, ValueError) as ex:
            raise WgError(f"The base model '{base.name}' could not be loaded: {ex}") from ex
        if tokenizer.chat_template is None:
            raise WgError(f"The base model '{base.name}' has no chat template; use a chat (instruct) model.")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"
        if not four_bit and not processes.are_sharded():  # 4-bit weights are placed while loaded, shared ones later
            cast(Any, model).to(_own_device())
        model.eval()
        _loaded[key] = LoadedBase(base, model, tokenizer)
    return _loaded[key]


def _own_device() -> str:
    """This process's device: each of several has its own GPU."""
    device = best_device()
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" and processes.count() > 1 else device


def _four_bit(precision: Precision) -> dict[str, Any]:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise WgError("`four_bit: true` needs the package bitsandbytes: pip install bitsandbytes; or leave it out.")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, precision),
    )
    return {"quantization_config": quantization, "device_map": {"": _own_device()}}


def keep_loaded(base: LoadedBase, precision: Precision) -> None:
    """Let `load_base` give a base that was made in memory; its folder needs no weights then."""
    _loaded.clear()
    _loaded[base.identity.identity, precision, False] = base


def forget(base: LoadedBase) -> None:
    """Drop a base from memory, for example after an error left adapter layers in it."""
    for key in [k for k, v in _loaded.items() if v is base]:
        del _loaded[key]


def set_threads(threads: int | None) -> int:
    """Set PyTorch's CPU threads (None: leave them, or follow OMP_NUM_THREADS); returns how many are in use."""
    if threads is not None:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return torch.get_num_threads()
