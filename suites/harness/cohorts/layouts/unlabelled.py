"""What if films have no labels? A folder or a single file, a probe of what the subject predicts."""

from __future__ import annotations

from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import decode_image
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES
from suites.harness.cohorts.layouts.assembly import folder_cohort
from suites.harness.cohorts.layouts.missing_labels import why_no_cohort, why_no_label
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.layouts.walk import Listing, films_below, list_films, mask_note
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem, FilmUnreadable

_FILMS = (
    ".jpeg", ".jpg", ".jpe", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".pgm", ".ppm", ".pbm", ".pnm",
    ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", *DICOM_SUFFIXES,
)  # fmt: skip


@register(
    "unlabelled",
    recognises=lambda spec: spec.path.is_file() or (spec.path.is_dir() and bool(films_below(spec.path))),
    precedence=90,
    described="a folder of films without labels",
)
def unlabelled(spec: Spec) -> Cohort:
    """Load every file below a folder as a film without a label.

    Raises:
        CohortProblem: a single file is no film by its content, and is not named as one: a spreadsheet, an archive.
    """
    if spec.path.is_file() and spec.path.suffix.lower() not in ("", *_FILMS) and not _is_film(spec.path):
        raise CohortProblem(
            f"{shown(spec.text)}: is neither a table (CSV, TSV, Parquet) nor a film; {why_no_cohort(spec.path)}"
        )
    root = spec.path.parent if spec.path.is_file() else spec.path
    found = Listing((spec.path,), ()) if spec.path.is_file() else list_films(root)
    return folder_cohort(
        spec,
        root,
        [{"path": path} for path in found.films],
        name=spec.path.name,
        notes=("the films carry no labels, so nothing can be said about errors", *mask_note(found.masks, root)),
        no_label=why_no_label(spec.path),
    )


def _is_film(path: Path) -> bool:
    try:
        decode_image(path)
    except FilmUnreadable:
        return False
    return True
