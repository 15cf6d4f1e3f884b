"""Which claims about another hospital can its films not settle, whatever is answered? Known from labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.validation import CalibrationError
from suites.harness.cohorts.class_roles import healthy
from suites.harness.cohorts.cohort import Cohort
from suites.harness.endpoints.external.threshold import folds_of
from suites.harness.endpoints.external.two_hospitals import read_alike, truths_of
from suites.harness.errors import NotEvaluable

ON_SCORES = ("external_auroc", "external_threshold")
"""Endpoints that ask how ill films lie beside healthy ones."""


def why_not(endpoint: str, classes: Sequence[str], at_home: Sequence[str], away: Cohort, *, seed: int) -> str:
    """Return why an endpoint will have nothing to say of a hospital, empty where it may have.

    Args:
        endpoint: its name.
        classes: of the subject.
        at_home: those of them that the home cohort has films of.
        away: the other hospital's films.
        seed: of the run.
    """
    try:
        found = read_alike(classes, at_home, away)
    except NotEvaluable as problem:
        return str(problem)
    codes = np.array([found.of_label.get(str(label), -1) for label in truths_of(away)], dtype=np.int64)
    if missing := [name for code, name in enumerate(found.names) if not (codes == code).any()]:
        return f"{away.name} has no {missing[0]} film"
    if endpoint not in ON_SCORES:
        return ""
    well = healthy(classes)
    if well is None or found.of_class[classes.index(well)] < 0:
        return "the subject has no class of healthy films that both hospitals have"
    read = codes >= 0
    if endpoint != "external_threshold":
        return ""
    try:
        folds_of(
            codes[read] != found.of_class[classes.index(well)],
            away.table["patient"].astype(str).to_numpy(str)[read],
            seed=seed,
        )
    except CalibrationError as problem:
        return str(problem)
    return ""
