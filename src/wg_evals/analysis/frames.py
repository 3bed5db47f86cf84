"""All logs of a folder as two tables: the answers, and the cells that they are of.

What Inspect's `samples_df` would give is read from the same summaries without its cost a sample (`log_files`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from wg_evals.analysis.log_files import LogFile, UnreadableLogError, find_logs, read_log_file
from wg_evals.analysis.logs import OUTCOME
from wg_evals.analysis.records import NONE, Plan, PlannedCell, find_studies, read_record
from wg_evals.analysis.subjects import (
    UNKNOWN,
    Manifests,
    Subject,
    adapter_identity,
    intervention_name,
    model_name,
    same_text,
    subject,
    summarised,
)
from wg_evals.analysis.told_apart import digest, with_clear_names
from wg_evals.analysis.training_settings import settings_learned_from
from wg_evals.errors import WgError
from wg_evals.spec import Intervention

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = "published"
"""The score that holds what published judges said, judge by judge."""

CELL_COLUMNS = [
    "domain",
    "trait",
    "base",
    "model",
    "role",
    "train_intervention",
    "kind",
    "relevance",
    "dataset",
    "training_differs",
    "seed",
]
CELL_COLUMNS += [
    "checkpoint",
    "context",
    "eval_intervention",
    "eval_placement",
    "task",
    "task_version",
    "battery",
    "judged_by",
]
COUNT_COLUMNS = ["n", "included", "excluded", "unscored", "expressed", "rate", "ci_low", "ci_high"]
ABOUT_COLUMNS = ["grading", "judge", "self_judged", "outcome_rule", "study", "steps"]
ABOUT_COLUMNS += ["created", "wg_evals", "inspect_ai", "log"]
SAMPLE_COLUMNS = ["question", "topic", "epoch", "included", "expressed", "reason"]
_NAMED_BY = ["identity", "training_prefix", "prefix", "settings", "data"]
"""What the names in a cell's row stand for."""
LEFT_OUT_COLUMNS = ["log", "what", "why", "instead"]

What = Literal[
    "unreadable",
    "running",
    "failed",
    "other task",
    "older version",
    "superseded",
    "not planned",
    "no verdict",
    "invalidated",
]
"""Why a log is left out, in a word.

A `no verdict` of a single rubric leaves out that rubric and not the log, and so do `invalidated` answers.
"""


@dataclass(frozen=True)
class Frame:
    """Every answer in a folder's logs, once."""

    folder: Path
    samples: "pd.DataFrame"
    """A row an answer: `CELL_COLUMNS`, `SAMPLE_COLUMNS`, a column for each rubric, `cell` and `log`.

    `included` and `expressed` are booleans; a rating is a number 0-100 and nan where there is none; a label is text.
    """
    cells: "pd.DataFrame"
    """A row a cell, by its number (`samples.cell`): `CELL_COLUMNS`, `COUNT_COLUMNS` and `ABOUT_COLUMNS`.

    The interval is over questions, of this model alone.
    """
    left_out: "pd.DataFrame"
    """A row for each log that does not count: `LEFT_OUT_COLUMNS`; `instead` is the log that counts in its place."""
    rubrics: list[str]
    """The rubrics' columns in `samples`."""


