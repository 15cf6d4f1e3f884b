"""How is MIMIC-CXR-JPG laid out? Tables of labels, metadata and splits together, films in `files/p10/p100.../s500.../`.

A study's labels are those of each of its films. Of each of 14 labels 1 is positive, 0 negative, -1 uncertain, and a
blank was not mentioned. Tables and columns after https://physionet.org/content/mimic-cxr-jpg/2.0.0/ and 2.1.0/; age and
sex lie in MIMIC-IV's `patients.csv` (https://mimic.mit.edu/docs/iv/modules/hosp/patients/), read where it lies beside
them: the anchor age, moved on to the year of the study.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import PREFIX
from suites.harness.cohorts.layouts.chexpert import OBSERVATIONS
from suites.harness.cohorts.layouts.films import SPLITS
from suites.harness.cohorts.layouts.finding_cohort import finding_cohort, root_of
from suites.harness.cohorts.layouts.finding_tables import column, holds, meanings, read_table, tables_in, the_table
from suites.harness.cohorts.layouts.recorded import view_of
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

RELEASE = "MIMIC-CXR-JPG 2.0.0 or 2.1.0"
_CHEXPERT, _NEGBIO, _METADATA, _SPLIT = (
    rf"mimic-cxr-2\.\d\.\d-{kind}\.csv" for kind in ("chexpert", "negbio", "metadata", "split")
)


@register(
    "mimic-cxr-jpg",
    recognises=lambda spec: spec.path.is_dir() and holds(spec.path, _METADATA),
    precedence=10,
    options=("images", "labels"),
    frontal=True,
    described="MIMIC-CXR-JPG: the folder of its tables of labels, metadata and splits, and of files/",
)
def mimic_cxr_jpg(spec: Spec) -> Cohort:
    """Load the films of the metadata table, labelled by their studies (`labels=negbio` for the other labeller's).

    Raises:
        CohortProblem: a table is missing or of another release, or none of its films is there.
    """
    root = root_of(spec)
    labeller = spec.option("labels", "chexpert")
    if labeller not in ("chexpert", "negbio"):
        raise CohortProblem(f"{shown(spec.text, 80)}: labels={shown(labeller, 30)}; known are chexpert, negbio")
    kind = _CHEXPERT if labeller == "chexpert" else _NEGBIO
    path = the_table(root, kind, f"mimic-cxr-2.0.0-{labeller}.csv(.gz), the table of labels")
    metadata = the_table(root, _METADATA, "mimic-cxr-2.0.0-metadata.csv(.gz), the table of films")
    films = read_table(metadata, ["dicom_id", "subject_id", "study_id"], RELEASE)
    labels, notes = _labels(path)
    films = films.join(_split(root), on="dicom_id").join(_patients(root), on="subject_id")
    labelled = films["study_id"].isin(labels.index)
    if not labelled.any():
        raise CohortProblem(f"{shown(path)}: labels none of the studies of {metadata.name}; are they of one release?")
    unlabelled = int((~labelled).sum())
    bare = counted(unlabelled, "film of a study without labels is", "films of studies without labels are")
    notes += (f"{bare} left out",) * bool(unlabelled)
    films = films[labelled].reset_index(drop=True)
    folder = root / (spec.option("images") or ("files" if (root / "files").is_dir() else ""))
    name = [
        f"p{subject[:2]}/p{subject}/s{study}/{film}.jpg"
        for subject, study, film in zip(films["subject_id"], films["study_id"], films["dicom_id"], strict=True)
    ]
    told = pd.DataFrame(
        {
            "name": name,
            "path": [f"{folder}/{one}" for one in name],
            "patient": films["subject_id"],
            "study": films["study_id"],
            "view": _views(films),
            "age": _ages(films),
            "sex": column(films, "gender").fillna(""),
            "split": films["split"].fillna("").map(lambda split: SPLITS.get(split, split)),
        }
    )
    told = told.join(labels, on="study")
    note = "MIMIC-CXR's labels: 1 positive, 0 negative, -1 uncertain, blank not mentioned"
    return finding_cohort(spec, told, table=metadata.name, notes=[note, *notes])


def _labels(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return study -> what is known of each finding."""
    table = read_table(path, ["subject_id", "study_id"], RELEASE).set_index("study_id")
    names = [name for name in OBSERVATIONS if name in table]
    if not names:
        raise CohortProblem(f"{shown(path)}: has none of the labels of {RELEASE}: {listed(OBSERVATIONS)}")
    if (repeated := table.index[table.index.duplicated()]).size:
        raise CohortProblem(f"{shown(path)}: labels the study {shown(repeated[0], 20)} more than once; keep one row")
    read = {name: meanings(table[name], f"{path.name}, {name}") for name in names}
    notes = tuple(note for _, more in read.values() for note in more)
    return pd.DataFrame({f"{PREFIX}{name}": told for name, (told, _) in read.items()}), notes


def _split(root: Path) -> pd.DataFrame:
    """Return film -> split, of no film where the table is not there."""
    tables = tables_in(root, _SPLIT)
    if not tables:
        return pd.DataFrame(columns=["split"], dtype=object)
    return read_table(tables[0], ["dicom_id", "split"], RELEASE).set_index("dicom_id")[["split"]]


def _patients(root: Path) -> pd.DataFrame:
    """Return patient -> sex and the age in a year, of nobody where the table is not there."""
    names = ["gender", "anchor_age", "anchor_year"]
    tables = tables_in(root, r"patients\.csv")
    if not tables:
        return pd.DataFrame(columns=names, dtype=object)
    return read_table(tables[0], ["subject_id", *names], "MIMIC-IV").set_index("subject_id")[names]


def _views(films: pd.DataFrame) -> pd.Series:
    told, coded = column(films, "ViewPosition"), column(films, "ViewCodeSequence_CodeMeaning")
    views = told.where(told != "", coded).map(view_of)
    lying = column(films, "PatientOrientationCodeSequence_CodeMeaning").str.lower() == "recumbent"
    return views.mask((views == "AP") & lying, "AP supine")


def _ages(films: pd.DataFrame) -> pd.Series:
    year, age, then = (
        pd.to_numeric(texts, errors="coerce")
        for texts in (column(films, "StudyDate").str[:4], films["anchor_age"], films["anchor_year"])
    )
    return age + year - then
