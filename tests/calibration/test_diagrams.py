"""Figures: they show what the arrays say, are the same bytes each time, and can be told apart without colour."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from calibration import decision_diagrams, diagrams, error, operating, scores, style
from calibration.validation import CalibrationError, softmax


@pytest.fixture(scope="module")
def figures(drawn, bootstrap):
    """One figure of each kind, made afresh on every call."""
    z, y = drawn(200, 2.0)
    p, groups = softmax(z), np.arange(200) // 2
    weights = bootstrap(groups, 100)
    doubt = {name: scores.get(name)(z) for name in scores.names("logits")}
    risk, sick = operating.pneumonia_view(p, y, normal=1)
    curve = operating.decision_curve(risk, sick, prevalence=0.15)
    one = diagrams.SeveritySeries(range(3), [0.1, 0.2, 0.3], [0.05, 0.1, 0.2], [0.2, 0.3, 0.4], [0.05, 0.05, 0.06])

    return {
        "reliability": lambda: diagrams.reliability(
            p, y, groups=groups, weights=weights, views={"top-label": "All", "class-1": "Normal"}, binning="equal-mass"
        ),
        "before and after": lambda: diagrams.before_after(p, softmax(z / 2), y, groups=groups),
        "confidence": lambda: diagrams.confidence_histogram(p, y),
        "severity": lambda: diagrams.error_by_severity({"grid": one, "noise": one}),
        "abstention": lambda: decision_diagrams.risk_against_coverage(doubt, z.argmax(axis=1) != y),
        "scores": lambda: decision_diagrams.score_histograms(
            doubt["energy"], {"lateral": doubt["energy"] + 3, "adult": doubt["energy"] + 1}, name="energy"
        ),
        "decision": lambda: decision_diagrams.decision_curves({"as published": curve}),
    }


KINDS = ("reliability", "before and after", "confidence", "severity", "abstention", "scores", "decision")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_same_figure_same_bytes_and_no_global_state(figures, tmp_path, kind, ending):
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.facecolor": "black"}):  # a user with other tastes
        first = style.save(figures[kind](), tmp_path / f"a{ending}").read_bytes()
    second = style.save(figures[kind](), tmp_path / f"b{ending}").read_bytes()
    assert first == second
    assert b"<dc:date>" not in first
    assert dict(mpl.rcParams) == before


def test_reliability_shows_the_numbers(figures, drawn):
    z, y = drawn(200, 2.0)
    figure = figures["before and after"]()
    assert f"ECE {error.ece(softmax(z), y):.3f}" in figure.axes[0].get_title(loc="left")
    table = error.bin_table(softmax(z), y)
    used = table.weight[:, 0] > 0
    points = np.concatenate([line.get_xydata() for line in figure.axes[0].lines[2:]])
    expected = np.stack([table.confidence[used, 0], table.outcome[used, 0]], axis=1) / table.weight[used]
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(expected, axis=0))


def test_series_differ_in_more_than_colour_and_in_grey():
    for attribute in ("line", "marker", "hatch", "color"):
        assert len({str(getattr(one, attribute)) for one in style.LOOKS}) == len(style.LOOKS)
    grey = [float(np.dot(to_rgb(one.color), (0.2126, 0.7152, 0.0722))) for one in style.LOOKS]
    assert max(grey) < 0.72  # light enough lines vanish in print
    assert all(abs(a - b) > 0.02 for a, b in pairwise(grey))


def test_every_figure_has_labelled_axes(figures):
    for kind in KINDS:
        figure = figures[kind]()
        assert isinstance(figure, Figure)
        assert any(axis.get_xlabel() for axis in figure.axes), kind
        assert any(axis.get_ylabel() for axis in figure.axes), kind


def test_figures_refuse(figures, tmp_path, drawn):
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        style.save(figures["confidence"](), tmp_path / "a.jpg")
    with pytest.raises(CalibrationError, match="1 to 7"):
        diagrams.error_by_severity({})
    with pytest.raises(CalibrationError, match="1 to 6"):
        decision_diagrams.risk_against_coverage({}, [])
    with pytest.raises(CalibrationError, match="at least one kind"):
        decision_diagrams.score_histograms([1.0, 2.0], {}, name="energy")
    with pytest.raises(CalibrationError, match="one prevalence"):
        decision_diagrams.decision_curves({})
    z, y = drawn(50)
    with pytest.raises(CalibrationError, match="one class"):
        diagrams.reliability(softmax(z), y, views={"class-wise": "All of them"})


def test_reliability_of_many_views_stays_wide_enough_to_read(drawn):
    z, y = drawn(200, 2.0)
    views = {"top-label": "Winning class"} | {f"class-{index}": name for index, name in enumerate(("a_b", "c", "d"))}
    figure = diagrams.reliability(softmax(z), y, views=views)
    assert figure.get_size_inches()[0] < 7, "a column of the page is 5.75 inches wide"
    titles = [axis.get_title(loc="left").split("\n")[0] for axis in figure.axes]
    assert titles == ["Winning class", "a b", "", "", "c", "d", "", ""]
    assert [bool(axis.get_xlabel()) for axis in figure.axes] == [False, False, True, True] * 2
    three = diagrams.reliability(softmax(z), y, views=dict(list(views.items())[:3]))
    assert [axis.get_visible() for axis in three.axes] == [True] * 5 + [False, True, False]


@pytest.mark.parametrize("kind", ["decision", "abstention", "scores", "severity"])
def test_no_legend_stands_on_a_curve(figures, kind):
    figure = figures[kind]()
    figure.draw_without_rendering()
    for axis in figure.axes:
        assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1


def test_the_risk_line_is_named_where_no_curve_can_run_over_it(figures):
    axis = figures["abstention"]().axes[0]
    assert not axis.texts
    assert "risk of 5 %" in [text.get_text() for text in axis.get_legend().get_texts()]
