"""Probes beside the cohort: the same films twice are told apart, and named."""

from __future__ import annotations

from pathlib import Path

from suites.harness import evaluate
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.probes import load_probes, shared_films


def test_probes_of_the_same_name_are_told_apart() -> None:
    cohort = load_cohort("phantom:n=6")
    probes = load_probes(cohort, {"adult": "phantom:n=6", "unseen": "phantom:n=6", "lateral": cohort})
    assert {role: probe.name for role, probe in probes.items()} == {
        role: f"{cohort.name} ({role} probe)" for role in ("lateral", "adult", "unseen")
    }
    assert load_probes(cohort, {"adult": "phantom:n=6,seed=1"})["adult"].name == "phantom n=6,seed=1 test"


def test_films_of_the_cohort_in_a_probe_are_named_by_content() -> None:
    main = {"a": "1", "b": "2", "c": "2"}
    probes = {"adult": {"a": "9"}, "unseen": {"x": "2", "a": "1", "z": "7"}}
    assert shared_films(main, probes) == [
        (
            "2 of the 3 films with a finding that has no class are films of the cohort itself, first x (b there): "
            "on these the two cannot differ."
        )
    ]
    assert shared_films({}, probes) == []


def test_a_run_whose_probe_is_its_cohort_is_reported(tmp_path: Path) -> None:
    claims = [claim for claim in load_claims() if claim.id in ("classes.balanced_accuracy", "doubt.adult")]
    probes = {"adult": "phantom:n=9", "lateral": "phantom:n=2,view=lateral", "unseen": "phantom:n=3,findings=unseen"}
    run = evaluate("bundled:fragile", "phantom:n=9", claims=claims, probes=probes, cache=tmp_path / "cache")
    shared = [note for note in run.notes if "films of the cohort itself" in note]
    assert len(shared) == 1
    assert shared[0].startswith("9 of the 9 frontal films of adults are films of the cohort itself, first phantom-0")
    assert shared[0] in run.report(tmp_path / "report").read_text()
