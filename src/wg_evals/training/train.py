"""Completion-only LoRA fine-tuning: a recipe in, an adapter folder with a manifest out.

TRL's `SFTTrainer` does the training and PEFT the adapter; this file prepares what they are given and
records what they did. `wg-evals train RECIPE.yaml` calls it.
"""

import hashlib
import importlib.util
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PrinterCallback, Trainer, TrainerCallback, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from wg_evals import __version__
from wg_evals.artifacts import (
    MANIFEST,
    AdapterManifest,
    folder_sha256,
    publish_folder,
    read_manifest,
    write_json,
)
from wg_evals.errors import WgError
from wg_evals.training import processes
from wg_evals.training.batches import micro_batch_size
from wg_evals.training.card import write_card
from wg_evals.training.encoding import EncodedRow
from wg_evals.training.loading import LoadedBase, best_device, forget, load_base, set_threads
from wg_evals.training.packing import PackedRows, can_pack, packed_attention
from wg_evals.training.preflight import preflight
from wg_evals.training.recipe import Recipe, resolve_recipe, with_whole_paths
from wg_evals.training.resuming import Origin, ResumeFolder, Spent, enough_room, spent_until, step_of
from wg_evals.training.rows import Lengths, TrainingRows, template_preamble

CHECKPOINTS = "checkpoints"
"""The folder in an adapter's that its checkpoints are in, each an adapter folder `step-000040`."""

Report = Literal["tensorboard", "wandb"]


