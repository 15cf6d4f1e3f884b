"""Does every perturbation run where the film lies, and give what the CPU gives, without a look by way of the CPU?"""

from __future__ import annotations

import contextlib

import cv2
import pytest
import torch
from scipy import ndimage, special

from robustness import bedside, facts, get, names, tone_curve
from robustness.draws import Draws
from robustness.perturbation import Perturbation
from robustness.raw_beam import raw_beam
from robustness.remedies import REMEDIES
from tests.robustness.conftest import LAST
from tests.robustness.elsewhere import DEVICE, Elsewhere, fetched, sent

BEAM = {"from_border"}
CHEST = {"lung_depth", "estimate_lungs", "thorax_of"}
LUNGS = {"lung_depth", *BEAM, *CHEST, "grown_to_pleura", "hull", "aerated"}
LATER = {*LUNGS, "distance_to_organs"}
CROSSINGS = {
    **dict.fromkeys(names("exposure"), BEAM),
    **dict.fromkeys(set(names("contrast")) - {"gamma_high"}, BEAM),
    **dict.fromkeys(names("grid"), BEAM),
    **dict.fromkeys(["ecg_leads", "tubes", "markers", "stripes_as_white_noise", "stripes_as_band_noise"], BEAM),
    **dict.fromkeys(["patient_rotation", "low_inspiration"], BEAM | CHEST),
    **dict.fromkeys(["whiteout_collapse", "whiteout_bilateral"], LUNGS),
    **dict.fromkeys(["whiteout_lobar", "whiteout_mass", "diffuse_dose_matched", "sham_opacity"], LATER),
    **dict.fromkeys(["whiteout_effusion", "whiteout_total"], LUNGS | {"beside_first"}),
    "resave": {"PNG"},
}
"""For what images of a film go to the CPU, by perturbation; of all others none does."""

CLEAR = [
    *("gamma_high", "magnification", "collimation", "jpeg_quality", "low_resolution", "aspect_squeeze"),
    *("aspect_stretch", "softening", "clahe", "scan_border", "bit_depth", "brightness_shift", "inversion"),
    *(f"medmnistc_{kind}_noise" for kind in ("gaussian", "speckle", "shot")),
    *("medmnistc_pixelate", "medmnistc_jpeg_compression", "medmnistc_gaussian_blur", "medmnistc_brightness_up"),
    *("medmnistc_brightness_down", "medmnistc_gamma_corr_up", "medmnistc_gamma_corr_down"),
]
"""What asks no film for anything: it runs without one."""


@pytest.fixture(scope="module")
def film(chest):
    return chest(1)[0][None]


@contextlib.contextmanager
def nothing_but_torch(monkeypatch):
    """No way from a tensor to numpy or back, no OpenCV, no filter of scipy."""

    def refused(*_, **__):
        raise AssertionError("numpy, OpenCV or scipy was asked for an image")

    with monkeypatch.context() as patch:
        for module in (cv2, ndimage):
            for name, value in vars(module).items():
                if callable(value) and not isinstance(value, type) and not name.startswith("_"):
                    patch.setattr(module, name, refused)
        patch.setattr(torch.Tensor, "numpy", refused)
        patch.setattr(torch.Tensor, "__array__", refused)
        patch.setattr(torch, "from_numpy", refused)
        yield


