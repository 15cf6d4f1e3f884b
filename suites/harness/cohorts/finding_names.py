"""Which finding of the films is which finding of a subject? Names that mean the same, and no others.

Two names are one finding where they are spelt alike (case, blanks, underscores and hyphens aside) or stand in one line
of `SYNONYMS`. What is wider or narrower is another finding: a lung opacity need be no consolidation, a lung lesion no
mass, VinDr's "Nodule/Mass" neither a nodule nor a mass. The report prints what was taken for what, and `--map A=B`
(the subject's A is the films' B; `A=`: judge it on none) goes before the table.

Sources: labels of ChestX-ray14 (Wang et al. 2017), CheXpert (Irvin et al. 2019), MIMIC-CXR-JPG (Johnson et al. 2019),
PadChest (Bustos et al. 2020), VinDr-CXR (Nguyen et al. 2022), MedMNIST v2 (Yang et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from suites.harness.cohorts.class_roles import HEALTHY
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import TRUTH
from suites.harness.cohorts.findings import LEFT_OUT
from suites.harness.cohorts.layouts.labels import BACTERIAL, PNEUMONIA, VIRAL, normalise_label
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem, UsageProblem
from suites.harness.subjects.heads import spelling

SYNONYMS = (
    ("pleural effusion", "effusion"),
    ("pleural thickening", "pleural"),  # the latter in MedMNIST's ChestMNIST
    ("edema", "oedema", "pulmonary edema", "pulmonary oedema", "lung edema"),
    ("infiltration", "infiltrate", "infiltrates"),
    ("lung opacity", "airspace opacity"),  # CheXpert's older name
    ("nodule", "lung nodule", "pulmonary nodule"),
    ("mass", "lung mass", "pulmonary mass"),
    ("fibrosis", "pulmonary fibrosis", "lung fibrosis"),
    ("enlarged cardiomediastinum", "enlarged cardiomediastinal silhouette"),
    ("cardiomegaly", "enlarged heart"),
    ("no finding", "no findings"),
)
"""Each line: names of one finding, as `spelling` writes them."""
_FIRST = {name: line[0] for line in SYNONYMS for name in line}
Truth = NDArray[np.int64]


def meaning(name: str) -> str:
    """Return the first of the names that mean a finding."""
    return _FIRST.get(spelling(name), spelling(name))


def truths(cohort: Cohort) -> dict[str, Truth]:
    """Return finding -> (N,) 1 where a film shows it, 0 where not, -1 where nobody says.

    Films that carry one label each, a class of healthy ones among them, tell of each other label as of a finding: it is
    there where it is the label, and not on healthy films. Any pneumonia is one.
    """
    if cohort.findings:
        return {name: cohort.finding(name) for name in cohort.findings}
    labels = cohort.table["label"].astype(str).map(normalise_label)
    healthy = labels.isin(HEALTHY)
    found = {name: labels == name for name in sorted(labels.unique()) if name and name not in HEALTHY}
    if {BACTERIAL, VIRAL} & found.keys():
        found[PNEUMONIA] = labels.isin((BACTERIAL, VIRAL, PNEUMONIA))
    return {name: np.where(there, 1, np.where(healthy, 0, LEFT_OUT)).astype(np.int64) for name, there in found.items()}


def read_map(texts: Iterable[str]) -> dict[str, str]:
    """Return what `--map A=B` says, finding of the subject -> finding of the films, empty for none.

    Raises:
        UsageProblem: one is written otherwise, or names a finding twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        own, equals, theirs = text.partition("=")
        if not equals or not own.strip():
            raise UsageProblem(
                f"--map is {shown(text, 60)!r}; write SUBJECT'S=FILMS', as in Effusion='Pleural Effusion'"
            )
        if own.strip() in found:
            raise UsageProblem(f"--map names {shown(own.strip(), 60)!r} twice; say once what it is")
        found[own.strip()] = theirs.strip()
    return found


