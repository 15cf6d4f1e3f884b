"""Which attribution methods can be believed? One row of measures per method, kept in the cache."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pandas as pd

import explain
from explain import AttributionMap
from explain.attribution import SMALL_DIFFERENCE
from explain.faithfulness import erasure, infidelity, sensitivity_max
from explain.sanity import completeness
from explain.similarity import agreement, average
from suites.harness.cache import Shards
from suites.harness.endpoints.explanations import attribution
from suites.harness.endpoints.explanations.attribution import Checked
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers, Evidence
from suites.harness.subjects.attribution_layer import described, method_of

CONTROLS = ("edge detector",)
"""Maps that never saw the network: their row shows that the checks catch such a thing."""
FILMS = {"quick": 4, "standard": 16, "full": 50}
PROFILES = tuple(FILMS)
STEPS = 10
ABOUT = {
    "sanity check": "cascading randomisation of the weights; undecided where the interval of the difference holds 0",
    "maps lost": "films whose map is then no more like itself than maps of other films are",
    "completeness gap": f"share of the logit difference (at least {SMALL_DIFFERENCE:g}) that the map misses; 0 is best",
    "deletion": "area won over random order when the film is erased, most important cells first; above 0 is good",
    "insertion": "the same when it is revealed",
    "infidelity": "how badly the map predicts the logit's change under grey noise; 0 is best",
    "sensitivity": "largest relative change of the map under faint noise; 0 is best (not in the profile quick)",
    "cost": "in forward passes per film; a backward pass counts as two",
}
"""What the columns of the table say."""


def methods(profile: str) -> list[str]:
    """Return the methods that a run shows and measures; those that are not valid for a subject are listed with why."""
    known = [explain.get(name) for name in explain.names()]
    return [one.name for one in known if not one.baseline and PROFILES.index(one.profile) <= PROFILES.index(profile)]


def compared(
    evidence: Evidence, index: npt.NDArray[np.int64], *also: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Checked]]:
    """Return the table of all methods, how far they agree with one another, and each sanity check.

    Args:
        evidence: of the run.
        index: films of the cohort; the first few are measured.
        also: methods beside those of the profile.
    """
    answers, few = evidence.main, index[: FILMS[evidence.profile]]
    rows: list[dict[str, object]] = []
    checks: dict[str, Checked] = {}
    kept: list[AttributionMap] = []
    for method in dict.fromkeys((*methods(evidence.profile), *also, *CONTROLS)):
        try:
            checked = attribution.sanity(answers, index, method, evidence.cache)
            maps = attribution.attribute(answers, few, method, evidence.cache).maps
        except NotEvaluable as reason:
            rows.append({"method": method, "sanity check": str(reason)})
            continue
        kept.append(maps)
        checks[method] = checked
        known = np.isfinite(checked.own)
        rows.append(
            {
                "method": f"{method} (control)" if method in CONTROLS else described(answers.subject, method),
                "sanity check": checked.outcome,
                "SSIM, weights redrawn": average(checked.own).mean,
                "SSIM, other films": average(checked.others).mean,
                "maps lost": int(np.nansum(checked.lost)),
                "films checked": int(known.sum()),
                "completeness gap": completeness(maps).average.mean,
                **_faithful(evidence, few, method, maps),
                "cost": maps.passes.as_forwards,
                "films": int(maps.usable.sum()),
            }
        )
    together = agreement(kept).rename(columns={"rank_correlation": "rank correlation", "n": "films"})
    return pd.DataFrame(rows), together.drop(columns="left_out"), checks


def _faithful(evidence: Evidence, index: npt.NDArray[np.int64], method: str, maps: AttributionMap) -> dict[str, float]:
    """Return mean deletion, insertion, infidelity and sensitivity of some films' maps, from the cache if there."""
    answers, slow = evidence.main, evidence.profile != "quick"
    key = attribution.key_of(answers, index, method) | {"slow": slow}
    shards = Shards(evidence.cache, "map-beliefs", key, {"means": "text"})

    def measured() -> pd.DataFrame:
        with answers.progress.doing("explaining", f"{answers.subject.name}, is {method} faithful"):
            return pd.DataFrame([{"means": json.dumps(_measured(answers, index, method, maps, slow=slow))}])

    known = shards.once(measured)
    return {str(name): float(value) for name, value in json.loads(str(known["means"].iloc[0])).items()}


def _measured(
    answers: Answers, index: npt.NDArray[np.int64], method: str, maps: AttributionMap, *, slow: bool
) -> dict[str, float]:
    network, pixels, seed = attribution.network_of(answers), attribution.inputs(answers, index.tolist()), answers.seed
    cell = max(1, pixels.shape[-1] // 16)  # 256 cells, whatever the size of the film
    erased, revealed = (
        erasure(network, pixels, maps, way, steps=STEPS, cell=cell, seed=seed).advantage
        for way in ("deletion", "insertion")
    )
    found = {
        "deletion": average(erased).mean,
        "insertion": average(revealed).mean,
        "infidelity": average(infidelity(network, pixels, maps, seed=seed)).mean,
    }
    if slow:
        called = list(maps.targets)
        found["sensitivity"] = average(
            sensitivity_max(method_of(answers.subject, method), network, pixels, called, maps.image_ids, seed=seed)
        ).mean
    return found