class _Cell(NamedTuple):
    """A log that may count."""

    path: Path
    file: LogFile
    subject: Subject
    domain: str
    trait: str
    task: str
    version: str
    battery: str
    context: str
    under: Intervention | None
    study: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What two logs of the same cell have in common."""
        under = (summarised(self.under.text), self.under.placement) if self.under else None
        s = self.subject
        run = (s.identity, s.base, s.dataset, s.trained_with, s.seed, s.checkpoint)
        return (self.domain, self.task, self.battery, judged_by(self.file.header), *run, under)

    @property
    def created(self) -> str:
        return str(self.file.header["eval"].get("created", ""))

    @property
    def questions(self) -> set[str]:
        return {str(s["id"]) for s in self.file.samples}


class _LeftOutError(Exception):
    def __init__(self, what: What, why: str, instead: Path | None = None) -> None:
        super().__init__(why)
        self.what, self.why, self.instead = what, why, instead


@dataclass
class _Study:
    folder: Path
    plan: Plan
    cells: dict[Path, PlannedCell] = field(init=False)
    bases: dict[str, str] = field(default_factory=dict)
    """A name for each base, by the plan's, that no other base of the folder's studies has."""

    def __post_init__(self) -> None:
        self.cells = {self.folder / c.folder: c for c in self.plan.cells}


def read_frame(folder: Path) -> Frame:
    """What `wg_evals.analysis.frame` gives.

    Raises:
        WgError: There is no such folder, or no log in it.
    """
    folder = folder.expanduser().resolve()
    if not folder.exists():
        raise WgError(f"No logs at '{folder}': there is no such folder.")
    paths = list(find_logs(folder))
    if not paths:
        raise WgError(f"There is no log in '{folder}': give a study's folder, or one that `inspect eval` wrote into.")
    root = folder if folder.is_dir() else folder.parent
    studies = [_Study(place, plan) for place, plan in find_studies(root)]
    manifests = Manifests.below({root, *(s.folder for s in studies)})
    for study in studies:
        manifests.bases |= {b.path: b.name for b in study.plan.bases}
    _name_bases(studies)
    reading = _Reading(root, studies, manifests)
    for path in paths:
        reading.take(path)
    return reading.frame()


def _name_bases(studies: list[_Study]) -> None:
    identities: dict[str, set[str]] = {}
    for base in (b for study in studies for b in study.plan.bases):
        identities.setdefault(base.name, set()).add(base.identity)
    for study in studies:
        for b in study.plan.bases:
            study.bases[b.name] = b.name if len(identities[b.name]) == 1 else f"{b.name} ({b.identity[:8]})"


class _Reading:
    """Goes through the logs, keeps of each answer what the tables need, and lets go of the rest."""

    def __init__(self, root: Path, studies: list[_Study], manifests: Manifests) -> None:
        self.root, self.studies, self.manifests = root, studies, manifests
        self.left_out: list[dict[str, str]] = []
        self.kept: list[_Kept] = []

    def take(self, path: Path) -> None:
        """Read a log and keep it, or say why not."""
        try:
            file = read_log_file(path)
            self.kept.append(_Kept(self._cell(path, file), self._name(path)))
            if file.invalidated:
                why = f"{len(file.invalidated)} of its {_invalidated(file)}; the others count."
                self._leave(path, "invalidated", why)
        except UnreadableLogError as ex:
            self._leave(path, "unreadable", ex.text)
        except _LeftOutError as ex:
            self._leave(path, ex.what, ex.why, self._name(ex.instead) if ex.instead else "")

    def frame(self) -> Frame:
        """The tables of what was kept."""
        import pandas as pd

        groups = self._by_cell(self._newest_version(self._without_copies()))
        counted = [k for group in groups for k in self._once(group)]
        for kept in counted:
            for rubric in kept.empty_rubrics():
                self._leave(kept.name, "no verdict", f"'{rubric}' has no value in any answer; the other scores count.")
        counted.sort(key=lambda k: k.name)
        rubrics = list(dict.fromkeys(r for k in counted for r in k.rubrics))
        cells = pd.DataFrame(
            [k.row() for k in counted], columns=[*CELL_COLUMNS, *COUNT_COLUMNS, *ABOUT_COLUMNS, *_NAMED_BY]
        )
        cells = with_clear_names(cells)[[*CELL_COLUMNS, *COUNT_COLUMNS, *ABOUT_COLUMNS]]
        for column in ("seed", "checkpoint", "steps"):
            cells[column] = cells[column].astype("Int64")
        left_out = pd.DataFrame(self.left_out, columns=LEFT_OUT_COLUMNS)
        left_out = left_out.sort_values("log", kind="stable", ignore_index=True)
        return Frame(self.root, _samples(counted, cells, rubrics), cells, left_out, rubrics)

    def _cell(self, path: Path, file: LogFile) -> _Cell:
        header, spec = file.header, file.header["eval"]
        planned = self._planned(path)
        about: Mapping[str, Any] = spec.get("metadata") or {}
        if planned is None and not (about.get("domain") and about.get("task")):
            raise _LeftOutError("other task", f"It is of the task '{spec['task']}', which is none of this project's.")
        if header["status"] == "started":
            raise _LeftOutError("running", "It is not finished: its run is still going on, or was killed.")
        if header["status"] != "success":
            said = (header.get("error") or {}).get("message") or "it was interrupted"
            raise _LeftOutError(
                "failed",
                f"Its run ended with '{header['status']}' ({said[:200]}). `inspect eval-retry` goes on with it.",
            )
        if file.invalidated and not file.samples:
            raise _LeftOutError("invalidated", f"All of its {_invalidated(file)}.")
        if not any(_verdict(s)[2] != "unscored" for s in file.samples):
            raise _LeftOutError("no verdict", f"Not one of its {len(file.samples)} answers has a verdict.")
        first: Mapping[str, Any] = file.samples[0].get("metadata") or {}
        task = str(spec["task"]).rsplit("/", 1)[-1]
        shared: dict[str, Any] = {
            "path": path,
            "file": file,
            "task": task,
            "version": str(spec.get("task_version", "")),
            "battery": str(about.get("battery") or first.get("battery") or UNKNOWN),
        }
        if planned is not None:
            study, cell = planned
            return _Cell(
                **shared,
                subject=_as_planned(study, cell, spec, self.manifests),
                domain=study.plan.domain,
                trait=study.plan.trait,
                context=cell.context,
                under=cell.intervention,
                study=str(study.folder),
            )
        who, under = subject(header, self.manifests), _applied(first)
        domain = str(about["domain"])
        return _Cell(
            **shared,
            subject=who,
            domain=domain,
            trait=_trait(str(about.get("domain_path") or domain)),
            context=_context(who, under),
            under=under,
            study="",
        )

    def _planned(self, path: Path) -> tuple[_Study, PlannedCell] | None:
        """The study's cell that a log is of; None for a log outside the studies."""
        for study in self.studies:
            if not path.is_relative_to(study.folder / "evals"):
                continue
            cell = study.cells.get(path.parent)
            if cell is None:
                raise _LeftOutError("not planned", "Its cell is not in its study's present plan.")
            record = read_record(path.parent)
            if record is None:
                raise _LeftOutError("running", f"Its cell '{path.parent.name}' is not finished.")
            if record.log != path.name:
                why = f"'{record.log}' is the log that counts for its cell."
                raise _LeftOutError("superseded", why, path.with_name(record.log))
            return study, cell
        return None

    def _without_copies(self) -> Iterator["_Kept"]:
        """One log of each run: a copy has the same answers, as has one that was judged anew, which comes last.

        A study's own comes first.
        """
        seen: dict[str, _Kept] = {}
        for k in sorted(self.kept, key=lambda k: (not k.cell.study, k.rejudged, k.name)):
            run = str(k.header["eval"].get("eval_id") or k.name)
            if run in seen:
                self._supersede(k, seen[run])
            else:
                seen[run] = k
                yield k

    def _newest_version(self, logs: Iterable["_Kept"]) -> Iterator["_Kept"]:
        """Without the logs of a version whose scores cannot be compared with the newest one's."""
        logs = list(logs)
        newest: dict[str, str] = {}
        for k in logs:
            newest[k.cell.task] = max(newest.get(k.cell.task, ""), k.cell.version, key=_generation)
        for k in logs:
            best = newest[k.cell.task]
            if _generation(k.cell.version) == _generation(best):
                yield k
            else:
                why = f"It is of version {k.cell.version} of '{k.cell.task}', and there are logs of {best} here."
                self._leave(k.name, "older version", why)

    def _by_cell(self, logs: Iterable["_Kept"]) -> Iterable[list["_Kept"]]:
        groups: dict[tuple[Any, ...], list[_Kept]] = {}
        for k in logs:
            groups.setdefault(k.cell.key, []).append(k)
        return groups.values()

    def _once(self, group: list["_Kept"]) -> Iterator["_Kept"]:
        """Of several logs of one cell the one with most verdicts, then the newest.

        Another counts too only with other questions.
        """
        taken: list[_Kept] = []
        for k in sorted(group, key=lambda k: (k.scored, k.created), reverse=True):
            same = next((t for t in taken if t.asked & k.asked), None)
            if same is None:
                taken.append(k)
                yield k
            else:
                self._supersede(k, same)

    def _supersede(self, k: "_Kept", by: "_Kept") -> None:
        judged = f" It was judged otherwise: {k.judged_by}." if k.judged_by != by.judged_by else ""
        self._leave(k.name, "superseded", f"It is of the same cell as '{by.name}', which counts.{judged}", by.name)

    def _leave(self, path: Path | str, what: What, why: str, instead: str = "") -> None:
        name = path if isinstance(path, str) else self._name(path)
        self.left_out.append({"log": name, "what": what, "why": why, "instead": instead})

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


