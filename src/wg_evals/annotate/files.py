"""Where a sample's page and key lie."""

from pathlib import Path

from wg_evals.analysis.pages import write_page
from wg_evals.annotate.key import write_key
from wg_evals.annotate.page import render
from wg_evals.annotate.sample import Drawn
from wg_evals.errors import WgError


def write_sample(page: Path, drawn: Drawn) -> Path:
    """Write a sample's page, and its key beside it.

    Args:
        page: The page's file.
        drawn: The sample.

    Returns:
        The key's file.

    Raises:
        WgError: The key is there already, and is another sample's: without it, that one's ratings are worth nothing.
    """
    key_path = page.with_name(f"{page.stem}.key.json")
    if key_path.exists() and f'"sample": "{drawn.key.sample}"' not in key_path.read_text(encoding="utf-8"):
        raise WgError(
            f"'{key_path}' is the key of another sample, whose ratings cannot be scored without it: give another --out."
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_key(key_path, drawn.key)
    write_page(page, render(drawn))
    return key_path
