"""All logs of a folder as two tables: the answers, and the cells that they are of.

What Inspect's `samples_df` would give is read from the same summaries without its cost a sample (`log_files`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wg_evals.analysis.kept_logs import KeptLog
from wg_evals.analysis.log_cells import LeftOutError, PlannedStudy, What, cell_of, invalidated, name_bases
from wg_evals.analysis.log_files import UnreadableLogError, find_logs, read_log_file
from wg_evals.analysis.records import find_studies
from wg_evals.analysis.subjects import Manifests
from wg_evals.analysis.told_apart import with_clear_names
from wg_evals.errors import WgError

if TYPE_CHECKING:
    import pandas as pd

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
ABOUT_COLUMNS = [
    "grading",
    "judge",
    "self_judged",
    "outcome_rule",
    "study",
    "steps",
    "created",
    "wg_evals",
    "inspect_ai",
    "log",
]
SAMPLE_COLUMNS = ["question", "topic", "epoch", "included", "expressed", "reason"]
_NAMED_BY = ["identity", "training_prefix", "prefix", "settings", "data"]
"""What the names in a cell's row stand for."""
LEFT_OUT_COLUMNS = ["log", "what", "why", "instead"]


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
    studies = [PlannedStudy(place, plan) for place, plan in find_studies(root)]
    manifests = Manifests.below({root, *(s.folder for s in studies)})
    for study in studies:
        manifests.bases |= {b.path: b.name for b in study.plan.bases}
    name_bases(studies)
    reading = _Reading(root, studies, manifests)
    for path in paths:
        reading.take(path)
    return reading.frame()


class _Reading:
    """Goes through the logs, keeps of each answer what the tables need, and lets go of the rest."""

    def __init__(self, root: Path, studies: list[PlannedStudy], manifests: Manifests) -> None:
        self.root, self.studies, self.manifests = root, studies, manifests
        self.left_out: list[dict[str, str]] = []
        self.kept: list[KeptLog] = []

    def take(self, path: Path) -> None:
        """Read a log and keep it, or say why not."""
        try:
            file = read_log_file(path)
            self.kept.append(KeptLog(cell_of(path, file, self.studies, self.manifests), self._name(path)))
            if file.invalidated:
                why = f"{len(file.invalidated)} of its {invalidated(file)}; the others count."
                self._leave(path, "invalidated", why)
        except UnreadableLogError as ex:
            self._leave(path, "unreadable", ex.text)
        except LeftOutError as ex:
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

    def _without_copies(self) -> Iterator["KeptLog"]:
        """One log of each run: a copy has the same answers, as has one that was judged anew, which comes last.

        A study's own comes first.
        """
        seen: dict[str, KeptLog] = {}
        for k in sorted(self.kept, key=lambda k: (not k.cell.study, k.rejudged, k.name)):
            run = str(k.header["eval"].get("eval_id") or k.name)
            if run in seen:
                self._supersede(k, seen[run])
            else:
                seen[run] = k
                yield k

    def _newest_version(self, logs: Iterable["KeptLog"]) -> Iterator["KeptLog"]:
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

    def _by_cell(self, logs: Iterable["KeptLog"]) -> Iterable[list["KeptLog"]]:
        groups: dict[tuple[Any, ...], list[KeptLog]] = {}
        for k in logs:
            groups.setdefault(k.cell.key, []).append(k)
        return groups.values()

    def _once(self, group: list["KeptLog"]) -> Iterator["KeptLog"]:
        """Of several logs of one cell the one with most verdicts, then the newest.

        Another counts too only with other questions.
        """
        taken: list[KeptLog] = []
        for k in sorted(group, key=lambda k: (k.scored, k.created), reverse=True):
            same = next((t for t in taken if t.asked & k.asked), None)
            if same is None:
                taken.append(k)
                yield k
            else:
                self._supersede(k, same)

    def _supersede(self, k: "KeptLog", by: "KeptLog") -> None:
        judged = f" It was judged otherwise: {k.judged_by}." if k.judged_by != by.judged_by else ""
        self._leave(k.name, "superseded", f"It is of the same cell as '{by.name}', which counts.{judged}", by.name)

    def _leave(self, path: Path | str, what: What, why: str, instead: str = "") -> None:
        name = path if isinstance(path, str) else self._name(path)
        self.left_out.append({"log": name, "what": what, "why": why, "instead": instead})

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _samples(counted: list[KeptLog], cells: "pd.DataFrame", rubrics: list[str]) -> "pd.DataFrame":
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


def _generation(version: str) -> int:
    """The part of `N-X` that says whether scores can be compared; plain numbers are such a part."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0
