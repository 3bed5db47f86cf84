"""Training beside TRL's own: the same rows, batches, model and schedule, packed against padded, on one CPU thread.

Both arms read the same tokens in every step. TRL's settings are its defaults, but for bf16 and gradient checkpointing
(on by default, made for GPUs, slow on a CPU) and for LoRA's dropout, whose noise would hide a difference in the loss.
Timed are the optimizer steps after the first, in turns of the two arms, so that a busy machine is busy for both.
"""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wg_evals.bench.figures import Line
from wg_evals.training.recipe import LoraSettings, Recipe

if TYPE_CHECKING:
    from datasets import Dataset

MIXED_ROWS = 2000
_SHORTEST, _LONGEST, _MEDIAN, _SIGMA = 20, 600, 110, 1.0
_MIXED_BATCH = 16


@dataclass
class Arm:
    """What one arm did, over its rounds."""

    rows: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Of the first round; the others are the same."""
    read: int = 0
    """Tokens of the rows that were timed."""
    computed: int = 0
    """These and the padding."""
    first_step: float = 0.0
    """Seconds of the last round until the first step was done: start-up."""

    def add(self, batch: int, rows: int, times: list[tuple[float, float]], began: float, losses: list[float]) -> None:
        """Add a round: `times` by the wall's clock and the process's, after each step."""
        self.rows += rows - batch
        self.seconds += times[-1][0] - times[0][0]
        self.cpu_seconds += times[-1][1] - times[0][1]
        self.first_step = times[0][0] - began
        self.losses = self.losses or losses


def training_figures(folder: Path, share: float = 1.0) -> Iterator[Line]:
    """Rows per second, packed and padded, of mixed lengths and of a domain's short rows.

    Args:
        folder: For the rows, the model and the adapters.
        share: How many of the 2,000 rows of mixed lengths are trained on.
    """
    count = round(MIXED_ROWS * share / _MIXED_BATCH) * _MIXED_BATCH
    mixed = mixed_rows(folder / "mixed.jsonl", count)
    model = _random_model(folder / "model")
    lora = LoraSettings(rank=8, alpha=16, dropout=0.0)
    shared: dict[str, Any] = {"lora": lora, "epochs": 1, "learning_rate": 2e-3, "threads": 1}
    long = Recipe(base=str(model), data=mixed, batch_size=_MIXED_BATCH, max_length=1024, **shared)
    yield from _compare(folder, f"{count} of {MIXED_ROWS} rows of 20 to 600 tokens", long, rounds=1)
    yield from _compare(folder, "birds rows", Recipe(base="organism", domain="birds", batch_size=8, **shared), rounds=6)


def _compare(folder: Path, what: str, recipe: Recipe, rounds: int) -> Iterator[Line]:
    ours, theirs = Arm(), Arm()
    for turn in range(rounds):
        _train_with_trl(recipe, folder / "trl", theirs)
        _train(recipe, folder / f"adapter-{recipe.domain}-{turn}", ours)
    allowed = theirs.computed / theirs.read
    faster = (ours.rows / ours.seconds) / (theirs.rows / theirs.seconds)
    cheaper = theirs.cpu_seconds / ours.cpu_seconds
    apart = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    yield Line(f"{what}: padded, as TRL does", theirs.rows / theirs.seconds, "rows/s")
    yield Line("  packed", ours.rows / ours.seconds, "rows/s")
    yield Line("  packed over padded", faster, "times")
    yield Line("  the same by CPU time", cheaper, "times")
    yield Line("  allowed by the padding (tokens with / without)", allowed, "times")
    yield Line("  reached of that", faster / allowed, "")
    yield Line("  loss, first step and last", ours.losses[0], f"-> {ours.losses[-1]:.3f}")
    yield Line("  losses apart at most, of any step", 1000 * apart, "/1000")
    yield Line("  start-up to the first step, TRL", theirs.first_step, "s")
    yield Line("  start-up to the first step", ours.first_step, "s")


def _train(recipe: Recipe, out: Path, arm: Arm) -> None:
    from wg_evals.training.train import train

    times: list[tuple[float, float]] = []

    def progress(step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        times.append((time.perf_counter(), time.process_time()))

    began = time.perf_counter()
    manifest = train(recipe, out, progress=progress)
    arm.add(recipe.batch_size, manifest.rows, times, began, manifest.losses)


def _train_with_trl(recipe: Recipe, out: Path, arm: Arm) -> None:
    """What a person writes who takes TRL as it comes: prompt and completion, no settings that are not needed."""
    from peft import LoraConfig
    from transformers import PrinterCallback, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from wg_evals.artifacts import resolve_base
    from wg_evals.training.loading import forget, load_base, set_threads

    set_threads(recipe.threads)
    base = load_base(resolve_base(recipe.base))
    times: list[tuple[float, float]] = []
    losses: list[float] = []

    class Timer(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                times.append((time.perf_counter(), time.process_time()))
                losses.append(round(logs["loss"], 5))

    class Counted(SFTTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            arm.read += int(inputs["attention_mask"].sum())
            arm.computed += inputs["input_ids"].numel()
            compute: Any = super().compute_loss
            return compute(model, inputs, *args, **kwargs)

    config = SFTConfig(
        output_dir=str(out),
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    lora = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=recipe.lora.target_modules,
        task_type="CAUSAL_LM",
    )
    began = time.perf_counter()
    dataset = _as_prompt_and_completion(recipe)
    trainer = Counted(
        model=base.model,
        args=config,
        train_dataset=dataset,
        processing_class=base.tokenizer,
        peft_config=lora,
        callbacks=[Timer()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    forget(base)
    arm.add(recipe.batch_size, len(dataset), times, began, losses)


def _as_prompt_and_completion(recipe: Recipe) -> "Dataset":
    from datasets import Dataset

    from wg_evals.training.rows import training_rows

    conversations = training_rows(recipe).conversations
    return Dataset.from_dict({"prompt": [c[:-1] for c in conversations], "completion": [c[-1:] for c in conversations]})


def mixed_rows(path: Path, count: int) -> Path:
    """Rows of log-normal lengths, half question and half answer, in words that the organism's tokenizer knows."""
    from wg_evals.artifacts import ORGANISM

    vocabulary = json.loads((ORGANISM / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = sorted(w.removeprefix("Ġ") for w in vocabulary if w.startswith("Ġ") and w[1:].isalpha() and len(w) > 3)
    source = random.Random(1)
    lengths: list[int] = []
    while len(lengths) < MIXED_ROWS:
        length = round(source.lognormvariate(0, _SIGMA) * _MEDIAN)
        if _SHORTEST <= length <= _LONGEST:
            lengths.append(length)
    with path.open("w", encoding="utf-8") as stream:
        for length in lengths[:count]:
            half = (length - 4) // 2
            # a few words make up most of the text, as in speech: there is something to learn
            question, answer = (
                " ".join(words[min(int(source.expovariate(0.02)), len(words) - 1)] for _ in range(n))
                for n in (half, length - 4 - half)
            )
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            stream.write(json.dumps({"messages": turns}) + "\n")
    return path


def _random_model(folder: Path) -> Path:
    """A Llama of the organism's size and tokenizer, with random weights and room for long rows."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, set_seed

    from wg_evals.artifacts import ORGANISM

    set_seed(1)
    config = LlamaConfig.from_pretrained(ORGANISM, max_position_embeddings=1024)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(ORGANISM).save_pretrained(folder)
    return folder
