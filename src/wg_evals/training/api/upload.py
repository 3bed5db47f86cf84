"""The training file: the recipe's rows with the intervention put in, as JSONL, checked before it goes anywhere."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from wg_evals.datafile.report import check_data
from wg_evals.datafile.show import problem_lines
from wg_evals.errors import WgError
from wg_evals.interventions import Message
from wg_evals.training.api.recipe import Backend

_SHOWN = 10


def training_data(conversations: Sequence[Sequence[Message]], backend: Backend) -> bytes:
    """The contents of a training file.

    Args:
        conversations: From `training_rows`.
        backend: By whose rules the rows are checked. Together's are not known beyond the trainer's own.

    Raises:
        WgError: Rows that the API would refuse by its documented rules.
    """
    data = "".join(json.dumps({"messages": list(c)}, ensure_ascii=False) + "\n" for c in conversations).encode()
    refusing = {"trainer", "openai"} if backend == "openai" else {"trainer"}
    problems = [p for p in check_data(data, "rows", {}).problems if p.refused_by in refusing]
    if problems:
        found = list(problem_lines(problems))
        more = [f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise WgError(
            "Nothing was uploaded: the API would refuse rows of this recipe (lines count rows, from 1).\n  "
            + "\n  ".join([*found[:_SHOWN], *more])
        )
    return data


def write_training_file(path: Path, data: bytes) -> str:
    """Write a training file, whole or not at all; returns its sha256.

    Raises:
        WgError: It cannot be written: a full disk, for example.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as ex:
        beside.unlink(missing_ok=True)
        raise WgError(
            f"{path} could not be written ({ex.strerror}). Make room, then run the same command again: it goes on from "
            "here."
        ) from None
    return hashlib.sha256(data).hexdigest()
