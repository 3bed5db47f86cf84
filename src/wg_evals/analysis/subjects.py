"""Who was evaluated: what a log and the manifests together tell of a model, its base and its training."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wg_evals.analysis.records import NONE
from wg_evals.analysis.training_settings import settings_learned_from
from wg_evals.api_models import ApiModelManifest, api_models
from wg_evals.artifacts import MANIFEST, ORGANISM, VOICES, AdapterManifest, parse_manifest
from wg_evals.errors import WgError
from wg_evals.spec import Intervention

_SUMMARISED = 900
"""Inspect's summaries keep about 1,000 characters of a text, up to the end of a word."""

UNKNOWN = "unknown"
"""Stands in every table for what neither log nor manifest tells."""


class Subject(NamedTuple):
    """A model under test."""

    model: str
    """What stands in the log, for `hf/local` with its path."""
    identity: str
    """What all logs of it have in common, and no other model's: a base's name, an adapter's digest, else its path."""
    base: str
    dataset: str
    """`none`, `train`, `control`, `DOMAIN/train` for a domain other than the evaluation's, or `unknown`."""
    trained_with: str
    """The training intervention's name, its text if it has none, `none`, or `unknown`."""
    intervention: Intervention | None
    """What stood before every training row, as far as it is known."""
    seed: int | None
    checkpoint: int | None
    """The training step; None for a finished training, and for a base."""
    steps: int | None = None
    """How many steps of training it has behind it, as far as its manifest tells."""
    placement_known: bool = True
    """Whether `intervention` has the placement of the training, and not the catalogue's or none in its place."""
    settings: str = ""
    """Of its training, as far as its manifest tells; empty if it does not."""
    data: str = ""
    """The digest of the rows it was trained on, as far as its manifest tells."""

    @property
    def role(self) -> str:
        """`base`, `plain`, `control`, `intervened`, or `adapter` where the training is not known."""
        if self.dataset == NONE:
            return "base"
        if UNKNOWN in (self.dataset, self.trained_with):
            return "adapter"
        if self.dataset.rsplit("/", 1)[-1] == "control":
            return "control"
        return "plain" if self.trained_with == NONE else "intervened"


@dataclass
class Manifests:
    """The manifests that lie with the logs, by what a log may call their models."""

    by_name: dict[str, ApiModelManifest] = field(default_factory=dict)
    """Models behind an API, and their checkpoints."""
    by_sha256: dict[str, AdapterManifest] = field(default_factory=dict)
    by_folder: dict[tuple[str, ...], AdapterManifest | None] = field(default_factory=dict)
    """By the last two parts of the folder's path; None where two share them."""
    bases: dict[str, str] = field(default_factory=dict)
    """A base's name, by its path."""

    @classmethod
    def below(cls, folders: Iterable[Path]) -> "Manifests":
        """All manifests in some folders and below them."""
        found = cls()
        for folder in folders:
            found.by_name.update(api_models(folder))
            for path in sorted(folder.rglob(MANIFEST)):
                try:
                    found.add(path.parent, parse_manifest(path))
                except WgError:
                    continue  # of a model behind an API, or of a base
        return found

    def add(self, folder: Path, manifest: AdapterManifest) -> None:
        """Note down an adapter's manifest."""
        self.by_sha256[manifest.adapter_sha256] = manifest
        place = folder.parts[-2:]
        known = self.by_folder.get(place, manifest)
        same = known is not None and known.adapter_sha256 == manifest.adapter_sha256
        self.by_folder[place] = manifest if same else None
        self.bases[manifest.base.path] = manifest.base.name

    def of_adapter(self, path: str, sha256: str | None, base: str | None) -> AdapterManifest | None:
        """The manifest of an adapter: by its digest, else where its path says, else in a folder that was moved.

        A folder that was moved is known by the last two parts of its path, and must be of the base that the log names.
        """
        if sha256 in self.by_sha256:
            return self.by_sha256[str(sha256)]
        here = Path(path).expanduser() / MANIFEST
        if here.is_file():
            try:
                manifest = parse_manifest(here)
            except WgError:
                return None
            if sha256 not in (None, manifest.adapter_sha256):
                return None  # another one has been trained into its place
            self.add(here.parent, manifest)
            return manifest
        moved = self.by_folder.get(Path(path).parts[-2:]) if sha256 is None and base else None
        same_base = moved is not None and self.base_name(str(base)) == self.base_name(moved.base.name)
        return moved if same_base else None

    def base_name(self, name: str) -> str:
        """One name for a base that may be given by name or by path."""
        if name in self.bases:
            return self.bases[name]
        parts = Path(name).parts
        if parts[-2:] == ORGANISM.parts[-2:]:
            return "organism"
        if parts[-4:-1] == VOICES.parts[-3:]:
            return f"organism-{parts[-1]}"
        return name


