"""What is left out of a study is said once, with the hospitals it is left out of."""

from __future__ import annotations

from types import SimpleNamespace

from suites.harness.errors import NotEvaluable
from suites.harness.validity import drops


def test_a_subject_that_two_reports_hold_is_told_once_with_its_hospitals(monkeypatch):
    def nothing(*_):
        raise NotEvaluable("too few films")

    monkeypatch.setattr(drops, "_of_subject", nothing)
    subject = SimpleNamespace(name="net", provenance=SimpleNamespace(sha256="ab"))
    hospitals = {
        role: SimpleNamespace(name=f"hospital {role}", fingerprint=role)
        for role in ("external", "external-2", "external-3")
    }
    record = SimpleNamespace(
        cohort=SimpleNamespace(fingerprint="home"), probes=hospitals, subjects=[subject], labelled={}
    )
    again = "net of two is net of one again, on hospital external, hospital external-2, hospital external-3, and counts"
    told = drops.drops_among([("one", record), ("two", record)]).left_out
    assert [one for one in told if "again" in one] == [f"{again} once."]
    assert sum("too few films" in one for one in told) == 3
