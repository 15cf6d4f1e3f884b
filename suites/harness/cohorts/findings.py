"""What do labels tell of each finding of a film? One of four values; the user says whether the uncertain ones count.

A table of labels made from reports leaves most findings unsaid. What a report does not mention is no negative, and what
it hedges is neither: both are left out of a finding's counts unless the user decides about the hedged ones, as the
authors of CheXpert compare it (U-Ignore, U-Ones, U-Zeroes; Irvin et al. 2019, arXiv:1901.07031, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suites.harness.cohorts.quoting import listed, shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

POSITIVE, NEGATIVE, UNCERTAIN, NOT_MENTIONED = "positive", "negative", "uncertain", "not mentioned"
VALUES = (POSITIVE, NEGATIVE, UNCERTAIN, NOT_MENTIONED)
PREFIX = "finding:"
"""Of the columns of a cohort's table that hold a finding each: `finding:Pleural Effusion`."""
LEFT_OUT = -1
LEAVE_OUT = "leave-out"
POLICIES: Mapping[str, int] = {LEAVE_OUT: LEFT_OUT, "positive": 1, "negative": 0}
"""What the uncertain films of a finding count as."""


def findings_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the findings that a cohort's table has a column for, in their order."""
    return tuple(str(column).removeprefix(PREFIX) for column in table if str(column).startswith(PREFIX))


def truth(table: pd.DataFrame, name: str, uncertain: str) -> NDArray[np.int64]:
    """Return (N,) 1 where a film shows a finding, 0 where it does not, -1 where it is left out.

    Args:
        table: of a cohort.
        name: of one of its findings.
        uncertain: one of `POLICIES`.

    Raises:
        CohortProblem: the table has no such finding.
    """
    column = f"{PREFIX}{name}"
    if column not in table:
        known = listed(findings_of(table))
        raise CohortProblem(
            f"the films tell nothing of the finding {shown(name, 60)!r}; they tell of {known or 'none'}"
        )
    meaning = {POSITIVE: 1, NEGATIVE: 0, UNCERTAIN: POLICIES[uncertain], NOT_MENTIONED: LEFT_OUT}
    places, values = pd.factorize(table[column])  # four values, where tables have hundreds of thousands of rows
    return np.array([meaning[value] for value in values], np.int64)[places]


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per finding: `finding`, and the number of films of each of `VALUES`."""
    rows = [{"finding": name} | _values(table[f"{PREFIX}{name}"]) for name in findings_of(table)]
    return pd.DataFrame(rows, columns=["finding", *VALUES])


def refuse_other_values(table: pd.DataFrame, where: str) -> None:
    """Refuse a table that says anything of a finding but one of `VALUES`.

    Raises:
        CohortProblem: it does; the message names column and value.
    """
    for name in findings_of(table):
        other = table[f"{PREFIX}{name}"][~table[f"{PREFIX}{name}"].isin(VALUES)]
        if len(other):
            raise CohortProblem(
                f"{where}: column {shown(PREFIX + name, 60)!r} holds {shown(other.iloc[0], 30)!r}; what is known of a "
                f"finding is one of {', '.join(VALUES)}"
            )


def notes_on(table: pd.DataFrame, uncertain: str) -> tuple[str, ...]:
    """Return what a reader must know of a cohort's findings: labels that are left out, findings that no film shows."""
    found = counts(table)
    hedged, untold = int(found[UNCERTAIN].sum()), int(found[NOT_MENTIONED].sum())
    taken = "left out" if uncertain == LEAVE_OUT else f"counted as {uncertain}"
    told = f"labels of {len(found)} findings on {counted(len(table), 'film')}: {hedged} uncertain ({taken})"
    notes = [f"{told}, {untold} not mentioned (left out)"] * bool(hedged or untold)
    if "disagreed" in table and (table["disagreed"] != "").any():
        disputed = table["disagreed"][table["disagreed"] != ""].str.count(r"\|").add(1)
        notes.append(f"readers disagree on {disputed.sum()} findings of {len(disputed)} of {len(table)} films")
    empty = [name for name in findings_of(table) if not (truth(table, name, uncertain) == 1).any()]
    notes += [f"no film shows {listed(empty)}, so that nothing can be said of how it is found"] * bool(empty)
    return tuple(notes)


def _values(column: pd.Series) -> dict[str, int]:
    return {value: int((column == value).sum()) for value in VALUES}
