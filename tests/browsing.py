"""Pages of this project in a real Chromium."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def opened(browser: "Browser", file: Path, width: int = 1280, scheme: Any = "light") -> "tuple[Page, list[str]]":
    """Open a page; returns it, and a list that every error, dialog and request for anything else will go to."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("requestfailed", lambda request: trouble.append(request.url))
    own = (file.as_uri(), "data:,")  # the page, and its empty icon
    page.on("request", lambda request: trouble.append(request.url) if request.url not in own else None)
    page.goto(file.as_uri())
    return page, trouble
