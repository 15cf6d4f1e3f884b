"""What do files tell before any model looks? Properties, duplicates, patients and class mix per split.

A classifier can reach impressive numbers from properties that have nothing to do with lungs (compression, size,
sharpness, black borders). They are measured here; `shortcuts` turns them into baselines that stand beside the subject.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.cohorts.decoding import FORMATS
from suites.harness.cohorts.layouts.boxes import BoxedFilms
from suites.harness.cohorts.layouts.films import FilmReader
from suites.harness.cohorts.layouts.kermany_names import bare_number
from suites.harness.errors import FilmUnreadable, NotEvaluable
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing

MOST_AUDITED = 20_000
"""Films that are decoded for the properties of their files; of more, a random sample of so many."""
END_BYTES = 2**14
FRAME = 6  # outer pixels of the network input counted as border
DARK = 8 / 255

# ITU-T T.81, table K.1: the luminance quantisation table that the IJG quality scale stretches.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).ravel()


@dataclass(frozen=True, kw_only=True)
class FileAudit:
    """Properties of a cohort's files.

    Attributes:
        properties: one row per readable film: `id`, `label`, `patient`, `split`, `content` (sha256), `bytes`, `width`,
            `height` (pixels), `aspect` (width / height), `mode` (Pillow's, or DICOM), `colour` (0 or 1), `jpeg_quality`
            (IJG scale 1 to 100, NaN for other formats), `bytes_per_pixel`, and at the network input `sharpness` (mean
            absolute Laplacian, grey levels), `border_dark` (share of the outer frame below 8 grey levels), `mean_grey`,
            `sd_grey` (grey levels 0 to 255).
        excluded: films left out, columns `cohort`, `file`, `reason`.
    """

    properties: pd.DataFrame
    excluded: pd.DataFrame


def audit_files(
    cohort: Cohort,
    *,
    preprocessing: Preprocessing = REPOSITORY,
    tick: Callable[[], object] = lambda: None,
) -> FileAudit:
    """Measure every file of a cohort, without the subject.

    Args:
        cohort: films that lie in files.
        preprocessing: recipe whose network input sharpness, border and grey are measured at.
        tick: called after each film (a progress bar's `update`).

    Raises:
        NotEvaluable: the films do not come from files (phantoms), so there is nothing to audit.
    """
    reader = _file_reader(cohort)
    properties, excluded = [], []
    for row in cohort.rows():
        try:
            film = reader(row)
        except FilmUnreadable as problem:
            excluded.append({"cohort": cohort.name, "file": row["id"], "reason": problem.reason})
        else:
            known = {column: row[column] for column in ("id", "label", "patient", "split")}
            properties.append(known | film_properties(reader.path(row), film, preprocessing))
        tick()
    return FileAudit(
        properties=pd.DataFrame(properties),
        excluded=pd.DataFrame(excluded, columns=["cohort", "file", "reason"]),
    )


def film_properties(path: Path, film: Film, preprocessing: Preprocessing = REPOSITORY) -> dict[str, Any]:
    """Return the properties of one film as `FileAudit.properties` names them, from `content` on."""
    size = path.stat().st_size
    mode, quality = _header(path)
    height, width = film.pixels.shape
    grey = preprocessing(torch.from_numpy(film.pixels).unsqueeze(0))[0, 0].numpy().astype(np.float64)
    frame = np.ones(grey.shape, dtype=bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    return {
        "content": film.content,
        "bytes": size,
        "width": width,
        "height": height,
        "aspect": width / height,
        "mode": mode,
        "colour": int(mode not in ("1", "L", "I", "F", "DICOM") and not mode.startswith(("I;", "LA"))),
        "jpeg_quality": quality,
        "bytes_per_pixel": size / (width * height),
        "sharpness": 255 * sharpness(grey),
        "border_dark": float((grey[frame] < DARK).mean()),
        "mean_grey": 255 * float(grey.mean()),
        "sd_grey": 255 * float(grey.std()),
    }


def sharpness(grey: NDArray[np.float64]) -> float:
    """Return the mean absolute value of the 4-neighbour Laplacian of an (H, W) image, in the image's units."""
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(np.abs(laplacian).mean())


def jpeg_quality(table: NDArray[np.int64]) -> float:
    """Return the IJG quality (1 to 100) whose luminance table is nearest to a file's, by summed absolute difference."""
    return float(np.abs(_quality_tables() - table).sum(axis=1).argmin() + 1)


def file_contents(cohort: Cohort) -> pd.DataFrame:
    """Return `id`, `label`, `patient`, `split` and `content` of the cohort's files without decoding them.

    Enough for `duplicate_groups`: equal files have one content, their sha256. Of others only the end is read, and
    of one whose size no other has not even that: a million files are not read whole to find a few copies. Files that
    cannot be read are left out.

    Raises:
        NotEvaluable: the films do not come from files.
    """
    reader = _file_reader(cohort)
    paths = [reader.path(row) for row in cohort.rows()]
    contents = [_size(path) for path in paths]
    for closer in (_end, _content):
        shared = Counter(contents)
        contents = [
            closer(path) if content and shared[content] > 1 else content
            for path, content in zip(paths, contents, strict=True)
        ]
    table = cohort.table[["id", "label", "patient", "split"]].assign(content=contents)
    return table[table["content"] != ""].reset_index(drop=True)


def duplicate_groups(properties: pd.DataFrame) -> pd.DataFrame:
    """Return the films whose files are identical: `group` (from 1), `id`, `label`, `patient`, `split`, `content`.

    Args:
        properties: from `audit_files` or `file_contents`.
    """
    copies = properties[properties["content"].duplicated(keep=False)].sort_values("id", kind="stable")
    groups = pd.factorize(copies["content"])[0] + 1
    columns = ["group", "id", "label", "patient", "split", "content"]
    return copies.assign(group=groups)[columns].sort_values(["group", "id"], ignore_index=True)


def patient_overlap(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for every two splits, how many patients they share.

    Returns:
        Columns `split_a`, `split_b`, `patients_a`, `patients_b`, `shared` (patient keys in both), `films` (films of
        theirs in both splits), and `numbers_b`, `shared_numbers`: person numbers of `split_b`, and those among them
        that also occur in `split_a`, if the number is wrongly taken for the key (see `kermany_names`).
    """
    rows = []
    for first, second in combinations(sorted(table["split"].unique(), key=_split_order), 2):
        films = [table[table["split"] == split] for split in (first, second)]
        patients = [set(part["patient"]) for part in films]
        numbers = [{bare_number(patient) for patient in group} - {""} for group in patients]
        shared = patients[0] & patients[1]
        rows.append(
            {
                "split_a": first,
                "split_b": second,
                "patients_a": len(patients[0]),
                "patients_b": len(patients[1]),
                "shared": len(shared),
                "films": sum(int(part["patient"].isin(shared).sum()) for part in films),
                "numbers_b": len(numbers[1]),
                "shared_numbers": len(numbers[0] & numbers[1]),
            }
        )
    columns = ["split_a", "split_b", "patients_a", "patients_b", "shared", "films", "numbers_b", "shared_numbers"]
    return pd.DataFrame(rows, columns=columns)


def class_mix(table: pd.DataFrame) -> pd.DataFrame:
    """Return `split`, `label`, `films`, `patients`, `share` (of the split's films) for every class of every split."""
    grouped = table.groupby(["split", "label"], sort=True)
    mix = grouped.agg(films=("id", "size"), patients=("patient", "nunique")).reset_index()
    mix["share"] = mix["films"] / mix.groupby("split")["films"].transform("sum")
    return mix.sort_values(["split", "label"], key=lambda column: column.map(_split_order), ignore_index=True)


def _file_reader(cohort: Cohort) -> FilmReader:
    decode = cohort.decode
    if isinstance(decode, BoxedFilms):  # boxes are drawn on what is read
        decode = decode.decode
    if not isinstance(decode, FilmReader):
        raise NotEvaluable(f"the films of {cohort.name} are not read from files, so there are no file properties")
    return decode


def _size(path: Path) -> str:
    """Return the size of a file that can be read, "" of any other."""
    try:
        there = path.is_file() and os.access(path, os.R_OK)
        return f"{path.stat().st_size} bytes" if there else ""
    except (OSError, ValueError):
        return ""


def _end(path: Path) -> str:
    """Return what tells files of one size apart as a rule: compressed ones end differently."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END_BYTES))
            return f"{size} bytes, {hashlib.sha256(file.read(END_BYTES)).hexdigest()}"
    except OSError:
        return ""


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except OSError:
        return ""


def _split_order(split: str) -> tuple[int, str]:
    known = ("train", "val", "test")
    return (known.index(split) if split in known else len(known), split)


def _header(path: Path) -> tuple[str, float]:
    """Return Pillow's mode and the JPEG quality (NaN without one)."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            tables = getattr(image, "quantization", None) or {}
            quality = jpeg_quality(np.array(tables[min(tables)])) if tables else float("nan")
            return str(image.mode), quality
    except OSError:
        return "DICOM", float("nan")


@cache
def _quality_tables() -> NDArray[np.int64]:
    """Return (100, 64) luminance tables of the IJG library for quality 1 to 100, in natural order."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.asarray(np.clip((_LUMINANCE[None, :] * scale[:, None] + 50) // 100, 1, 255), dtype=np.int64)
