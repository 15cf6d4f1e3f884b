"""Which films of a finished report answer to a question? Read from its film-answers.parquet."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from pyarrow import ArrowException

from suites.harness.errors import UsageProblem, one_line, reason
from suites.harness.formatting import wording
from suites.harness.formatting.cells import whole_percent
from suites.harness.predictions.conditions import CLEAN
from suites.harness.report.films_page import ANSWERS as FILE
from suites.harness.report.films_page import PAGE

COLUMNS = ["subject", "cohort", "film", "truth", "condition", "call", "confidence", "right", "changed"]


def listed(
    report: Path, *, which: str = "lost", condition: str | None = None, subject: str | None = None,
    film: str | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return a row per film and condition, the surest calls first; of one film all conditions, in their order.

    Args:
        report: folder of a report.
        which: `changed`, `lost` (right when clean, wrong under the condition), `wrong` or `all`.
        condition: this one only; by default any.
        subject: name of the subject; by default all.
        film: id of one film; the other choices do not count then.

    Raises:
        UsageProblem: there is no such table, subject, condition or film; says which there are.
    """
    table = _read(report)
    if subject is not None:
        table = table[table["subject"] == _known("subject", subject, table)]
    if film is not None:
        return table[table["film"] == _known("film", film, table)]
    right = table[table["condition"] == CLEAN].set_index(["subject", "cohort", "film"])["right"]
    keys = pd.MultiIndex.from_frame(table[["subject", "cohort", "film"]])
    held = pd.Series(right.reindex(keys).to_numpy(), index=table.index).eq(other=True).fillna(value=False)
    if condition is not None:
        chosen = table["condition"] == _known("condition", condition, table)
        table, held = table[chosen], held[chosen]
    wrong = table["right"].eq(other=False).fillna(value=False)
    kept = {
        "changed": table["changed"].fillna(value=False),
        "lost": wrong & held,
        "wrong": wrong,
        "all": pd.Series(data=True, index=table.index),
    }
    return table[kept[which].astype(bool)].sort_values("confidence", ascending=False, kind="stable")


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows as the page of films writes them: classes and conditions in words, confidences in percent."""
    classes = {name: wording.plain_name(name) for column in ("truth", "call") for name in table[column].unique()}
    return table.assign(
        truth=table["truth"].map(classes),
        call=table["call"].map(classes),
        confidence=[whole_percent(value) if math.isfinite(value) else "" for value in table["confidence"]],
    )


def _read(report: Path) -> pd.DataFrame:
    file = report / FILE
    try:
        table = pd.read_parquet(file)
    except FileNotFoundError:
        raise UsageProblem(
            f"{one_line(str(report), 120)}: no {FILE} there; give the folder of a report of this version ({PAGE} in it)"
        ) from None
    except (OSError, ValueError, ArrowException) as problem:
        raise UsageProblem(f"{one_line(str(file), 120)} cannot be read ({reason(problem)})") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise UsageProblem(f"{one_line(str(file), 120)} has no column {missing[0]}; it is no table of a report")
    return table[COLUMNS]


def _known(what: str, wanted: str, table: pd.DataFrame) -> str:
    names = list(dict.fromkeys(table[what].astype(str)))
    if wanted in names:
        return wanted
    some = ", ".join(one_line(name, 40) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise UsageProblem(
        f"no {what} {one_line(wanted, 60)!r} in this report; there {'is' if len(names) == 1 else 'are'} {some}{more}"
    )
