"""How is MedMNIST laid out? `pneumoniamnist.npz`, `chestmnist.npz`, or `..._64`, `_128`, `_224`: arrays of small films.

`{train,val,test}_images` are (N, S, S) uint8 and `{train,val,test}_labels` (N, 1) or (N, 14) of 0 and 1; nothing is
uncertain, and patients are not told. Names and order of the labels after https://medmnist.com/ and
https://github.com/MedMNIST/MedMNIST/blob/main/medmnist/info.py (Yang et al. 2023, doi:10.1038/s41597-022-01721-8).
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suites.harness.cohorts.cohort import COLUMNS, Cohort, Film
from suites.harness.cohorts.findings import NEGATIVE, POSITIVE, PREFIX
from suites.harness.cohorts.layouts.films import by_own_patients
from suites.harness.cohorts.layouts.labels import NORMAL, PNEUMONIA
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.cohorts.rows import Row
from suites.harness.errors import CohortProblem, FilmUnreadable
from suites.harness.foreign_file import size_text

SPLITS = ("train", "val", "test")
MOST_BYTES = 4 * 2**30
"""Of one array, held in memory while its films are asked for; the training films of chestmnist_224 have 3.7 GiB."""
_FILE = re.compile(r"(?P<set>pneumoniamnist|chestmnist)(?:_\d+)?(?:\.v\d+)?\.npz", re.IGNORECASE)
_OPENING = Lock()  # of several threads each would hold the whole array
_LABELS = {
    "pneumoniamnist": ("pneumonia",),
    "chestmnist": (
        "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
    ),
}  # fmt: skip


def _archive(spec: Spec) -> Path | None:
    if spec.path.is_file():
        return spec.path if _FILE.fullmatch(spec.path.name) else None
    found = sorted(path for path in spec.path.glob("*.npz") if _FILE.fullmatch(path.name)) if spec.path.is_dir() else []
    return found[0] if len(found) == 1 else None


@register(
    "medmnist",
    recognises=lambda spec: _archive(spec) is not None,
    precedence=10,
    described="MedMNIST: pneumoniamnist.npz (two classes) or chestmnist.npz (14 findings), also _64, _128, _224",
)
def medmnist(spec: Spec) -> Cohort:
    """Load the films of an archive, every split.

    Raises:
        CohortProblem: no such archive, or its arrays are not those of MedMNIST.
    """
    path = _archive(spec)
    if path is None:
        raise CohortProblem(f"{shown(spec.text)}: is no pneumoniamnist.npz or chestmnist.npz and holds not just one")
    kind = str((_FILE.fullmatch(path.name) or {})["set"]).lower()  # type: ignore[index]
    names = _LABELS[kind]
    tables = [_table(path, split, names) for split in SPLITS]
    table = pd.concat(tables, ignore_index=True)
    if len(names) == 1:
        table["label"] = np.where(table[f"{PREFIX}{names[0]}"] == POSITIVE, PNEUMONIA, NORMAL)
        table["age_group"] = "child"  # its films are those of Kermany 2018, of children aged one to five
    return Cohort(
        name=path.stem,
        spec=spec.text,
        table=table,
        decode=SmallFilms(path),
        notes=by_own_patients(table),
        no_label=f"they are labelled with {len(names)} findings ({listed(names, 40)}), not with classes",
    )


@dataclass(frozen=True)
class SmallFilms:
    """Decodes a row of an archive: the film at a place of one of its arrays.

    Attributes:
        path: of the archive.
    """

    path: Path

    def __call__(self, row: Row) -> Film:
        """Return the film of a row; raises `FilmUnreadable` where the archive has changed."""
        try:
            grey = _array(self.path, f"{row['split']}_images")[int(str(row["at"]))]
        except (CohortProblem, IndexError) as problem:
            raise FilmUnreadable(str(problem)) from problem
        content = hashlib.sha256(f"{grey.shape}".encode() + grey.tobytes()).hexdigest()
        return Film(pixels=grey.astype(np.float32) / np.float32(255), content=content)


def _table(path: Path, split: str, names: tuple[str, ...]) -> pd.DataFrame:
    labels = _array(path, f"{split}_labels")
    if labels.ndim != 2 or labels.shape[1] != len(names) or not np.isin(labels, (0, 1)).all():
        raise CohortProblem(
            f"{shown(path)}: {split}_labels are {labels.dtype} of shape {labels.shape}; MedMNIST's are 0 or 1 of (N, "
            f"{len(names)})"
        )
    count = len(labels)
    ids = [f"{split}{at:06d}" for at in range(count)]
    told = {f"{PREFIX}{name}": np.where(labels[:, at] == 1, POSITIVE, NEGATIVE) for at, name in enumerate(names)}
    empty = {column: [""] * count for column in COLUMNS}
    return pd.DataFrame(empty | {"id": ids, "patient": ids, "split": [split] * count, "at": range(count)} | told)


@lru_cache(maxsize=1)
def _open(path: Path, member: str, _changed: int) -> NDArray[np.uint8]:
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(f"{member}.npy").file_size
    if size > MOST_BYTES:
        raise CohortProblem(f"{shown(path)}: {member} has {size_text(size)}; up to {size_text(MOST_BYTES)} are read")
    with np.load(path, allow_pickle=False) as stored:
        array: NDArray[np.uint8] = stored[member]
    if member.endswith("_images") and (array.dtype != np.uint8 or array.ndim != 3):
        raise CohortProblem(
            f"{shown(path)}: {member} are {array.dtype} of shape {array.shape}; MedMNIST's films are uint8 of (N, S, S)"
        )
    return array


def _array(path: Path, member: str) -> NDArray[np.uint8]:
    """Return an array of an archive; that of one split is held in memory, however many of its films are asked for."""
    try:
        with _OPENING:
            return _open(path, member, path.stat().st_mtime_ns)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as problem:
        reason = (
            f"has no {member}" if isinstance(problem, KeyError) else f"{member} cannot be read ({shown(problem, 60)})"
        )
        raise CohortProblem(f"{shown(path)}: {reason}; get the archive again") from problem
