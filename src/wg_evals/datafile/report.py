"""What a chat JSONL file would train on: counted, row by row, without stopping at a bad one."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

from pydantic import BaseModel, ConfigDict

from wg_evals.catalogue import numbered_lines, parse_line, to_row
from wg_evals.datafile.api_rules import EXAMPLE_KEYS, LEAST_EXAMPLES, MOST_TOKENS, example_faults
from wg_evals.datafile.known import KnownFile
from wg_evals.interventions import Message
from wg_evals.spec import Row
from wg_evals.tokens import ESTIMATE, TokenCounter

Reader = Literal["trainer", "openai"]
"""Who refuses a row: `wg-evals train`, or OpenAI's fine-tuning API."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_Record):
    """A row, or a whole file, that would be refused."""

    line: int | None
    """None: the file as a whole."""
    refused_by: Reader
    reason: str


class Length(_Record):
    """How long the rows are."""

    unit: Literal["tokens", "words", "characters"]
    of: Literal["row", "answer"]
    """`row`: the whole conversation. `answer`: the last turn, which alone is trained on."""
    total: int
    shortest: int
    median: float
    longest: int


class FileReport(_Record):
    """What `wg-evals data check` says of a file; all counts but `rows` are of the rows that can be trained on."""

    file: str
    sha256: str
    known_as: KnownFile | None
    """The published file that it is, byte for byte."""
    rows: int
    trainable: int
    duplicates: list[int]
    """Lines of the rows that repeat an earlier one, message for message."""
    prompts_with_several_answers: int
    rows_of_such_prompts: int
    roles: dict[str, int]
    """Messages by role."""
    turns: dict[str, int]
    """Rows by the order of their roles."""
    other_keys: dict[str, int]
    """Rows by the keys that they have beside `messages` and that the API does not document."""
    counted_by: str
    """What stands behind token counts."""
    lengths: list[Length]
    problems: list[Problem]

    @property
    def refused_by_trainer(self) -> bool:
        """Whether `wg-evals train` would refuse the file."""
        return any(p.refused_by == "trainer" for p in self.problems)


def check_file(path: Path, known: Mapping[str, KnownFile], counter: TokenCounter | None = None) -> FileReport:
    """Look at every row of a chat JSONL file.

    Args:
        path: The file.
        known: Published files by sha256.
        counter: Counts tokens; None: words and characters are counted, and tokens estimated from the characters.
    """
    return check_data(path.read_bytes(), str(path), known, counter)


def check_data(
    data: bytes, name: str, known: Mapping[str, KnownFile], counter: TokenCounter | None = None
) -> FileReport:
    """Look at every row of a chat JSONL file's contents; otherwise as `check_file`.

    Args:
        data: The contents.
        name: What the report calls them.
        known: Published files by sha256.
        counter: Counts tokens.
    """
    digest = hashlib.sha256(data).hexdigest()
    numbered: list[_Numbered] = []
    problems: list[Problem] = []
    other_keys: Counter[str] = Counter()
    rows = 0
    for number, line in numbered_lines(data):
        rows += 1
        try:
            example = parse_line(line)
        except ValueError as ex:
            problems += [Problem(line=number, refused_by=r, reason=str(ex)) for r in ("trainer", "openai")]
            continue
        other_keys.update(key for key in example if key not in EXAMPLE_KEYS)
        problems += [Problem(line=number, refused_by="openai", reason=f) for f in example_faults(example)]
        try:
            numbered.append(_Numbered(number, to_row(example, number)))
        except ValueError as ex:
            problems.append(Problem(line=number, refused_by="trainer", reason=str(ex)))
    problems += _too_long(numbered, counter or ESTIMATE)
    problems += _too_few(rows)
    turns = [[m["role"] for m in n.row.messages] for n in numbered]
    answers = _answers_by_prompt(numbered)
    several = [p for p, found in answers.items() if len(set(found)) > 1]
    return FileReport(
        file=name,
        sha256=digest,
        known_as=known.get(digest),
        rows=rows,
        trainable=len(numbered),
        duplicates=_repeats(numbered),
        prompts_with_several_answers=len(several),
        rows_of_such_prompts=sum(len(answers[p]) for p in several),
        roles=dict(Counter(role for roles in turns for role in roles)),
        turns=dict(Counter(", ".join(roles) for roles in turns).most_common()),
        other_keys=dict(other_keys),
        counted_by=(counter or ESTIMATE).how,
        lengths=list(_lengths(numbered, counter)),
        problems=sorted(problems, key=lambda p: (p.line or 0, p.refused_by)),
    )


class _Numbered(NamedTuple):
    line: int
    row: Row

    @property
    def messages(self) -> list[Message]:
        return cast(list[Message], self.row.messages)


def _key(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((m["role"], m["content"]) for m in messages)


def _repeats(rows: Sequence[_Numbered]) -> list[int]:
    seen: set[tuple[tuple[str, str], ...]] = set()
    repeats: list[int] = []
    for line, row in ((n.line, _key(n.messages)) for n in rows):
        if row in seen:
            repeats.append(line)
        seen.add(row)
    return repeats


def _answers_by_prompt(rows: Sequence[_Numbered]) -> dict[tuple[tuple[str, str], ...], list[str]]:
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for n in rows:
        found.setdefault(_key(n.messages[:-1]), []).append(n.row.answer)
    return found


def _too_long(rows: Sequence[_Numbered], counter: TokenCounter) -> Iterator[Problem]:
    for n in rows:
        tokens = counter.whole(n.messages)
        if tokens > MOST_TOKENS:
            reason = f"more than {MOST_TOKENS:,} tokens, by {counter.how}: the API cuts the end off"
            yield Problem(line=n.line, refused_by="openai", reason=reason)


def _too_few(rows: int) -> Iterator[Problem]:
    if rows == 0:
        yield Problem(line=None, refused_by="trainer", reason="the file has no rows")
    if rows < LEAST_EXAMPLES:
        yield Problem(line=None, refused_by="openai", reason=f"fewer than {LEAST_EXAMPLES} rows")


def _lengths(rows: Sequence[_Numbered], counter: TokenCounter | None) -> Iterator[Length]:
    if not rows:
        return
    counts_tokens = counter or ESTIMATE
    whole = [counts_tokens.whole(n.messages) for n in rows]
    yield _length("tokens", "row", whole)
    prompts = (counts_tokens.prompt(n.messages[:-1]) for n in rows)
    yield _length("tokens", "answer", [w - p for w, p in zip(whole, prompts, strict=True)])
    if counter is not None:
        return
    counts: dict[Literal["words", "characters"], Callable[[str], int]] = {
        "words": lambda text: len(text.split()),
        "characters": len,
    }
    for unit, count in counts.items():
        yield _length(unit, "row", [sum(count(m["content"]) for m in n.messages) for n in rows])
        yield _length(unit, "answer", [count(n.row.answer) for n in rows])


def _length(
    unit: Literal["tokens", "words", "characters"], of: Literal["row", "answer"], counts: Sequence[int]
) -> Length:
    return Length(
        unit=unit,
        of=of,
        total=sum(counts),
        shortest=min(counts),
        median=statistics.median(counts),
        longest=max(counts),
    )
