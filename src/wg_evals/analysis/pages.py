"""How the project's HTML pages are made: whatever is put into one is escaped, and it runs its own script alone."""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from wg_evals.analysis import text


class Script(NamedTuple):
    """A page's script, and what its content security policy calls it."""

    text: Markup
    sha256: str


def template(package: str, name: str) -> Template:
    """A page's template, out of a package's folder `templates`; whatever is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = text.duration
    return environment.get_template(name)


def script(package: str, name: str) -> Script:
    """A page's script, out of the same folder."""
    source = (files(package) / "templates" / name).read_text(encoding="utf-8")
    return Script(Markup(source), base64.b64encode(hashlib.sha256(source.encode()).digest()).decode())


def embedded(data: Any) -> Markup:
    """Data as JSON that can stand in a script element, whatever texts are in it.

    No `<` is left, so neither `</script` nor `<!--` can end the element or change how it is read; everything but
    ASCII is escaped, lone surrogates and control characters with it.
    """
    written = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(written.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"}))


def write_page(page: Path, html: str) -> None:
    """Write a page atomically."""
    beside = page.with_name(f".{page.name}.tmp")
    beside.write_text(html, encoding="utf-8")
    beside.replace(page)
