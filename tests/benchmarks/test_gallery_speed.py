"""What the galleries of the quick profile cost on the bundled subject: target 45 seconds on two cores."""

import time

import pytest

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.probes import load_probes
from suites.harness.evaluation import Evaluation
from suites.harness.report.shots import store_gallery
from suites.harness.subjects.formats import load_subject


@pytest.mark.slow
def test_the_quick_galleries_of_the_bundled_subject(benchmark, tmp_path):
    """Everything after the predictions: sanity checks, table of belief, maps, panels, files. No time is asserted."""
    claim = next(claim for claim in load_claims() if claim.id == "explanations.believable")
    cohort = load_cohort("phantom")
    probes = {role: probe.limited(12, 0) for role, probe in load_probes(cohort, {}).items()}
    subject = load_subject("bundled:fragile")
    run = Evaluation(
        subjects=[subject], cohort=cohort.limited(48, 0), claims=[claim], probes=probes, cache=tmp_path, quiet=True
    )
    run.evidence(subject.name)  # predicted before the clock runs
    (tmp_path / "figures").mkdir()

    def drawn():
        start = time.process_time()
        result = run.judgement(claim, subject.name).result
        assert result is not None
        judged = time.process_time() - start
        items = [item for gallery in result.galleries.values() for item in gallery]
        shots = store_gallery(items, tmp_path, "g")
        return shots, judged, time.process_time() - start

    shots, judged, whole = benchmark.pedantic(drawn, rounds=1, iterations=1)
    assert all(shot.picture.file and shot.sidecar for shot in shots)
    benchmark.extra_info |= {"pictures": len(shots), "judged_cpu_s": round(judged, 1), "all_cpu_s": round(whole, 1)}
    print(f"{len(shots)} pictures: {judged:.1f} s processor time to judge, {whole:.1f} s with the pictures")
