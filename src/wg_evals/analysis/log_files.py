"""Inspect's log files, read the quick way: the header, and the summaries of its samples.

Inspect's own `samples_df` builds and checks an object for each sample, its scores and its usage, and shortens every
text once more: 1.3 ms a sample (measured), minutes for 200,000. The summaries that it reads are the JSON that is read
here, with the same fields, and of a sample that was recorded twice the last record counts here too.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from wg_evals.errors import WgError

_HEADER, _SUMMARIES, _START = "header.json", "summaries.json", "_journal/start.json"
_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d.*\.json")
"""How Inspect names its JSON logs; other JSON files are not logs."""


class UnreadableLogError(WgError):
    """A file that has a log's name and cannot be read as one."""


class LogFile(NamedTuple):
    """What a log says, as JSON."""

    header: dict[str, Any]
    """`status`, `eval` and, of a finished log, `results`, `stats` and `error`."""
    samples: list[dict[str, Any]]
    """In the log's order, each answer once, without those that were invalidated."""
    invalidated: Sequence[str] = ()
    """For each answer that was marked as invalid in Inspect the reason that was given, or nothing."""


def find_logs(folder: Path) -> Iterator[Path]:
    """The log files in a folder and below it, by name.

    Args:
        folder: A folder, or a log file, which then is the only one.
    """
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        if (path.suffix == ".eval" or _DATED.fullmatch(path.name)) and path.is_file():
            yield path


def read_log_file(path: Path, samples: bool = True) -> LogFile:
    """Read a log.

    Args:
        path: An `.eval` or `.json` log.
        samples: Whether its samples are wanted too.

    Raises:
        UnreadableLogError: Truncated, damaged, or no log at all.
    """
    try:
        found = _read_json(path) if path.suffix == ".json" else _read_eval(path, samples)
        if not isinstance(found.header["eval"]["task"], str):
            raise ValueError("its header names no task")
        return found
    except zipfile.BadZipFile:
        raise UnreadableLogError(
            "It is truncated or damaged: its end, where the contents are listed, is missing."
        ) from None
    except Exception as ex:  # each way of being damaged fails in its own way
        said = " ".join(str(ex).split())[:200] or type(ex).__name__
        raise UnreadableLogError(f"It cannot be read as an Inspect log ({type(ex).__name__}: {said}).") from None


def read_samples(path: Path, wanted: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Read whole samples of a log, as JSON and in the order in which they are asked for.

    Args:
        path: An `.eval` or `.json` log that `read_log_file` can read.
        wanted: Their ids and epochs.

    Raises:
        UnreadableLogError: One of them is not in the log, or damaged.
    """
    import inspect_ai._util.zipfile  # noqa: F401  # inspect-evals-lint: ignore[private_api_imports] -- its compression

    try:
        if path.suffix == ".json":
            samples = {(str(s["id"]), s["epoch"]): s for s in from_json(path.read_bytes())["samples"]}
            return [_whole(samples[one]) for one in wanted]
        with zipfile.ZipFile(path) as archive:
            return [_whole(from_json(archive.read(_sample_file(*one)))) for one in wanted]
    except Exception as ex:  # each way of being damaged fails in its own way
        raise UnreadableLogError(f"'{path}': an answer cannot be read ({type(ex).__name__}: {ex}).") from None


def _whole(sample: dict[str, Any]) -> dict[str, Any]:
    if "input" not in sample:
        raise ValueError("it has no input")
    return {"metadata": {}, "scores": {}, **sample}


def asked(sample: Mapping[str, Any]) -> str:
    """A whole sample's question as it was before any intervention was put in: what the judge sees too."""
    given = sample["input"]
    return given if isinstance(given, str) else "\n\n".join(_text(m["content"]) for m in given if m["role"] == "user")


def answered(sample: Mapping[str, Any]) -> str:
    """A whole sample's answer; empty where there is none."""
    choices = (sample.get("output") or {}).get("choices") or []
    return _text(choices[0]["message"]["content"]) if choices else ""


def _text(content: Any) -> str:
    """A message's text; what else is in it (reasoning, images) is left out."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def _read_eval(path: Path, samples: bool) -> LogFile:
    import inspect_ai._util.zipfile  # noqa: F401  # inspect-evals-lint: ignore[private_api_imports] -- its compression

    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if _HEADER not in names:  # written last
            return LogFile({**from_json(archive.read(_START)), "status": "started"}, [])
        header = from_json(archive.read(_HEADER))
        if not samples or _SUMMARIES not in names:
            return LogFile(header, [])
        summaries = _each_once(from_json(archive.read(_SUMMARIES)))
        if not header.get("invalidated"):
            return LogFile(header, summaries)
        # which of the answers is invalid stands in the whole samples alone
        marks = [from_json(archive.read(_sample_file(s["id"], s["epoch"]))).get("invalidation") for s in summaries]
        return _only_valid(header, summaries, marks)


def _read_json(path: Path) -> LogFile:
    header = from_json(path.read_bytes())
    samples = _each_once(header.pop("samples", None) or [])
    return _only_valid(header, samples, [s.get("invalidation") for s in samples])


def _only_valid(
    header: dict[str, Any], samples: Sequence[dict[str, Any]], marks: Sequence[Mapping[str, Any] | None]
) -> LogFile:
    valid = [sample for sample, mark in zip(samples, marks, strict=True) if mark is None]
    return LogFile(header, valid, [str(mark.get("reason") or "") for mark in marks if mark is not None])


def _sample_file(name: str | int, epoch: int) -> str:
    return f"samples/{name}_epoch_{epoch}.json"


def _each_once(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({(str(s["id"]), s["epoch"]): s for s in samples}.values())
