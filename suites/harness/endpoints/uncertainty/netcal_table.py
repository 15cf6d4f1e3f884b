"""Does an independent library find the same calibration numbers? netcal's beside ours, with the difference."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration import measures
from calibration.validation import softmax

SAME = 1e-6
"""Numbers of one definition differ by less; netcal's fit of a temperature ends at 1 % (see `netcal_beside`)."""
ERRORS = ("ece/top-label/15/equal-width", "mce/top-label/15/equal-width", "ace/top-label/15/equal-width")
FITTED = "temperature"
TITLE = "The same numbers by netcal, in float64"


def beside_netcal(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> pd.DataFrame:
    """Return ours, netcal's and the difference, for what both define alike: ECE, MCE, ACE and the temperature.

    Args:
        logits: (n, K).
        labels: (n,) true classes.

    Returns:
        One row per measure, by its full name: `measure`, `ours`, `netcal`, `difference` (ours - netcal; NaN where one
        has no value) and `note`, which warns where two numbers of one definition differ by more than `SAME`, or says
        why one has no value.
    """
    rows = []
    for name in (*ERRORS, FITTED):
        ours, theirs, note = np.nan, np.nan, ""
        try:
            ours = float(measures.estimate(name, logits, labels))
            with warnings.catch_warnings():  # of netcal's own source when it is first compiled, and of its logarithms
                warnings.simplefilter("ignore")
                theirs = _theirs(name, logits, labels)
        except Exception as problem:  # noqa: BLE001 - whatever another library stumbles over, the claim stands
            note = f"no value: {problem}"
        if name in ERRORS and abs(ours - theirs) > SAME:
            note = f"WARNING: two numbers of one definition differ by more than {SAME:g}; trust neither"
        rows.append((name, ours, theirs, ours - theirs, note))
    return pd.DataFrame(rows, columns=["measure", "ours", "netcal", "difference", "note"])


def _theirs(name: str, logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    from calibration import netcal_beside  # noqa: PLC0415 - netcal brings pyro and takes a second to import

    if name == FITTED:
        return netcal_beside.netcal_temperature(logits, labels)
    return float(getattr(netcal_beside.netcal_errors(softmax(logits), labels), name.partition("/")[0]))