def compared(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[float, float]:
    """Share of pixels more than a grey level apart, and of those that are not the same."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    apart = (ours.double() - theirs.double()).abs() * (1.0 if ours.dtype == torch.uint8 else 255.0)
    return float((apart > 1.01).double().mean()), float((apart > 0.01).double().mean())


@pytest.mark.parametrize("name", names())
def test_a_film_elsewhere_is_perturbed_as_on_the_cpu(name, film, monkeypatch):
    perturb = get(name)
    with Elsewhere(facts._on_cpu) as device:
        there = sent(film)
        last = LAST.get(name, 5)
        for severity in range(1, last + 1):
            expected = perturb(film, severity, ["film"])
            found = perturb(there, severity, ["film"])
            far, other = compared(fetched(found), expected)
            assert far <= 1e-4
            assert other <= 5e-3, "nearly all of the film is the same to the grey level"
        assert set(device.crossed) <= CROSSINGS.get(name, set())
        # What is known of the film is remembered; the same again takes nothing but torch.
        if name != "resave":
            crossed = device.crossed.total()
            with nothing_but_torch(monkeypatch):
                again = perturb(there, last, ["film"])
            assert torch.equal(fetched(again), fetched(found))
            assert device.crossed.total() == crossed


@pytest.mark.parametrize("name", ["gamma_high", "brightness_shift", "markers"])
def test_what_was_made_in_inference_mode_goes_there_too(name, film):
    tone_curve._table.cache_clear()
    bedside._letters.cache_clear()
    with torch.inference_mode():
        expected = get(name)(film, 3, ["film"])
    with Elsewhere(facts._on_cpu):
        assert compared(fetched(get(name)(sent(film), 3, ["film"])), expected)[0] <= 1e-4


@pytest.mark.parametrize("name", ["window_widening", "gamma_low", "underexposure", "clahe", "medmnistc_shot_noise"])
def test_an_8_bit_film_elsewhere_too(name, film):
    grey = (film * 255.0).round().to(torch.uint8)
    with Elsewhere(facts._on_cpu):
        far, other = compared(fetched(get(name)(sent(grey), 4, ["film"])), get(name)(grey, 4, ["film"]))
    assert far <= 1e-4
    assert other <= 5e-3


@pytest.mark.parametrize("name", ["underexposure", "tube_voltage", "scatter", "window_widening", "grid_cutoff"])
def test_raw_beam_in_the_middle_of_a_film_too(name, chest):
    film = chest(1, 96, 230)[0][None]
    assert raw_beam(film[0])[20:-20, 46:-46].any(), "where exposure control looks"
    with Elsewhere(facts._on_cpu):
        far, other = compared(fetched(get(name)(sent(film), 3, ["film"])), get(name)(film, 3, ["film"]))
    assert far <= 1e-4
    assert other <= 5e-3


@pytest.mark.parametrize("name", ["low_inspiration", "whiteout_lobar", "sham_opacity"])
def test_a_mask_goes_where_the_films_are(name, chest):
    film, lungs = (image[None] for image in chest(3, 131, 177))
    with Elsewhere(facts._on_cpu) as device:
        found = fetched(get(name)(sent(film), 3, ["film"], masks=lungs.to(DEVICE)))
    assert compared(found, get(name)(film, 3, ["film"], masks=lungs))[0] <= 1e-4
    assert "estimate_lungs" not in device.crossed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_agrees_with_the_cpu(film):
    apart = {}
    for name in names():
        for severity in (1, 3, 5):
            found = get(name)(film.cuda(), severity, ["film"])
            assert found.is_cuda
            apart[name, severity] = compared(found.cpu(), get(name)(film, severity, ["film"]))[0]
    assert {where: share for where, share in apart.items() if share > 1e-4} == {}


@pytest.mark.parametrize("name", REMEDIES)
def test_remedies_work_there_too(name, film):
    striped = get("grid_stripes")(film, 5, ["film"])
    with Elsewhere(facts._on_cpu) as device:
        found = fetched(REMEDIES[name](sent(striped)))
    torch.testing.assert_close(found, REMEDIES[name](striped), atol=1e-5, rtol=0.0)
    assert set(device.crossed) <= ({"from_border"} if name == "rewindow" else set())


@pytest.mark.parametrize("name", CLEAR)
def test_shapes_follow_without_pixels(name, film):
    perturbation = get(name)
    grey = (film[0] * 255.0).to(torch.uint8)
    for level in perturbation.levels:
        expected = perturbation.perturb(grey, level, Draws("film", name))
        found = perturbation.perturb(grey.to("meta"), level, Draws("film", name, device="meta"))
        assert found.is_meta
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


def test_every_fact_says_why_it_is_found_on_the_cpu():
    named = set.union(*CROSSINGS.values()) - {"PNG"}
    # Impulses are drawn without a look at the film: numbers go up, no image comes down.
    assert set(facts.FACTS) == named | {"impulses"}
    assert all(facts.FACTS.values())


def test_a_film_that_goes_to_the_cpu_is_found_out(film):
    class ByWayOfNumpy(Perturbation):
        """One that leaves the device without saying so."""

        name, family, source, levels = "by_way_of_numpy", "control", "here", get("inversion").levels
        anywhere = True

        def perturb(self, film, level, draws):
            return torch.from_numpy(1.0 - film.cpu().numpy()).to(film.device)

    with Elsewhere(facts._on_cpu), pytest.raises(AssertionError, match="was copied to the CPU"):
        ByWayOfNumpy()(sent(film), 1, ["film"])


def test_what_does_not_say_that_it_runs_anywhere_is_given_films_on_the_cpu(film):
    class Theirs(Perturbation):
        """Somebody's own, written in numpy."""

        name, family, source, levels = "theirs", "control", "there", get("inversion").levels

        def perturb(self, film, level, draws):
            return torch.from_numpy(1.0 - film.numpy()) * draws.lungs

    masks = film > 0.5
    with Elsewhere(facts._on_cpu) as device:
        found = fetched(Theirs()(sent(film), 1, ["film"], masks=masks.to(DEVICE)))
    assert torch.equal(found, Theirs()(film, 1, ["film"], masks=masks))
    assert device.crossed == {"theirs": 2}


def test_a_result_on_another_device_is_refused(film):
    class Stranded(Perturbation):
        """One that leaves its result on the CPU."""

        name, family, source, levels = "stranded", "control", "here", get("inversion").levels
        anywhere = True

        def perturb(self, film, level, draws):
            return torch.zeros(film.shape)

    with Elsewhere(facts._on_cpu), pytest.raises(ValueError, match=r"on that device \(.*test_any_device.py"):
        Stranded()(sent(film), 1, ["film"])


def test_facts_of_a_film_are_the_same_wherever_it_lies(chest):
    film, _ = chest(9, 97, 130)
    with Elsewhere(facts._on_cpu) as device:
        for _ in range(3):
            assert torch.equal(fetched(raw_beam(sent(film))), raw_beam(film))
    assert device.crossed == {"from_border": 1}


def test_single_numbers_need_no_image():
    """Draws of one number are counted out on the CPU, whatever the device."""
    here, there = Draws("film", "roll"), Draws("film", "roll", device="meta")
    assert here.normal("tilt") == there.normal("tilt") == float(special.ndtri(here.uniform("tilt", 2.0**-54)))
