"""Which claims about groups can a cohort not settle, whatever is answered? Known from what is recorded of its films."""

from __future__ import annotations

import numpy as np
import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.endpoints.subgroups.groups import groups_among, recorded
from suites.harness.errors import NotEvaluable

BETWEEN_GROUPS = ("calibration_gap", "underdiagnosis_gap", "auroc_gap", "features_tell_groups", "stress_gap")
"""Endpoints that hold groups of patients against all others."""


def why_not(cohort: Cohort, classes: tuple[str, ...]) -> str:
    """Return why no group can be held against others, empty where one may be.

    An endpoint counts fewer films yet: those that were answered, or those of one class.

    Args:
        cohort: the films, labelled as the subject spells its classes.
        classes: of the subject.
    """
    owner = pd.factorize(cohort.table["patient"].astype(str))[0].astype(np.int64)
    try:
        groups_among(recorded(cohort.table), owner, cohort.table["label"].isin(classes).to_numpy(bool))
    except NotEvaluable as reason:
        return str(reason)
    return ""
