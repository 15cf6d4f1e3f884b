"""How is a CSV, TSV or Parquet manifest read? One row per film, any columns beside `file`.

Known columns: `file` (relative to the manifest, or absolute), `id`, `label`, `patient`, `view`, `age_group` (or `age`),
`finding`, `split`, and masks in `lung_mask`, `heart_mask`, `lesion_mask` (`mask` is read as the lesion's). Further
columns are kept, and can be filtered by.
"""

from __future__ import annotations

import os
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import printable
from suites.harness.cohorts.layouts.films import FilmReader, by_own_patients, film_table
from suites.harness.cohorts.layouts.metadata import SUFFIXES, find_beside, read_manifest
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.errors import CohortProblem


def manifest_path(location: Path) -> Path | None:
    """Return the manifest that a location is or holds, `None` if neither."""
    if location.is_file() and location.suffix.lower() in SUFFIXES:
        return location
    return find_beside(location) if location.is_dir() else None


@register(
    "manifest",
    recognises=lambda spec: manifest_path(spec.path) is not None,
    precedence=40,
    described="a CSV, TSV or Parquet manifest with a column `file`, or a folder with metadata.csv",
)
def manifest(spec: Spec) -> Cohort:
    """Load the films that a manifest names; a file that is missing is found so when it is decoded."""
    path = manifest_path(spec.path)
    if path is None:
        raise CohortProblem(f"{spec.text}: no manifest ({', '.join(SUFFIXES)}) there")
    root = path.parent
    told = read_manifest(path)
    masks = {_mask_name(column): column for column in map(str, told) if column == "mask" or column.endswith("_mask")}
    if {"mask", "lesion_mask"} <= set(told):
        raise CohortProblem(f"{printable(str(path))}: columns mask and lesion_mask mean the same; remove one of them")
    for column in ("file", *masks.values()):
        told[column] = told[column].map(lambda name: str(_located(root, name)) if name else "")
    _refuse_repeated(told["file"].tolist(), printable(str(path)))
    if "id" in told and (repeated := told["id"][told["id"].duplicated() & (told["id"] != "")].tolist()):
        raise CohortProblem(f"{printable(str(path))}: gives the id {printable(repeated[0])} more than once")
    rows = [{str(key): value for key, value in row.items()} | {"path": row["file"]} for row in told.to_dict("records")]
    table, unprintable = film_table(rows, root)
    notes = ["the masks of column `mask` are read as lesions"] if "mask" in told else []
    name = root.name if spec.path.is_dir() else f"{root.name}/{path.name}"
    return Cohort(
        name=printable(name),
        spec=spec.text,
        table=table,
        decode=FilmReader(masks=masks, unprintable=unprintable),
        notes=(*notes, *by_own_patients(table)),
    )


def _refuse_repeated(files: list[str], where: str) -> None:
    """Refuse a film that is named twice, be it by two paths or through a link: it would count twice."""
    first: dict[str, int] = {}
    for row, file in enumerate(files, start=1):
        earlier = first.setdefault(os.path.realpath(file), row)
        if earlier != row:
            raise CohortProblem(
                f"{where}: rows {earlier} and {row} name {printable(file)} more than once; keep one of them"
            )


def _mask_name(column: str) -> str:
    return "lesion" if column == "mask" else column.removesuffix("_mask")


def _located(root: Path, name: str) -> Path:
    """Return the file a manifest names; backslashes of a manifest written on Windows are understood."""
    path = root / name
    if "\\" in name and not path.exists():
        path = root / name.replace("\\", "/")
    return Path(*path.parts)
