"""How do the films of a layout become a cohort? Each once, completed by their headers and the manifest beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.films import FilmReader, by_own_patients, film_table, relative_name
from suites.harness.cohorts.layouts.headers import Headers
from suites.harness.cohorts.layouts.metadata import lay_over
from suites.harness.cohorts.layouts.registry import Spec
from suites.harness.cohorts.layouts.walk import true_paths
from suites.harness.cohorts.quoting import shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

Fields = Mapping[str, object]


def folder_cohort(
    spec: Spec,
    root: Path,
    rows: Sequence[Fields],
    *,
    name: str,
    manifest: Path | None = None,
    notes: Sequence[str] = (),
    no_label: str = "",
) -> Cohort:
    """Return the cohort of films that were found in a folder.

    Args:
        spec: what the user wrote.
        root: ids are paths relative to it.
        rows: each with `path`, and what folders and names tell of the film.
        name: of the cohort.
        manifest: the table beside the films, if there is one; it goes before headers, and these before names.
        notes: what the layout has to say.
        no_label: why no film has a label and what to do, where that is so.

    Raises:
        CohortProblem: one file lies in the folders of two classes through a link, or contradicts the manifest.
    """
    unique, linked = _each_once(rows, root)
    headers = Headers.read([Path(str(row["path"])) for row in unique], spec.cache)
    told: list[dict[str, object]] = [headers.before_names(row) for row in unique]
    more: list[str] = []
    if manifest:
        told, more = lay_over(told, manifest, root)
    return assembled(
        spec, root, told, headers, name=name, manifest=manifest.name if manifest else "", no_label=no_label,
        notes=(*notes, *linked, *more),
    )  # fmt: skip


def assembled(
    spec: Spec,
    root: Path,
    told: Iterable[Fields],
    headers: Headers,
    *,
    name: str,
    manifest: str,
    masks: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    no_label: str = "",
) -> Cohort:
    """Return the cohort of rows that are told, completed by the headers of their films.

    Args:
        spec: what the user wrote.
        root: ids are paths relative to it.
        told: each with `path`, and what folders, names and the manifest tell of the film; walked through several times.
        headers: of these films.
        name: of the cohort.
        manifest: the name of the table that tells some of it, "" without one.
        masks: mask name -> column holding the mask's file.
        notes: what the layout has to say.
        no_label: why no film has a label and what to do, where that is so.
    """
    masks = masks or {}
    table, unprintable = film_table(headers.below(told), root, tuple(masks.values()))
    same = bool(headers.told) and len(table) > 1 and table["patient"].nunique() == 1
    return Cohort(
        name=shown(name),
        spec=spec.text,
        table=table,
        decode=FilmReader(masks=masks, unprintable=unprintable),
        notes=(
            *headers.notes(told if manifest else (), manifest),
            *notes,
            *["every film carries the same patient identifier, so no interval over patients can be computed"] * same,
            *by_own_patients(table),
        ),
        no_label=no_label,
    )


def _each_once(rows: Sequence[Fields], root: Path) -> tuple[list[Fields], tuple[str, ...]]:
    """Return the rows without a file that links name again in the same split: it would count twice."""
    kept: dict[tuple[str, object], Fields] = {}
    labels: dict[str, Fields] = {}
    whole = os.path.realpath(root)
    for row, true in zip(rows, true_paths(row["path"] for row in rows), strict=True):
        path = str(row["path"])
        other = labels.setdefault(true, row)
        if other.get("label") != row.get("label"):
            one, two = (shown(relative_name(str(each["path"]), root), 80) for each in (other, row))
            raise CohortProblem(f"{one} and {two} are one file, through a link, in the folders of two classes")
        key = true, row.get("split")
        if key not in kept or true == f"{whole}{os.sep}{relative_name(path, root)}":
            kept[key] = row
    count = len(rows) - len(kept)
    note = f"{counted(count, 'file is', 'files are')} named again through links; each counts once"
    return list(kept.values()), (note,) * bool(count)
