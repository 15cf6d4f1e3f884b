"""How is a folder of DICOM films read, at any depth, as a hospital's archive exports them?

View, age and patient come from the headers; labels from a manifest beside the films, else there are none. Patient
identifiers are replaced by a short hash, so that they never reach a report.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice
from pathlib import Path

import pydicom

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import printable
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES, HEADER_BYTES, display_rule, is_deflated, is_dicom
from suites.harness.cohorts.layouts.films import FilmReader, by_own_patients, film_table, films_below
from suites.harness.cohorts.layouts.metadata import age_group, find_beside, lay_over
from suites.harness.cohorts.layouts.registry import Spec, register

_LOOKED_AT = 50
_TAGS = [
    "PatientID",
    "IssuerOfPatientID",
    "PatientAge",
    "ViewPosition",
    "Modality",
    "BitsStored",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
]


def holds_dicom(folder: Path) -> bool:
    """Return whether one of the first files below a folder is DICOM, by its suffix or its first bytes."""
    return folder.is_dir() and any(_is_dicom_file(path) for path in islice(films_below(folder), _LOOKED_AT))


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
    found = [path for path in films_below(root) if path != manifest]
    films = [path for path in found if _is_dicom_file(path)]
    rules: Counter[str] = Counter()
    rows = [_row(path, rules) for path in films]
    shown = ", ".join(f"{rule} ({count})" for rule, count in sorted(rules.items()))
    notes = [f"DICOM films are displayed by their {shown}"] if shown else []
    if others := [path for path in found if path not in set(films)]:
        first = printable(others[0].relative_to(root).as_posix())
        notes.append(f"{len(others)} files that are not DICOM are passed over, first {first}")
    if manifest:
        rows, more = lay_over(rows, manifest, root)
        notes += more
    table, unprintable = film_table(rows, root)
    if len(table) > 1 and table["patient"].nunique() == 1:
        notes.append("every film carries the same patient identifier, so no interval over patients can be computed")
    return Cohort(
        name=printable(root.name),
        spec=spec.text,
        table=table,
        decode=FilmReader(unprintable=unprintable),
        notes=(*notes, *by_own_patients(table)),
    )


def _row(path: Path, rules: Counter[str]) -> dict[str, object]:
    row: dict[str, object] = {"path": path}
    try:
        if is_deflated(_beginning(path)):
            return row
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        rules[display_rule(header)] += 1
        age = str(header.get("PatientAge") or "")
        row |= {"patient": _pseudonym(header), "view": str(header.get("ViewPosition") or ""), "age": age}
        row["age_group"] = age_group(age)
    except Exception:  # noqa: BLE001 - a broken file is found, named and counted when it is decoded
        return {"path": path}
    return row


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEADER_BYTES)


def _pseudonym(header: pydicom.Dataset) -> str:
    identity = str(header.get("PatientID") or "").strip()
    issuer = str(header.get("IssuerOfPatientID") or "").strip()
    return hashlib.sha256(f"{issuer}\x1f{identity}".encode()).hexdigest()[:12] if identity else ""


def _is_dicom_file(path: Path) -> bool:
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        return path.is_file() and is_dicom(_beginning(path))
    except OSError:
        return False
