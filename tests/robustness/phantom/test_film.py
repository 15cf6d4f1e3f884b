"""Films: exact masks, reproducibility, noise, geometry of the views."""

import dataclasses

import numpy as np
import pytest
import torch

from robustness.phantom import AGE_GROUPS, FINDINGS, VIEWS, draw_finding, render, sample_patient
from robustness.phantom.film import detect, optical_depth
from robustness.phantom.findings import change_of
from robustness.phantom.projection import cone_beam
from robustness.phantom.texture import Lines, draw, grain, smooth

CHILD = sample_patient("child", 7, "child")


def same(a, b):
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("film", "lung", "heart", "lesion"))


@pytest.mark.parametrize("finding", FINDINGS)
def test_the_lesion_mask_is_where_the_optical_depth_changed_by_a_tenth_of_its_largest_change(finding):
    found = draw_finding(CHILD, finding)
    sick = optical_depth(CHILD, found, "AP", 96)
    well = optical_depth(CHILD, found, "AP", 96, without=True)
    difference = (sick.total - well.total).abs()
    film = render(CHILD, finding, "AP", 96)
    if finding == "normal":
        assert not film.lesion.any()
        return
    agree = (film.lesion == (difference > 0.1 * difference.max())).float().mean()
    assert float(agree) > 0.9995  # rounding of a difference at the threshold
    assert film.lesion.any()
    assert not (film.lesion & ~(sick.lung > 0)).any(), "a lesion of the lung lies in the lung"


@pytest.mark.parametrize("age", AGE_GROUPS)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_lungs_heart_and_a_full_range_of_greys(age, view):
    film = render(sample_patient("v", 1, age), "normal", view, 96)
    assert film.film.shape == film.lung.shape == (96, 96)
    assert film.film.dtype == torch.float32
    assert film.lung.dtype == torch.bool
    assert 0.0 <= float(film.film.min()) < 0.15
    assert 0.75 < float(film.film.max()) <= 1.0
    assert 0.10 < float(film.lung.float().mean()) < 0.6
    assert 0.02 < float(film.heart.float().mean()) < 0.3
    assert torch.isfinite(film.film).all()
    lung_only = film.lung & ~film.heart
    assert film.film[film.heart].mean() > film.film[lung_only].mean(), "the heart is denser than lung"
    assert {"view", "finding", "photons", "age", "finding_extent"} <= set(film.parameters)


def test_the_same_film_comes_out_the_same_in_any_order_and_never_touches_global_state():
    torch.manual_seed(5)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    before = torch.get_rng_state()
    first = render(CHILD, "lobar", "AP", 64)
    for other in ("interstitial", "mass"):
        render(sample_patient("other", 1, "adult"), other, "PA", 64)
    assert same(first, render(CHILD, "lobar", "AP", 64))
    assert torch.equal(before, torch.get_rng_state())
    assert (state == np.random.get_state()[1]).all()  # noqa: NPY002


def test_no_two_films_are_alike():
    films = [render(sample_patient(str(i), 0, "child"), "normal", "AP", 48).film.flatten() for i in range(10)]
    films += [render(sample_patient("0", 0, "child", film=1), "normal", "AP", 48).film.flatten()]
    likeness = torch.corrcoef(torch.stack(films)) - torch.eye(len(films))
    assert float(likeness.max()) < 0.98


def test_how_a_film_was_taken_does_not_depend_on_what_is_found():
    """Otherwise brightness, sharpness, borders or marker would tell the class."""
    shown = [render(CHILD, name, "AP", 48).parameters for name in ("normal", "lobar", "interstitial")]
    for name in (f.name for f in dataclasses.fields(CHILD.exposure)):
        assert shown[0][name] == shown[1][name] == shown[2][name]


def test_resolution_changes_the_sampling_not_the_patient():
    found = draw_finding(CHILD, "lobar")
    fine, coarse = (optical_depth(CHILD, found, "AP", n).total for n in (192, 96))
    pooled = torch.nn.functional.avg_pool2d(fine[None, None], 2)[0, 0]
    assert float((pooled - coarse).abs().mean()) < 0.02
    assert float(torch.corrcoef(torch.stack([pooled.flatten(), coarse.flatten()]))[0, 1]) > 0.999


