"""Mixtures: a recipe's rows diluted with rows of a second set."""

from typing import TypeVar

from wg_evals.catalogue import load_domain, read_rows
from wg_evals.errors import WgError
from wg_evals.spec import Row
from wg_evals.training.recipe import Mixture

T = TypeVar("T")


def mixture_rows(mixture: Mixture, count: int) -> list[Row]:
    """The second set's rows that go among `count` of the first.

    Raises:
        WgError: The set has too few; says the largest share that it allows.
    """
    if mixture.domain is not None:
        rows = load_domain(mixture.domain).rows[mixture.dataset]
    else:
        assert mixture.data is not None  # the mixture's own validation
        rows = read_rows(mixture.data)
    wanted = round(count * mixture.share / (1 - mixture.share))
    if not 0 < wanted <= len(rows):
        largest = len(rows) / (len(rows) + count)
        raise WgError(
            f"A share of {mixture.share:g} beside {count} rows is {wanted} rows of the second set, which has "
            f"{len(rows)}: the share can be {1 / (count + 1):.3g} to {largest:.3g}."
        )
    return rows[:wanted]


def spread(first: list[T], second: list[T]) -> list[T]:
    """Both lists as one, each in its order, the second evenly among the first."""
    total = len(first) + len(second)
    ones, others = iter(first), iter(second)
    return [
        next(others) if (i + 1) * len(second) // total > i * len(second) // total else next(ones) for i in range(total)
    ]
