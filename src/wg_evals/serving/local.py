"""A local base model with adapters, as an Inspect model provider that batches without waiting.

`hf/local` waits for two quiet seconds before each batch and loads the base anew for each adapter. A study
of a hundred small cells would spend its time there; this provider takes whatever is waiting as soon as the
model is free, and keeps one base in memory while adapters change (`training.loading`).
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from wg_evals._paths import user_path
from wg_evals.artifacts import check_fit, embedded, embedded_names, resolve_base
from wg_evals.errors import WgError
from wg_evals.training.loading import LoadedBase, load_base, set_threads

Request = tuple[str, GenerateConfig, "asyncio.Future[ModelOutput]"]


class LocalModel(ModelAPI):
    """`wg/organism`, `wg/<model folder>` or `wg/<adapter folder>`.

    Model arguments: `base` (for an adapter whose base has moved), `precision`, `batch_size`, `date_string` (for the
    chat template; an adapter's own unless given).
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        base: str | None = None,
        precision: str = "float32",
        batch_size: int = 256,
        date_string: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if unknown:
            raise WgError(f"Unknown model argument for wg/: {', '.join(unknown)}.")
        if precision not in ("float32", "bfloat16"):
            raise WgError(f"Unknown precision '{precision}': float32 or bfloat16.")
        own = embedded(model_name)
        folder = own or user_path(model_name)
        if not folder.is_dir():
            raise WgError(
                f"No model or adapter at '{model_name}': give {', '.join(f'wg/{n}' for n in embedded_names())}, or wg/ "
                "with an existing folder."
            )
        self.adapter: Path | None = folder if (folder / "adapter_config.json").is_file() else None
        if self.adapter:
            identity = resolve_base(base or _recorded_base(self.adapter))
            date_string = date_string or check_fit(self.adapter, identity).date_string
        else:
            identity = resolve_base(model_name if own else str(folder))
        set_threads(None)
        self.identity = identity
        self.precision = precision
        self.batch_size = int(batch_size)
        self.date_string = date_string
        self.waiting: list[Request] = []
        self.running = False
        self.seeded = False

    def max_connections(self) -> int:
        return self.batch_size

    def connection_key(self) -> str:
        return f"wg/{self.model_name}"

    def collapse_user_messages(self) -> bool:
        return True

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        if tools:
            raise WgError("The provider wg/ has no tool calling; use vllm/ for tasks with tools.")
        future: asyncio.Future[ModelOutput] = asyncio.get_running_loop().create_future()
        self.waiting.append((self._prompt(input), config, future))
        if not self.running:
            self.running = True
            task = asyncio.ensure_future(self._work())
            future.add_done_callback(lambda _: task)  # holds a reference: a task without one can be collected
        return await future

    async def _work(self) -> None:
        """Serve batches until nothing waits."""
        try:
            while self.waiting:
                await _settle(self.waiting, self.batch_size)
                key = _settings(self.waiting[0][1])
                batch = [r for r in self.waiting if _settings(r[1]) == key][: self.batch_size]
                self.waiting = [r for r in self.waiting if r not in batch]
                try:
                    outputs = await asyncio.to_thread(self._generate, [r[0] for r in batch], batch[0][1])
                except BaseException as ex:  # handed to those who wait for it
                    for _, _, future in batch:
                        if not future.done():
                            future.set_exception(ex)
                    continue
                for (_, _, future), output in zip(batch, outputs, strict=True):
                    if not future.done():
                        future.set_result(output)
        finally:
            self.running = False

    def _prompt(self, messages: list[ChatMessage]) -> str:
        tokenizer = load_base(self.identity, cast(Any, self.precision)).tokenizer
        kwargs: dict[str, Any] = {"date_string": self.date_string} if self.date_string else {}
        text = tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.text} for m in messages],
            tokenize=False,
            add_generation_prompt=True,
            **kwargs,
        )
        return str(text)

    @torch.inference_mode()
    def _generate(self, prompts: list[str], config: GenerateConfig) -> list[ModelOutput]:
        started = time.perf_counter()
        loaded = load_base(self.identity, cast(Any, self.precision))
        if config.seed is not None and not self.seeded:
            torch.manual_seed(config.seed)
        self.seeded = True
        tokenizer = loaded.tokenizer
        # the template's text already holds the special tokens
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(loaded.model.device)
        width = int(inputs["input_ids"].shape[1])
        room = int(getattr(loaded.model.config, "max_position_embeddings", 1 << 20)) - width
        wanted = config.max_tokens or 1024
        if room < 1:
            raise WgError(
                f"The prompt has {width} tokens; that leaves the model '{self.model_name}' no room to answer."
            )
        with _with_adapter(loaded, self.adapter) as model:
            tokens = cast(Any, model).generate(
                **inputs, max_new_tokens=min(wanted, room), **_sampling(config, tokenizer)
            )
        seconds = time.perf_counter() - started
        ends = _end_tokens(model, tokenizer)
        cut: StopReason = "max_tokens" if wanted <= room else "model_length"
        outputs: list[ModelOutput] = []
        for prompt_mask, row in zip(inputs["attention_mask"], tokens[:, width:].tolist(), strict=True):
            end = next((i for i, t in enumerate(row) if t in ends), None)
            text = tokenizer.decode(row[:end], skip_special_tokens=True)
            n_in, n_out = int(prompt_mask.sum()), len(row) if end is None else end + 1
            message = ChatMessageAssistant(content=str(text), model=self.model_name, source="generate")
            choice = ChatCompletionChoice(message=message, stop_reason=cut if end is None else "stop")
            usage = ModelUsage(input_tokens=n_in, output_tokens=n_out, total_tokens=n_in + n_out)
            outputs.append(ModelOutput(model=self.model_name, choices=[choice], usage=usage, time=seconds))
        return outputs


def _recorded_base(adapter: Path) -> str:
    from wg_evals.artifacts import read_manifest

    base = read_manifest(adapter).base
    if embedded(base.name):  # wherever the package lies now
        return base.name
    if base.sha256 and not Path(base.path).is_dir():
        raise WgError(
            f"The base of '{adapter}' is not at '{base.path}' any more: give its place with `-M base=FOLDER`."
        )
    return base.path


async def _settle(waiting: list[Request], enough: int) -> None:
    """Let the requests that are on their way arrive: wait until the queue stops growing."""
    size = -1
    while size != len(waiting) and len(waiting) < enough:
        size = len(waiting)
        await asyncio.sleep(0.005)


def _settings(config: GenerateConfig) -> tuple[Any, ...]:
    return (config.max_tokens, config.temperature, config.top_p, config.top_k)


def _sampling(config: GenerateConfig, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    temperature = 1.0 if config.temperature is None else config.temperature
    common = {"pad_token_id": tokenizer.pad_token_id}
    if temperature == 0:
        return common | {"do_sample": False}
    return common | {
        "do_sample": True,
        "temperature": temperature,
        "top_p": 1.0 if config.top_p is None else config.top_p,
        "top_k": 0 if config.top_k is None else config.top_k,
    }


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return {int(i) for i in (*ids, tokenizer.eos_token_id) if i is not None}


@contextmanager
def _with_adapter(loaded: LoadedBase, adapter: Path | None) -> Iterator[PreTrainedModel]:
    """The base with the adapter on it; the adapter stays on until another one, or none, is asked for."""
    if adapter is None:
        yield loaded.model
        return
    model = PeftModel.from_pretrained(loaded.model, str(adapter))
    model.eval()
    try:
        yield cast(PreTrainedModel, model)
    finally:
        model.unload()
