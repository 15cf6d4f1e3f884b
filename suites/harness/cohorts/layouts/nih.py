"""How is NIH ChestX-ray14 laid out? `Data_Entry_2017*.csv`, labels joined by `|`, and films in `images_001/images/`.

A finding that is named is positive; one that is not named is negative, as the labels are all that was mined from the
report, `No Finding` where that was nothing. Splits are the official `test_list.txt` and `train_val_list.txt`, boxes lie
in `BBox_List_2017.csv`, on films of 1024 pixels. Columns after the data set's page,
https://nihcc.app.box.com/v/ChestXray-NIHCC (README_CHESTXRAY.pdf, Wang et al. 2017, doi:10.1109/CVPR.2017.369).
A manifest whose column `finding` joins labels in this way can be read as well, with `layout=nih`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import PREFIX
from suites.harness.cohorts.layouts.boxes import Box, as_text, read_boxes
from suites.harness.cohorts.layouts.finding_cohort import files_by_name, finding_cohort, root_of
from suites.harness.cohorts.layouts.finding_tables import column, header_of, holds, joined, read_table, tables_in
from suites.harness.cohorts.layouts.metadata import find_beside, located_file
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem
from suites.harness.foreign_file import MIB, read_text

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NOTHING = ("No Finding",)
SIDE = 1024
"""Pixels of the films that the boxes were drawn on."""
_TABLE, _BOXES = r"Data_Entry_2017.*\.csv", r"BBox_List_2017.*\.csv"
_SPLITS = {"test_list.txt": "test", "train_val_list.txt": "train"}
_BOX_NAMES = {"Infiltrate": "Infiltration"}  # the table of boxes spells one finding otherwise


@register(
    "nih",
    recognises=lambda spec: holds(spec.path, _TABLE),
    precedence=10,
    options=("images",),
    frontal=True,
    described="NIH ChestX-ray14: a folder with Data_Entry_2017*.csv",
)
def nih(spec: Spec) -> Cohort:
    """Load the films of `Data_Entry_2017*.csv`, or of a manifest beside them whose column `finding` joins labels.

    Raises:
        CohortProblem: there is no such table, it is of another release, or none of its films is there.
    """
    root = root_of(spec)
    tables = [spec.path] if spec.path.is_file() else tables_in(root, _TABLE)
    path = tables[0] if tables else find_beside(root)
    if path is None:
        raise CohortProblem(f"{shown(spec.text)}: holds no table Data_Entry_2017*.csv")
    own = "Image Index" in header_of(path) or path.name.lower().startswith("data_entry")
    needed = ["Image Index", "Finding Labels"] if own else ["file", "finding"]
    table = read_table(path, needed, "NIH ChestX-ray14")
    names = table[needed[0]]
    if own:
        known = files_by_name(spec)
        paths = names.map(lambda name: known.get(name, ""))
    else:
        paths = names.map(lambda name: located_file(root, name))
    boxes, notes = _boxes(root)
    films = pd.DataFrame(
        {
            "name": names,
            "path": paths,
            "patient": column(table, "Patient ID", "patient"),
            "study": column(table, "Follow-up #"),
            "view": column(table, "View Position", "view"),
            "age": column(table, "Patient Age", "age"),
            "sex": column(table, "Patient Gender", "Patient Sex", "sex"),
            "finding": table[needed[1]],
            "site": column(table, "dataset"),
            "split": _split(root, names),
            "boxes": names.map(lambda name: as_text(boxes.get(name, ()))),
        }
    )
    films["study"] = (films["patient"] + "/" + films["study"]).where(films["study"] != "", "")
    told, more = joined(table[needed[1]], FINDINGS, path.name, NOTHING)
    return finding_cohort(
        spec,
        films.join(told.add_prefix(PREFIX)),
        table=path.name,
        notes=[f"{path.name}: a finding that its labels do not name is negative", *more, *notes],
        drawn_on=(SIDE, SIDE),
    )


def _split(root: Path, names: pd.Series) -> pd.Series:
    """Return the split of each film by the official lists, "" of films on neither."""
    split = pd.Series("", index=names.index, dtype=object)
    for name, called in _SPLITS.items():
        if (root / name).is_file():
            split[names.isin(read_text(root / name, 64 * MIB).split())] = called
    return split


def _boxes(root: Path) -> tuple[dict[str, list[Box]], tuple[str, ...]]:
    tables = tables_in(root, _BOXES)
    if not tables:
        return {}, ()
    # The header writes the four edges as `Bbox [x,y,w,h]`, so that the first three commas part one name.
    table = read_table(tables[0], ["Image Index", "Finding Label"], "NIH's boxes")
    films, findings, *edges = (table.iloc[:, place] for place in range(6))
    named = findings.map(lambda name: _BOX_NAMES.get(name, name))
    return read_boxes(zip(films, named, [""] * len(table), *edges, strict=True), tables[0].name, sized=True)
