"""What do the headers of DICOM films tell of patient, view and age, wherever the films lie and whatever names them?

A manifest goes before a header, a header before what a file's name suggests. Patient identifiers are replaced by a
short hash, so that they never reach a report. What a header told is kept where there is a cache, so that of a million
films none is opened again at the next start.
"""

from __future__ import annotations

import hashlib
import json
import stat
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pydicom

from suites.harness import cohorts
from suites.harness.cache.code_digest import decoding, digest_of
from suites.harness.cohorts.dicom_decoding import (
    DICOM_SUFFIXES,
    HEADER_BYTES,
    display_rule,
    is_deflated,
    is_dicom,
    read_tags,
)
from suites.harness.cohorts.kept_by_stamp import KeptByStamp
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
        read_now: how many files were opened.
    """

    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rules: Mapping[str, int] = field(default_factory=dict)
    read_now: int = 0

    @classmethod
    def read(cls, paths: Iterable[Path], cache: Path | None = None) -> Headers:
        """Return the headers of those files that are DICOM.

        Args:
            paths: of the films.
            cache: its root, where what files told is kept and found again as long as they do not change.
        """
        told: dict[str, Mapping[str, str]] = {}
        rules: Counter[str] = Counter()
        kept: AbstractContextManager[KeptByStamp | None] = nullcontext() if cache is None else _kept_headers(cache)
        with warnings.catch_warnings(), kept as known:
            warnings.simplefilter("ignore")  # of damage, which is named once, when the film is decoded
            for path in paths:
                found = _told_now_or_before(path, known)
                if found is not None:
                    told[str(path)] = found.told
                    rules.update([found.rule] if found.rule else [])
            return cls(told, rules, 0 if known is None else known.looked)

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


@dataclass(frozen=True)
class _Told:
    """What one header tells, and how its film is displayed, "" where that cannot be read."""

    told: Mapping[str, str]
    rule: str


def _kept_headers(cache: Path) -> KeptByStamp:
    """Return what headers told that were read before."""
    code = digest_of(cohorts.__name__, "**/*.py")
    return KeptByStamp(cache, "headers", {"code": code, "versions": decoding()}, ("told",))


def _told_now_or_before(path: Path, kept: KeptByStamp | None) -> _Told | None:
    """Return what the header of a file tells, `None` of one that is no DICOM."""
    if kept is None:
        return _told_by(path)
    (text,) = kept.found([path], lambda: (_as_text(_told_by(path)),)) or ("",)
    return _Told(**json.loads(text)) if text else None


def _as_text(told: _Told | None) -> str:
    return json.dumps(asdict(told)) if told else ""


def _told_by(path: Path) -> _Told | None:
    if not is_dicom_file(path):
        return None
    rules: list[str] = []
    return _Told(_header(path, rules), "".join(rules))


def _header(path: Path, rules: list[str]) -> dict[str, str]:
    try:
        if not path.is_file() or is_deflated(_beginning(path)):
            return {}
        header = read_tags(path, _TAGS)
        rules.append(display_rule(header))
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
