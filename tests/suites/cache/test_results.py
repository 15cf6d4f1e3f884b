"""What is kept comes back as it was, and only while nothing that decides it has changed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from functools import wraps

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from suites.harness import measured_run
from suites.harness.cache.results import KeptResults
from suites.harness.claims import Claim, GalleryItem, Headroom, Measure, Result
from suites.harness.endpoints import registry
from suites.harness.evaluation import Evaluation
from tests.controls.films import inverted
from tests.controls.subjects import Reader, cohort_of, subject_of

CLAIM = Claim(id="s.one", section="S", statement="s", kind="limitation", endpoint="score", margin=0.05)


def result_with(**changes) -> Result:
    effect = Measure(
        name="harm",
        condition="c",
        unit="points",
        estimate=0.1 + 0.2,
        low=-0.0,
        high=math.nan,
        n=3,
        patients=2,
        estimator="e",
    )
    table = pd.DataFrame({"name": ["a", "ü"], "share": [1 / 3, math.nan], "films": [1, 2], "why": [None, "x"]})
    item = GalleryItem(
        caption="c", draw=lambda: Image.new("L", (20, 10), 7), facts={"condition": ["a", "b"]}, details=lambda: {"k": 1}
    )
    made = Result(
        effect=effect, p_beyond=1e-300, measures=[replace(effect, name="other")], summary="told", needed=7,
        unproven="nobody knows", films="normal films", only_beyond="a search", only_within="low before",
        headroom=[Headroom(measure=replace(effect, name="skill"), bar=0.05, side="below", alarms=True)],
        tables={"T": table}, figures={"curve": Figure}, galleries={"G": [item]}, files={"f.json": ("{}", "about")},
    )  # fmt: skip
    return replace(made, **changes)


class Counted:
    """A measurement that says how often it was asked."""

    def __init__(self, result: Result) -> None:
        self.result, self.times = result, 0

    def __call__(self) -> Result:
        self.times += 1
        return self.result


def test_a_result_comes_back_as_it_was_and_is_not_measured_again(tmp_path):
    first, second = Counted(result_with()), Counted(result_with())
    kept = KeptResults(tmp_path, {"k": 1})
    kept.once(CLAIM, first)
    kept.flush()
    again = KeptResults(tmp_path, {"k": 1}).once(CLAIM, second)
    assert (first.times, second.times) == (1, 0)
    assert repr(again.effect) == repr(first.result.effect), "to the last bit, nan and -0.0 included"
    assert again.measures == first.result.measures or repr(again.measures) == repr(first.result.measures)
    assert (again.unproven, again.films) == ("nobody knows", "normal films")
    assert (again.only_beyond, again.only_within) == ("a search", "low before")
    assert repr(again.headroom) == repr(first.result.headroom)
    assert (again.p_beyond, again.p_within, again.summary, again.needed) == (1e-300, None, "told", 7)
    pd.testing.assert_frame_equal(again.tables["T"], first.result.tables["T"])
    assert again.files == {"f.json": ("{}", "about")}
    item = again.galleries["G"][0]
    assert (item.caption, dict(item.facts)) == ("c", {"condition": ["a", "b"]})


def test_a_picture_that_was_never_drawn_is_measured_for(tmp_path):
    KeptResults(tmp_path, {}).once(CLAIM, Counted(result_with()))
    kept = KeptResults(tmp_path, {})
    kept.once(CLAIM, Counted(result_with()))
    kept.flush()
    later = Counted(result_with())
    again = KeptResults(tmp_path, {}).once(CLAIM, later)
    assert isinstance(again.figures["curve"](), Figure)
    assert again.galleries["G"][0].draw().size == (20, 10)
    assert again.galleries["G"][0].details() == {"k": 1}
    assert later.times == 1, "once for all pictures"


@pytest.mark.parametrize(
    "result",
    [
        result_with(settled=False),
        result_with(tables={"T": pd.DataFrame({"when": [datetime(2026, 1, 1)]})}),  # noqa: DTZ001
        result_with(tables={"T": pd.DataFrame({"pair": [(1, 2)]})}),
        result_with(tables={"T": pd.DataFrame({"narrow": np.array([0.1], np.float32)})}),
    ],
    ids=["unsettled", "timestamp", "tuple", "float32"],
)
def test_what_would_not_come_back_exactly_is_not_kept(tmp_path, result):
    kept = KeptResults(tmp_path, {})
    kept.once(CLAIM, Counted(result))
    kept.flush()
    again = Counted(result)
    KeptResults(tmp_path, {}).once(CLAIM, again)
    assert again.times == 1


@pytest.mark.parametrize("changes", [{"margin": 0.06}, {"parameters": {"measure": "accuracy"}}])
def test_another_claim_is_measured_again(tmp_path, changes):
    kept = KeptResults(tmp_path, {})
    kept.once(CLAIM, Counted(result_with()))
    other = Counted(result_with())
    kept.once(replace(CLAIM, **changes), other)
    assert other.times == 1


@pytest.fixture
def counted_endpoint(monkeypatch):
    """Count how often `score` is measured; it brings a figure, as that of clean films alone has none."""
    endpoint = registry.get("score")
    calls = []

    @wraps(endpoint.measure)
    def counting(evidence, claim):
        calls.append(claim.id)
        return replace(endpoint.measure(evidence, claim), figures={"curve": lambda: Figure(figsize=(1, 1))})

    monkeypatch.setitem(registry._REGISTRY, "score", replace(endpoint, measure=counting))
    return calls


def run(folder, **changes) -> Evaluation:
    claim = Claim(
        id="classes.balanced", section="S", statement="s", kind="requirement", endpoint="score", margin=0.3,
        parameters={"measure": "balanced_accuracy"},
    )  # fmt: skip
    settings = {"subjects": [subject_of(Reader(), "reader")], "cohort": cohort_of(30), "claims": [claim]}
    return Evaluation(**{**settings, "cache": folder / "cache", "quiet": True, **changes}).run()


def test_a_second_run_measures_and_draws_nothing(tmp_path, counted_endpoint, monkeypatch):
    first = run(tmp_path)
    first.report(tmp_path / "a")
    assert len(counted_endpoint) == 1
    monkeypatch.setattr("suites.harness.report.picture_cache.encoded", lambda figure: 1 / 0)
    second = run(tmp_path)
    second.report(tmp_path / "b")
    assert len(counted_endpoint) == 1
    pd.testing.assert_frame_equal(second.to_pandas(), first.to_pandas())
    drawn = sorted(path.name for path in (tmp_path / "a" / "figures").iterdir())
    assert drawn
    for name in drawn:
        assert (tmp_path / "b" / "figures" / name).read_bytes() == (tmp_path / "a" / "figures" / name).read_bytes()


def test_an_endpoint_of_somebody_elses_code_is_measured_every_time(tmp_path, counted_endpoint, monkeypatch):
    counting = registry.get("score")
    monkeypatch.setattr(counting.measure, "__module__", "users_own")
    run(tmp_path).report(tmp_path / "a")
    run(tmp_path).report(tmp_path / "b")
    assert len(counted_endpoint) == 2
    assert not (tmp_path / "cache" / "pictures").exists(), "what it draws would outlive a change of its code, too"


@pytest.mark.parametrize("what", ["code", "seed", "film", "label", "subject"])
def test_whatever_decides_a_result_makes_a_new_one(tmp_path, counted_endpoint, monkeypatch, what):
    run(tmp_path)
    cohort = cohort_of(30)
    if what == "code":
        monkeypatch.setattr(measured_run, "digest_of", lambda *_: "other code")
    if what == "label":
        cohort = replace(cohort, table=cohort.table.assign(label=cohort.table["label"].iloc[::-1].to_numpy()))
    changes = {
        "seed": {"seed": 1},
        "film": {"cohort": cohort_of(30, decode=inverted)},
        "label": {"cohort": cohort},
        "subject": {"subjects": [subject_of(Reader(sharpness=30), "other")]},
    }
    run(tmp_path, **changes.get(what, {}))
    assert len(counted_endpoint) == 2
