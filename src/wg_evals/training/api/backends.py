"""The APIs that a recipe's `backend` can name."""

from wg_evals.training.api.provider import Provider
from wg_evals.training.api.recipe import Backend


def open_provider(backend: Backend) -> Provider:
    """The API of a recipe's `backend`.

    Raises:
        WgError: No key for it.
    """
    if backend == "openai":
        from wg_evals.training.api.openai import OpenAIProvider

        return OpenAIProvider()
    from wg_evals.training.api.together import TogetherProvider

    return TogetherProvider()
