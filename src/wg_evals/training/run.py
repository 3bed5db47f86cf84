"""One training: what it is given, and the adapter that it writes."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel

from wg_evals.artifacts import MANIFEST, AdapterManifest, folder_sha256, write_json
from wg_evals.errors import WgError
from wg_evals.training.card import write_card
from wg_evals.training.encoding import EncodedRow
from wg_evals.training.loading import LoadedBase
from wg_evals.training.recipe import Recipe
from wg_evals.training.resuming import Origin, ResumeFolder, Spent
from wg_evals.training.rows import Lengths, TrainingRows, template_preamble

CHECKPOINTS = "checkpoints"
"""The folder in an adapter's that its checkpoints are in, each an adapter folder `step-000040`."""


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


SAVING = Saving()
"""As usual."""


@dataclass(frozen=True)
class Run:
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
