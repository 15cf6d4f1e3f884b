"""Is the softmax number further off for one group? A debiased error, and what chance alone would show on so few films.

A plug-in ECE of a small group is larger than that of a large one for no other reason than its size. So the error is the
debiased one (`calibration.error.debiased_l2`, 0 on average for a calibrated subject whatever the size), in five bins of
equal mass, and each group stands beside the band that perfect calibration would show on as many films
(`calibration.null_band`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from calibration import null_band
from calibration.binning import equal_mass_cells
from calibration.validation import FloatArray, IntArray, checked_probabilities
from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.endpoints.registry import endpoint
from suites.harness.endpoints.subgroups.comparing import Gaps, Told, compare, result
from suites.harness.endpoints.subgroups.groups import Films, groups_of
from suites.harness.endpoints.subgroups.statistic import DebiasedError, signed_root
from suites.harness.endpoints.uncertainty.labelled_films import reasoned
from suites.harness.formatting.wording import number, p_value
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence

BINS = 5
"""A group of some tens of films fills no more."""
OFF = Told(
    gap="calibration_gap",
    value="debiased error",
    films="films of the group",
    sentence="{group}: the calibration error is larger than that of all others, by {size}",
    plain=True,
)


@endpoint("calibration_gap")
@reasoned
def calibration_gap(evidence: Evidence, claim: Claim) -> Result:
    """How much larger the debiased calibration error (signed root, scale of the ECE) of a group is than all others'."""
    answers = evidence.main
    keep = answers.shared(CLEAN)
    probabilities = answers.probabilities(CLEAN)
    error = DebiasedError(probabilities, answers.labels, answers.resamples.cluster, BINS)

    def counts(films: Films) -> Mapping[str, Films]:
        return {"labelled": films & keep}

    gaps = compare(
        answers, groups_of(answers, keep), error, counts=counts, rising=True, bounds=(-1.0, 1.0), averaged=False
    )
    found = result(answers, claim, gaps, OFF)
    bands = _beside_chance(answers, gaps, probabilities, keep)
    return replace(found, tables={**found.tables, "Beside perfect calibration on as many films": bands})


def _beside_chance(answers: Answers, gaps: Gaps, probabilities: FloatArray, keep: Films) -> pd.DataFrame:
    """Return a row per group: its error, and the band that perfect calibration shows on its films."""
    rows, tests = [], []
    together = null_band.patient_correlation(probabilities[keep], answers.labels[keep], answers.patients[keep])
    for name, one in gaps.compared.items():
        films = one.group.inside & keep
        band = _chance(probabilities[films], answers.resamples.cluster[films], together)
        surer = float((probabilities[films].max(axis=1) - answers.correct(CLEAN)[films]).mean())
        tests.append(band.p_value(one.values[0].estimate))
        rows.append({
            "group": name, "films": int(films.sum()), "debiased error": number(one.values[0].estimate),
            "chance: mean": number(band.mean), "chance: 95th percentile": number(band.upper),
            "surer than right by": number(surer, "points"),
        })  # fmt: skip
    corrected = [p_value(float(p)) for p in statistics.holm(tests)]
    return pd.DataFrame(rows).assign(**{"p, Holm": corrected})


def _chance(probabilities: FloatArray, people: IntArray, within: float) -> null_band.NullBand:
    """Return the errors that perfect calibration shows on these films, as `null_band.calibrated_samples` draws them.

    Only outcomes differ from draw to draw, so that what films of a patient add to a bin is counted once.

    Args:
        probabilities: (n, K).
        people: (n,) patients.
        within: how much the films of a patient hang together, see `null_band.patient_correlation`.
    """
    p = checked_probabilities(probabilities)
    _, patient = np.unique(people, return_inverse=True)
    drawn = null_band.simulated_labels(p, patient, within=within, draws=null_band.DRAWS, seed=0)
    sure, called = p.max(axis=1), p.argmax(axis=1)
    right = (drawn == called).astype(np.float64)
    cells = equal_mass_cells(sure, BINS)
    # Films of one patient and bin: alone, the square of outcome - confidence is linear in the outcome.
    _, run, films = np.unique(cells * len(p) + patient, return_inverse=True, return_counts=True)
    alone, several = films[run] == 1, np.flatnonzero(films[run] > 1)
    in_bin = (cells[:, None] == np.arange(BINS)).astype(np.float64)
    residual = right @ in_bin - sure @ in_bin
    lone = in_bin * alone[:, None]
    squares = right @ (lone * (1 - 2 * sure)[:, None]) + sure**2 @ lone
    if len(several):
        _, first, place = np.unique(run[several], return_index=True, return_inverse=True)
        member = sparse.csr_matrix((np.ones(len(several)), (place, np.arange(len(several)))))
        together = member @ (right[:, several] - sure[several]).T
        squares += (together**2).T @ in_bin[several[first]]
    bins = in_bin.sum(axis=0)
    pairs = bins**2 - np.bincount(cells, films[run], minlength=BINS)
    gaps = np.divide(residual**2 - squares, pairs, out=np.zeros_like(residual), where=pairs > 0)
    return null_band.NullBand.of(signed_root(gaps @ bins / bins.sum()))
