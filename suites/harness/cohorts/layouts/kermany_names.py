"""What does a file name of Kermany's data set (2018) tell about label and patient?

In the Kaggle release bacterial and viral films count their persons separately: `person1_bacteria_*` and
`person1_virus_*` are different counters, so the patient key is (kind, number), never the number alone. Normal films
carry an `IM-dddd` or `NORMAL2-IM-dddd` stem. The Mendeley release (doi:10.17632/rscbjbr9sj.3) names its files
`CLASS-<patient>-<n>`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from suites.harness.cohorts.layouts.labels import BACTERIAL, NORMAL, VIRAL, normalise_label
from suites.harness.cohorts.quoting import shown
from suites.harness.counts import counted

_KINDS = {"bacteria": BACTERIAL, "virus": VIRAL, "normal": NORMAL}
_PERSON = re.compile(r"person(\d+)_(bacteria|virus)(?:_|\.|$)", re.IGNORECASE)
_STEM = re.compile(r"((?:NORMAL2-)?IM-\d+)(?:-|\.|$)", re.IGNORECASE)
_MENDELEY = re.compile(r"(BACTERIA|VIRUS|NORMAL)-(\d+)-", re.IGNORECASE)
_MOST_OF_A_STEM, _MOST_OF_A_PERSON = 8, 60  # films; in the data set 4 and 30
_TOLD = ("patient", "view", "age_group")


class Named(NamedTuple):
    """What the name says; `label` is empty where it says nothing."""

    label: str
    patient: str


def read_name(name: str) -> Named | None:
    """Return label and patient key of a file name, `None` for a name of another source.

    >>> read_name("person1_virus_6.jpeg")
    Named(label='viral_pneumonia', patient='person1_virus')
    >>> read_name("NORMAL2-IM-0372-0001.jpeg")
    Named(label='', patient='NORMAL2-IM-0372')
    """
    if found := _PERSON.match(name):
        kind = found[2].lower()
        return Named(_KINDS[kind], f"person{found[1]}_{kind}")
    if found := _MENDELEY.match(name):
        return Named(_KINDS[found[1].lower()], f"patient{found[2]}")
    if found := _STEM.match(name):
        return Named("", found[1].upper())
    return None


def believed(rows: Sequence[Mapping[str, object]]) -> tuple[list[dict[str, object]], tuple[str, ...]]:
    """Return rows of labelled films without patients that their names only seem to tell, and a note about them.

    Viewers number what they export as IM-0001-0001, too, and start again with every patient; and `NORMAL-2021-0007` is
    a date. So stems are believed as the data set has them: of normal films, directly in their class folder, beside
    pneumonias named by their person, and few films each. The names of persons are, up to a number of films each.

    Args:
        rows: each with `path` and `label`; `patient`, `view` and `age_group` where the name tells them.
    """
    stems = [row for row in rows if _STEM.match(_name(row))]
    persons = [row for row in rows if row.get("patient") and not _STEM.match(_name(row))]
    fitting = all(row["label"] == NORMAL and normalise_label(_folder(row)) == NORMAL for row in stems)
    doubtful = [] if persons and fitting and _most(stems) <= _MOST_OF_A_STEM else stems
    doubtful += [] if _most(persons) <= _MOST_OF_A_PERSON else persons
    if not doubtful:
        return [dict(row) for row in rows], ()
    left_out = {id(row) for row in doubtful}
    kept = [{key: row[key] for key in row if id(row) not in left_out or key not in _TOLD} for row in rows]
    note = (
        f"{counted(len(doubtful), 'film is', 'films are')} named as viewers number their exports (first "
        f"{shown(_name(doubtful[0]), 40)}), "
        "which tells no patient; name patients in a metadata.csv beside the folders"
    )
    return kept, (note,)


def bare_number(patient: str) -> str:
    """Return the person's number without its kind ("" for other keys): the wrong key, kept for the audit."""
    found = re.match(r"person(\d+)_", patient)
    return found[1] if found else ""


def _name(row: Mapping[str, object]) -> str:
    return Path(str(row["path"])).name


def _folder(row: Mapping[str, object]) -> str:
    return Path(str(row["path"])).parent.name


def _most(rows: Sequence[Mapping[str, object]]) -> int:
    """Return the films of the patient who has most."""
    return max(Counter(row.get("patient") for row in rows).values(), default=0)
