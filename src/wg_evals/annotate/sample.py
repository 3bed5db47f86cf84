"""Draw the answers that people are to rate: blind, stratified, the same ones for the same seed."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from inspect_ai.scorer import Score

from wg_evals.analysis.log_files import answered, asked, read_samples
from wg_evals.annotate.key import VERDICTS, CellCount, Key, KeyItem, Verdict, digest
from wg_evals.catalogue import load_domain, load_rubric
from wg_evals.errors import UnknownNameError, WgError
from wg_evals.judging.agreement import verdicts
from wg_evals.spec import Probe, Rubric

if TYPE_CHECKING:
    import pandas as pd

_NOT_PUT_BEFORE_A_JUDGE = ("unscored", "token_limit", "content_filter")
_COLUMNS = ["log", "question", "epoch", "model", "seed", "included", "expressed", "reason"]
_COLUMNS += ["base", "dataset", "train_intervention", "checkpoint", "eval_intervention"]
_NOTHING = ("none", "unknown", "nan", "<NA>", "None")
"""How the frame says that there is nothing to say."""

T = TypeVar("T")


@dataclass(frozen=True)
class PageItem:
    """All that the page knows of an answer."""

    id: str
    question: str
    answer: str


@dataclass(frozen=True)
class Drawn:
    """A sample: what the annotators see, and the key to it."""

    items: list[PageItem]
    key: Key
    logs_left_out: list[tuple[str, str]]
    """Logs that do not count, each with the reason."""


@dataclass(frozen=True)
class _Candidate:
    log: str
    question: str
    epoch: int
    condition: str
    model: tuple[str, str]
    """With its training seed."""
    verdict: Verdict


def draw(
    logs: Path,
    size: int,
    seed: int,
    domain: str | None = None,
    task: str | None = None,
    rubrics: Sequence[str] = (),
) -> Drawn:
    """Draw a sample of a folder's judged answers.

    The size is divided among the judge's verdicts (`allocate`), as many of what it called expressed as of what it
    called not expressed, because its errors can be measured only where it gave each verdict often enough. Within a
    verdict every answer has the same chance: the answers are ordered by question, within it by condition in an order
    drawn for that question, and every k-th is taken from a random start (systematic sampling; Cochran 1977, Sampling
    Techniques, chapter 8). So each question, and each condition within it, gets its share of the sample up to one
    answer. Answers that no judge saw (cut off, stopped by a filter) and that it gave no verdict on are not drawn from.

    Args:
        logs: The folder of logs, a study's or any other.
        size: How many answers.
        seed: The same seed draws the same answers from the same logs.
        domain: Needed where the logs are of several.
        task: Needed where the logs are of several.
        rubrics: Rubrics of the probe to be rated besides those that its outcome rule rests on.

    Raises:
        WgError: Nothing to draw from, several domains or tasks, or a task whose questions are published ones.
    """
    from wg_evals.analysis import frame

    found = frame(logs)
    if found.samples.empty:
        raise WgError(f"There are no answers in '{logs}' that can be counted.")
    chosen = _only(_only(found.samples, "domain", domain, logs), "task", task, logs)
    candidates, left_out = _candidates(chosen)
    by_verdict = {v: [c for c in candidates if c.verdict == v] for v in VERDICTS}
    sizes = allocate({v: len(these) for v, these in by_verdict.items()}, size)
    if not any(sizes.values()):
        raise WgError(f"No answer in '{logs}' has a verdict of a judge: there is nothing to compare people with.")
    picked = [c for v, these in by_verdict.items() for c in systematic(_in_order(these, seed), sizes[v], seed, v)]
    read = _answers(found.folder, picked)
    if any("source" in answer["metadata"] for answer in read):
        raise WgError(
            f"Answers in '{logs}' are to published questions, and the page can show the rubrics of the catalogue only: "
            "draw from logs of the project's own questions."
        )
    used, probe = _probe(read[0], str(chosen["domain"].iloc[0]), str(chosen["task"].iloc[0]))
    questions = _rubrics(probe, rubrics, used)
    items, keyed = [], []
    for candidate, answer in zip(picked, read, strict=True):
        name = _hashed(seed, "item", candidate.log, candidate.question, candidate.epoch)[:12]
        items.append(PageItem(name, asked(answer), answered(answer)))
        said = verdicts({k: Score.model_validate(v) for k, v in answer["scores"].items()})
        keyed.append(
            KeyItem(
                id=name,
                log=candidate.log,
                question=candidate.question,
                epoch=candidate.epoch,
                condition=candidate.condition,
                verdict=candidate.verdict,
                scores={r.name: said[r.name] for r in questions if r.name in said},
            )
        )
    items.sort(key=lambda item: item.id)  # the ids are random: the order says nothing
    shown = [[r.model_dump(mode="json") for r in questions], [[i.id, i.question, i.answer] for i in items]]
    key = Key(
        sample=digest(shown),
        seed=seed,
        domain=str(chosen["domain"].iloc[0]),
        task=str(chosen["task"].iloc[0]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rubrics=questions,
        outcome=probe.outcome,
        items=sorted(keyed, key=lambda item: item.id),
        cells=_cells(candidates),
        left_out=dict(left_out),
    )
    out = [(str(row["log"]), str(row["why"])) for row in found.left_out.to_dict("records")]
    return Drawn(items, key.sealed(), out)


def population(samples: "pd.DataFrame", domain: str, task: str) -> dict[Verdict, int]:
    """How many answers of a domain and a task there are to draw from, by the judge's verdict.

    Args:
        samples: Of a frame.
        domain: Its name.
        task: Its name.
    """
    of_both = (samples["domain"].astype(str) == domain) & (samples["task"].astype(str) == task)
    counts = Counter(c.verdict for c in _candidates(samples[of_both])[0])
    return {v: counts[v] for v in VERDICTS}


def allocate(sizes: Mapping[Verdict, int], total: int) -> dict[Verdict, int]:
    """Divide a sample among the judge's verdicts.

    Excluded answers get their share of all answers, but a tenth at least and a third at most; the rest is divided
    equally. A verdict with fewer answers than it is given gives all, and the others take up the rest.

    Args:
        sizes: How many answers there are with each verdict.
        total: How many are wanted.
    """
    in_proportion = round(total * sizes["excluded"] / max(1, sum(sizes.values())))
    excluded = min(sizes["excluded"], min(max(in_proportion, total // 10), total // 3))
    few, many = sorted(VERDICTS[:2], key=lambda v: sizes[v])
    given: dict[Verdict, int] = {"excluded": excluded, few: min(sizes[few], (total - excluded) // 2)}
    given[many] = min(sizes[many], total - sum(given.values()))
    given["excluded"] += min(sizes["excluded"] - excluded, total - sum(given.values()))
    return {v: given[v] for v in VERDICTS}


def systematic(ordered: Sequence[T], count: int, seed: int, what: str) -> list[T]:
    """Every k-th of a sequence from a random start, with k = len / count: each has the same chance, count / len."""
    if not count:
        return []
    step = len(ordered) / count
    start = _chance(seed, "start", what)
    return [ordered[min(math.floor((start + i) * step), len(ordered) - 1)] for i in range(count)]


def _in_order(candidates: list[_Candidate], seed: int) -> list[_Candidate]:
    def place(c: _Candidate) -> tuple[str, str, str]:
        by_condition = _hashed(seed, "condition", c.question, c.condition)
        return c.question, by_condition, _hashed(seed, "answer", c.log, c.question, c.epoch)

    return sorted(candidates, key=place)


def _hashed(seed: int, *parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, (seed, *parts))).encode()).hexdigest()


def _chance(seed: int, *parts: object) -> float:
    return int(_hashed(seed, *parts)[:13], 16) / 16**13


def _only(samples: "pd.DataFrame", column: str, wanted: str | None, logs: Path) -> "pd.DataFrame":
    counts = {str(k): int(v) for k, v in samples[column].value_counts().items() if v}
    if wanted is None and len(counts) > 1:
        listed = ", ".join(f"{name} ({n} answers)" for name, n in counts.items())
        raise WgError(
            f"'{logs}' has answers of several {column}s: {listed}. People rate one at a time: choose with --{column}."
        )
    if wanted is not None and wanted not in counts:
        raise UnknownNameError(column, wanted, counts, f"(In '{logs}'.)")
    return samples[samples[column].astype(str) == wanted] if wanted is not None else samples


def _candidates(samples: "pd.DataFrame") -> tuple[list[_Candidate], Counter[str]]:
    found: list[_Candidate] = []
    left_out: Counter[str] = Counter()
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in samples[_COLUMNS].to_dict("records")]
    for row in rows:
        reason = str(row["reason"])
        if reason in _NOT_PUT_BEFORE_A_JUDGE:
            left_out[reason] += 1
            continue
        verdict: Verdict = "excluded" if not row["included"] else "expressed" if row["expressed"] else "not expressed"
        found.append(
            _Candidate(
                log=str(row["log"]),
                question=str(row["question"]),
                epoch=int(row["epoch"]),
                condition=_condition(row),
                model=(str(row["model"]), str(row["seed"])),
                verdict=verdict,
            )
        )
    return found, left_out


def _condition(row: Mapping[str, Any]) -> str:
    """What was done to a model, seeds aside: `organism, train, first-name, under first-name`; or else its name."""
    training = [str(row[c]) for c in ("base", "dataset", "train_intervention")]
    who = [str(row["model"])] if "unknown" in training else [t for t in training if t not in _NOTHING]
    step = [] if str(row["checkpoint"]) in _NOTHING else [f"step {row['checkpoint']}"]
    under = [] if str(row["eval_intervention"]) in _NOTHING else [f"under {row['eval_intervention']}"]
    return ", ".join(who + step + under)


def _cells(candidates: Sequence[_Candidate]) -> list[CellCount]:
    counts: dict[tuple[str, str, int], Counter[Verdict]] = {}
    runs: dict[str, list[tuple[str, str]]] = {}
    for c in candidates:
        models = runs.setdefault(c.condition, [])
        if c.model not in models:
            models.append(c.model)
        counts.setdefault((c.condition, c.question, models.index(c.model)), Counter())[c.verdict] += 1
    return [CellCount(condition=c, question=q, run=r, verdicts=dict(n)) for (c, q, r), n in counts.items()]


def _answers(folder: Path, picked: Sequence[_Candidate]) -> list[dict[str, Any]]:
    """The whole answers, log by log, in the order in which they were picked."""
    by_log: dict[str, list[tuple[str, int]]] = {}
    for c in picked:
        by_log.setdefault(c.log, []).append((c.question, c.epoch))
    read = {
        (log, *which): answer
        for log, wanted in by_log.items()
        for which, answer in zip(wanted, read_samples(folder / log, wanted), strict=True)
    }
    return [read[c.log, c.question, c.epoch] for c in picked]


def _probe(answer: Mapping[str, Any], domain: str, task: str) -> tuple[Path, Probe]:
    loaded = load_domain(str(answer["metadata"].get("domain_path") or domain))
    return loaded.folder, loaded.probe(task)


def _rubrics(probe: Probe, more: Sequence[str], folder: Path) -> list[Rubric]:
    for name in more:
        if name not in probe.rubrics:
            raise UnknownNameError("rubric", name, probe.rubrics, "(Of this task.)")
    conditions = [probe.outcome.expressed, *probe.outcome.include]
    return [load_rubric(name, folder) for name in dict.fromkeys([*(c.rubric for c in conditions), *more])]