def subject(header: Mapping[str, Any], manifests: Manifests) -> Subject:
    """Tell who was evaluated in a log that no study planned.

    Args:
        header: The log's header.
        manifests: Those that lie with the logs; an adapter's own, where its path still leads to it, is read too.
    """
    spec = header["eval"]
    about: Mapping[str, Any] = spec.get("metadata") or {}
    model = model_name(spec)
    domain = str(about.get("domain"))
    if (behind_api := manifests.by_name.get(model)) is not None:
        return _behind_api(model, behind_api, domain)
    base, adapter = _parts(spec, about)
    if adapter is not None:
        manifest = manifests.of_adapter(adapter, about.get("adapter_sha256"), base)
        if manifest is not None:
            return _by_manifest(model, manifest, domain, manifests)
        base, identity = manifests.base_name(base) if base else UNKNOWN, adapter_identity(adapter, about)
        if "trained_with" in about:
            return _by_metadata(model, identity, base, about, domain)
        return Subject(model, identity, base, UNKNOWN, UNKNOWN, None, None, None)
    if "/ft:" in model:
        provider, _, tuned = model.partition("/ft:")
        return Subject(model, model, f"{provider}/{tuned.split(':')[0]}", UNKNOWN, UNKNOWN, None, None, None)
    base = manifests.base_name(base or model)
    return Subject(model, base, base, NONE, NONE, None, None, None)


def adapter_identity(path: str, about: Mapping[str, Any]) -> str:
    """What tells an adapter from all others: its digest where the log's metadata has it, else its path."""
    sha256 = about.get("adapter_sha256")
    return f"sha256 {sha256}" if sha256 else path


def model_name(spec: Mapping[str, Any]) -> str:
    """A model's name: with its path, where Inspect calls every local one `hf/local`."""
    model = str(spec["model"])
    path = (spec.get("model_args") or {}).get("model_path")
    return f"hf/{path}" if model.startswith("hf/") and isinstance(path, str) else model


def intervention_name(intervention: Intervention | None) -> str:
    """An intervention's name; its text, shortened, where it was given as text alone."""
    if intervention is None:
        return NONE
    if intervention.name != "literal":
        return intervention.name
    return intervention.text if len(intervention.text) <= 60 else f"{intervention.text[:59]}…"


def same_text(one: str, other: str) -> bool:
    """Whether two texts are one, where a log's summary may have shortened it and made its white space single spaces."""
    return summarised(one) == summarised(other)


def summarised(text: str) -> str:
    """What any two texts that a summary cannot tell apart have in common."""
    return " ".join(text.split())[:_SUMMARISED]


def _parts(spec: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The base and the adapter's path, as far as the log tells them; a model of an API is its own base."""
    provider, _, name = model_name(spec).partition("/")
    adapter = about.get("adapter")
    if provider not in ("hf", "vllm", "wg"):
        return None, adapter
    base: str | None = name
    if provider == "vllm" and ":" in name:
        base, _, given = name.partition(":")
        adapter = adapter or given
    elif adapter or (Path(name).expanduser() / "adapter_config.json").is_file():
        base, adapter = _recorded_base(Path(str(adapter or name)).expanduser()), adapter or name
    return base, adapter


def _recorded_base(adapter: Path) -> str | None:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config.get("base_model_name_or_path") or None


def _behind_api(model: str, manifest: ApiModelManifest, domain: str) -> Subject:
    steps = {c.model: c.step for c in manifest.checkpoints}
    return Subject(
        model,
        model,
        manifest.base,
        _dataset(manifest.domain, manifest.dataset, domain),
        intervention_name(manifest.intervention),
        manifest.intervention,
        manifest.seed,
        steps.get(model) if model != manifest.model else None,
        steps.get(model),
        settings=settings_learned_from(manifest.recipe),
        data=manifest.data_sha256,
    )


def _by_manifest(model: str, manifest: AdapterManifest, domain: str, manifests: Manifests) -> Subject:
    return Subject(
        model,
        f"sha256 {manifest.adapter_sha256}",
        manifests.base_name(manifest.base.name),
        _dataset(manifest.domain, manifest.dataset, domain),
        intervention_name(manifest.intervention),
        manifest.intervention,
        manifest.seed,
        manifest.steps if manifest.of_steps else None,
        manifest.steps,
        settings=settings_learned_from(manifest.recipe),
        data=manifest.data_sha256,
    )


def _by_metadata(model: str, identity: str, base: str, about: Mapping[str, Any], domain: str) -> Subject:
    """By what the log took out of the manifest, which is gone: placement, kind and relevance are not in it."""
    name, text = str(about["trained_with"]), str(about.get("trained_with_text") or "")
    trained_on, _, dataset = str(about.get("trained_on", UNKNOWN)).rpartition("/")
    used = None if name == NONE or not text else _known(name, text, domain)
    shown = intervention_name(used) if used else name
    dataset = _dataset(trained_on or None, dataset, domain)
    seed = about.get("training_seed")
    return Subject(model, identity, base, dataset, shown, used, seed, None, placement_known=False)


def _known(name: str, text: str, domain: str) -> Intervention:
    from wg_evals.catalogue import load_domain

    bare = Intervention.model_construct(name=name, text=text, placement=None)
    try:
        found = load_domain(domain).intervention(name)
    except WgError:
        return bare
    return found if same_text(found.text, text) else bare


def _dataset(trained_on: str | None, dataset: str, domain: str) -> str:
    return dataset if trained_on in (None, domain) else f"{trained_on}/{dataset}"
