"""How is PadChest laid out? One table of 160,000 films, its labels as lists in Python's writing.

A label that is named is positive, one that is not named is negative: the labels are all that was found in the report. A
film without labels, or one that is said to be `unchanged` (the labels are those of an earlier film), `exclude` or a
`suboptimal study`, mentions nothing but what is named. Columns after https://bimcv.cipf.es/bimcv-projects/padchest/ and
Bustos et al. 2020, doi:10.1016/j.media.2020.101797, table 2. Age is the year of the study less that of the birth.
"""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import PREFIX
from suites.harness.cohorts.layouts.finding_cohort import files_by_name, finding_cohort
from suites.harness.cohorts.layouts.finding_tables import column, holds, joined, read_table, the_table
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

MOST = 40
"""Findings that are read unasked, the most frequent of PadChest's 193 labels (174 findings and 19 diagnoses)."""
NORMAL = ("normal",)
_UNTOLD = frozenset({"unchanged", "exclude", "suboptimal study"})
_TABLE = r"PADCHEST.*\.csv"
_ONE = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@register(
    "padchest",
    recognises=lambda spec: holds(spec.path, _TABLE),
    precedence=10,
    options=("images", "findings"),
    frontal=True,
    described="PadChest: a folder with PADCHEST_chest_x_ray_images_labels_160K_*.csv",
)
def padchest(spec: Spec) -> Cohort:
    """Load the table's films with its 40 most frequent labels, or with those of `findings=a|b`.

    Raises:
        CohortProblem: the table is missing or of another release, none of its films is there, or a finding is none.
    """
    path = the_table(spec.path, _TABLE, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv")
    table = read_table(path, ["ImageID", "Labels"], "PadChest")
    lists = table["Labels"].map(
        lambda text: "|".join(one.strip() for pair in _ONE.findall(text) for one in pair if one)
    )
    found = Counter(one for text in lists for one in set(text.split("|")) if one and one not in {*NORMAL, *_UNTOLD})
    ordered = sorted(found, key=lambda name: (-found[name], name))
    asked = list(filter(None, spec.option("findings").split("|")))
    if unknown := [name for name in asked if name not in found]:
        raise CohortProblem(
            f"{shown(path)}: no film has the label {listed(map(repr, unknown), 40)}; it has {listed(ordered)}"
        )
    names = asked or ordered[:MOST]
    known = files_by_name(spec)
    told, _ = joined(lists, names, path.name, {*NORMAL, *(set(found) - set(names))})
    year = pd.to_numeric(column(table, "StudyDate_DICOM").str[:4], errors="coerce")
    born = pd.to_numeric(column(table, "PatientBirth").str[:4], errors="coerce")
    films = pd.DataFrame(
        {
            "name": table["ImageID"],
            "path": table["ImageID"].map(lambda name: known.get(name, "")),
            "patient": column(table, "PatientID"),
            "study": column(table, "StudyID"),
            "view": column(table, "Projection", "ViewPosition_DICOM"),
            "age": year - born,
            "sex": column(table, "PatientSex_DICOM"),
            "finding": lists,
            "scanner": column(table, "Manufacturer_DICOM"),
        }
    )
    untold = int(lists.map(lambda text: not text or not _UNTOLD.isdisjoint(text.split("|"))).sum())
    left = len(ordered) - len(names)
    notes = [f"{path.name}: a finding that a film's labels do not name is negative"]
    bare = counted(untold, "film has no labels of its own", "films have no labels of their own")
    notes += [f"{bare}, so that what they do not name is not mentioned"] * bool(untold)
    notes += [f"{left} rarer labels are not read as findings; name those to read as findings=a|b"] * bool(left)
    return finding_cohort(spec, films.join(told.add_prefix(PREFIX)), table=path.name, notes=notes)