class _Kept:
    """What is kept of a log: a column a thing, an entry an answer."""

    def __init__(self, cell: _Cell, name: str) -> None:
        self.name = name
        samples = cell.file.samples
        self.header = {k: v for k, v in cell.file.header.items() if k in ("eval", "status")}
        self.cell = cell._replace(file=LogFile(self.header, []))
        self.created, self.asked = cell.created, cell.questions
        self.question = [str(s["id"]) for s in samples]
        self.topic = [str((s.get("metadata") or {}).get("topic") or s["id"]) for s in samples]
        self.epochs = [int(s["epoch"]) for s in samples]
        verdicts = [_verdict(s) for s in samples]
        self.included = [v[0] for v in verdicts]
        self.expressed = [v[1] for v in verdicts]
        self.reason = [v[2] for v in verdicts]
        self.rubrics: dict[str, list[Any]] = {}
        for i, sample in enumerate(samples):
            for rubric, value in _ratings(sample):
                self.rubrics.setdefault(rubric, [None] * len(samples))[i] = value

    @property
    def scored(self) -> int:
        """How many of its answers have a verdict."""
        return len(self.reason) - self.reason.count("unscored")

    @property
    def judged_by(self) -> str:
        return judged_by(self.header)

    @property
    def rejudged(self) -> bool:
        """Whether `wg-evals rejudge` made it."""
        return "rejudged_from" in (self.header["eval"].get("metadata") or {})

    def empty_rubrics(self) -> list[str]:
        """Rubrics without a single value."""
        return [r for r, values in self.rubrics.items() if all(v is None or v != v for v in values)]

    def row(self) -> dict[str, Any]:
        """The cell's row."""
        cell, who, under, spec = self.cell, self.cell.subject, self.cell.under, self.header["eval"]
        about: Mapping[str, Any] = spec.get("metadata") or {}
        used = who.intervention
        return {
            "domain": cell.domain,
            "trait": cell.trait,
            "base": who.base,
            "model": who.model,
            "role": who.role,
            "train_intervention": who.trained_with,
            "kind": (used.kind if used else None) or (UNKNOWN if who.trained_with == UNKNOWN else NONE),
            "relevance": (used.relevance if used else None) or (UNKNOWN if who.trained_with == UNKNOWN else NONE),
            "dataset": who.dataset,
            "seed": who.seed,
            "checkpoint": who.checkpoint,
            "context": cell.context,
            "eval_intervention": intervention_name(cell.under),
            "eval_placement": cell.under.placement if cell.under else NONE,
            "task": cell.task,
            "task_version": cell.version,
            "battery": cell.battery,
            "judged_by": self.judged_by,
            "n": len(self.reason),
            "included": sum(self.included),
            "excluded": self.scored - sum(self.included),
            "unscored": len(self.reason) - self.scored,
            "expressed": sum(self.expressed),
            **self._interval(),
            "grading": about.get("grading", UNKNOWN),
            "judge": about.get("judge", NONE),
            "self_judged": bool(about.get("self_judged", False)),
            "outcome_rule": json.dumps(about.get("outcome_rule")),
            "study": cell.study,
            "steps": who.steps,
            "created": self.created,
            "wg_evals": about.get("wg_evals", UNKNOWN),
            "inspect_ai": (spec.get("packages") or {}).get("inspect_ai", UNKNOWN),
            "log": self.name,
            "identity": who.identity,
            "training_prefix": digest(f"{used.placement}: {summarised(used.text)}") if used else "",
            "prefix": digest(summarised(under.text)) if under else "",
            "settings": digest(who.settings),
            "data": who.data[:8],
        }

    def _interval(self) -> dict[str, float]:
        from wg_evals.statistics import clustered_rate

        counts: dict[str, list[int]] = {}
        for question, included, expressed in zip(self.question, self.included, self.expressed, strict=True):
            found = counts.setdefault(question, [0, 0])
            found[0] += expressed
            found[1] += included
        rate = clustered_rate([e for e, _ in counts.values()], [m for _, m in counts.values()])
        return {"rate": rate.rate, "ci_low": rate.low, "ci_high": rate.high}


