"""What is validated of a perturbation is what was looked at, and what nobody looked at is said."""

from __future__ import annotations

import pytest

import robustness
from robustness import likeness, perturbation, validation
from robustness.validation import NOT_MEASURED, NOT_STUDIED, validation_of

STUDY = """hospital,condition,subjects,version,rank,rank_low,rank_high,rank_no_stress,p_holm,reading
north,scatter@3,8,VERSION,0.9,0.5,1.0,0.4,0.01,ranks subjects as the hospital does
north,scatter@5,8,VERSION,,,,,,the same for every subject
north,jpeg_quality@3,8,0,0.9,0.5,1.0,0.4,0.01,of a version that is no more
""".replace("VERSION", str(perturbation.get("scatter").version))


@pytest.fixture
def studied(tmp_path, monkeypatch):
    (tmp_path / "predictive.csv").write_text(STUDY, encoding="utf-8")
    monkeypatch.setattr(validation, "PREDICTIVE", tmp_path / "predictive.csv")
    validation._predictive.cache_clear()
    yield
    validation._predictive.cache_clear()


def test_every_perturbation_has_a_line_and_none_claims_what_was_not_measured():
    for name in perturbation.names():
        one = validation_of(robustness.get(name).card)
        assert all((one.source, one.formula, one.films, one.evidence, one.gaps))
        assert (one.films == NOT_MEASURED) == (not validation.measured_rows(name, perturbation.get(name).version))


def test_what_was_measured_beside_real_films_is_told_and_of_another_version_is_not(monkeypatch):
    rows = {"scatter": [{"version": str(perturbation.get("scatter").version + one), "statistic": f"number {one}",
                         "beside": "real films", "verdict 1": "within all", "verdict 3": "beyond",
                         "verdict 5": "beyond"} for one in (0, 1)]}  # fmt: skip
    monkeypatch.setattr(likeness, "_measured", lambda: rows)
    assert validation_of(robustness.get("scatter").card).films == (
        "number 0, beside real films: severity 1 at their edge; severity 3, 5 beyond all real films"
    )


def test_a_study_is_quoted_for_the_perturbations_it_was_about(studied):
    assert validation_of(robustness.get("scatter").card).evidence == (
        "scatter@3, north: rank correlation 0.90 (0.50 to 1.00) over 8 subjects (with no stress at all 0.40), ranks "
        "subjects as the hospital does"
    )
    other = validation_of(robustness.get("jpeg_quality").card)
    assert other.evidence == NOT_STUDIED
    assert other.nothing == (other.films == NOT_MEASURED)
