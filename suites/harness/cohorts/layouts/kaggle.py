"""How is Kaggle's paediatric pneumonia data set laid out? `{train,val,test}/{NORMAL,PNEUMONIA}/`.

Bacterial and viral films share a folder; the third class is in the file name. A file in `PNEUMONIA` whose name
tells nothing is labelled `pneumonia`, and a subject that knows more than that refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.assembly import folder_cohort
from suites.harness.cohorts.layouts.films import SPLITS
from suites.harness.cohorts.layouts.kermany_names import believed, read_name
from suites.harness.cohorts.layouts.labels import BACTERIAL, NORMAL, PNEUMONIA, VIRAL
from suites.harness.cohorts.layouts.metadata import find_beside
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.layouts.walk import folders_in, list_films, mask_note
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem

ARCHIVE_FOLDER = "chest_xray"  # the downloaded archive holds the splits in a folder of this name


def kaggle_root(folder: Path) -> Path | None:
    """Return the folder that holds the splits, the given one or `chest_xray` in it; `None` for another layout."""
    return next((root for root in (folder, folder / ARCHIVE_FOLDER) if _has_kaggle_splits(root)), None)


def load_kaggle(root: Path, spec: Spec) -> Cohort:
    """Return every film below a folder in the Kaggle layout, completed by a `metadata.csv` beside the splits."""
    kinds = [(split, kind, list_films(kind)) for split in _splits(root) for kind in folders_in(split)]
    rows, notes = believed([row for split, kind, found in kinds for row in _rows(split, kind, found.films)])
    masks = tuple(path for _, _, found in kinds for path in found.masks)
    return folder_cohort(
        spec,
        root,
        rows,
        name=root.parent.name if root.name == ARCHIVE_FOLDER else root.name,
        manifest=find_beside(root),
        notes=(*notes, *mask_note(masks, root)),
    )


@register(
    "kaggle_folders",
    recognises=lambda spec: kaggle_root(spec.path) is not None,
    precedence=20,
    described="a folder {train,val,test}/{NORMAL,PNEUMONIA}",
)
def kaggle_folders(spec: Spec) -> Cohort:
    """Load the Kaggle layout from a folder on disk."""
    root = kaggle_root(spec.path)
    if root is None:
        raise CohortProblem(f"{shown(spec.text)}: holds no {{train,val,test}}/{{NORMAL,PNEUMONIA}} folders")
    return load_kaggle(root, spec)


def _splits(root: Path) -> list[Path]:
    return [folder for folder in folders_in(root) if folder.name.lower() in SPLITS]


def _has_kaggle_splits(root: Path) -> bool:
    kinds = {kind.name.lower() for split in _splits(root) for kind in folders_in(split)}
    return PNEUMONIA in kinds and kinds <= {NORMAL, PNEUMONIA}


def _rows(split: Path, kind: Path, films: Sequence[Path]) -> list[dict[str, object]]:
    folder_label = kind.name.lower()
    fitting = {NORMAL} if folder_label == NORMAL else {PNEUMONIA, BACTERIAL, VIRAL}
    rows: list[dict[str, object]] = []
    for path in films:
        named = read_name(path.name)
        label = (named.label if named else "") or folder_label
        if label not in fitting:
            raise CohortProblem(f"{shown(path)}: lies in {kind.name}, but its name says {label}")
        row: dict[str, object] = {"path": path, "label": label, "split": SPLITS[split.name.lower()]}
        if named:  # the data set holds frontal (AP) films of children aged one to five
            row |= {"patient": named.patient, "view": "AP", "age_group": "child"}
        rows.append(row)
    return rows
