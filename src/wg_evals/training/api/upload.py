"""The training file: the recipe's rows with the intervention put in, as JSONL, checked before it goes anywhere."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from wg_evals.datafile.report import check_file
from wg_evals.datafile.show import problem_lines
from wg_evals.errors import WgError
from wg_evals.interventions import Message
from wg_evals.training.api.recipe import Backend

_SHOWN = 10


def write_training_file(path: Path, conversations: Sequence[Sequence[Message]], backend: Backend) -> str:
    """Write a training file.

    Args:
        path: The file. It appears whole or not at all.
        conversations: From `training_rows`.
        backend: By whose rules the rows are checked. Together's are not known beyond the trainer's own.

    Returns:
        Its sha256.

    Raises:
        WgError: Rows that the API would refuse by its documented rules; the file is not written then.
    """
    lines = (json.dumps({"messages": list(c)}, ensure_ascii=False) + "\n" for c in conversations)
    data = "".join(lines).encode()
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(data)
    refusing = {"trainer", "openai"} if backend == "openai" else {"trainer"}
    problems = [p for p in check_file(beside, {}).problems if p.refused_by in refusing]
    if problems:
        beside.unlink()
        found = list(problem_lines(problems))
        more = [f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise WgError(
            "Nothing was uploaded: the API would refuse rows of this recipe (lines count rows, from 1).\n  "
            + "\n  ".join([*found[:_SHOWN], *more])
        )
    beside.replace(path)
    return hashlib.sha256(data).hexdigest()
