"""What do the headers of DICOM films tell of patient, view and age, wherever the films lie and whatever names them?

A manifest goes before a header, a header before what a file's name suggests. Patient identifiers are replaced by a
short hash, so that they never reach a report.
"""

from __future__ import annotations

import hashlib
import stat
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from suites.harness.cohorts.dicom_decoding import (
    DICOM_SUFFIXES,
    HEADER_BYTES,
    display_rule,
    is_deflated,
    is_dicom,
    read_tags,
)
from suites.harness.cohorts.layouts.metadata import age_group
from suites.harness.cohorts.layouts.spelling import as_seen
from suites.harness.cohorts.quoting import shown

_TOLD = ("patient", "view", "age", "age_group")
_LONGEST = 64  # characters of a patient's identifier (PS3.5, VR LO); the other texts are shorter
_TAGS = [
    "PatientID",
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSex",
    "ViewPosition",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "Modality",
    "BitsStored",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
]


@dataclass(frozen=True)
class Headers:
    """What is known of a cohort's DICOM films from their headers.

    Attributes:
        told: path of a film -> `patient`, `view`, `age`, `age_group`, `sex`, `scanner` (maker and model), `site`, as
            far as its header tells them; a broken header tells nothing and is found when the film is decoded.
        rules: how the films are displayed -> how many are.
    """

    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rules: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Headers:
        """Return the headers of those files that are DICOM."""
        told: dict[str, dict[str, str]] = {}
        rules: Counter[str] = Counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage, which is named once, when the film is decoded
            for path in paths:
                if is_dicom_file(path):
                    told[str(path)] = _header(path, rules)
        return cls(told, rules)

    def before_names(self, row: Mapping[str, object]) -> dict[str, object]:
        """Return a row without what its file's name suggests, where it has a header."""
        return {key: value for key, value in row.items() if str(row["path"]) not in self.told or key not in _TOLD}

    def below(self, rows: Iterable[Mapping[str, object]]) -> Iterator[dict[str, object]]:
        """Yield rows completed by their headers; what a row says already stays.

        A film whose patient only its header tells is of the patient that the rows name for other films of that header:
        a manifest that leaves a cell empty would make two patients of one.
        """
        named: dict[str, set[object]] = {}
        for row in rows if self.told else ():
            if row.get("patient") and (identity := self._told_of(row).get("patient")):
                named.setdefault(identity, set()).add(row["patient"])
        for row in rows:
            header: dict[str, object] = dict(self._told_of(row))
            if len(same := named.get(str(header.get("patient")), set())) == 1:
                header["patient"] = next(iter(same))
            if row.get("age") or row.get("age_group"):
                header = {key: value for key, value in header.items() if key not in ("age", "age_group")}
            yield {**row, **{key: value for key, value in header.items() if not row.get(key)}}

    def notes(self, rows: Iterable[Mapping[str, object]], manifest: str) -> tuple[str, ...]:
        """Return what a reader must know: how the films are displayed, and what contradicts their manifest.

        Args:
            rows: what the manifest tells of each film, beside its `path`.
            manifest: its name.
        """
        if not self.told:
            return ()
        displayed = ", ".join(f"{rule} ({count})" for rule, count in sorted(self.rules.items()))
        notes = [f"DICOM films are displayed by their {displayed}"] if displayed else []
        for column, what in (("view", "views"), ("age_group", "age groups")):
            other = [
                (row, header)
                for row in rows
                if (header := self._told_of(row).get(column, ""))
                and row.get(column)
                and _coarse(header) != _coarse(str(row[column]))
            ]
            if other:
                first, header = other[0]
                notes.append(
                    f"{what} of {len(other)} films are taken from {manifest}; their DICOM headers say otherwise, first "
                    f"{shown(Path(str(first['path'])).name, 40)} ({shown(first[column], 20)}, header: {header})"
                )
        return (*notes, *self._regrouped(rows, manifest))

    def _told_of(self, row: Mapping[str, object]) -> Mapping[str, str]:
        return self.told.get(str(row["path"]), {})

    def _regrouped(self, rows: Iterable[Mapping[str, object]], manifest: str) -> tuple[str, ...]:
        """Return the note where manifest and headers disagree on which films are of one patient."""
        pairs = {
            (str(row["patient"]), header)
            for row in rows
            if row.get("patient") and (header := self._told_of(row).get("patient", ""))
        }
        ours, theirs = ({pair[side] for pair in pairs} for side in (0, 1))
        if len(pairs) == len(ours) == len(theirs):
            return ()
        told = f"{len(ours)}, where the DICOM headers of these films tell {len(theirs)} and group them otherwise"
        return (f"patients are taken from {manifest}: {told}",)


def is_dicom_file(path: Path) -> bool:
    """Return whether a file is DICOM, by its suffix or its first bytes; nothing but a regular file is opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return path.suffix.lower() in DICOM_SUFFIXES
        return path.suffix.lower() in DICOM_SUFFIXES or is_dicom(_beginning(path))
    except (OSError, ValueError):
        return path.suffix.lower() in DICOM_SUFFIXES


def _header(path: Path, rules: Counter[str]) -> dict[str, str]:
    try:
        if not path.is_file() or is_deflated(_beginning(path)):
            return {}
        header = read_tags(path, _TAGS)
        rules[display_rule(header)] += 1
        age = _text(header, "PatientAge")
        told = {"patient": _pseudonym(header), "view": _text(header, "ViewPosition"), "age": age}
        maker = " ".join(filter(None, (_text(header, name) for name in ("Manufacturer", "ManufacturerModelName"))))
        told |= {"sex": _text(header, "PatientSex"), "scanner": maker, "site": _text(header, "InstitutionName")}
        return told | {"age_group": age_group(age)}
    except Exception:  # noqa: BLE001 - a broken file is found, named and counted when it is decoded
        return {}


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEADER_BYTES)


def _text(header: pydicom.Dataset, tag: str) -> str:
    value = str(header.get(tag) or "").strip()
    return value if len(value) <= _LONGEST and value.isprintable() else ""


def _pseudonym(header: pydicom.Dataset) -> str:
    identity = as_seen(str(header.get("PatientID") or ""))
    issuer = as_seen(str(header.get("IssuerOfPatientID") or ""))
    return hashlib.sha256(f"{issuer}\x1f{identity}".encode()).hexdigest()[:12] if identity else ""


def _coarse(told: str) -> str:
    """Return a view without its details, `AP Supine` as AP, `LL` and `LATERAL` as L; other texts as they are."""
    name = told.strip().upper()
    if name in ("L", "LL", "RL", "LLD", "RLD") or name.startswith("LAT"):
        return "L"
    return next((view for view in ("PA", "AP") if name.startswith(view)), name)
