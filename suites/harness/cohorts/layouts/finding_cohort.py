"""How does the table of a public collection become a cohort of films with findings? One row per film that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES
from suites.harness.cohorts.findings import PREFIX, findings_of
from suites.harness.cohorts.layouts.assembly import assembled
from suites.harness.cohorts.layouts.boxes import COLUMN, BoxedFilms
from suites.harness.cohorts.layouts.headers import Headers
from suites.harness.cohorts.layouts.recorded import normalised
from suites.harness.cohorts.layouts.registry import Spec
from suites.harness.cohorts.layouts.walk import films_below
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem

FACTS = (
    "label",
    "patient",
    "study",
    "view",
    "age",
    "sex",
    "finding",
    "site",
    "scanner",
    "split",
    "readers",
    "disagreed",
    COLUMN,
)
"""Columns that a layout may tell of a film beside its `path` and findings."""
_POSITION = "row"
_NO_FILMS = (".csv", ".gz", ".txt", ".html", ".md", ".pdf", ".json", ".zip", ".tar")


def root_of(spec: Spec) -> Path:
    """Return the folder of a collection, of which the spec names the folder itself or one table in it."""
    return spec.path.parent if spec.path.is_file() else spec.path


def files_by_name(spec: Spec, suffixes: Sequence[str] = ()) -> dict[str, str]:
    """Return name -> path of every film below a collection, or below its folder that `images=` names.

    Args:
        spec: what the user wrote.
        suffixes: of the names that are left off, so that they become identifiers.

    Raises:
        CohortProblem: the folder is not there, or two films of one name are: the table does not tell which it means.
    """
    root = root_of(spec)
    folder = root / spec.option("images")
    if not folder.is_dir():
        raise CohortProblem(f"{shown(folder)}: images={shown(spec.option('images'), 40)} names no folder there")
    found: dict[str, str] = {}
    for path in films_below(folder):
        if path.suffix.lower() in _NO_FILMS:
            continue
        name = path.stem if path.suffix.lower() in suffixes else path.name
        if name in found:
            one, two = (shown(os.path.relpath(other, root), 60) for other in (found[name], path))
            raise CohortProblem(
                f"{shown(root, 60)}: {one} and {two} are of one name; say images=FOLDER of those to use"
            )
        found[name] = str(path)
    return found


def finding_cohort(
    spec: Spec,
    films: pd.DataFrame,
    *,
    table: str,
    notes: Sequence[str] = (),
    drawn_on: tuple[int, int] | None = None,
    all_searched: bool = False,
) -> Cohort:
    """Return the cohort of the films of a table that are there.

    Args:
        spec: what the user wrote.
        films: one row per film in the table's order: `name` as the table has it, `path` ("" where no file is known),
            those of `FACTS` that the source tells, and `finding:*`.
        table: name of the table, as notes call it.
        notes: what the layout has to say.
        drawn_on: (width, height) that the boxes refer to, see `BoxedFilms`.
        all_searched: every film was looked at for boxes.

    Raises:
        CohortProblem: none of the films is there.
    """
    root = root_of(spec)
    there = films["path"].map(os.path.isfile).astype(bool)
    lost = films[~there]
    if not there.any():
        first = shown(lost["name"].iloc[0])
        raise CohortProblem(
            f"{shown(root)}: none of the {len(films)} films of {table} is there, first {first}; name the folder they "
            "lie in, or say images=FOLDER"
        )
    films = films[there].reset_index(drop=True)
    if COLUMN in films and not all_searched and not (films[COLUMN] != "").any():
        films = films.drop(columns=COLUMN)
    rows = films[["path", *(name for name in FACTS if name in films)]].assign(**{_POSITION: np.arange(len(films))})
    dicom = [Path(path) for path in films["path"] if path.lower().endswith(DICOM_SUFFIXES)]
    names = findings_of(films)
    cohort = assembled(
        spec,
        root,
        [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")],
        Headers.read(dicom, spec.cache),
        name=root.name,
        manifest=table,
        notes=(*_lost(lost, len(there), table), *notes),
        no_label=(
            f"they are labelled with {len(names)} findings ({listed(names, 40)}), not with classes: give a subject of "
            "findings (heads=sigmoid)"
        ),
    )
    known = normalised(cohort.table)
    order = known.pop(_POSITION).to_numpy(np.int64)
    labelled = films[[f"{PREFIX}{name}" for name in names]].iloc[order].reset_index(drop=True)
    decode = cohort.decode
    if COLUMN in known:
        decode = BoxedFilms(decode, drawn_on, always=all_searched)
    return replace(cohort, table=pd.concat([known, labelled], axis=1), decode=decode)


def _lost(lost: pd.DataFrame, films: int, table: str) -> tuple[str, ...]:
    if lost.empty:
        return ()
    first = shown(lost["name"].iloc[0], 80)
    return (f"{len(lost)} of {films} films named in {table} are not there and left out, first {first}",)
