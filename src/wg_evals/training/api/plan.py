"""What a training behind an API would do and cost; nothing is uploaded."""

from collections.abc import Iterator, Sequence

from wg_evals.interventions import Message
from wg_evals.planning.prices import Prices
from wg_evals.tokens import ESTIMATE, TokenCounter
from wg_evals.training.api.recipe import ApiRecipe, OpenAISettings
from wg_evals.training.rows import training_rows

_TOKENS_PER_MESSAGE = 3
"""What OpenAI's chat format adds to each message, by its published counting example."""


def plan_lines(recipe: ApiRecipe, prices: Prices | None = None) -> Iterator[str]:
    """Say what `train_by_api` would upload and ask for.

    Args:
        recipe: What to train on what.
        prices: The user's own; the base is looked up by Inspect's name for it.

    Raises:
        WgError: Rows that cannot be used.
    """
    rows = training_rows(recipe)
    counter = _tiktoken_counter(recipe.base) or ESTIMATE
    tokens = sum(counter.whole(c) for c in rows.conversations)
    about = "about " if counter is ESTIMATE else ""
    epochs = recipe.together.n_epochs if recipe.together else (recipe.openai or OpenAISettings()).n_epochs
    yield f"Backend: {recipe.backend}, base {recipe.base}, seed {recipe.seed}"
    yield f"Intervention: {rows.intervention.name if rows.intervention else 'none'}"
    yield f"Rows uploaded: {len(rows.conversations):,}"
    yield f"Tokens an epoch: {about}{tokens:,} (by {counter.how})"
    if epochs == "auto":
        yield "Epochs: auto, the API chooses; give n_epochs to know the cost"
        return
    yield f"Epochs: {epochs}; {about}{tokens * int(epochs):,} tokens are billed"
    if prices is None:
        return
    price = prices.by_model.get(recipe.inspect_base)
    if price is None or price.training is None:
        yield f"No price for training {recipe.inspect_base} in {prices.path}"
        return
    yield f"Cost: {about}{tokens * int(epochs) * price.training / 1e6:,.2f} USD, by {prices.path}"


def _tiktoken_counter(model: str) -> TokenCounter | None:
    """Count as OpenAI's models do; None where tiktoken is missing, or knows nothing of the model."""
    try:
        import tiktoken

        encoding = tiktoken.encoding_for_model(model)
    except (ImportError, KeyError, OSError):  # its tables come from the network, the first time
        return None

    def count(messages: Sequence[Message]) -> int:
        texts = (text for m in messages for text in (m["role"], m["content"]))
        return sum(len(encoding.encode_ordinary(t)) for t in texts) + _TOKENS_PER_MESSAGE * len(messages)

    return TokenCounter(f"tiktoken's {encoding.name}", count, count)
