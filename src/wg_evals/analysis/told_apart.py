"""Names that stand for one thing each.

Whatever puts answers together does it by names: of a base, a model, a prefix, a training. Logs name things as they
like, so one thing may have several names, and one name several things.
"""

import hashlib
from typing import TYPE_CHECKING, Any

from wg_evals.analysis.records import NONE

if TYPE_CHECKING:
    import pandas as pd

    Column = pd.Series[Any]


def digest(text: str) -> str:
    """Eight digits that stand for a text; empty for an empty one."""
    return hashlib.sha256(text.encode()).hexdigest()[:8] if text else ""


def told_apart(names: "Column", more: "Column", within: "Column | None" = None) -> "Column":
    """Names, with more of each in brackets where one name stands for several things.

    Args:
        names: As they are shown.
        more: What else is known of each thing; different for different things.
        within: Names are told apart from others with the same value alone.
    """
    import pandas as pd

    key = names if within is None else within + "\n" + names
    several = pd.DataFrame({"key": key, "more": more}).drop_duplicates()["key"].value_counts()
    ambiguous = key.isin(several.index[several > 1])
    return names.where(~ambiguous, names + " (" + more + ")")


def with_clear_names(cells: "pd.DataFrame") -> "pd.DataFrame":
    """Name models and prefixes so that no two share a name, and say of each training how it differs from its like.

    Args:
        cells: A row a cell: the frame's columns and, of what their names stand for, `identity` (of the model),
            `training_prefix`, `prefix` (before the questions), `settings` (of the training) and `data` (trained on);
            the last two are empty where they are not known.

    Returns:
        The same with `model`, `train_intervention` and `eval_intervention` told apart, and the column
        `training_differs`: `none` where settings and data are those of most answers with that base (and training
        prefix), or not known; else `settings` or `data` with a digest of them.
    """
    if cells.empty:
        return cells
    named = cells.copy()
    identity = cells["identity"].where(~cells["identity"].str.startswith("sha256 "), cells["identity"].str[:19])
    named["model"] = told_apart(cells.groupby(["base", "identity"])["model"].transform("first"), identity)
    for column, thing in (("train_intervention", "training_prefix"), ("eval_intervention", "prefix")):
        named[column] = told_apart(cells[column], cells[thing], within=cells["domain"])
    where = [named["domain"], named["base"], named["dataset"].str.rpartition("/")[0]]
    settings = _unlike_most(named["settings"], named["n"], where)
    data = _unlike_most(named["data"], named["n"], [*where, named["dataset"], named["train_intervention"], settings])
    both = ("settings " + settings).where(settings != "", "") + "\n" + ("data " + data).where(data != "", "")
    named["training_differs"] = both.str.strip("\n").str.replace("\n", ", ").where(lambda told: told != "", NONE)
    return named


def _unlike_most(things: "Column", weights: "Column", within: "list[Column]") -> "Column":
    """The things that are not the one that weighs most; empty where it is that one, or not known."""
    import pandas as pd

    table = pd.DataFrame({f"within{i}": column for i, column in enumerate(within)})
    place = table.groupby(list(table.columns), sort=False).ngroup()
    known = pd.DataFrame({"place": place, "thing": things, "weight": weights})[things != ""]
    sums = known.groupby(["place", "thing"])["weight"].sum().reset_index()
    most = sums.sort_values(["weight", "thing"], ascending=[False, True]).drop_duplicates("place")
    usual = place.map(most.set_index("place")["thing"])
    return things.where((things != "") & (things != usual), "")
