"""From logs and manifests to numbers: start with `frame`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wg_evals.analysis.frames import Frame


def frame(log_dir: Path | str) -> "Frame":
    """Read every log in a folder into one table of answers and one of cells.

    Works on a study's folder, on one of several studies, and on logs that `inspect eval` wrote with no study and no
    manifest. No answer counts twice, and what does not count at all is listed with the reason.

    Args:
        log_dir: The folder, or a single log.

    Raises:
        WgError: There is no such folder, or no log in it.
    """
    from wg_evals.analysis.frames import read_frame

    return read_frame(Path(log_dir))
