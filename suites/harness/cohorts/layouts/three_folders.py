"""How is one folder per class read, split folders around them or not? `[{train,val,test}/]<class>/`.

Any class names will do; spelling variants of the three published ones are recognised.
"""

from __future__ import annotations

from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import printable
from suites.harness.cohorts.layouts.films import (
    SPLITS,
    FilmReader,
    by_own_patients,
    film_table,
    films_below,
    folders_in,
)
from suites.harness.cohorts.layouts.kermany_names import read_name
from suites.harness.cohorts.layouts.labels import KNOWN, normalise_label
from suites.harness.cohorts.layouts.metadata import find_beside, lay_over
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.errors import CohortProblem

_IMAGES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".jp2")


def class_folders(root: Path) -> list[tuple[str, Path]]:
    """Return (split, class folder) pairs; the split is "" where there are no split folders."""
    children = folders_in(root)
    splits = [folder for folder in children if folder.name.lower() in SPLITS]
    if splits:
        return [(SPLITS[split.name.lower()], folder) for split in splits for folder in folders_in(split)]
    return [("", folder) for folder in children]


def looks_like_class_folders(spec: Spec) -> bool:
    """Return whether there are two classes or more, and their folders are surely classes.

    Folders of unknown names are taken for classes only if images lie directly in each of them, and no manifest beside
    them tells what the films are: they might be patients, views or hospitals.
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
    for split, folder in class_folders(root):
        label = normalise_label(folder.name)
        for path in films_below(folder):
            named = read_name(path.name)
            if named and named.label and label in KNOWN - {"pneumonia"} and named.label != label:
                raise CohortProblem(f"{printable(str(path))}: lies in {folder.name}, but its name says {named.label}")
            rows.append({"path": path, "label": label, "split": split, "patient": named.patient if named else ""})
    notes: list[str] = []
    if manifest := find_beside(root):
        rows, notes = lay_over(rows, manifest, root)
    table, unprintable = film_table(rows, root)
    return Cohort(
        name=printable(root.name),
        spec=spec.text,
        table=table,
        decode=FilmReader(unprintable=unprintable),
        notes=(*notes, *by_own_patients(table)),
    )


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in _IMAGES for path in films_below(folder, deep=False))
