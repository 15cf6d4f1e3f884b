"""Which classes do two hospitals' labels have in common? Three classes meet normal and pneumonia, and say so aloud.

A subject of three classes judged on films labelled `normal` and `pneumonia` is asked what both sets can say: is it ill
or healthy? Then every ill class counts as one, on the films of both hospitals. What no reading fits is left out and
counted, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from suites.harness.cohorts.class_roles import HEALTHY, healthy, own_name
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.labels import NORMAL, PNEUMONIA, normalise_label
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import NotEvaluable

TRUTH = "truth"
"""Column of the labels as the hospital gave them, where a subject's classes are others."""
ILL = frozenset({PNEUMONIA, "ill", "abnormal", "positive", "diseased", "sick", "pathological", "infection"})
"""Labels that say ill without saying of what, as `normalise_label` spells them."""
PNEUMONIAS = frozenset(
    {
        PNEUMONIA, "covid_19", "covid19", "sars", "mers", "streptococcus", "klebsiella", "pneumocystis", "varicella",
        "legionella", "e.coli", "influenza", "lipoid", "chlamydophila", "mycoplasma", "staphylococcus",
    }
)  # fmt: skip
"""Findings that are a pneumonia, or what causes one, as the public collections write them."""


@dataclass(frozen=True)
class CommonClasses:
    """What the labels of both hospitals can be held against.

    Attributes:
        names: of the common classes; the healthy one is `normal`, every other together `ill` where they are two.
        of_class: (K,) index of the common class of each class of the subject, -1 where it has none.
        of_label: label of the other hospital -> index of its common class; what is not in it is left out.
        sentence: how the two sets were read, for the report.
    """

    names: tuple[str, ...]
    of_class: tuple[int, ...]
    of_label: Mapping[str, int]
    sentence: str


def common_classes(classes: Sequence[str], home: Sequence[str], away: Mapping[str, int]) -> CommonClasses:
    """Return the classes that labels of both hospitals can be read as.

    The subject's own classes, where the other hospital has films of the same ones; else ill against healthy; else those
    classes that both have.

    Args:
        classes: of the subject.
        home: those of them that the home cohort has films of.
        away: label of the other hospital -> number of its films.

    Raises:
        NotEvaluable: fewer than two classes are left.
    """
    well = healthy(classes)
    called = {label: well if well and _says_healthy(label) else own_name(label, classes) for label in away}
    own = {label: name for label, name in called.items() if name in classes}
    ill = {label for label in away if label not in own and _says_ill(label)}
    shared = [name for name in classes if name in own.values() and name in home]
    if not ill and len(shared) > 1 and set(shared) == set(home):
        return _read(classes, shared, own, away, f"Labels are the subject's own classes: {_spelt(own)}")
    if well is not None and well in home and well in own.values() and (len(set(own.values())) > 1 or ill):
        sick = [name for name in classes if name != well]
        read = {label: NORMAL if name == well else "ill" for label, name in own.items()} | dict.fromkeys(ill, "ill")
        there = {kind: sorted(label for label, name in read.items() if name == kind) for kind in ("ill", NORMAL)}
        told = (
            f"The two sets of labels meet as ill and healthy: at home {_and(sick)} count as ill and {_and([well])} as "
            f"healthy, there {_and(there['ill'])} as ill and {_and(there[NORMAL])} as healthy; a call of {_or(sick)} "
            "counts as ill"
        )
        groups = tuple(0 if name == well else 1 for name in classes)
        codes = {label: int(name == "ill") for label, name in read.items()}
        return CommonClasses((NORMAL, "ill"), groups, codes, told + _left_out(away, codes))
    if len(shared) > 1:
        return _read(classes, shared, own, away, f"Only films of {_and(shared)} are compared, of which both have some")
    names = listed(map(repr, away), 60) or "none"
    if len(set(own.values())) == 1 and not ill:
        raise NotEvaluable(
            f"its films are all labelled {names}: of one class alone nothing can be told apart; give films of another"
        )
    raise NotEvaluable(
        f"its labels ({names}) and the subject's classes ({listed(classes, 60)}) have no two classes in common; label "
        "its films as the subject's classes, or as normal and pneumonia"
    )


def _read(
    classes: Sequence[str], shared: Sequence[str], own: Mapping[str, str], away: Mapping[str, int], told: str
) -> CommonClasses:
    codes = {label: shared.index(name) for label, name in own.items() if name in shared}
    groups = tuple(shared.index(name) if name in shared else -1 for name in classes)
    return CommonClasses(tuple(shared), groups, codes, told + _left_out(away, codes))


def _left_out(away: Mapping[str, int], read: Mapping[str, int]) -> str:
    """Return what is left out and why, the end of a sentence."""
    lost = {label or "no label": films for label, films in away.items() if label not in read}
    if not lost:
        return "."
    return f"; {sum(lost.values()):,} films that neither set can say are left out ({listed(lost)})."


def _says_ill(label: str) -> bool:
    name = normalise_label(label)
    return name in ILL or (PNEUMONIA in re.split(r"[ _]", name) and not _says_healthy(label))


def _says_healthy(label: str) -> bool:
    return normalise_label(label).replace("-", "_") in HEALTHY


def _spelt(own: Mapping[str, str]) -> str:
    return ", ".join(name if name == label else f"{label} is {name}" for label, name in sorted(own.items()))


def _and(names: Sequence[str]) -> str:
    return _joined(names, "and")


def _or(names: Sequence[str]) -> str:
    return _joined(names, "or")


def _joined(names: Sequence[str], word: str) -> str:
    spoken = [shown(name.replace("_", " "), 40) for name in names]
    return spoken[0] if len(spoken) == 1 else f"{', '.join(spoken[:-1])} {word} {spoken[-1]}"


def with_truth(cohort: Cohort) -> Cohort:
    """Return a cohort with its labels in a column of their own, for `label` becomes a subject's classes.

    Without any label they are read from the findings, with a note: `No Finding` is normal, a list of findings with a
    pneumonia in it (`Effusion|Pneumonia`) is pneumonia; a film of other findings alone keeps none, for nobody says
    whether it is healthy or ill.
    """
    labels, notes = cohort.table["label"].astype(str), cohort.notes
    found = cohort.table["finding"].astype(str).map(_from_finding)
    if found.any() and not labels.any():
        sizes = ", ".join(f"{films:,} {label or 'neither'}" for label, films in found.value_counts(sort=False).items())
        labels, notes = found, (*notes, f"there are no labels, so findings are read as: {sizes}")
    return replace(cohort, table=cohort.table.assign(**{TRUTH: labels.map(normalise_label).to_numpy()}), notes=notes)


def _from_finding(text: str) -> str:
    parts = {normalise_label(part) for part in re.split(r"[|;,/+]", text) if part.strip()}
    if parts and all(map(_says_healthy, parts)):
        return NORMAL
    return PNEUMONIA if parts & PNEUMONIAS else ""
