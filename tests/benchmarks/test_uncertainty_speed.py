"""The whole section on uncertainty from a prediction table of 624 films under 60 conditions, as a run judges it.

Every claim of the section with its figures' numbers and tables, 2000 patient resamples, three probes, features, and all
calibration measures of every condition. The aim is 20 s on two cores; processor time is printed, so that a busy machine
does not spoil it, and nothing is asserted about it.

Run it with OMP_NUM_THREADS=1: about 13 s of one core, 10 of them for the measures of all conditions. The matrices are
small, so a second thread mostly waits; with two, on a busy machine with two cores, it took 59 s of processor time.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from calibration import measures
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.endpoints.uncertainty import view_guard
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.predictions.conditions import CLEAN
from tests.controls.simulated import simulated_answers, simulated_evidence

FILMS, CONDITIONS, WHITE = 624, 60, "whiteout_bilateral@4"
LISTED = ["window_widening@1-5", "scatter@1-5", "grid_stripes@1-5"]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Return a table in which each condition is a little surer than the one before."""
    claimed = [f"{text.removesuffix('@1-5')}@{level}" for text in LISTED for level in range(1, 6)]
    names = [CLEAN, WHITE, *claimed]
    names += [f"further_{number}" for number in range(CONDITIONS - len(names))]
    factors = {name: 1.5 + index / CONDITIONS for index, name in enumerate(names)}
    width = (0.0, 320)  # of the ConvNeXt-V2-Atto
    probes = {
        role: simulated_answers({CLEAN: 2.0}, name=role, films=120, features=width)
        for role in ("lateral", "adult", "unseen")
    }
    main = simulated_answers(factors, films=FILMS, features=width)
    found = simulated_evidence(main, tmp_path_factory.mktemp("cache"), probes=probes)
    view_guard.guard(found, "lateral")  # looks at the films themselves, and is kept like predictions
    return found


def whole_section(evidence):
    """Judge every claim of the section; measure the calibration of every condition. Returns seconds by part."""
    fresh = replace(evidence, main=replace(evidence.main))  # nothing remembered from the round before
    spent = {}
    for claim in load_claims():
        if claim.section == "Uncertainty":
            start = time.process_time()
            result = get(claim.endpoint)(fresh, claim)
            assert result.effect.n > 0
            spent[claim.id] = time.process_time() - start
    start = time.process_time()
    for condition in fresh.main.predictions.table["condition"].unique():
        films = LabelledFilms.of(fresh.main, condition)
        found = measures.measured(
            measures.STANDARD, films.logits, films.labels, groups=films.patients, weights=films.resamples.weights
        )
        assert len(found) == len(measures.STANDARD)
    spent["every measure of every condition"] = time.process_time() - start
    return spent


@pytest.mark.benchmark(
    group=f"uncertainty: {FILMS} films x {CONDITIONS} conditions x 3 classes, 2000 patient resamples"
)
def test_the_whole_section(benchmark, evidence):
    spent = benchmark.pedantic(whole_section, (evidence,), rounds=1)
    benchmark.extra_info["processor seconds"] = round(sum(spent.values()), 1)
    benchmark.extra_info |= {name: round(seconds, 2) for name, seconds in spent.items()}
