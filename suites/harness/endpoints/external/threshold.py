"""Does a threshold chosen at home still fit at another hospital, and what does it cost to keep it?

A threshold on the odds of ill against healthy is an operating point of one scanner and one mix of patients. It is
chosen at home where balanced accuracy is best (Youden, Cancer 1950), and held against the one that would be chosen
there by the same rule, from other patients than it is judged on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibration import crossfit
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.endpoints.parameters import Hospital as HospitalRole
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import finding
from suites.harness.endpoints.uncertainty.labelled_films import reasoned
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent, points
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Floats, Integers, Rows, Sampled

FOLDS = 5
_AT_ONCE = 4_000_000
"""Films x resamples whose running sums are held at a time."""


@endpoint("external_threshold", parameters={"hospital": HospitalRole()})
@reasoned
def external_threshold(evidence: Evidence, claim: Claim) -> Result:
    """Balanced accuracy of ill against healthy that a threshold kept from home costs, against one chosen there."""
    both = TwoHospitals.of(evidence.main, evidence.hospital(claim.parameters["hospital"]))
    home, away, asked = both.home, both.away, finding(evidence.main) or "ill"
    scores, ill = (_scored(side)[0] for side in (home, away)), _scored(away)[1]
    at_home, there = scores
    fold = folds_of(ill, away.patients, seed=evidence.seed)
    local = local_thresholds(there, ill, fold)
    own = (there > local).astype(np.int64)
    kept = threshold(at_home, _scored(home)[1])
    truth = ill.astype(np.int64)
    two = np.stack([np.zeros_like(there), there], axis=1)
    judged = replace(away, truth=truth, called=own, logits=two)
    cost = _cost(home, judged, own)
    fixed = (there > kept).astype(np.int64)
    effect = measured("threshold_cost", f"{away.name}: chosen there - kept from home", cost, both.films, unit="points",
                      smallest=judged.smallest)  # fmt: skip
    shares = []
    for name, calls in (("kept from home", fixed), ("chosen there", own)):
        balanced = judged.balanced(calls)
        shares.append(
            measured("balanced_accuracy", f"{away.name}, threshold {name}", balanced, away.films, unit="share",
                     smallest=judged.smallest)
        )  # fmt: skip
        specific, sensitive = judged.recalls(calls)
        for what, value, size in (
            ("sensitivity", sensitive, int(ill.sum())), ("specificity", specific, int((~ill).sum())),
        ):  # fmt: skip
            shares.append(measured(what, f"{away.name}, threshold {name}", value, size, unit="share"))
    return Result(
        effect=effect,
        p_beyond=beyond(cost, claim),
        p_within=within(cost, claim),
        headroom=[headroom.skill(evidence.main)],
        films="films of both hospitals",
        measures=shares,
        summary=(
            f"The threshold that is best at home (log odds of {asked} above {kept:.2f}) gives a balanced accuracy of "
            f"{percent(shares[0].estimate)} on the films of {away.name} (sensitivity {percent(shares[1].estimate)}, "
            f"specificity {percent(shares[2].estimate)}); one chosen there on other patients (about "
            f"{float(np.median(local)):.2f}) gives {percent(shares[3].estimate)}. Keeping it costs "
            f"{points(effect.estimate, signed=False)} points ({points(effect.low)} to {points(effect.high)})."
        ),
    )


def threshold(scores: Floats, ill: npt.NDArray[np.bool_], weights: Floats | None = None) -> float:
    """Return the threshold of the best balanced accuracy, half way to the next score; the strictest of equal ones."""
    rows = np.ones((1, len(scores))) if weights is None else weights[None]
    return float(_thresholds(scores, ill, rows)[0])


def local_thresholds(scores: Floats, ill: npt.NDArray[np.bool_], fold: Integers) -> Floats:
    """Return for each film (n,) the best threshold of the films of all other folds."""
    found = np.zeros(len(scores))
    for one in np.unique(fold):
        others = fold != one
        found[fold == one] = threshold(scores[others], ill[others])
    return found


def _thresholds(scores: Floats, ill: npt.NDArray[np.bool_], weights: Floats | Rows) -> Floats:
    """Return (B,) thresholds of the best balanced accuracy under (B, n) weights; NaN where a kind has no weight."""
    order = np.argsort(-scores, kind="stable")
    ranked, sick = scores[order], ill[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    between = np.append((ranked[ends[:-1]] + ranked[ends[:-1] + 1]) / 2, -np.inf)
    chosen = np.full(len(weights), np.nan)
    for rows in _batches(len(weights), len(scores)):
        w = weights[rows][:, order]
        with np.errstate(invalid="ignore", divide="ignore"):
            hits = np.cumsum(w * sick, axis=1)[:, ends] / (w * sick).sum(axis=1, keepdims=True)
            alarms = np.cumsum(w * ~sick, axis=1)[:, ends] / (w * ~sick).sum(axis=1, keepdims=True)
        gain = hits - alarms
        known = np.isfinite(gain).all(axis=1)
        chosen[rows] = np.where(known, between[np.nan_to_num(gain).argmax(axis=1)], np.nan)
    return chosen


def _balanced(scores: Floats, ill: npt.NDArray[np.bool_], thresholds: Floats, weights: Floats | Rows) -> Floats:
    """Return (B,) balanced accuracies at (B,) thresholds under (B, n) weights."""
    found = np.full(len(weights), np.nan)
    for rows in _batches(len(weights), len(scores)):
        w, right = weights[rows], (scores[None] > thresholds[rows][:, None]) == ill[None]
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = [((w * right)[:, kind].sum(axis=1) / w[:, kind].sum(axis=1)) for kind in (ill, ~ill)]
        found[rows] = np.where(np.isfinite(thresholds[rows]), (shares[0] + shares[1]) / 2, np.nan)
    return found


def _cost(home: Hospital, away: Hospital, own: Integers) -> Sampled:
    """Return what the threshold of home costs there; it is chosen anew in every resample of the home patients.

    The thresholds chosen there are those of the folds: how they would vary is not in the interval.
    """
    at_home, ill_home = _scored(home)
    there, ill = _scored(away)
    chosen = away.balanced(own)

    def transferred(home_weights: Floats | Rows, away_weights: Floats | Rows) -> Floats:
        return _balanced(there, ill, _thresholds(at_home, ill_home, home_weights), away_weights)

    one = np.ones((1, len(at_home))), np.ones((1, len(there)))
    estimate = float(transferred(*one)[0])
    drawn = transferred(home.resamples.weights, away.resamples.weights)
    out_home, out_away = home.resamples.left_out, away.resamples.left_out
    kept_home = transferred(out_home, np.broadcast_to(one[1], (len(out_home), len(there))))
    kept_away = transferred(np.broadcast_to(one[0], (len(out_away), len(at_home))), out_away)
    chosen_out = chosen.left_out if chosen.left_out is not None else np.full(len(out_away), chosen.estimate)
    return Sampled(
        chosen.estimate - estimate,
        chosen.replicates - drawn,
        away.owners,
        (-1.0, 1.0),
        strata=chosen.strata,
        left_out=np.concatenate([chosen.estimate - kept_home, chosen_out - kept_away]),
    )


def _scored(side: Hospital) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if side.illness is None or side.ill is None:
        raise NotEvaluable("the subject has no class of healthy films, so ill and healthy have no threshold")
    return side.illness, side.ill


def folds_of(ill: npt.NDArray[np.bool_], patients: npt.ArrayLike, *, seed: int) -> Integers:
    """Return (n,) the fold of each film, patients whole.

    Raises:
        CalibrationError: a fold would hold fewer than 30 films, or ill or healthy films are of fewer patients than
            there are folds.
    """
    folds = int(min(FOLDS, max(2, len(ill) // 45)))
    return crossfit.patient_folds(ill.astype(np.int64), patients, folds=folds, seed=seed)


def _batches(rows: int, films: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(1, films))
    return (slice(start, start + step) for start in range(0, rows, step))