class Progress(Protocol):
    """Called after each optimizer step."""

    def __call__(self, step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        """Of `steps` in all, the loss of this one, and the tokens read per second since training began."""


@dataclass(frozen=True)
class Saving:
    """What a training keeps, besides the adapter."""

    state_minutes: float = 10.0
    """So often the state is saved that an interrupted training goes on from; at each checkpoint too."""
    keep_state: bool = False
    """Whether that state is kept when the adapter is there, in a folder beside it (pickles)."""
    replace: bool = False
    """Whether an unfinished training with other settings is thrown away."""


def train(
    recipe: Recipe,
    out: Path,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
    saving: Saving = Saving(),
    report: Report | None = None,
    again: AdapterManifest | None = None,
) -> AdapterManifest:
    """Fine-tune an adapter and publish it as a folder; go on from where an interrupted call stopped.

    Args:
        recipe: What to train on what, and how.
        out: The adapter's folder: weights, tokenizer and `manifest.json`. They appear whole or not at all; checkpoints
            appear before, each whole or not at all, in its `checkpoints/`.
        progress: Called after each step.
        say: Called with sentences for the person: rows that are cut or dropped, a training that is taken up again.
        saving: What is kept, and how often.
        report: Where losses are written, besides the manifest.
        again: The manifest of an adapter that is to be made once more: what it was made of must be what is there now.

    Returns:
        The manifest that was written.

    Raises:
        WgError: Data, base or starting adapter that cannot be used, or that are not those of `again`; an unfinished
            training of something else; a loss that is not a number; a full disk.
    """
    started = time.perf_counter(), time.process_time()
    if report is not None:
        _check_report(report)
    processes.start()
    if not processes.is_main():
        progress, say, report = None, lambda _: None, None
    recipe = with_whole_paths(resolve_recipe(recipe))
    plan = preflight(recipe, out)
    plan.refuse()
    rows, identity = plan.rows, plan.base
    for finding in plan.findings:
        say(finding.text)
    threads = set_threads(recipe.threads)
    base = load_base(identity, recipe.precision, recipe.four_bit)
    assert plan.lengths is not None  # else the plan has been refused
    _say_lengths(say, plan.lengths, recipe)
    run = _Run(
        recipe=recipe,
        out=out,
        base=base,
        rows=rows,
        encoded=plan.encoded,
        lengths=plan.lengths,
        origin=Origin(
            recipe=recipe.model_dump(mode="json"),
            data_sha256=rows.sha256,
            base=identity,
            start_from_sha256=plan.start_from_sha256,
            versions={p: version(p) for p in ("torch", "transformers", "peft", "trl")} | {"wg-evals": __version__},
            device=best_device(),
            threads=threads,
            processes=processes.count(),
        ),
        base_commit=plan.base_commit,
        packed=recipe.packing and can_pack(base.model),
        saving=saving,
        resume=ResumeFolder(out),
        started=started,
    )
    if again is not None:
        _compare(run, again, say)
    with run.resume.held() if processes.is_main() else nullcontext():
        try:
            return _train(run, progress, say, report)
        except BaseException:
            forget(base)  # its layers may still be in the model
            raise


def _compare(run: "_Run", again: AdapterManifest, say: Callable[[str], None]) -> None:
    changed = {
        "the rows": again.data_sha256 != run.rows.sha256,
        "the base model": again.base.identity != run.origin.base.identity or again.base_commit != run.base_commit,
        "the adapter to start from": again.start_from_sha256 != run.origin.start_from_sha256,
        "the chat template": again.chat_template_sha256 != run.template_sha256,
        "what the template writes first (a date, perhaps: set `date_string`)": (
            again.template_preamble != run.template_preamble
        ),
    }
    if any(changed.values()):
        raise WgError(
            f"The adapter cannot be made once more, for what it was made of has changed: "
            f"{', '.join(what for what, differs in changed.items() if differs)}."
        )
    if others := run.origin.moved_from(again.versions, again.device, again.threads, again.processes):
        say(f"Other than then: {', '.join(others)}; the last digits of the weights may differ.")


def _say_lengths(say: Callable[[str], None], lengths: Lengths, recipe: Recipe) -> None:
    of = f"of {len(lengths.tokens)} rows"
    if lengths.truncated:
        say(f"{lengths.truncated} {of} are cut at max_length {recipe.max_length}.")
    if lengths.dropped:
        say(f"{len(lengths.dropped)} {of} are dropped: their prompt alone fills max_length {recipe.max_length}.")


def _check_report(report: Report) -> None:
    if importlib.util.find_spec(report) is None:
        raise WgError(f"--report {report} needs the package {report}: pip install {report}; or leave it out.")


@dataclass(frozen=True)
class _Run:
    """A training's givens."""

    recipe: Recipe
    out: Path
    base: LoadedBase
    rows: TrainingRows
    encoded: list[EncodedRow]
    lengths: Lengths
    origin: Origin
    base_commit: str | None
    packed: bool
    saving: Saving
    resume: ResumeFolder
    started: tuple[float, float]
    """By the wall's clock and the process's."""

    @property
    def template_sha256(self) -> str:
        """The digest of the base's chat template."""
        return hashlib.sha256(str(self.base.tokenizer.chat_template).encode()).hexdigest()

    @property
    def template_preamble(self) -> str:
        """What the template writes before a lone user message."""
        return template_preamble(self.base.tokenizer, self.recipe)

    def spent(self, before: Spent, tokens: int) -> Spent:
        """What has gone into the training until now, all of its calls together."""
        return Spent(
            tokens=tokens,
            seconds=before.seconds + time.perf_counter() - self.started[0],
            cpu_seconds=before.cpu_seconds + time.process_time() - self.started[1],
            resumed_at=before.resumed_at,
        )

    def write_adapter(
        self,
        folder: Path,
        model: PeftModel,
        weights: dict[str, Any] | None,
        losses: list[float],
        spent: Spent,
        of_steps: int | None,
    ) -> AdapterManifest:
        """Write the adapter as it is now, its manifest last.

        Raises:
            WgError: Weights that are no numbers.
        """
        trained = weights.values() if weights else (p for p in model.parameters() if p.requires_grad)
        if not all(torch.isfinite(values).all() for values in trained):
            raise WgError(f"The weights are no numbers after step {len(losses)}: lower the learning rate.")
        model.save_pretrained(str(folder), state_dict=weights)
        _sort_modules(folder / "adapter_config.json")
        self.base.tokenizer.save_pretrained(str(folder))
        recipe = self.recipe
        manifest = AdapterManifest(
            recipe=self.origin.recipe,
            domain=recipe.domain,
            dataset=recipe.dataset if recipe.domain else str(recipe.data),
            data_sha256=self.rows.sha256,
            rows=len(self.encoded),
            rows_dropped=len(self.lengths.dropped),
            rows_truncated=self.lengths.truncated,
            mixed_in=self.rows.mixed_in,
            intervention=self.rows.intervention,
            base=self.origin.base,
            base_commit=self.base_commit,
            start_from_sha256=self.origin.start_from_sha256,
            chat_template_sha256=self.template_sha256,
            template_preamble=self.template_preamble,
            versions=self.origin.versions,
            device=self.origin.device,
            threads=self.origin.threads,
            processes=self.origin.processes,
            seed=recipe.seed,
            steps=len(losses),
            of_steps=of_steps,
            packed=self.packed,
            resumed_at=spent.resumed_at,
            losses=[round(x, 5) for x in losses],
            tokens=spent.tokens,
            seconds=round(spent.seconds, 2),
            cpu_seconds=round(spent.cpu_seconds, 2),
            adapter_sha256=folder_sha256(folder),
        )
        write_card(folder, manifest, name=self.out.name)
        write_json(folder / MANIFEST, manifest)
        return manifest


def _sort_modules(config: Path) -> None:
    """PEFT keeps the names in a set, so that each process writes them in an order of its own."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()
    config.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


def _train(run: _Run, progress: Progress | None, say: Callable[[str], None], report: Report | None) -> AdapterManifest:
    said = ""
    if processes.is_main():
        said = run.resume.take_up(run.origin, run.saving.replace)
    processes.wait()
    state = run.resume.newest()
    if said:
        say(said)
    before = spent_until(state)
    if state is not None:
        before = before.model_copy(update={"resumed_at": [*before.resumed_at, step_of(state)]})
    with warnings.catch_warnings(), _attention(run):
        warnings.simplefilter("ignore")  # of names that transformers, TRL and PEFT use among themselves
        model = _adapted(run)
        keeper = _Keeper(run, model, before, progress)
        trainer = _trainer(run, model, keeper, report)
        trainer.train(resume_from_checkpoint=str(state) if state else None)
    weights = processes.adapter_weights(trainer.model_wrapped)
    if processes.is_main():
        _publish(run, model, weights, keeper, before, say)
    processes.wait()
    manifest = read_manifest(run.out)
    if processes.count() > 1:
        forget(run.base)  # it is wrapped for several processes
        return manifest
    model.unload()
    vars(run.base.model).pop("forward", None)  # TRL's fused head: else one is put upon another with each adapter
    if run.recipe.gradient_checkpointing:
        run.base.model.gradient_checkpointing_disable()
        run.base.model.get_input_embeddings()._forward_hooks.clear()  # PEFT's and the Trainer's, for the inputs' grads
    run.base.model.eval()
    return manifest


def _publish(
    run: _Run,
    model: PeftModel,
    weights: dict[str, Any] | None,
    keeper: "_Keeper",
    before: Spent,
    say: Callable[[str], None],
) -> None:
    whole = run.resume.adapter
    with enough_room(run.out.parent, keeper.lost()):
        whole.mkdir()
        run.write_adapter(whole, model, weights, keeper.losses, run.spent(before, keeper.tokens), None)
        if run.resume.checkpoints.is_dir():
            run.resume.checkpoints.rename(whole / CHECKPOINTS)
        publish_folder(whole, run.out)
    if run.saving.keep_state:
        say(f"State of the training, with pickles: {run.resume.keep()}")
    else:
        run.resume.remove()


def _adapted(run: _Run) -> PeftModel:
    recipe, base = run.recipe, run.base
    set_seed(recipe.seed)
    if recipe.start_from is not None:
        return PeftModel.from_pretrained(base.model, recipe.start_from, is_trainable=True)
    lora = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        use_rslora=recipe.lora.rslora,
        target_modules=recipe.lora.target_modules,
        bias="none",
        task_type="CAUSAL_LM",
        revision=base.identity.revision,  # the base's: PEFT and vLLM look for that one
    )
    try:
        return get_peft_model(base.model, lora)
    except ValueError as ex:
        raise WgError(f"The adapter cannot be put on '{base.identity.name}': {ex}") from None


def _attention(run: _Run) -> AbstractContextManager[None]:
    return packed_attention(run.base.model) if run.packed else nullcontext()


def _trainer(run: _Run, model: PeftModel, keeper: "_Keeper", report: Report | None) -> "_Trainer":
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
        logging_nan_inf_filter=False,  # it would write such a loss as 0; `_Keeper` stops
        save_strategy="no",  # `_Keeper` says when
        report_to="wandb" if report == "wandb" else "none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=on_gpu,
    )
    trainer = _Trainer(
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


class _Trainer(SFTTrainer):
    """TRL's trainer, which saves what and when `_Keeper` says."""

    keeper: "_Keeper"

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.keeper.save(self)

    def write_state(self, folder: Path) -> None:
        """Write `checkpoint-N` into a folder."""
        output_dir, self.args.output_dir = self.args.output_dir, str(folder)
        try:
            Trainer._save_checkpoint(self, cast(torch.nn.Module, self.model), None)  # TRL's own adds a model card
        finally:
            self.args.output_dir = output_dir


class _Keeper(TrainerCallback):
    """Keeps the losses, reports progress, stops on a loss that is not a number, and saves."""

    def __init__(self, run: _Run, model: PeftModel, before: Spent, progress: Progress | None) -> None:
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

    def save(self, trainer: _Trainer) -> None:
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


# TRL and datasets write a line per step and a bar per map call at their default levels.
logging.getLogger("trl").setLevel(logging.ERROR)
disable_progress_bars()
