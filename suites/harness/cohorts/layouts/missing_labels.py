"""Why have films no label? What folders and tables suggest, and what their owner can do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from suites.harness.cohorts.layouts.films import SPLITS
from suites.harness.cohorts.layouts.labels import KNOWN, normalise_label
from suites.harness.cohorts.layouts.metadata import SUFFIXES
from suites.harness.cohorts.layouts.walk import films_below, folders_in
from suites.harness.cohorts.quoting import listed, shown

_REMEDY = "put them into one folder per class, or name a table with the columns `file` and `label`"
_DEEPEST = 4

_LABELS = frozenset(
    {
        "class", "classes", "classname", "category", "diagnosis", "diagnoses", "disease", "finding", "findings",
        "findinglabel", "findinglabels", "groundtruth", "labels", "labelname", "pathology", "target", "truth", "y",
    }
)  # fmt: skip

_TABLES = frozenset(
    {
        ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml",
        ".txt", ".dat", ".feather", ".arrow", ".pkl", ".pickle", ".db", ".sqlite", ".dta", ".sav",
    }
)  # fmt: skip
_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"})


def class_folders(root: Path) -> list[tuple[str, Path]]:
    """Return (split, class folder) pairs; the split is "" where there are no split folders."""
    children = folders_in(root)
    splits = [folder for folder in children if folder.name.lower() in SPLITS]
    if splits:
        return [(SPLITS[split.name.lower()], folder) for split in splits for folder in folders_in(split)]
    return [("", folder) for folder in children]


def why_no_label(location: Path) -> str:
    """Return why the films of a folder have no label and what to do: one class alone, or folders of classes deeper."""
    if not location.is_dir():
        return f"one film has no class of its own; {_REMEDY}"
    if normalise_label(location.name) in KNOWN:
        return f"{shown(location.name, 40)} is the folder of one class; name the folder that holds one per class"
    names = {normalise_label(folder.name) for _, folder in class_folders(location)}
    if len(names) == 1 and names <= KNOWN:
        return f"there is one folder of a class ({listed(names)}), and a cohort needs one per class; {_REMEDY}"
    deeper = next((folder for folder in _below(location, _DEEPEST) if _holds_classes(folder)), None)
    if deeper is not None:
        return f"the folders of its classes lie deeper: pass --data {shown(deeper)}"
    tables = [path for path in films_below(location, deep=False) if path.suffix.lower() in SUFFIXES]
    if tables:
        return f"if {shown(tables[0].name, 40)} there tells file and label of each, name that table itself"
    return _REMEDY


def why_no_cohort(file: Path) -> str:
    """Return what to do with a file that is neither a table of films nor a film."""
    suffix = file.suffix.lower()
    if suffix in _TABLES:
        return "if it is a table, save it as CSV with the columns `file` and `label`"
    if suffix in _ARCHIVES:
        return "unpack it, and name what was in it"
    return "save its films as PNG, TIFF or DICOM, and name their folder or a table of them"


def why_no_label_column(columns: Iterable[str], manifest: str) -> str:
    """Return why the films of a manifest have no label and what to do: the column is called otherwise, or is empty."""
    names = list(columns)
    if "label" in names:
        return f"the column `label` of {shown(manifest, 60)} is empty; write the classes into it"
    likely = [name for name in names if re.sub(r"[\W_]+", "", name) in _LABELS]
    if likely:
        advice = f"if its column {shown(likely[0], 30)!r} holds the classes, rename it to `label`"
    else:
        advice = "add one with the class of each film"
    return f"{shown(manifest, 60)} has no column `label`; {advice}"


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders below one, nearest first."""
    level = [folder]
    for _ in range(depth):
        level = [inner for outer in level for inner in folders_in(outer)]
        yield from level


def _holds_classes(folder: Path) -> bool:
    names = {normalise_label(inner.name) for _, inner in class_folders(folder)}
    return len(names) > 1 and names <= KNOWN
