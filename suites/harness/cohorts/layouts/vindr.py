"""How is VinDr-CXR laid out? `annotations/image_labels_{train,test}.csv`, one row per film and reader, and their boxes.

Each training film was read by three radiologists: a finding is positive where most of them say so, negative where most
deny it, uncertain where they are even. A test film has one row, the consensus of five. Boxes in `annotations_*.csv` are
in pixels of the DICOM film; those of findings that the majority denies are not used. All films are PA. Columns after
https://physionet.org/content/vindr-cxr/1.0.0/ (Nguyen et al. 2022, doi:10.1038/s41597-022-01498-w); the Kaggle release
(https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection) has the boxes alone, as `train.csv`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES
from suites.harness.cohorts.findings import NEGATIVE, NOT_MENTIONED, POSITIVE, PREFIX, UNCERTAIN
from suites.harness.cohorts.layouts.boxes import Box, as_text, read_boxes
from suites.harness.cohorts.layouts.finding_cohort import files_by_name, finding_cohort, root_of
from suites.harness.cohorts.layouts.finding_tables import column, holds, meanings, read_table, tables_in
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem

NOTHING = "No finding"
_LABELS = r"image_labels_(train|test)\.csv"
_BOXES = r"annotations_(train|test)\.csv|train\.csv"
_EDGES = ["x_min", "y_min", "x_max", "y_max"]
_RELEASE = "VinDr-CXR 1.0.0"
_SPELT = {"Other disease": "Other diseases"}  # the tables of train and test spell one finding in two ways


def _recognises(spec: Spec) -> bool:
    return holds(spec.path, _LABELS, ["image_id", NOTHING]) or holds(spec.path, _BOXES, ["image_id", *_EDGES])


@register(
    "vindr",
    recognises=_recognises,
    precedence=10,
    options=("images",),
    frontal=True,
    described="VinDr-CXR: a folder with annotations/image_labels_train.csv, or one of these tables",
)
def vindr(spec: Spec) -> Cohort:
    """Load the films that readers labelled, each with what most of them say and where they disagree.

    Raises:
        CohortProblem: there is no such table, it is of another release, or none of its films is there.
    """
    root = root_of(spec)
    needed = ["image_id", "class_name", *_EDGES]
    drawn = [(path, read_table(path, needed, _RELEASE)) for path in tables_in(root, _BOXES)]
    tables = tables_in(spec.path, _LABELS)
    read = [_labels(path) for path in tables] or [_labels_from_boxes(path, table) for path, table in drawn]
    if not read:
        raise CohortProblem(f"{shown(spec.text)}: holds no annotations/image_labels_*.csv and no annotations_*.csv")
    films = pd.concat([_of_all_readers(votes, split) for votes, split, _ in read], ignore_index=True)
    findings = _findings(films)
    films[findings] = films[findings].fillna(NOT_MENTIONED)
    films["boxes"], notes = _boxes(drawn, films)
    known = files_by_name(spec, (*DICOM_SUFFIXES, ".png", ".jpg", ".jpeg"))
    films["path"] = films["name"].map(lambda name: known.get(name, ""))
    films["split"] = films["split"] if not spec.path.is_file() else ""
    return finding_cohort(
        spec,
        films.assign(view="PA"),
        table=listed(path.name for path in (tables or [path for path, _ in drawn])),
        notes=[
            "a finding is what most readers of a film say, uncertain where they are even",
            *(note for _, _, more in read for note in more),
            *notes,
        ],
        all_searched=bool(drawn),
    )


def _boxes(drawn: Iterable[tuple[Path, pd.DataFrame]], films: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the boxes of each film's positive findings, and notes."""
    boxes: dict[str, list[Box]] = {}
    notes: list[str] = []
    for path, table in drawn:
        there = table.assign(rad_id=column(table, "rad_id"))
        there = there[(there["class_name"] != NOTHING) & (there["x_min"] != "")]
        rows = there[["image_id", "class_name", "rad_id", *_EDGES]].itertuples(index=False)
        found, more = read_boxes(rows, path.name)
        boxes |= found
        notes += more
    # One column after the other, as there are fewer of them than films.
    positive: dict[str, set[str]] = {}
    for name in _findings(films):
        for film in films["name"][films[name] == POSITIVE]:
            positive.setdefault(film, set()).add(name.removeprefix(PREFIX))
    told = [
        as_text(box for box in boxes.get(film, ()) if box.finding in positive.get(film, ())) for film in films["name"]
    ]
    return told, notes


def _findings(table: pd.DataFrame) -> list[str]:
    return [name for name in map(str, table) if name.startswith(PREFIX)]


def _labels(path: Path) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """Return what each reader says of each finding, the split, and notes."""
    table = read_table(path, ["image_id", NOTHING], _RELEASE).rename(columns=_SPELT)
    names = [str(name) for name in table if name not in ("image_id", "rad_id")]
    read = {name: meanings(table[name], f"{path.name}, {name}") for name in names}
    votes = pd.DataFrame({f"{PREFIX}{name}": told for name, (told, _) in read.items()})
    votes.insert(0, "image_id", table["image_id"])
    notes = tuple(note for _, more in read.values() for note in more)
    return votes, "train" if "train" in path.name else "test", notes


def _labels_from_boxes(path: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """Return the same where only boxes were released: a reader says what that reader drew."""
    reader = [table["image_id"], column(table, "rad_id").rename("rad_id")]
    drew = pd.crosstab(reader, table["class_name"]) > 0
    votes = drew.map(lambda told: POSITIVE if told else NEGATIVE).add_prefix(PREFIX).reset_index("image_id")
    return votes.reset_index(drop=True), "train" if "train" in path.name else "test", ()


def _of_all_readers(votes: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return one row per film: what most readers say of each finding, how many they are, what they disagree on."""
    names = _findings(votes)
    film = votes["image_id"]
    yes = (votes[names] == POSITIVE).groupby(film, sort=False).sum()
    no = (votes[names] == NEGATIVE).groupby(film, sort=False).sum()
    told = pd.DataFrame(
        np.select([yes > no, no > yes, yes > 0], [POSITIVE, NEGATIVE, UNCERTAIN], NOT_MENTIONED),
        index=yes.index,
        columns=names,
    )
    split_on = ((yes > 0) & (no > 0)).to_numpy()
    plain = np.array([name.removeprefix(PREFIX) for name in names])
    told["disagreed"] = ["|".join(plain[row]) for row in split_on]
    told["readers"] = film.groupby(film, sort=False).size()
    return told.assign(split=split).rename_axis("name").reset_index()
