"""Could the film have come from a hospital? What gave away films that were made: frames, markers, saturation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness import antiscatter_grid, bedside, contrast, exposure, get, phantom
from robustness.draws import Draws
from robustness.preview import PAPER, contact_sheet
from robustness.radiograph import Radiograph, attenuation_of
from robustness.raw_beam import raw_beam
from robustness.scatter import scatter
from robustness.thorax import thorax_of

STORED = 1.5 / 255
"""A grey level and the rounding of another one."""


def with_marker(film: torch.Tensor, row: int) -> torch.Tensor:
    """The film with lead letters beside the patient."""
    marked = film.clone()
    marked[row : row + 8, 2:7] = 1.0
    return marked


@settings(max_examples=8)
@given(seed=st.integers(0, 30), severity=st.integers(1, 5), row=st.integers(4, 100))
def test_breathing_out_leaves_shoulders_and_markers_alone(chest, seed, severity, row):
    film, lungs = chest(seed)
    film, thorax = with_marker(film, row), thorax_of(lungs)
    changed = get("low_inspiration")(film[None], severity, ["a"], masks=lungs[None])[0]
    assert float((changed[: thorax.top - 8] - film[: thorax.top - 8]).abs().max()) < STORED
    assert float((changed[:, :7] - film[:, :7]).abs().max()) < STORED


def test_breathing_out_moves_the_diaphragm_and_not_the_collimator(chest):
    film, lungs = chest(3)
    film[-6:] = 0.0
    changed = get("low_inspiration")(film[None], 5, ["a"], masks=lungs[None])[0]
    rows = torch.arange(film.shape[0])
    middle = slice(thorax_of(lungs).left, thorax_of(lungs).right)
    lit = [rows[(~raw_beam(one))[:, middle].any(dim=1)].max() for one in (film, changed)]
    assert lit[0] == lit[1]
    lung = lungs[:, 30:60].any(dim=1)
    dome = int(rows[lung].max())
    assert float((changed - film)[dome - 6 : dome - 1, 40:55].mean()) > 0.1, "abdomen where lung was"


@settings(max_examples=8)
@given(
    seed=st.integers(0, 30),
    severity=st.integers(1, 5),
    name=st.text("ab", min_size=1, max_size=4),
    row=st.integers(30, 90),
)
def test_a_turned_film_does_not_show_its_marker_twice(chest, seed, severity, name, row):
    film, _ = chest(seed)
    film[:, :18] = 0.0
    both = torch.stack([with_marker(film, row), film])
    marked, plain = get("roll")(both, severity, [name, name])
    assert float((marked - plain).sum()) < 1.05 * 8 * 5, "no more white than one marker has"


@settings(max_examples=10)
@given(seed=st.integers(0, 30), severity=st.integers(1, 5), name=st.text("abcdef", min_size=1, max_size=4))
def test_a_grid_upside_down_saturates_nothing_and_leaves_no_black_rim(chest, seed, severity, name):
    film, _ = chest(seed)
    perturbation = get("grid_upside_down")
    changed = perturbation(film[None], severity, [name])[0]
    assert float((changed[~raw_beam(film)] >= 0.98).float().mean()) < 0.03
    draws = Draws(name, "grid_upside_down")
    vertical = draws.choice("lamellae", ("height", "width"), (0.75, 0.25)) == "height"
    pitch, ratio = perturbation.pitch_mm(film), perturbation.levels[severity - 1]["ratio"]
    side = film.shape[1] if vertical else film.shape[0]
    cut = (torch.arange(side) - (side - 1) / 2).abs() * pitch / 10.0 > 50.0 / ratio + 0.2
    beyond = changed[:, cut] if vertical else changed[cut]
    assert beyond.numel() == 0 or float((beyond < 0.1).float().mean()) < 0.01, "no primary, no black"


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 30),
    severity=st.integers(3, 5),
    kind=st.sampled_from(["grid_cutoff", "grid_off_centre", "grid_tilt", "grid_off_focus"]),
    name=st.text("abcdef", min_size=1, max_size=4),
)
def test_a_misplaced_grid_leaves_no_rim_where_beam_is_told_from_tissue(chest, seed, severity, kind, name):
    """The beam beside the patient is as black as raw beam only along the film's border, and gets lighter as a whole."""
    film, _ = chest(seed)
    beam = raw_beam(film)
    film[beam] = 7 / 255
    film[:, :4], film[:, -4:] = 4 / 255, 4 / 255
    changed = get(kind)(film[None], severity, [name])[0]
    for outer, inner in ((2, 6), (-3, -7)):
        both = beam[:, inner]
        steps = (changed[:, inner] - changed[:, outer])[both]
        assert float(steps.mean()) < 0.06, "no black rim beside a pale beam"


@settings(max_examples=20, deadline=None)
@given(name=st.text("abcdef", min_size=1, max_size=6), severity=st.integers(1, 5))
def test_no_lead_ends_on_the_patient_but_at_an_electrode(name, severity):
    perturbation, film = get("ecg_leads"), torch.full((128, 176), 0.5)
    level = perturbation.levels[severity - 1]
    for index in range(level["wires"]):
        clipped = index < level["electrodes"]
        points = bedside.wire(film, Draws(name, "ecg_leads"), f"wire {index}", clipped=clipped)
        assert points[-1][0] >= 128, "off the lower edge"
        assert (0 < points[0][1] < 176) == clipped, "from an electrode, or from beyond the side"
    if severity >= 3:
        covered = perturbation(film[None], severity, [name])[0] > 0.5 + STORED
        assert bool(covered[-1].any())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 30), severity=st.integers(3, 5), grey=st.integers(0, 12))
