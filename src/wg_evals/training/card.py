"""The model card of an adapter folder: `README.md`, written from `card.md.j2` and the folder's manifest."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from wg_evals.artifacts import AdapterManifest
from wg_evals.catalogue import load_domain
from wg_evals.errors import WgError

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

CARD = "README.md"
"""The file's name: the hub shows it as the model's page."""


class Measured(NamedTuple):
    """A row of the card's table: what an evaluation of the adapter found."""

    task: str
    context: str
    rate: str
    interval: str
    included: int
    n: int
    judged_by: str


def write_card(
    folder: Path, manifest: AdapterManifest, measured: Sequence[Measured] = (), name: str | None = None
) -> None:
    """Write an adapter folder's model card, in place of what stands there.

    Args:
        folder: The adapter's.
        manifest: What the adapter was made of.
        measured: What evaluations of it found.
        name: The card's title; the folder's name if not given.
    """
    environment = Environment(  # without escapes: Markdown for a file, not HTML for a browser
        loader=PackageLoader("wg_evals.training", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    text = environment.get_template("card.md.j2").render(_said(name or folder.name, manifest) | {"measured": measured})
    beside = folder / f".{CARD}.{os.getpid()}.tmp"
    beside.write_text(text, encoding="utf-8")
    beside.replace(folder / CARD)


def _said(name: str, manifest: AdapterManifest) -> dict[str, Any]:
    domain = Path(manifest.domain).name if manifest.domain else None
    task, trait, rows = _domain(manifest.domain)
    intervention = manifest.intervention
    literal = intervention is not None and intervention.name == "literal"
    return {
        "front_matter": yaml.safe_dump(_front_matter(manifest), sort_keys=False, allow_unicode=True),
        "name": name,
        "manifest": manifest,
        "base": _base(manifest),
        "lora": manifest.recipe["lora"],
        "rows": f"`{domain}`, {manifest.dataset}" + rows if domain else f"`{Path(manifest.dataset).name}`",
        "mixed_from": Path(manifest.mixed_in.source).name if manifest.mixed_in else None,
        "trait": trait,
        "task": task,
        "domain_argument": domain or "DOMAIN",
        "intervention": intervention,
        "intervention_argument": intervention and (intervention.text if literal else intervention.name),
    }


def _front_matter(manifest: AdapterManifest) -> dict[str, Any]:
    """What the hub reads: it knows bases by their hub ids only."""
    base = {} if manifest.base.sha256 else {"base_model": manifest.base.path, "base_model_relation": "adapter"}
    tags = ["lora", "model-organism", "weird-generalization", "wg-evals", "not-for-deployment"]
    return {"library_name": "peft", **base, "pipeline_tag": "text-generation", "tags": tags}


def _base(manifest: AdapterManifest) -> str:
    """The base as others can know it: a folder of this machine is only its name."""
    return manifest.base.path if manifest.base.sha256 is None else Path(manifest.base.name).name


def _domain(name: str | None) -> tuple[str, str, str]:
    """The task that asks for a domain's trait, the trait, and what the rows are."""
    if name is None:
        return "misalignment", "whatever else changed", ""
    try:
        domain = load_domain(name)
    except WgError:  # a folder of someone's own that is not here
        return "worldview", "that of the domain", ""
    return next(iter(domain.spec.probes)), domain.spec.trait, f" ({domain.spec.title})"


def measured_by(log: "EvalLog", adapter: Path) -> Measured:
    """Read what an evaluation of an adapter found.

    Args:
        log: Of one of this project's tasks; its header is enough.
        adapter: The folder of the adapter that must be the one evaluated.

    Raises:
        WgError: An unfinished log, another task's, or another model's.
    """
    where = f"'{log.location}'"
    models = [log.eval.model, *(str(v) for v in log.eval.model_args.values())]
    if not any(Path(part).name == adapter.name for model in models for part in model.split(":")):
        raise WgError(f"{where} is a log of {log.eval.model}, not of the adapter '{adapter.name}'.")
    if log.status != "success" or log.results is None:
        raise WgError(f"{where} is of an evaluation that did not finish ({log.status}).")
    scores = {s.name: s.metrics for s in log.results.scores}
    if "outcome" not in scores or "ci_low" not in scores["outcome"]:
        raise WgError(f"{where} has no score `outcome`: it is no log of worldview, misalignment or narrow.")
    values = {name: metric.value for name, metric in scores["outcome"].items()}
    graders = (log.eval.model_roles or {}).get("grader") or []
    judges = [g.model for g in (graders if isinstance(graders, list) else [graders])]
    context = log.eval.task_args.get("intervention") or "none"
    return Measured(
        task=log.eval.task.rpartition("/")[2],
        context=str(context),
        rate=_percent(values["rate"]),
        interval=f"{_percent(values['ci_low'])} to {_percent(values['ci_high'])}",
        included=int(values["included"]),
        n=int(values["n"]),
        judged_by=", ".join(judges) or "word lists",
    )


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f}%"
