"""How is the RSNA Pneumonia Detection Challenge laid out? One row per box in `stage_2_train_labels.csv`.

`Target` 1 is a lung opacity suspicious of pneumonia, 0 none; a patient's several rows are the boxes of one film of 1024
pixels. `stage_2_detailed_class_info.csv` tells films apart that are normal and that are neither. Columns after
https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data; view, age and sex are in the films' DICOM headers.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES
from suites.harness.cohorts.findings import POSITIVE, PREFIX
from suites.harness.cohorts.layouts.boxes import as_text, read_boxes
from suites.harness.cohorts.layouts.finding_cohort import files_by_name, finding_cohort, root_of
from suites.harness.cohorts.layouts.finding_tables import holds, meanings, read_table, tables_in, the_table
from suites.harness.cohorts.layouts.labels import NORMAL, PNEUMONIA
from suites.harness.cohorts.layouts.registry import Spec, register

FINDING = "Lung Opacity"
SIDE = 1024
"""Pixels of the challenge's films, which the boxes were drawn on."""
_TABLE, _CLASSES = r"stage_2_train_labels\.csv", r"stage_2_detailed_class_info\.csv"
_EDGES = ["x", "y", "width", "height"]


@register(
    "rsna",
    recognises=lambda spec: holds(spec.path, _TABLE),
    precedence=10,
    options=("images",),
    frontal=True,
    described="RSNA Pneumonia Detection Challenge: a folder with stage_2_train_labels.csv",
)
def rsna(spec: Spec) -> Cohort:
    """Load the challenge's training films; its test films have no labels.

    Raises:
        CohortProblem: the table is missing or of another release, or none of its films is there.
    """
    path = the_table(spec.path, _TABLE, "stage_2_train_labels.csv")
    table = read_table(path, ["patientId", *_EDGES, "Target"], "the RSNA challenge, stage 2")
    told, notes = meanings(table["Target"], f"{path.name}, Target")
    drawn = table[told == POSITIVE]
    boxes, more = read_boxes(
        drawn[["patientId", *_EDGES]]
        .assign(finding=FINDING, reader="")[["patientId", "finding", "reader", *_EDGES]]
        .itertuples(index=False),
        path.name,
        sized=True,
    )
    # An opacity in one row is one of the film, whatever the others say.
    ranked = told.where(told != POSITIVE, "")
    first = table.assign(told=told, rank=ranked).sort_values("rank", kind="stable").drop_duplicates("patientId")
    films = first.sort_index().reset_index(drop=True)
    known = files_by_name(spec, (*DICOM_SUFFIXES, ".png", ".jpg", ".jpeg"))
    detailed = films["patientId"].map(_classes(root_of(spec))).fillna("")
    label = pd.Series("", index=films.index).mask(detailed == "Normal", NORMAL)
    return finding_cohort(
        spec,
        pd.DataFrame(
            {
                "name": films["patientId"],
                "path": films["patientId"].map(lambda name: known.get(name, "")),
                "patient": films["patientId"],
                "label": label.mask(films["told"] == POSITIVE, PNEUMONIA),
                "finding": detailed,
                "boxes": films["patientId"].map(lambda name: as_text(boxes.get(name, ()))),
                f"{PREFIX}{FINDING}": films["told"],
            }
        ),
        table=path.name,
        notes=[
            "films without an opacity that are not normal either have no class and count for the finding alone",
            *notes,
            *more,
        ],
        drawn_on=(SIDE, SIDE),
        all_searched=True,
    )


def _classes(root: Path) -> pd.Series:
    """Return patient -> class, of nobody where the table is not there."""
    tables = tables_in(root, _CLASSES)
    if not tables:
        return pd.Series(dtype=object)
    table = read_table(tables[0], ["patientId", "class"], "the RSNA challenge, stage 2")
    return table.drop_duplicates("patientId").set_index("patientId")["class"]