def test_a_film_in_a_black_frame_is_turned_with_its_frame(chest, seed, severity, grey):
    film, _ = chest(seed)
    film[:3], film[-3:], film[:, :3], film[:, -3:] = (grey / 255,) * 4
    turned = get("roll")(film[None], severity, ["a"])[0]
    corners = torch.stack([turned[0, 0], turned[0, -1], turned[-1, 0], turned[-1, -1]])
    assert float(corners.max()) <= grey / 255 + STORED
    open_film = torch.full((1, 96, 128), 0.5)
    assert float(get("roll")(open_film, severity, ["a"]).min()) > 0.4, "no frame where there was none"


def test_collimation_stays_off_the_lungs():
    """On the phantom; the numbers in the docstring."""
    table = phantom.cohort_table(24)
    shares: list[list[float]] = []
    for _, made in phantom.films(table):
        white, lung = torch.ones(1, *made.film.shape), made.lung
        lit = [get("collimation")(white, severity, ["a"])[0] > 0.5 for severity in range(1, 6)]
        shares.append([float((lung & one).sum() / lung.sum()) for one in lit])
    left = np.array(shares)
    assert np.all(np.diff(left, axis=1) <= 0.0)
    assert np.all(np.median(left, axis=0) > 0.95)
    assert left.min() > 0.75


def test_a_contact_sheet_adds_nothing_to_a_narrower_film(films):
    height, width = 64, round(64 * films[0].shape[2] / films[0].shape[1])
    tile = np.asarray(contact_sheet(films[0][0], ["aspect_squeeze"], severities=(5,), height=height))
    across = tile[-height // 2, 4 : 4 + width]
    assert np.all(across[-10:] == PAPER), "paper, as between the tiles"
    squeezed = get("aspect_squeeze")(films[0][:1], 5, ["a"])[0]
    assert squeezed.shape[1] == round(films[0].shape[2] * 0.68), "nothing is filled in"


@pytest.mark.parametrize("severity", [3, 4, 5])
@pytest.mark.parametrize("grey", [0.3, 0.5, 0.7])
def test_contrast_under_scatter_is_that_of_the_formula_before_it_is_stored_in_8_bit(severity, grey):
    """Fine stripes of two grey levels: exact in floats, anything in 8 bit, right again where noise rounds at random."""
    level = contrast.Scatter.levels[severity - 1]
    stripes = torch.sin(2 * torch.pi * torch.arange(256.0) / 8).expand(256, 256)
    film = grey + 2 / 255 * stripes
    inner = (slice(64, 192), slice(64, 192))
    radiograph = Radiograph.of(film.contiguous(), Draws("a", "scatter"))
    scattered = scatter(radiograph, level["ratio"], 45.0 / get("scatter").pitch_mm(film))
    changed = radiograph.display(attenuation_of(scattered(slice(None))))
    expected = 1.0 / (1.0 + level["ratio"])
    assert float(changed[inner].std() / film[inner].std()) == pytest.approx(expected, rel=0.015)
    noisy = film + 0.02 * torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    kept = get("scatter")((noisy * 255).round()[None] / 255, severity, ["a"])[0]
    slope = (kept * stripes)[inner].mean() / (stripes.square()[inner].mean() * 2 / 255)
    assert float(slope) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_stress_noise_is_as_visible_as_its_docstring_says(severity):
    film = torch.full((1, 256, 256), 0.5) + 0.3 * (torch.arange(256.0) > 250)
    photons = exposure.UnderexposureStress.levels[severity - 1]["photons"]
    film[:, 100:150, 100:200] -= 0.2
    level, draws = {"photons": photons}, Draws("a", "underexposure_stress")
    noisy = get("underexposure_stress").perturb(film[0], level, draws)
    assert float(noisy[10:90, 10:90].float().std()) == pytest.approx(85.0 / photons**0.5, rel=0.35)


def test_grid_lines_grow_in_amplitude_while_their_period_does_not():
    """Severity 5 looks fainter than 4 because its alias is as wide as a rib, not because it is weaker."""
    amplitudes, periods = [], []
    for level in antiscatter_grid.GridLines.levels:
        alias = antiscatter_grid.alias_frequency(level["lines_per_mm"], level["pitch_mm"])
        amplitude = antiscatter_grid.line_amplitude(level["lines_per_mm"], level["scatter_ratio"])
        periods.append(round(1.0 / alias, 1))
        amplitudes.append(amplitude * np.sinc(alias * 220.0 / 256.0))
    assert periods == [5.1, 3.5, 1.9, 5.0, 21.0]
    assert amplitudes == pytest.approx([0.014, 0.018, 0.028, 0.037, 0.042], abs=0.0006)


@pytest.mark.parametrize("side", [96, 160, 240])
def test_why_a_sheet_shows_no_film_stays_in_its_tile(side):
    film = torch.rand(side, side, generator=torch.Generator().manual_seed(0))
    sheet = np.asarray(contact_sheet(film, ["patient_rotation"], severities=(1, 2, 3), height=side))
    for column in (1, 2):
        gap = 4 + column * (side + 4) - 4
        assert np.all(sheet[24:, gap : gap + 4] == PAPER)
    assert bool((sheet[24:] < 120).any()), "the reason stands there"
