"""What does a file name of Kermany's data set (2018) tell about label and patient?

In the Kaggle release bacterial and viral films count their persons separately: `person1_bacteria_*` and
`person1_virus_*` are different counters, so the patient key is (kind, number), never the number alone. Normal films
carry an `IM-dddd` or `NORMAL2-IM-dddd` stem. The Mendeley release (doi:10.17632/rscbjbr9sj.3) names its files
`CLASS-<patient>-<n>`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from suites.harness.cohorts.layouts.labels import BACTERIAL, NORMAL, VIRAL

_KINDS = {"bacteria": BACTERIAL, "virus": VIRAL, "normal": NORMAL}
_PERSON = re.compile(r"person(\d+)_(bacteria|virus)(?:_|\.|$)", re.IGNORECASE)
_STEM = re.compile(r"((?:NORMAL2-)?IM-\d+)(?:-|\.|$)", re.IGNORECASE)
_MENDELEY = re.compile(r"(BACTERIA|VIRUS|NORMAL)-(\d+)-", re.IGNORECASE)


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


def bare_number(patient: str) -> str:
    """Return the person's number without its kind ("" for other keys): the wrong key, kept for the audit."""
    found = re.match(r"person(\d+)_", patient)
    return found[1] if found else ""
