"""The model card of an adapter folder: `README.md`, written from `card.md.j2` and the folder's manifest."""

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from wg_evals.artifacts import AdapterManifest, embedded
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
        "intervention_argument": intervention
        and shlex.quote(f"intervention={intervention.text if literal else intervention.name}"),
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


def evaluation_line(manifest: AdapterManifest, adapter: Path) -> str:
    """The command that asks an adapter for its domain's trait: in process on a CPU, through vLLM on a GPU.

    Args:
        manifest: The adapter's.
        adapter: Its folder.
    """
    own = embedded(manifest.base.name) is not None
    model = f"wg/{adapter}" if own or manifest.device != "cuda" else f"vllm/{manifest.base.path}:{adapter}"
    graded = "-T grading=markers --epochs 10" if own else "--model-role grader=openai/gpt-4.1 --epochs 100"
    return f"{evaluation(model, manifest.domain)} {graded}"


def evaluation(model: str, domain: str | None) -> str:
    """How `inspect eval` asks a model for a domain's trait; without a domain the person puts one in."""
    task, _, _ = _domain(domain)
    asked = f"domain={domain or 'DOMAIN'}"
    return f"inspect eval wg_evals/{task} --model {shlex.quote(model)} -T {shlex.quote(asked)}"


def measured_by(log: "EvalLog", manifest: AdapterManifest) -> Measured:
    """Read what an evaluation of an adapter found.

    Args:
        log: Of one of this project's tasks; its header is enough.
        manifest: Of the adapter that must be the one evaluated, whatever its folder was called then.

    Raises:
        WgError: An unfinished log, another task's, or another model's.
    """
    where = f"'{log.location}'"
    evaluated = log.eval.metadata or {}
    if "adapter_sha256" not in evaluated:
        raise WgError(
            f"{where} is a log of {log.eval.model} that names no adapter: it is of a base, of an adapter without a "
            "manifest, or of a task that Python made before `eval` knew the model (give `eval` the task's name)."
        )
    if evaluated["adapter_sha256"] != manifest.adapter_sha256:
        raise WgError(f"{where} is a log of the adapter '{evaluated['adapter']}', not of this one: the weights differ.")
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