def judged_by(header: Mapping[str, Any]) -> str:
    """How a log's answers were graded, and by whom."""
    about = header["eval"].get("metadata") or {}
    return ", ".join(str(about[k]) for k in ("grading", "judge") if about.get(k)) or UNKNOWN


def _samples(counted: list[_Kept], cells: "pd.DataFrame", rubrics: list[str]) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    lengths = np.array([len(k.question) for k in counted], dtype=np.int64)
    numbers = np.repeat(np.arange(len(counted)), lengths)
    columns: dict[str, Any] = {}
    for name in [*CELL_COLUMNS, "log"]:
        values = cells[name]
        if name not in ("seed", "checkpoint"):
            values = values.astype("category")
        columns[name] = values.array.take(numbers)
    for name, attribute in (("question", "question"), ("topic", "topic"), ("reason", "reason")):
        columns[name] = pd.Categorical([v for k in counted for v in getattr(k, attribute)])
    columns["epoch"] = np.array([v for k in counted for v in k.epochs], dtype=np.int32)
    for name in ("included", "expressed"):
        columns[name] = np.array([v for k in counted for v in getattr(k, name)], dtype=bool)
    for rubric in rubrics:
        columns[rubric] = _column([v for k in counted for v in k.rubrics.get(rubric) or [None] * len(k.question)])
    columns["cell"] = numbers
    return pd.DataFrame(columns)[[*CELL_COLUMNS, *SAMPLE_COLUMNS, *rubrics, "cell", "log"]]