def test_the_finding_is_the_only_difference_between_paired_films():
    """Outside the reach of a lesion that moves nothing, optical depth is that of the healthy patient, to the bit."""
    sick = optical_depth(CHILD, draw_finding(CHILD, "mass"), "AP", 64)
    well = optical_depth(CHILD, draw_finding(CHILD, "normal"), "AP", 64)
    untouched = sick.lesion == 0
    assert torch.equal(sick.total[untouched], well.total[untouched])
    assert not torch.equal(sick.total, well.total)


def test_noise_has_the_variance_of_counting_photons():
    exposure = dataclasses.replace(CHILD.exposure, scatter=0.0, blur=0.05, photons=1000.0)
    depth = torch.full((256, 256), 1.0)
    for photons in (1000.0, 9000.0):
        patient = dataclasses.replace(CHILD, exposure=dataclasses.replace(exposure, photons=photons))
        signal = detect(depth, patient, "AP") / np.exp(-1.0)
        assert float(signal.mean()) == pytest.approx(1.0, abs=4 / np.sqrt(photons) / 256)
        assert float(signal.var()) == pytest.approx(1 / photons, rel=0.03)
    # Where four times fewer photons arrive, relative noise doubles.
    depth[:, 128:] += np.log(4.0)
    signal = detect(depth, patient, "AP")
    left, right = signal[:, :128], signal[:, 128:]
    assert float((right.std() / right.mean()) / (left.std() / left.mean())) == pytest.approx(2.0, rel=0.05)


def test_scatter_lowers_contrast_most_where_the_patient_is_thick():
    depth = optical_depth(CHILD, draw_finding(CHILD, "normal"), "AP", 96)
    signals = [
        detect(depth.total, dataclasses.replace(CHILD, exposure=dataclasses.replace(CHILD.exposure, scatter=s)), "AP")
        for s in (0.0, 0.6)
    ]
    ratio = signals[1] / signals[0]
    open_lung = (depth.lung > 0.5 * depth.lung.max()) & (depth.heart == 0)
    assert float(ratio[depth.heart > 0.6 * depth.heart.max()].mean()) > float(ratio[open_lung].mean()) > 1.02


def test_the_heart_is_wider_on_an_ap_film_than_on_a_pa_film():
    def width(view):
        beam_field = optical_depth(CHILD, draw_finding(CHILD, "normal"), view, 192)
        lungs = (beam_field.lung > 0).any(0).sum()
        return float((beam_field.heart > 0.3).any(0).sum() / lungs)

    assert 0.85 < width("PA") / width("AP") < 0.98


def test_lateral_films_overlay_both_lungs():
    depth = optical_depth(CHILD, draw_finding(CHILD, "normal"), "LATERAL", 96)
    frontal = optical_depth(CHILD, draw_finding(CHILD, "normal"), "AP", 96)
    assert float(depth.lung.max()) > 1.2 * float(frontal.lung.max())


def test_lines_are_drawn_by_mass():
    beam = cone_beam(CHILD, "PA", 128)
    rng = np.random.default_rng(0)
    lines = Lines(rng.uniform(-2, 2, (500, 3)) * [1, 0, 1], rng.uniform(0.01, 0.3, 500), np.full(500, 0.1))
    assert float(draw(beam, lines).sum()) * beam.pixel**2 == pytest.approx(float(lines.volumes.sum()), rel=1e-3)


def test_grain_has_unit_variance_and_blur_keeps_the_mean():
    field = grain(np.random.default_rng(0), 256, "cpu", (16, 32, 64))
    assert float(field.std()) == pytest.approx(1.0, abs=0.1)
    assert float(smooth(field, 1.7).mean()) == pytest.approx(float(field.mean()), abs=5e-3)
    spike = torch.zeros(65, 65)
    spike[32, 32] = 1.0
    blurred = smooth(spike, 2.0)
    offsets = torch.arange(65.0) - 32
    assert float(blurred.sum()) == pytest.approx(1.0, rel=1e-4)
    assert float((blurred.sum(0) * offsets**2).sum()) == pytest.approx(4.0, rel=0.12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_makes_the_same_film():
    a, b = render(CHILD, "lobar", "AP", 128), render(CHILD, "lobar", "AP", 128, device="cuda")
    assert float((a.film - b.film.cpu()).abs().max()) < 0.02
    assert float((a.lesion == b.lesion.cpu()).float().mean()) > 0.999


def test_moving_the_chest_is_part_of_the_finding():
    found = dataclasses.replace(draw_finding(CHILD, "whiteout_effusion"), side="left", extent=1.0)
    assert change_of(found).mediastinum < 0, "fluid on the left pushes to the right"
