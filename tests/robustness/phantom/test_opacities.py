"""Do opacities have the borders of what causes them? Measured on the path through the lung, before scatter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.phantom import FINDINGS, VIEWS, Finding, sample_patient
from robustness.phantom.anatomy import Change
from robustness.phantom.film import detect, optical_depth
from robustness.phantom.finding import change_of
from robustness.phantom.geometry import ellipsoid
from robustness.phantom.materials import bone
from robustness.phantom.opacities import below_surface, hilum
from robustness.phantom.projection import Scene, Tissue, cone_beam
from robustness.phantom.skeleton import ribs

PATIENT = sample_patient("opacities", 4, "child")
SIZE = 128
WHITEOUTS = [name for name in FINDINGS if name.startswith("whiteout_")]


def scene_of(found, view="PA", patient=PATIENT, size=SIZE):
    return Scene(patient, cone_beam(patient, view, size), view, change_of(found))


def share_of(found, view="PA", patient=PATIENT, size=SIZE):
    """Return the share (H, W) of the lung that is water, nan where there is less than 1 cm of lung, and the scene."""
    scene, mu = scene_of(found, view, patient, size), Tissue.at(patient.exposure.energy_kev)
    depth = optical_depth(patient, found, view, size)
    share = depth.lesion / ((mu.water - mu.lung) * depth.lung)
    own = torch.zeros(size, size, dtype=torch.bool)
    for side in ("right", "left") if found.side == "both" else (found.side,):
        own[scene.lungs[side].window] |= scene.lungs[side].free > 1.0
    share[~own] = torch.nan
    return share.numpy(), scene


def one_sided(name, side, extent, density=1.0):
    return Finding(name, "both" if name == "whiteout_bilateral" else side, extent, density)


def upper_border(share, level, pixel):
    """Return for columns, from the wall to the middle, the height (cm) where the share rises to a level."""
    heights = []
    for column in share.T:
        seen = np.flatnonzero(np.isfinite(column))
        inside = column[seen] > level
        if len(seen) < 20 or inside[0] or not inside.any():
            continue
        k = int(np.argmax(inside))
        part = (level - column[seen[k - 1]]) / (column[seen[k]] - column[seen[k - 1]])
        heights.append(-(seen[k - 1] + part) * pixel)
    return np.array(heights)


@pytest.mark.parametrize("name", ["effusion", "whiteout_effusion"])
@pytest.mark.parametrize("age", ["child", "adult"])
def test_fluid_climbs_the_wall_in_a_smooth_curve_and_thins_out_upwards(name, age):
    patient = sample_patient("meniscus", 1, age)
    share, scene = share_of(Finding(name, "right", 0.5), "PA", patient)
    pixel, width = scene.beam.pixel, scene.frame.width
    border = upper_border(share, 0.5, pixel)  # the right lung: the wall is at the film's left
    third = len(border) // 3
    wall, middle = border[:3].mean(), border[third : 2 * third].mean()
    assert 0.1 * width < wall - middle < 0.6 * width, f"{wall - middle:.1f} cm of {width:.1f}"
    outer = border[: 2 * third]
    assert outer[: third // 2].mean() > outer[third // 2 : third].mean() > outer[third:].mean(), "concave"
    # No stairs: each column lies between its neighbours to a third of a pixel.
    stairs = border[1:-1] - 0.5 * (border[2:] + border[:-2])
    assert np.abs(stairs[3 : 2 * third]).max() < 0.5 * pixel
    centre = share[:, int(np.median(np.flatnonzero(np.isfinite(share).sum(0) > 20)))]
    rise = ((centre > 0.2) & (centre < 0.8)).sum() * pixel
    assert 0.04 * width < rise < 0.30 * width, f"{rise:.2f} cm from 20 to 80 %"


def test_fluid_hides_the_costophrenic_angle():
    share, _ = share_of(Finding("effusion", "right", 0.4))
    columns = np.flatnonzero(np.isfinite(share).any(0))
    lateral = share[:, columns[: len(columns) // 6]]
    lowest = [column[np.isfinite(column)][-1] for column in lateral.T if np.isfinite(column).any()]
    assert min(lowest) > 0.9


def test_lying_down_fluid_is_a_veil_behind_the_lung_and_only_on_ap_films():
    up, down = (Finding("whiteout_effusion", "right", 0.4, posture=p) for p in ("upright", "supine"))
    standing, _ = share_of(up, "AP")
    veil, _ = share_of(down, "AP")
    seen = np.isfinite(veil)
    assert (veil[seen] > 0.1).mean() > 0.8 > (standing[seen] > 0.1).mean() + 0.1
    rows = np.flatnonzero(seen.any(1))
    thirds = [np.nanmean(veil[rows[k * len(rows) // 3 : (k + 1) * len(rows) // 3]]) for k in range(3)]
    assert thirds[0] < thirds[1] < thirds[2], "denser at the base"
    assert np.array_equal(share_of(up)[0], share_of(down)[0], equal_nan=True)
    with pytest.raises(ValueError, match="supine"):
        Finding("effusion", posture="prone")


@settings(max_examples=6, deadline=None)
@given(
    name=st.sampled_from(WHITEOUTS),
    side=st.sampled_from(["right", "left"]),
    extent=st.floats(0.0, 0.8),
    seed=st.integers(0, 99),
)
def test_the_extent_is_the_share_of_the_lung_that_is_opaque(name, side, extent, seed):
    patient = sample_patient("extent", seed, "child")
    amounts, areas = [], []
    for e in (extent, extent + 0.2):
        found = one_sided(name, side, e)
        share, scene = share_of(found, "PA", patient, 64)
        lung = scene.lungs[side]
        water = np.nan_to_num(share)[lung.window] * lung.free.numpy()
        amounts.append(float(water.sum() / lung.free.sum()))
        areas.append(float((share[np.isfinite(share)] > 0.5).mean()))
        assert amounts[-1] == pytest.approx(e, abs=0.2 if found.side == "both" else 0.1)
    assert amounts[1] > amounts[0] + 0.08
    assert areas[1] >= areas[0] - 0.02


@pytest.mark.parametrize("view", VIEWS)
def test_what_a_field_says_beside_the_lung_never_reaches_the_film(view):
    rays = scene_of(Finding("normal"), view).lungs["left"]
    deep = below_surface(rays.bodies)
    share = rays.share([(lambda x, y, z: torch.where(deep(x, y, z) < -0.5, torch.nan, z), 0.0, 0.1)])
    assert torch.isfinite(share).all()
    assert (share[rays.free == 0.0] == 0.0).all()
    assert float(share.max()) > 0.5


@pytest.mark.parametrize("name", ["whiteout_lobar", "whiteout_effusion", "whiteout_mass"])
def test_no_dark_lung_is_left_in_a_hemithorax_that_is_white(name):
    share, _ = share_of(Finding(name, "left", 1.0, 1.0))
    share = share[np.isfinite(share)]
    assert np.quantile(share, 0.02) > 0.75
    assert np.quantile(share, 0.10) > 0.92


def test_a_lobe_without_air_is_even():
    """Not blotchy: away from its border the same share of every path through it is water."""
    share, scene = share_of(Finding("whiteout_lobar", "right", 0.999, 0.95))
    window = scene.lungs["right"].window
    inside = share[window][(scene.lungs["right"].free > 3.0).numpy()]
    assert float(np.std(inside)) < 0.05


@pytest.mark.parametrize("name", ["lobar", "whiteout_lobar", "whiteout_bilateral"])
def test_without_a_fissure_a_border_is_ill_defined(name):
    share, scene = share_of(replace(one_sided(name, "left", 0.5), lobe="lower" if name == "lobar" else ""))
    steps = np.abs(np.diff(share, axis=0))
    assert np.nanquantile(steps, 0.995) / scene.beam.pixel < 1.0 / (0.07 * scene.frame.width)


def test_an_upper_lobe_ends_sharply_at_the_horizontal_fissure_of_the_right_lung():
    def sharpest(side):
        share, scene = share_of(Finding("lobar", side, 1.0, 1.0, "upper"))
        return float(np.nanquantile(np.diff(share, axis=0), 0.001)) / scene.beam.pixel * scene.frame.width

    assert sharpest("right") < 2.0 * sharpest("left") < 0.0


def test_fluid_and_mass_push_collapse_pulls_and_draws_the_dome_up_with_crowded_ribs():
    fluid, mass, collapse, lobar, oedema = (
        change_of(one_sided(f"whiteout_{c}", "left", 1.0))
        for c in ("effusion", "mass", "collapse", "lobar", "bilateral")
    )
    assert fluid.mediastinum < mass.mediastinum < 0.0 < collapse.mediastinum
    assert lobar == oedema == Change()
    assert fluid.dome["left"] < 0.0 < collapse.dome["left"]
    assert collapse.crowding["left"] > collapse.crowding["right"] == 0.0


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_lungs_share_no_place_however_far_the_mediastinum_has_moved(shift):
    scene = Scene(PATIENT, cone_beam(PATIENT, "AP", 32), "AP", Change(mediastinum=shift))
    f = scene.frame
    points = np.random.default_rng(0).uniform(-1, 1, (20000, 3)) * [0.6 * f.width, f.depth, 0.8 * f.height]
    right, left = (scene.lungs[side].holds(points) for side in ("right", "left"))
    assert right.any() and left.any()  # noqa: PT018
    assert not (right & left).any()
    across = (points[:, 0] < 0) & left if shift < 0 else (points[:, 0] > 0) & right
    assert across.any(), "a lung follows a mediastinum that moves away from it"


@pytest.mark.parametrize("view", ["AP", "LATERAL"])
def test_a_share_summed_in_a_few_steps_is_the_integral(view):
    scene = scene_of(Finding("normal"), view)
    rays, middle, radius = scene.lungs["right"], hilum(scene.frame, "right"), 0.4 * scene.frame.width
    a, b, c = middle.tolist()
    share = rays.share([(lambda x, y, z: ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2).sqrt(), radius, 1e-3)])
    exact = rays.filled(ellipsoid(middle, [radius] * 3))
    assert float(exact.max()) > 0.5 * radius
    assert float((share * rays.free).sum()) == pytest.approx(float(exact.sum()), rel=0.02)
    assert float((share * rays.free - exact).abs().max()) < 0.2 * radius


def test_ribs_fade_behind_water():
    found = Finding("whiteout_lobar", "right", 1.0, 1.0)
    patient = replace(PATIENT, exposure=replace(PATIENT.exposure, scatter=0.3))  # the median
    scene = scene_of(found, "AP")
    mineral = bone(PATIENT.mineral, PATIENT.exposure.energy_kev) - scene.tissue.soft
    bones = ribs(scene.beam, scene.frame, PATIENT).mul_(1.9 * mineral)
    total = optical_depth(PATIENT, found, "AP", SIZE).total
    seen, plain = (-torch.log(detect(t, patient, "AP")) for t in (total, total - bones))
    left = {}
    for side in ("right", "left"):
        window = scene.lungs[side].window
        where = (scene.lungs[side].free > 3.0) & (bones[window] > 0.1)
        left[side] = float(((seen - plain)[window][where] / bones[window][where]).mean())
    assert left["right"] < 0.9 * left["left"]
