"""How is a folder of DICOM films read, at any depth, as a hospital's archive exports them?

View, age and patient come from the headers (see `headers`); labels from a manifest beside the films, else there are
none.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.assembly import folder_cohort
from suites.harness.cohorts.layouts.headers import is_dicom_file
from suites.harness.cohorts.layouts.metadata import find_beside
from suites.harness.cohorts.layouts.missing_labels import why_no_label
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.layouts.walk import films_below, list_films, mask_note
from suites.harness.cohorts.quoting import shown
from suites.harness.counts import counted

_LOOKED_AT = 50


def holds_dicom(folder: Path) -> bool:
    """Return whether one of the first files below a folder is DICOM, by its suffix or its first bytes."""
    return folder.is_dir() and any(is_dicom_file(path) for path in islice(films_below(folder), _LOOKED_AT))


@register(
    "dicom",
    recognises=lambda spec: holds_dicom(spec.path),
    precedence=35,
    described="a folder of DICOM films, labels in a metadata.csv beside them",
)
def dicom(spec: Spec) -> Cohort:
    """Load every DICOM file below a folder; others are passed over and counted in a note."""
    root = spec.path
    manifest = find_beside(root)
    found = list_films(root)
    is_film = {path: is_dicom_file(path) for path in found.films if path != manifest}
    notes: tuple[str, ...] = ()
    if others := [path for path, known in is_film.items() if not known]:
        first = shown(others[0].relative_to(root).as_posix())
        told = counted(len(others), "file that is not DICOM is", "files that are not DICOM are")
        notes = (f"{told} passed over, first {first}",)
    return folder_cohort(
        spec,
        root,
        [{"path": path} for path, known in is_film.items() if known],
        name=root.name,
        manifest=manifest,
        notes=(*notes, *mask_note(found.masks, root)),
        no_label=why_no_label(root),
    )
