"""How is one folder per class read, split folders around them or not? `[{train,val,test}/]<class>/`.

Any class names will do; spelling variants of the three published ones are recognised.
"""

from __future__ import annotations

from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES
from suites.harness.cohorts.layouts.assembly import folder_cohort
from suites.harness.cohorts.layouts.kermany_names import believed, read_name
from suites.harness.cohorts.layouts.labels import KNOWN, merged_spellings, normalise_label
from suites.harness.cohorts.layouts.metadata import find_beside
from suites.harness.cohorts.layouts.missing_labels import class_folders
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.layouts.walk import films_below, folders_in, list_films, mask_folders_in, mask_note
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem

_IMAGES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".jp2", *DICOM_SUFFIXES)
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "films")


def looks_like_class_folders(spec: Spec) -> bool:
    """Return whether there are two classes or more, and their folders are surely classes.

    Folders of unknown names are taken for classes only if images lie directly in each of them, or in a folder
    `images` there, and no manifest beside them tells what the films are: they might be patients, views or hospitals.
    """
    folders = class_folders(spec.path)
    names = {normalise_label(folder.name) for _, folder in folders}
    if len(names) < 2:
        return False
    if names <= KNOWN | {normalise_label(name) for name in spec.classes}:
        return True
    return find_beside(spec.path) is None and all(_holds_images(folder) for _, folder in folders)


@register(
    "three_folders",
    recognises=looks_like_class_folders,
    precedence=30,
    described="a folder with one folder per class, with or without {train,val,test} around them",
)
def three_folders(spec: Spec) -> Cohort:
    """Load a folder of class folders."""
    root = spec.path
    rows: list[dict[str, object]] = []
    masks = [path for folder in mask_folders_in(root) for path in films_below(folder)]
    folders = class_folders(root)
    for split, folder in folders:
        label = normalise_label(folder.name)
        found = list_films(folder)
        masks += found.masks
        for path in found.films:
            named = read_name(path.name)
            if named and named.label and label in KNOWN - {"pneumonia"} and named.label != label:
                raise CohortProblem(f"{shown(path)}: lies in {shown(folder.name, 40)}, but its name says {named.label}")
            rows.append({"path": path, "label": label, "split": split, "patient": named.patient if named else ""})
    rows, notes = believed(rows)
    return folder_cohort(
        spec,
        root,
        rows,
        name=root.name,
        manifest=find_beside(root),
        notes=(*merged_spellings(folder.name for _, folder in folders), *notes, *mask_note(tuple(masks), root)),
    )


def _holds_images(folder: Path) -> bool:
    places = [folder, *(inner for inner in folders_in(folder) if inner.name.lower() in _IMAGE_FOLDERS)]
    return any(path.suffix.lower() in _IMAGES for place in places for path in films_below(place, deep=False))
