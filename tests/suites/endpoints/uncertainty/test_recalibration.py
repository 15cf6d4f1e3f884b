"""Recalibrations compared, and a temperature under shifts: the truth is known, so is every word of the table."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from calibration.scoring import nll
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from tests.controls.simulated import simulated_answers, simulated_evidence

CLEAN_AND_SHIFTED = {"clean": 2.5, "window_widening@3": 2.5, "grid_stripes@3": 0.6, "scatter@3": 2.5}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Too sure by 2.5 on clean films and under low contrast, too modest under stripes; labelled lateral films."""
    main = simulated_answers(CLEAN_AND_SHIFTED)
    lateral = simulated_answers({"clean": 4.0}, name="lateral", films=200)
    evidence = simulated_evidence(main, tmp_path_factory.mktemp("cache"), probes={"lateral": lateral})
    claim = next(item for item in load_claims() if item.id == "calibration.temperature")
    return get("temperature")(evidence, claim)


def numbers(result, name):
    return pd.read_csv(io.StringIO(result.files[name][0]))


def test_each_shift_says_what_the_clean_temperature_does_there(result):
    rows = numbers(result, "temperature-shifts-s.csv").set_index("films_under")
    assert rows.loc["clean", "relative_to_clean"] == 1
    true = {"clean": 2.5, "window_widening@3": 2.5, "grid_stripes@3": 0.6, "lateral": 4.0}
    for name, factor in true.items():
        assert rows.loc[name, "temperature_low"] < factor < rows.loc[name, "temperature_high"], name
    words = rows["clean_temperature"].to_dict()
    assert words == {**dict.fromkeys(rows.index, "helps"), "grid_stripes@3": "harms"}
    assert rows.loc["grid_stripes@3", "relative_to_clean_high"] < 0.5
    helped, harmed = result.summary.split("; it harms ")
    for name, place in {
        "window_widening@3": "under window widening, severity 3",
        "lateral": "on lateral films",
    }.items():
        before, after = rows.loc[name, ["ece_before", "ece_after"]]
        assert f"{place} (ECE from {before:.3f} to {after:.3f})" in helped
    assert "mends" not in result.summary, "what is left is printed beside it"
    assert harmed.startswith("under grid stripes, severity 3 (ECE from")


def test_recalibrations_are_compared_out_of_fold(result):
    rows = numbers(result, "recalibration-s.csv")
    gains = rows[(rows["kind"] == "gained") & (rows["measure"] == "nll")].set_index("recalibration")
    assert set(gains.index) == {"temperature", "vector", "dirichlet", "beta", "isotonic"}
    assert (gains["low"] > 0).all()
    films = LabelledFilms.of(simulated_answers(CLEAN_AND_SHIFTED), "clean")
    possible = nll(films.logits, films.labels) - nll(films.logits / 2.5, films.labels)
    assert gains.loc["temperature", "estimate"] == pytest.approx(possible, abs=0.01)
    assert (gains["estimate"] < possible + 0.02).all()  # nothing beats the truth out of fold
    ece = rows[(rows["kind"] == "value") & rows["measure"].str.startswith("ece")].set_index("recalibration")
    assert ece.loc["temperature", "high"] < ece.loc["none", "estimate"]
    assert ece.loc["temperature", "estimate"] < ece.loc["none", "low"]
    assert np.isfinite(rows[["estimate", "low", "high"]]).all(axis=None)


def test_the_tables_read_like_a_paper(result):
    table = result.tables["Recalibrations, each fitted on other patients, against doing nothing"]
    assert table["recalibration"].tolist()[0] == "none"
    assert table.set_index("recalibration").loc["none", "fall of the log loss"] == "\N{EM DASH}"
    assert table["ECE"].str.fullmatch(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)").all()


def test_a_recalibration_that_mends_nothing_says_so(tmp_path):
    """Calibrated already: nothing is gained beyond noise, and the debiased error does not pretend otherwise."""
    evidence = simulated_evidence(simulated_answers({"clean": 1.0}, seed=3), tmp_path)
    claim = next(item for item in load_claims() if item.id == "calibration.temperature")
    rows = numbers(get("temperature")(evidence, claim), "recalibration-s.csv")
    gained = rows[(rows["kind"] == "gained") & (rows["recalibration"] == "temperature")]
    assert (gained["low"] < 0.002).all()
    assert (gained["estimate"].abs() < 0.01).all()
