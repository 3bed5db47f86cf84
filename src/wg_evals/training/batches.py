"""How a recipe's batch is split over forward passes and processes."""

import math

from wg_evals.training import processes
from wg_evals.training.recipe import Recipe


def micro_batch_size(recipe: Recipe) -> int:
    """Rows of a forward pass on one device."""
    return recipe.micro_batch_size or max(1, recipe.batch_size // processes.count())


def steps_per_epoch(rows: int, recipe: Recipe) -> int:
    """Optimizer steps of an epoch; the last one takes what is left."""
    passes = math.ceil(math.ceil(rows / micro_batch_size(recipe)) / processes.count())
    return math.ceil(passes / max(1, recipe.batch_size // (micro_batch_size(recipe) * processes.count())))
