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

from calibration import null_band
from calibration.error import debiased_l2
from calibration.validation import FloatArray, IntArray
from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.endpoints.registry import endpoint
from suites.harness.endpoints.subgroups.comparing import Gaps, Told, compare, result
from suites.harness.endpoints.subgroups.groups import Films, groups_of
from suites.harness.endpoints.subgroups.statistic import DebiasedError, signed_root
from suites.harness.endpoints.uncertainty.labelled_films import reasoned
from suites.harness.formatting.wording import number, p_value
from suites.harness.predictions.answers import Answers, Evidence
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Floats

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


def _error(p: FloatArray, labels: IntArray, weights: Floats, people: IntArray) -> Floats:
    """Return (R,) signed roots of the debiased squared error: on the scale of an ECE, and below 0 as often as above."""
    return signed_root(np.asarray(debiased_l2(p, labels, weights=weights, groups=people, bins=BINS)))


def _beside_chance(answers: Answers, gaps: Gaps, probabilities: FloatArray, keep: Films) -> pd.DataFrame:
    """Return a row per group: its error, and the band that perfect calibration shows on its films."""
    rows, tests = [], []
    together = null_band.patient_correlation(probabilities[keep], answers.labels[keep], answers.patients[keep])
    for name, one in gaps.compared.items():
        films = one.group.inside & keep
        samples = null_band.calibrated_samples(probabilities[films], groups=answers.patients[films], within=together)
        band = samples.band(_error)
        surer = float((probabilities[films].max(axis=1) - answers.correct(CLEAN)[films]).mean())
        tests.append(band.p_value(one.values[0].estimate))
        rows.append({
            "group": name, "films": int(films.sum()), "debiased error": number(one.values[0].estimate),
            "chance: mean": number(band.mean), "chance: 95th percentile": number(band.upper),
            "surer than right by": number(surer, "points"),
        })  # fmt: skip
    corrected = [p_value(float(p)) for p in statistics.holm(tests)]
    return pd.DataFrame(rows).assign(**{"p, Holm": corrected})