def matched(own: Sequence[str], cohort: Cohort, given: Mapping[str, str]) -> dict[str, str]:
    """Return finding of a subject -> the finding of the films it is judged on, those that have one.

    Args:
        own: the subject's findings.
        cohort: the films.
        given: of `read_map`.

    Raises:
        UsageProblem: `given` names a finding that the films do not tell of.
        CohortProblem: no finding is shared, or two of the subject's are one of the films'; the mapping tried is told.
    """
    theirs = list(truths(cohort))
    found: dict[str, str] = {}
    for name in own:
        if (named := _given(name, given)) is not None:
            if named and named not in theirs:
                raise UsageProblem(
                    f"--map: the films tell nothing of {shown(named, 60)!r}; they tell of {listed(theirs)}"
                )
            alike = [named] if named else []
        else:
            alike = [one for one in theirs if one == name] or [one for one in theirs if meaning(one) == meaning(name)]
        if len(alike) > 1:
            raise CohortProblem(
                f"cohort {shown(cohort.name, 40)}: {shown(name, 40)!r} may be {listed(alike)}; say which with --map"
            )
        if alike:
            found[name] = alike[0]
    for name in found.values():
        if len(both := [mine for mine, one in found.items() if one == name]) > 1:
            raise CohortProblem(
                f"cohort {shown(cohort.name, 40)}: {listed(both)} of the subject are all {shown(name, 40)!r}; leave "
                f"out all but one with --map {shown(both[1], 40)!r}="
            )
    if not found:
        raise CohortProblem(
            f"cohort {shown(cohort.name, 30)}: none of the subject's findings ({listed(own, 60)}) is one that the "
            f"films tell of ({listed(theirs, 60) or 'none'}); say which are the same with --map A=B"
            + (", or give films that show several, phantom:findings=several" if cohort.simulated else "")
        )
    return found


def _given(name: str, given: Mapping[str, str]) -> str | None:
    alike = [theirs for own, theirs in given.items() if spelling(own) == spelling(name)]
    return alike[0] if alike else None


def without_both(cohort: Cohort, name: str) -> str:
    """Return why films cannot tell whether a finding is found, else '': none shows it, or none is known not to."""
    truth = truths(cohort)[name]
    for value, which in ((1, "shows it"), (0, "is known not to show it")):
        if not (truth == value).any():
            return f"no film {which}"
    return ""


def labelled(cohort: Cohort, name: str, classes: tuple[str, str], *, probe: bool) -> Cohort:
    """Return the films with one finding as their label.

    Args:
        cohort: the films.
        name: the finding, as the films call it, or another name that means the same (another hospital's films).
        classes: what films without and with it are called.
        probe: keep the films of which nobody says whether they show it, without a label; else they are left out.
    """
    known = truths(cohort)
    alike = [name] if name in known else [one for one in known if meaning(one) == meaning(name)]
    truth = known[alike[0]] if len(alike) == 1 else np.full(len(cohort), LEFT_OUT, dtype=np.int64)
    label = np.select([truth == 0, truth == 1], list(classes), "")
    table = cohort.table.assign(label=label)
    if TRUTH in table:  # of another hospital's films the same is asked
        table = table.assign(**{TRUTH: label})
    given = replace(cohort, table=table)
    return given if probe else given.select(table["label"] != "")


def shows_any(cohort: Cohort, names: Iterable[str]) -> NDArray[np.bool_]:
    """Return (N,) whether a film is known to show one of some findings, by its labels or by its column `finding`."""
    wanted = set(map(meaning, names))
    parts = cohort.table["finding"].astype(str).str.split(r"[|;,/+]", regex=True)
    found = np.array([any(meaning(part) in wanted for part in told) for told in parts], dtype=bool)
    for name in cohort.findings:
        if meaning(name) in wanted:
            found |= cohort.finding(name) == 1
    return found
