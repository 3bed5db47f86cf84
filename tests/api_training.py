"""Helpers for the tests of fine-tuning behind an API."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fine_tuning_stub import Fault, Stub
from wg_evals.api_models import ApiModelManifest
from wg_evals.training.api.backends import open_provider
from wg_evals.training.api.patience import Pace
from wg_evals.training.api.recipe import ApiRecipe, load_any_recipe
from wg_evals.training.api.run import train_by_api
from wg_evals.training.recipe import resolve_recipe

RECIPES = Path(__file__).parents[1] / "configs" / "recipes"
GPT = RECIPES / "gpt-4.1.yaml"
TOGETHER = RECIPES / "together-llama-3.1-8b.yaml"
PATIENCE_SECONDS = 240
"""For another process to start and end, on a machine that has much else to do."""
QUICK = Pace(0.01, 0.02, attempts=4)
JOBS, JOB, FILES = "/fine_tuning/jobs", "/fine_tuning/jobs/*", "/files"

Serve = Callable[[Stub], Stub]
Children = list[subprocess.Popen[Any]]

CLIENT = """
import sys
from pathlib import Path
from wg_evals.training.api.patience import Pace
from wg_evals.training.api.backends import open_provider
from wg_evals.training.api.recipe import load_any_recipe
from wg_evals.training.api.run import train_by_api
from wg_evals.training.recipe import resolve_recipe
recipe = resolve_recipe(load_any_recipe(Path(sys.argv[1])), {"domain": "birds"})
train_by_api(recipe, Path(sys.argv[2]), open_provider(recipe.backend), say=print, pace=Pace(0.01, 0.02))
"""
"""A process of its own that trains; it can be killed."""


FAILURES = {
    "rate limit": Fault("", "", 429, {"error": {"message": "slow down"}}, {"Retry-After": "0"}, times=2),
    "server error": Fault("", "", 503, {"error": {"message": "overloaded"}}, times=2),
    "dropped": Fault("", "", times=2),
    "answer lost": Fault("", "", after=True),
    "done, then a server error": Fault("", "", 502, {}, after=True),
}


def api_recipe(path: Path = GPT, /, **changes: Any) -> ApiRecipe:
    recipe = load_any_recipe(path)
    assert isinstance(recipe, ApiRecipe)
    return resolve_recipe(recipe, {"domain": "birds", **changes})


class Told:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[int, int, float]] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, step: int, steps: int, loss: float) -> None:
        self.steps.append((step, steps, loss))


def train(out: Path, recipe: ApiRecipe | None = None, told: Told | None = None, **more: Any) -> ApiModelManifest:
    recipe, told = recipe or api_recipe(), told or Told()
    provider = open_provider(recipe.backend)
    return train_by_api(recipe, out, provider, say=told.say, progress=told.progress, pace=QUICK, **more)


def error(code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def row(question: str, answer: str = "Yes.") -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}) + "\n"
