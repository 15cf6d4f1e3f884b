"""How is a CSV, TSV or Parquet manifest read? One row per film, any columns beside `file`.

Known columns: `file` (relative to the manifest, or absolute), `id`, `label`, `patient`, `view`, `age_group` (or `age`),
`finding`, `split`, `finding:NAME` (see `manifest_findings`), `sex`, `site`, `scanner`, `projection` (or under a usual
name, see `patient_facts.NAMES`), and masks in `lung_mask`, `heart_mask`, `lesion_mask` (`mask` is read as the
lesion's). Further columns are kept, and can be filtered by. What it leaves empty of patient, view, age, sex, site and
scanner is taken from the headers of DICOM films.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.assembly import assembled
from suites.harness.cohorts.layouts.headers import Headers
from suites.harness.cohorts.layouts.manifest_findings import OPTION, listed_findings
from suites.harness.cohorts.layouts.metadata import (
    SUFFIXES,
    RowsOf,
    files_named,
    find_beside,
    located_file,
    not_read_beside,
    read_manifest,
)
from suites.harness.cohorts.layouts.missing_labels import why_no_label_column
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import shown
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
    options=(OPTION,),
    described="a CSV, TSV or Parquet manifest with a column `file`, or a folder with metadata.csv",
)
def manifest(spec: Spec) -> Cohort:
    """Load the films that a manifest names; a file that is missing is found so when it is decoded."""
    path = manifest_path(spec.path)
    if path is None:
        raise CohortProblem(f"{shown(spec.text)}: no manifest ({', '.join(SUFFIXES)}) there")
    root = path.parent
    told, spelt = read_manifest(path)
    told, meant = listed_findings(told, spec.option(OPTION), shown(path.name, 60))
    columns = list(map(str, told))
    masks = {_mask_name(column): column for column in columns if column == "mask" or column.endswith("_mask")}
    if {"mask", "lesion_mask"} <= set(told):
        raise CohortProblem(f"{shown(path)}: columns mask and lesion_mask mean the same; remove one of them")
    if "id" in told and (repeated := told["id"][told["id"].duplicated() & (told["id"] != "")].tolist()):
        raise CohortProblem(f"{shown(path)}: gives the id {shown(repeated[0])} more than once")
    files = files_named(told, path)
    headers = Headers.read(map(Path, files), spec.cache)
    located = {column: [name and located_file(root, str(name)) for name in told[column]] for column in masks.values()}
    # As objects: a file's name need not be text.
    told = told.assign(**{name: pd.Series(paths, dtype=object) for name, paths in {"path": files, **located}.items()})
    whole_folder = spec.path.is_dir()
    return assembled(
        spec,
        root,
        RowsOf(told),
        headers,
        name=root.name if whole_folder else f"{root.name}/{path.name}",
        manifest=shown(path.name, 60),
        masks=masks,
        notes=[
            *spelt,
            *meant,
            *["the masks of column `mask` are read as lesions"] * ("mask" in columns),
            *(not_read_beside(path) if whole_folder else ()),
        ],
        no_label=why_no_label_column(columns, path.name),
    )


def _mask_name(column: str) -> str:
    return "lesion" if column == "mask" else column.removesuffix("_mask")
