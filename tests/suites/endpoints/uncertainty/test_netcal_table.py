"""netcal's numbers stand beside ours, a difference is a warning, and what netcal cannot do stops no claim."""

from __future__ import annotations

import numpy as np
import pytest
from netcal.metrics import ACE, ECE, MCE
from scipy.special import softmax

from calibration import netcal_beside
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.endpoints.uncertainty.netcal_table import ERRORS, TITLE, beside_netcal
from tests.controls.simulated import simulated_answers
from tests.suites.endpoints.uncertainty.test_side_measures import result_of


@pytest.fixture(scope="module")
def films():
    return LabelledFilms.of(simulated_answers({"clean": 1.7}), "clean")


def test_the_report_shows_netcals_own_numbers(films, tmp_path):
    answers = simulated_answers({"clean": 1.7})
    table = result_of("calibration_error", answers, tmp_path).tables[TITLE].set_index("measure")
    p = softmax(np.asarray(films.logits, np.float64), axis=1)
    hit = (p.argmax(1) == films.labels).astype(int)
    for name, kind in zip(ERRORS, (ECE, MCE, ACE), strict=True):
        assert table.loc[name, "netcal"] == pytest.approx(kind(15).measure(p.max(1), hit), abs=1e-12)
    assert table.loc[list(ERRORS), "difference"].abs().max() < 1e-12
    assert table.loc["temperature", "ours"] == pytest.approx(1.7, abs=0.25)
    assert table.loc["temperature", "difference"] == pytest.approx(0, abs=0.01)
    assert (table["note"] == "").all()


@pytest.mark.parametrize("name", ERRORS)
def test_a_difference_is_a_warning(films, monkeypatch, name):
    sound = netcal_beside.netcal_errors
    kind = name.partition("/")[0]

    def off(p, labels):
        found = sound(p, labels)
        return netcal_beside.NetcalErrors(**{**vars(found), kind: getattr(found, kind) + 2e-6})

    monkeypatch.setattr(netcal_beside, "netcal_errors", off)
    table = beside_netcal(films.logits, films.labels).set_index("measure")
    assert table.loc[name, "note"].startswith("WARNING")
    assert (table.drop(name)["note"] == "").all()


@pytest.mark.parametrize(
    ("change", "told"),
    [(lambda z, y: z + 30 * np.eye(3)[y], "called right"), (lambda z, _: np.zeros_like(z), "no value"),
     (lambda z, _: 1000 * z, "netcal fits")],
)  # fmt: skip
def test_what_has_no_value_says_why(films, change, told):
    table = beside_netcal(change(np.array(films.logits), films.labels), films.labels).set_index("measure")
    assert told in table.loc["temperature", "note"]
    assert np.isnan(table.loc["temperature", "difference"])
    assert (table.loc[list(ERRORS), "note"] == "").all()


def test_a_crash_of_netcal_is_told_and_no_more(films, monkeypatch):
    def crash(*_):
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(netcal_beside, "netcal_errors", crash)
    table = beside_netcal(films.logits, films.labels).set_index("measure")
    assert table.loc[list(ERRORS), "note"].tolist() == ["no value: float division by zero"] * 3
    assert table.loc[list(ERRORS), "ours"].notna().all()
