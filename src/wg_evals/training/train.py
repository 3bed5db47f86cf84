"""Completion-only LoRA fine-tuning: a recipe in, an adapter folder with a manifest out.

TRL's `SFTTrainer` does the training and PEFT the adapter; `trainer.py` sets them up, `run.py` writes what they made,
and this file goes through it from start to end. `wg-evals train RECIPE.yaml` calls it.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import set_seed

from wg_evals import __version__
from wg_evals.artifacts import (
    AdapterManifest,
    publish_folder,
    read_manifest,
)
from wg_evals.errors import WgError
from wg_evals.training import processes
from wg_evals.training.loading import best_device, forget, load_base, set_threads
from wg_evals.training.packing import can_pack, packed_attention
from wg_evals.training.preflight import preflight
from wg_evals.training.recipe import Recipe, resolve_recipe, with_whole_paths
from wg_evals.training.resuming import Origin, ResumeFolder, Spent, enough_room, spent_until, step_of
from wg_evals.training.rows import Lengths
from wg_evals.training.run import CHECKPOINTS, SAVING, Progress, Run, Saving
from wg_evals.training.trainer import Keeper, Report, make_trainer


def train(
    recipe: Recipe,
    out: Path,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
    saving: Saving = SAVING,
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
    run = Run(
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


def _compare(run: Run, again: AdapterManifest, say: Callable[[str], None]) -> None:
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


def _train(run: Run, progress: Progress | None, say: Callable[[str], None], report: Report | None) -> AdapterManifest:
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
        keeper = Keeper(run, model, before, progress)
        trainer = make_trainer(run, model, keeper, report)
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
    run: Run,
    model: PeftModel,
    weights: dict[str, Any] | None,
    keeper: Keeper,
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


def _adapted(run: Run) -> PeftModel:
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


def _attention(run: Run) -> AbstractContextManager[None]:
    return packed_attention(run.base.model) if run.packed else nullcontext()
