"""How are classes spelt, and how do labels meet what the subject can answer?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.spelling import label_spelling
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem

NORMAL, PNEUMONIA = "normal", "pneumonia"
BACTERIAL, VIRAL = "bacterial_pneumonia", "viral_pneumonia"

# Other spellings in circulation -> ours. A finding ("consolidation", "no finding") is not a spelling of a class.
SPELLINGS = {
    "healthy": NORMAL,
    "bacteria": BACTERIAL,
    "bacterial": BACTERIAL,
    "bacteria_pneumonia": BACTERIAL,
    "pneumonia_bacteria": BACTERIAL,
    "pneumonia_bacterial": BACTERIAL,
    "virus": VIRAL,
    "viral": VIRAL,
    "virus_pneumonia": VIRAL,
    "pneumonia_virus": VIRAL,
    "pneumonia_viral": VIRAL,
    "pneumonitis": PNEUMONIA,
    "pneumonia_unspecified": PNEUMONIA,
}
KNOWN = frozenset({NORMAL, PNEUMONIA, BACTERIAL, VIRAL, *SPELLINGS})


# Around the words of the published classes these say nothing: `Pneumonia (viral)`. A number may live by its point.
_SILENT = re.compile(r"[()\[\]{}\"'.,:;/]+")
_NOTHING = re.compile(r"[-?.]+")


@lru_cache(maxsize=4096)
def normalise_label(text: str) -> str:
    """Return the canonical label: `PNEUMONIA-Bacterial` -> `bacterial_pneumonia`, `TB +` -> `tb+`, "" stays "".

    Spellings that differ in case, blanks, underscores and hyphens between words are one label; signs are part of it:
    `TB+` and `TB-`, `1` and `-1`, `pneumonia?` and `pneumonia` are two (see `label_spelling`).
    """
    spelt = label_spelling(text)
    words = label_spelling(_SILENT.sub(" ", spelt))
    return SPELLINGS.get(words, words) if words in KNOWN else spelt


def merged_spellings(written: Iterable[str]) -> tuple[str, ...]:
    """Return a note for each label that stands for texts which differ in more than case, blanks and hyphens."""
    spelt: dict[str, dict[str, str]] = {}
    for text in written:
        spelt.setdefault(normalise_label(text), {}).setdefault(label_spelling(text), text)
    return tuple(
        f"labels {listed(map(repr, found.values()))} are read as one, {shown(label, 30)}"
        for label, found in sorted(spelt.items())
        if len(found) > 1
    )


def align_labels(cohort: Cohort, subject_classes: Sequence[str], *, probe: bool | None = None) -> Cohort:
    """Return the cohort with its labels in the subject's own class names.

    A subject that knows only `pneumonia` gets bacterial and viral films as pneumonia, with a note. Films without a
    label (or with `-`, `?`, where no class is called so) are left out of a labelled cohort, with a note.

    Args:
        cohort: with labels in any spelling.
        subject_classes: class names of the subject.
        probe: the films are shown to the subject without a truth among its classes (laterals, unseen findings):
            labels it does not have become "" (kept as `finding` where that is empty), and classes may be empty.
            `None`: exactly when no film has a label.

    Raises:
        CohortProblem: a label is not among the subject's classes, or a class has no film.
    """
    own = _own_names(subject_classes)
    labels = cohort.table["label"].astype(str)
    if probe is None:
        probe = not labels.any()
    target = {label: _target(label, own) for label in sorted(labels.unique()) if label}
    unknown = [label for label, name in target.items() if name is None and not _NOTHING.fullmatch(label)]
    if unknown and not probe:
        raise CohortProblem(f"cohort {shown(cohort.name, 40)}: {_why_unknown(cohort, unknown, subject_classes)}")
    table = cohort.table.copy()
    table["label"] = labels.map(lambda label: target.get(label) or "")
    notes = list(cohort.notes)
    if unknown:
        displaced = labels.isin(unknown) & (table["finding"] == "")
        table.loc[displaced, "finding"] = labels[displaced]
        notes.append(f"labels unknown to the subject are read as findings: {listed(unknown)}")
    notes += [*merged_spellings(target), *_merged(target)]
    aligned = replace(cohort, table=table, notes=tuple(notes))
    return aligned if probe else _complete(aligned, subject_classes)


def _own_names(classes: Sequence[str]) -> dict[str, str]:
    own: dict[str, str] = {}
    for name in classes:
        other = own.setdefault(normalise_label(name), name)
        if other != name:
            raise CohortProblem(
                f"the subject's classes {shown(other, 60)!r} and {shown(name, 60)!r} are two spellings of one label"
            )
    return own


def _target(label: str, own: dict[str, str]) -> str | None:
    canonical = normalise_label(label)
    if canonical in (BACTERIAL, VIRAL) and not {BACTERIAL, VIRAL} & own.keys():
        canonical = PNEUMONIA
    return own.get(canonical)


def _merged(target: dict[str, str | None]) -> list[str]:
    merged = [
        label
        for label, name in target.items()
        if name and normalise_label(name) == PNEUMONIA and normalise_label(label) in (BACTERIAL, VIRAL)
    ]
    if not merged:
        return []
    return [f"{' and '.join(merged)} are judged as {target[merged[0]]}, the only pneumonia the subject knows"]


def _complete(cohort: Cohort, classes: Sequence[str]) -> Cohort:
    """Leave out films without a label, and insist on films of every class."""
    labelled = cohort.table["label"] != ""
    if not labelled.any():
        raise CohortProblem(
            f"cohort {shown(cohort.name, 60)}: no label was found for any of its {len(cohort)} films; "
            f"{cohort.no_label or 'give each film its class in the column `label`'}"
        )
    if not labelled.all():
        lost = cohort.table["id"][~labelled]
        note = f"{len(lost)} of {len(cohort)} films have no label and are left out, first {shown(lost.iloc[0])}"
        cohort = cohort.select(labelled, note=note)
    found = {name: int((cohort.table["label"] == name).sum()) for name in classes}
    empty = [name for name, films in found.items() if not films]
    if empty:
        there = listed((f"{films:,} {name}" for name, films in found.items() if films), 60)
        raise CohortProblem(
            f"cohort {shown(cohort.name, 60)}: no film of class {listed(map(repr, empty), 60)}, which the subject "
            f"tells apart (films: {there}); give films of every class, or other `split=`"
        )
    return cohort


def _why_unknown(cohort: Cohort, unknown: Sequence[str], classes: Sequence[str]) -> str:
    first = cohort.table["id"][cohort.table["label"].isin(unknown)].iloc[0]
    names = listed(map(repr, unknown), 50)
    reason = f"label {names} (first at {shown(first, 40)}) not among the subject's classes: {listed(classes, 60)}"
    if all(map(_is_number, unknown)) and not any(map(_is_number, classes)):
        return f"{reason}. Write class names, not numbers: the order of a subject's classes is its own"
    if [normalise_label(label) for label in unknown] == [PNEUMONIA]:
        return f"{reason}. Say which pneumonia it is"
    return f"{reason}. Rename the labels, or choose with label=... in the spec"


def _is_number(label: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", label) is not None
