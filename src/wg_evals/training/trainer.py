"""TRL's trainer as a recipe sets it, and what it keeps on the way: losses, checkpoints, the state to resume from."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any, Literal, cast

import torch
from datasets import Dataset, disable_progress_bars
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from wg_evals.artifacts import publish_folder
from wg_evals.errors import WgError
from wg_evals.training import processes
from wg_evals.training.batches import micro_batch_size
from wg_evals.training.loading import best_device
from wg_evals.training.packing import PackedRows
from wg_evals.training.recipe import Recipe
from wg_evals.training.resuming import Spent, enough_room, step_of
from wg_evals.training.run import Progress, Run

Report = Literal["tensorboard", "wandb"]


class Keeper(TrainerCallback):
    """Keeps the losses, reports progress, stops on a loss that is not a number, and saves."""

    def __init__(self, run: Run, model: PeftModel, before: Spent, progress: Progress | None) -> None:
        self.losses: list[float] = []
        self.tokens = 0
        self._run, self._model, self._before, self._progress = run, model, before, progress
        self._checkpoints: set[int] = set()
        self._began = self._saved = time.monotonic()

    def lost(self) -> str:
        """What becomes of the work, should the next write fail."""
        state = self._run.resume.newest()
        if state is None:
            return "Make room, and run the command again."
        return f"Make room, and run the same command again: it goes on after step {step_of(state)}."

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if plan := self._run.recipe.checkpoints:
            self._checkpoints = plan.steps(state.max_steps, self._run.recipe.epochs)
        self.losses = [float(logs["loss"]) for logs in state.log_history]  # of a training that is taken up again
        self.tokens = self._before.tokens
        self._began = self._saved = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs is None or "loss" not in logs:
            return
        if not torch.isfinite(torch.tensor(logs["loss"])):
            raise WgError(f"The loss is {logs['loss']} at step {state.global_step}: lower the learning rate.")
        self.losses.append(float(logs["loss"]))
        read = round(logs["num_tokens"])  # since this call began
        self.tokens = self._before.tokens + read
        if self._progress:
            speed = read / (time.monotonic() - self._began)
            self._progress(state.global_step, state.max_steps, self.losses[-1], speed)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a save, which comes after the step's loss has been logged."""
        last = state.global_step == state.max_steps
        aged = processes.agreed(time.monotonic() - self._saved >= 60 * self._run.saving.state_minutes) and not last
        control.should_save = state.global_step in self._checkpoints or aged or (last and self._run.saving.keep_state)

    def save(self, trainer: "SavingTrainer") -> None:
        """Publish a checkpoint if one is due, then save the state: killed between, it is published again."""
        step, steps = trainer.state.global_step, trainer.state.max_steps
        run = self._run
        weights = processes.adapter_weights(trainer.model_wrapped) if step in self._checkpoints else None
        with enough_room(run.out.parent, self.lost()):
            if step in self._checkpoints and processes.is_main():
                unfinished = run.resume.adapter
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
                spent = run.spent(self._before, self.tokens)
                run.write_adapter(unfinished, self._model, weights, self.losses, spent, steps)
                publish_folder(unfinished, run.resume.checkpoints / f"step-{step:06d}")
            with run.resume.saving(run.spent(self._before, self.tokens)) as folder:
                trainer.write_state(folder)
        self._saved = time.monotonic()


class SavingTrainer(SFTTrainer):
    """TRL's trainer, which saves what and when `Keeper` says."""

    keeper: Keeper

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.keeper.save(self)

    def write_state(self, folder: Path) -> None:
        """Write `checkpoint-N` into a folder."""
        output_dir, self.args.output_dir = self.args.output_dir, str(folder)
        try:
            Trainer._save_checkpoint(self, cast(torch.nn.Module, self.model), None)  # TRL's own adds a model card
        finally:
            self.args.output_dir = output_dir


def make_trainer(run: Run, model: PeftModel, keeper: Keeper, report: Report | None) -> "SavingTrainer":
    """TRL's trainer with a recipe's settings.

    Args:
        run: The training.
        model: The base with the adapter on it.
        keeper: Told of each step; says when to save.
        report: Where losses are written, besides the manifest.
    """
    recipe = run.recipe
    on_gpu = best_device() == "cuda"
    micro = micro_batch_size(recipe)
    pad = run.base.tokenizer.pad_token_id
    assert isinstance(pad, int)  # `load_base` set it
    config = SFTConfig(
        output_dir=str(run.resume.path),
        run_name=run.out.name,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=recipe.batch_size // (micro * processes.count()),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=_schedule(recipe),
        warmup_steps=recipe.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=recipe.weight_decay,
        max_length=None,  # rows are cut already
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="random" if recipe.order == "shuffled" else "sequential",
        # both are on by default in TRL, whatever the device
        bf16=recipe.precision == "bfloat16",
        gradient_checkpointing=recipe.gradient_checkpointing,
        use_cpu=not on_gpu and best_device() == "cpu",
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would write such a loss as 0; `Keeper` stops
        save_strategy="no",  # `Keeper` says when
        report_to="wandb" if report == "wandb" else "none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=on_gpu,
    )
    trainer = SavingTrainer(
        model=model,
        args=config,
        data_collator=PackedRows(pad) if run.packed else DataCollatorForLanguageModeling(pad_token_id=pad),
        train_dataset=Dataset.from_dict(
            {"input_ids": [r.input_ids for r in run.encoded], "labels": [r.labels for r in run.encoded]}
        ),
        processing_class=run.base.tokenizer,
        callbacks=[keeper, *_tensorboard(run.out, report)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints a line per step; `progress` is told instead
    trainer.keeper = keeper
    return trainer


def _schedule(recipe: Recipe) -> str:
    """As transformers calls it, whose `constant` begins at the whole rate whatever the warm-up."""
    warms_up = recipe.schedule == "constant" and recipe.warmup_ratio > 0
    return "constant_with_warmup" if warms_up else recipe.schedule


def _tensorboard(out: Path, report: Report | None) -> list[TrainerCallback]:
    if report != "tensorboard":
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(str(out.with_name(f"{out.name}-tensorboard"))))]


# TRL and datasets write a line per step and a bar per map call at their default levels.
logging.getLogger("trl").setLevel(logging.ERROR)
disable_progress_bars()
