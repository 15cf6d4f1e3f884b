"""How does a manifest label findings? A column `finding:NAME` each, or lists in one column, read with `findings=a|b`.

A column `finding:NAME` holds positive, negative, uncertain or not mentioned, or 1, 0, -1 or nothing for these. With
`findings=Effusion|Mass` the lists in the column `labels`, else `finding`, are read, joined by `|`: what they name is
positive, what they do not is negative, and a film without a list mentions nothing.
"""

from __future__ import annotations

import pandas as pd

from suites.harness.cohorts.findings import PREFIX, VALUES
from suites.harness.cohorts.layouts.finding_tables import NUMBERS, findings_in, joined, meanings
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem

OPTION = "findings"
LISTS = ("labels", "finding")


def told_findings(told: pd.DataFrame, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a manifest with its columns `finding:NAME` in the words of `findings.VALUES`, and notes."""
    notes: tuple[str, ...] = ()
    table = told.copy()
    for name in [str(column) for column in told if str(column).startswith(PREFIX)]:
        words = {value: value for value in VALUES}
        table[name], more = meanings(told[name].astype(str), f"{where}, {name.removeprefix(PREFIX)}", NUMBERS | words)
        notes += more
    return table, notes


def listed_findings(told: pd.DataFrame, asked: str, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a manifest with a column for each finding that is asked for, read from its lists, and a note.

    Args:
        told: the manifest's cells.
        asked: names by `|` of the findings to read, "" for none.
        where: the manifest, as messages call it.

    Raises:
        CohortProblem: there is no column of lists, or no list names one of the findings.
    """
    names = list(dict.fromkeys(filter(None, (name.strip() for name in asked.split("|")))))
    if not names:
        return told, ()
    column = next((name for name in LISTS if name in told), None)
    if column is None:
        raise CohortProblem(f"{where}: has no column `labels` or `finding` to read findings={shown(asked, 40)} from")
    lists = told[column].astype(str)
    known = set().union(*map(findings_in, lists))
    if unknown := [name for name in names if name not in known]:
        raise CohortProblem(
            f"{where}: no film's {column} names {listed(map(repr, unknown), 40)}; it has {listed(sorted(known))}"
        )
    read, _ = joined(lists, names, where, known)
    note = f"{where}: a finding that a film's {column} does not name is negative"
    return told.drop(columns=list(read.add_prefix(PREFIX)), errors="ignore").join(read.add_prefix(PREFIX)), (note,)