def _column(values: list[Any]) -> Any:
    """Ratings as numbers, an escape among them as nan (the reason says it); labels as text."""
    import numpy as np
    import pandas as pd

    if any(isinstance(v, int | float) and v == v for v in values):
        return np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=np.float64)
    return pd.Categorical([v if isinstance(v, str) else None for v in values])


def _verdict(sample: Mapping[str, Any]) -> tuple[bool, bool, str]:
    """Whether an answer is included, whether it expresses the trait, and `included` or why it is not."""
    score = (sample.get("scores") or {}).get(OUTCOME)
    value = score["value"] if score else None
    if sample.get("error") or not isinstance(value, dict) or "included" not in value:
        return False, False, "unscored"
    included = bool(value["included"])
    return included, included and bool(value.get("expressed")), str(value.get("reason") or "unscored")


def _invalidated(file: LogFile) -> str:
    reasons = ", ".join(sorted(set(filter(None, file.invalidated)))) or "no reason given"
    return f"{len(file.samples) + len(file.invalidated)} answers were marked as invalid in Inspect ({reasons})"


def _ratings(sample: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, score in (sample.get("scores") or {}).items():
        if name == PUBLISHED and isinstance(score["value"], dict):
            yield from score["value"].items()
        elif name != OUTCOME and not isinstance(score["value"], dict | list):
            yield name, score["value"]


def _as_planned(study: _Study, cell: PlannedCell, spec: Mapping[str, Any], manifests: Manifests) -> Subject:
    condition, model, base = cell.condition, model_name(spec), study.bases.get(cell.base, cell.base)
    used, about = condition.intervention, spec.get("metadata") or {}
    made = manifests.by_sha256.get(str(about.get("adapter_sha256"))) or manifests.by_name.get(model)
    brought = condition.role == "adapter"
    recipe = study.plan.recipe if not brought else made.recipe if made else {}
    settings = settings_learned_from(recipe)
    if condition.dataset == NONE:
        identity, settings = base, ""
    elif "adapter_sha256" in about:
        identity = adapter_identity("", about)
    else:
        identity = model if made or not settings else f"{model}, {settings}"
    return Subject(
        model=model,
        identity=identity,
        base=base,
        dataset=condition.dataset,
        trained_with=intervention_name(used),
        intervention=used,
        seed=cell.seed,
        checkpoint=None,
        settings=settings,
        data=made.data_sha256 if made else "",
    )


def _applied(metadata: Mapping[str, Any]) -> Intervention | None:
    """What stood before the questions, by a sample's metadata."""
    text = metadata.get("intervention_text")
    if not text:
        return None
    return Intervention.model_construct(
        name=str(metadata.get("intervention") or "literal"),
        text=str(text),
        placement=metadata.get("placement") or "before",
        kind=metadata.get("kind"),
        relevance=metadata.get("relevance"),
    )


def _context(who: Subject, under: Intervention | None) -> str:
    if under is None:
        return NONE
    if who.trained_with == UNKNOWN:
        return UNKNOWN
    trained = who.intervention
    if trained is None or not same_text(trained.text, under.text):
        return "other"
    if trained.placement == under.placement:
        return "as_trained"
    return "other" if who.placement_known else UNKNOWN


@cache
def _trait(domain: str) -> str:
    from wg_evals.catalogue import load_domain

    try:
        return load_domain(domain).spec.trait
    except WgError:
        return UNKNOWN


def _generation(version: str) -> int:
    """The part of `N-X` that says whether scores can be compared; plain numbers are such a part."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0
