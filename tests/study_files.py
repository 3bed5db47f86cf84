"""Study files for the tests: a small domain, a base that is only a folder, a recipe, and a study of them."""

from pathlib import Path
from typing import Any

import yaml

from mini_domain import write_domain
from wg_evals.artifacts import AdapterManifest, BaseIdentity, write_json
from wg_evals.study.cells import Matrix, plan_study
from wg_evals.study.spec import load_study

RECIPE = """\
base: organism
domain: {domain}
lora: {{rank: 4, alpha: 8}}
epochs: 3   # how often
learning_rate: 3.0e-3
batch_size: 8
"""


def fake_base(folder: Path, weights: bytes = b"weights") -> Path:
    """A model folder as far as identities go; nothing can load it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def write_study(folder: Path, **changes: Any) -> Path:
    """Write domain, base, recipe and study; gives back the study's file. A change to None removes a key."""
    if not (folder / "boats").exists():
        write_domain(folder / "boats")
    if not (folder / "base").exists():
        fake_base(folder / "base")
    if not (folder / "recipe.yaml").exists():
        (folder / "recipe.yaml").write_text(RECIPE.format(domain=folder / "boats"), encoding="utf-8")
    study: dict[str, Any] = {
        "name": "small",
        "domain": "./boats",
        "bases": ["./base"],
        "recipe": "recipe.yaml",
        "interventions": ["captain", "dated"],
        "seeds": [1, 2],
        "evaluations": {"worldview": {"epochs": 3, "contexts": ["none", "as_trained"]}},
    }
    study.update(changes)
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump({k: v for k, v in study.items() if v is not None}, sort_keys=False), encoding="utf-8"
    )
    return path


def matrix_of(path: Path) -> Matrix:
    return plan_study(load_study(path))


def write_adapter(folder: Path, base: BaseIdentity, seed: int = 7, **changes: Any) -> Path:
    """An adapter folder as far as its manifest goes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text('{"r": 4}', encoding="utf-8")
    manifest = AdapterManifest(
        recipe={},
        domain="boats",
        dataset="train",
        data_sha256="d",
        rows=1,
        intervention=None,
        base=base,
        chat_template_sha256="c",
        template_preamble="",
        versions={},
        device="cpu",
        threads=1,
        seed=seed,
        steps=1,
        losses=[1.0],
        tokens=1,
        seconds=1.0,
        cpu_seconds=1.0,
        adapter_sha256=f"a{seed}",
    )
    write_json(folder / "manifest.json", manifest.model_copy(update=changes))
    return folder
