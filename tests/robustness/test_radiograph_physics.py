"""The physics behind exposure, contrast and the grid, against closed forms and tabulated values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from robustness import antiscatter_grid, bedside, contrast, exposure, get, grid_cutoff, positioning
from robustness.curves import chords
from robustness.draws import Draws
from robustness.filters import blur_within, blur_within_blocks, gaussian_blur, percentiles, resize
from robustness.pointwise import affine, exp, log, power
from robustness.primitives import resampling
from robustness.quantum_noise import added_quantum_noise, poisson
from robustness.radiograph import Radiograph
from robustness.raw_beam import raw_beam
from robustness.scatter import scatter


def uniform_radiograph(grey: float = 0.5, side: int = 96) -> Radiograph:
    return Radiograph.of(torch.full((side, side), grey), Draws("uniform", "test"))


# Noise


@pytest.mark.parametrize("intensity", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("dose", [0.5, 0.125])
def test_quantum_noise_keeps_the_mean_and_has_variance_proportional_to_it(intensity, dose):
    clean = torch.full((400, 400), intensity)
    noisy = added_quantum_noise(clean, 0.3, 2000.0, dose, Draws("a", "b").normals("n", 400, 400))
    expected = intensity * 0.3 / 2000.0 * (1.0 / dose - 1.0)
    assert float(noisy.mean()) == pytest.approx(intensity, abs=4 * math.sqrt(expected) / 400)
    assert float(noisy.var()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("mean", [5.0, 20.0, 300.0, 5000.0])
def test_poisson_has_the_moments_and_quantiles_of_a_sampler(mean):
    ours = poisson(torch.full((300_000,), mean), Draws("a", "b").normals("n", 300_000))
    sampled = torch.poisson(torch.full((300_000,), mean), generator=torch.Generator().manual_seed(0))
    assert float(ours.mean()) == pytest.approx(mean, abs=5 * math.sqrt(mean / 300_000))
    assert float(ours.var()) == pytest.approx(mean, rel=0.03)
    levels = (1.0, 25.0, 50.0, 75.0, 99.0)
    for mine, theirs in zip(percentiles(ours, *levels), percentiles(sampled, *levels), strict=True):
        assert abs(mine - theirs) <= 0.75 + 0.01 * math.sqrt(mean)


def test_photon_numbers_of_a_detector():
    radiograph = uniform_radiograph()
    assert radiograph.counts(0.139) == pytest.approx(874, rel=0.01)
    assert radiograph.counts(0.9) == pytest.approx(36_700, rel=0.01)


@pytest.mark.parametrize("pitch", [0.1, 0.3, 0.9])
def test_detector_noise_has_unit_variance_and_is_correlated_only_on_fine_pixels(pitch):
    noise = exposure.detector_noise(torch.zeros(300, 300), Draws("a", "b"), pitch)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.05)
    neighbours = float((noise[:, 1:] * noise[:, :-1]).mean())
    assert (neighbours > 0.3) == (pitch < 0.3)


@pytest.mark.parametrize(("pitch", "finer"), [(0.2157, 2.5), (0.2157, 4.0), (0.42, 4.0), (0.9, 2.0)])
def test_noise_of_a_film_averaged_down_is_what_is_left_of_that_of_the_detector(pitch, finer):
    """Of the same variance and power spectrum after a resize to a quarter, and of the same photons."""
    side, sizes = 480, (round(480 * finer), 480)
    powers, photons = [], []
    for size, step in zip(sizes, (1.0, finer), strict=True):
        draws = [Draws(f"{film}", "b", finer=step) for film in range(4)]
        noises = [exposure.detector_noise(torch.zeros(size, size), each, pitch * side / size) for each in draws]
        small = torch.stack([resampling.antialiased(noise, side // 4, side // 4) for noise in noises])
        waves = torch.fft.fft2(small.double()).abs().square() / (side // 4) ** 2
        radius = torch.fft.fftfreq(side // 4)[:, None].hypot(torch.fft.fftfreq(side // 4)[None, :])
        bands = [(0.02, 0.15), (0.15, 0.3), (0.3, 0.4)]
        powers.append([float(waves[:, (radius >= low) & (radius < high)].mean()) for low, high in bands])
        powers[-1].append(float(small.var()))
        film = torch.full((size, size), 0.5)
        photons.append(Radiograph.of(film, draws[0]).counts(pitch * side / size))
    assert powers[1] == pytest.approx(powers[0], rel=0.1)
    assert photons[0] == pytest.approx(photons[1])


@pytest.mark.parametrize("name", ["underexposure", "bad_portable", "underexposure_fixed_window", "grid_upside_down"])
def test_photons_of_a_film_averaged_down_do_what_those_of_the_film_do(name, chest):
    """At the recipe's own size: as much noise, the same grey values on average, in the same window."""
    large, _ = chest(1, 1020, 1020)
    grain = 0.005 * torch.randn(large.shape, generator=torch.Generator().manual_seed(0))
    large = (large + grain * (large > 0.02)).clamp(0, 1)
    small, perturb = resampling.averaged(large, 408, 408), get(name)

    def seen(film, finer):
        shown = [perturb(film[None], 4, [f"{seed}"], finer=finer)[0] for seed in range(4)]
        return torch.stack([resampling.averaged(one, 102, 102) for one in shown]) * 255.0

    stored, ours = seen(large, 1.0), seen(small, 2.5)
    assert float(ours.std(dim=0).mean()) == pytest.approx(float(stored.std(dim=0).mean()), rel=0.1)
    assert float(ours.mean()) == pytest.approx(float(stored.mean()), abs=2.0)
    assert float(ours.mean(dim=0).std()) == pytest.approx(float(stored.mean(dim=0).std()), rel=0.05)


@pytest.mark.parametrize("pitch", [0.3, 0.9])
def test_read_out_noise_adds_its_variance_to_that_of_the_photons(pitch, monkeypatch):
    film, level = torch.full((1, 400, 400), 0.5), exposure.ElectronicNoise.levels[4]
    shown = []
    whole = slice(None)
    monkeypatch.setattr(Radiograph, "display_auto", lambda self, noisy: shown.append((self, noisy(whole))) or self.film)
    get("electronic_noise", field_cm=pitch * 40.0)(film, 5, ["film"])
    (radiograph, noisy), dose = shown[0], level["dose"]
    typical, counts = radiograph.typical_intensity, radiograph.counts(pitch)
    photons = typical**2 / counts * (1.0 / dose - 1.0)
    read_out = (level["sigma"] * typical / dose) ** 2 / counts
    assert float(noisy.var()) == pytest.approx(photons + read_out, rel=0.03)


# Display


def test_there_and_back_is_the_same_film(films):
    for index, film in enumerate(films[0]):
        radiograph = Radiograph.of(film, Draws(str(index), "test"))
        assert float((radiograph.display(radiograph.attenuation) - film).abs().max()) < 1 / 255
        assert float((refitted(radiograph, radiograph.intensity) - film).abs().max()) < 1 / 255


def test_auto_ranging_undoes_any_exposure_without_noise(films):
    film = films[0][0]
    radiograph = Radiograph.of(film, Draws("a", "test"))
    assert float((refitted(radiograph, 0.25 * radiograph.intensity) - film).abs().max()) < 1 / 255


def refitted(radiograph: Radiograph, intensity: torch.Tensor) -> torch.Tensor:
    """What `display_auto` shows, in floats."""
    return radiograph.display_auto(lambda rows: intensity[rows].clone()) / 255.0


@pytest.mark.parametrize(("dose", "shift"), [(0.80, 19), (0.65, 37), (0.50, 59), (0.35, 89), (0.25, 118)])
def test_fixed_window_shifts_grey_by_the_logarithm_of_the_dose(dose, shift):
    radiograph = uniform_radiograph(0.4)
    straight = Radiograph(radiograph.film, radiograph.blocks, gamma=1.0)
    before = straight.display(straight.attenuation)
    after = straight.display(straight.attenuation - math.log(dose))
    assert float((after - before).mean()) * 255 == pytest.approx(shift, abs=0.6)


def test_raw_beam_hangs_together_with_the_border():
    film = torch.full((64, 64), 0.5)
    film[:, :10] = 0.0
    film[30:34, 30:34] = 0.0  # black, but inside: an air bubble, not the beam
    film[5, 4] = 0.5  # a speck of noise in the beam
    beam = raw_beam(film)
    assert bool(beam[:, :10].all())
    assert int(beam.sum()) == 640


# Contrast


@pytest.mark.parametrize("ratio", [0.3, 1.2, 4.0])
def test_scatter_divides_contrast_by_one_plus_its_ratio(ratio):
    film = torch.full((128, 128), 0.5)
    film[64, 64] = 0.52
    radiograph = Radiograph.of(film, Draws("a", "test"))
    scattered = scatter(radiograph, ratio, sigma=20.0)
    before = float(radiograph.intensity[64, 64] / radiograph.intensity[10, 10]) - 1.0
    whole = scattered(slice(None))
    after = float(whole[64, 64] / whole[10, 10]) - 1.0
    assert after / before == pytest.approx(1.0 / (1.0 + ratio), rel=0.01)
    assert radiograph.typical(scattered) == pytest.approx(radiograph.typical(radiograph.intensity), rel=1e-4)


def test_tube_voltage_follows_the_attenuation_tables():
    assert exposure.contrast_at(45.0, exposure.LUNG_CONTRAST) == pytest.approx(1.0)
    assert exposure.contrast_at(70.0, exposure.LUNG_CONTRAST) == pytest.approx(0.79, abs=0.01)
    assert exposure.contrast_at(70.0, exposure.BONE_CONTRAST) == pytest.approx(0.40, abs=0.005)
    assert 0.84 < exposure.contrast_at(55.0, exposure.LUNG_CONTRAST) < 0.93
    with pytest.raises(ValueError, match="keV"):
        exposure.contrast_at(120.0, exposure.LUNG_CONTRAST)


def test_window_widening_scales_contrast(films):
    film = films[0][0]
    for level, severity in zip(contrast.WindowWidening.levels, range(1, 6), strict=True):
        wide = get("window_widening")(film[None], severity, ["a"])[0]
        inside = (slice(60, 90), slice(60, 110))
        assert float(wide[inside].std() / film[inside].std()) == pytest.approx(1 / level["width"], rel=0.02)


# Grid


@pytest.mark.parametrize(
    ("lines", "pitch", "alias"),
    [(4.0, 0.139, 3.19), (5.2, 0.175, 0.51), (5.2, 0.2, 0.20), (6.0, 0.168, 0.05), (7.0, 0.139, 0.19),
     (8.0, 0.125, 0.0), (3.3, 0.1, 3.30), (8.0, 0.2, 2.00)],
)  # fmt: skip
def test_alias_frequencies(lines, pitch, alias):
    assert antiscatter_grid.alias_frequency(lines, pitch) == pytest.approx(alias, abs=0.006)


@pytest.mark.parametrize(
    ("lines", "ratio", "amplitude"), [(4.0, 0.5, 0.068), (6.0, 0.2, 0.041), (6.0, 0.5, 0.033), (7.0, 1.5, 0.014)]
)
def test_line_amplitudes(lines, ratio, amplitude):
    assert antiscatter_grid.line_amplitude(lines, ratio) == pytest.approx(amplitude, rel=0.06)


@pytest.mark.parametrize("severity", [1, 2, 4])
def test_the_spectrum_of_a_film_peaks_at_the_alias_frequency(severity):
    level = antiscatter_grid.GridLines.levels[severity - 1]
    film = torch.full((1, 256, 256), 0.5)
    perturbation = get("grid_lines", field_cm=22.0)
    changed = perturbation(film, severity, ["film"])[0] - 0.5
    spectrum = torch.fft.rfft2(changed).abs()
    spectrum[0, 0] = 0.0
    row, column = divmod(int(spectrum.argmax()), spectrum.shape[1])
    cycles = math.hypot(min(row, 256 - row), column) / 256
    expected = antiscatter_grid.alias_frequency(level["lines_per_mm"], level["pitch_mm"]) * perturbation.pitch_mm(
        film[0]
    )
    assert cycles == pytest.approx(min(expected, 1 - expected), abs=1.5 / 256)


@pytest.mark.parametrize(
    ("x", "arguments", "transmission"),
    [
        (0.0, {"ratio": 8, "off_centre_cm": 5.0}, 0.60),
        (9.0, {"ratio": 8, "off_centre_cm": 5.0}, 0.60),
        (4.0, {"ratio": 8, "tilt_deg": 3.0}, 0.58),
        (10.0, {"ratio": 8, "source_cm": 130.0}, 0.82),
        (15.0, {"ratio": 8, "source_cm": 130.0}, 0.72),
        (5.0, {"ratio": 8, "upside_down": True}, 0.20),
        (6.25, {"ratio": 8, "upside_down": True}, 0.0),
        (9.0, {"ratio": 8, "upside_down": True}, 0.0),
        (0.0, {"ratio": 12}, 1.0),
    ],
)
def test_primary_transmission_of_a_misplaced_grid(x, arguments, transmission):
    assert float(antiscatter_grid.primary_transmission(torch.tensor(x), **arguments)) == pytest.approx(
        transmission, abs=0.006
    )


def test_off_centre_and_off_focus_darkens_one_side_only():
    left, right = antiscatter_grid.primary_transmission(
        torch.tensor([-10.0, 10.0]), 8, off_centre_cm=3.0, source_cm=130.0
    )
    assert sorted([float(left), float(right)]) == pytest.approx([0.63, 1.0], abs=0.01)


def test_stripes_fade_where_scatter_dominates(films):
    film = films[0][0]
    radiograph = Radiograph.of(film, Draws("a", "test"))
    pattern = torch.sin(torch.arange(film.shape[1], dtype=torch.float32) * 2.0).expand_as(film)
    change = (
        antiscatter_grid.modulated(radiograph, 0.05, lambda rows: pattern[rows].clone(), 1.7) / 255.0 - film
    ).abs()
    lungs, between = films[1][0], slice(84, 92)
    assert float(change[lungs].mean()) > 1.3 * float(change[20:90, between].mean())


@pytest.mark.parametrize("control", ["stripes_as_white_noise", "stripes_as_band_noise"])
def test_controls_of_stripes_carry_their_energy(control, films):
    batch = films[0]
    for severity in (3, 5):
        stripes = (get("grid_stripes")(batch, severity, ["a", "b", "c"]) - batch).square().mean(dim=(1, 2)).sqrt()
        noise = (get(control)(batch, severity, ["a", "b", "c"]) - batch).square().mean(dim=(1, 2)).sqrt()
        assert (noise / stripes).tolist() == pytest.approx([1.0] * 3, abs=0.15)


def test_plate_pattern_is_a_pattern():
    pattern = grid_cutoff.plate_pattern(Draws("a", "b").source, torch.Size((100, 140)), 1.7)
    assert float(pattern.max()) <= 1.0
    assert float(pattern.std()) > 0.01


# Bedside and geometry


def test_a_wire_adds_what_copper_attenuates():
    assert pytest.approx(0.14, abs=0.005) == 0.1 * bedside.MU_COPPER
    across = chords((40, 40), [([(20.0, -5.0), (20.0, 45.0)], 4.0)])
    assert float(across[20, 20]) == pytest.approx(8.0)
    assert float(across[24, 20]) == pytest.approx(0.0, abs=1e-6)
    assert float(across[:, 20].sum()) == pytest.approx(math.pi * 16.0, rel=0.05)


def test_thin_tubes_keep_their_mass():
    thick, thin = (
        float(chords((40, 40), [([(19.5, 0.0), (19.5, 40.0)], radius)])[:, 20].sum()) for radius in (0.75, 0.375)
    )
    assert thin == pytest.approx(thick / 4.0, rel=1e-4)


def test_magnification_of_a_chest():
    height = positioning.CHEST_TO_DETECTOR_CM
    assert 100.0 / (100.0 - height) == pytest.approx(1.083, abs=0.001)
    assert 180.0 / (180.0 - height) == pytest.approx(1.045, abs=0.001)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 8.0, 25.0])
def test_blur_has_the_promised_width(sigma):
    impulse = torch.zeros(401, 401)
    impulse[200, 200] = 1.0
    blurred = gaussian_blur(impulse, sigma)
    position = torch.arange(401.0) - 200.0
    # A wide blur is made on a reduced film, where a single pixel counts a little more or less with its place.
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-3 if sigma < 3 else 0.05)
    variance = float((blurred.sum(0) * position.square()).sum() / blurred.sum())
    assert math.sqrt(variance) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("sigma", [1.5, 5.0, 12.0])
def test_blur_within_a_region_is_the_mean_of_what_it_covers_of_it(sigma, films):
    film, lungs = films[0][0], films[1][0]
    inside = lungs.float()
    covered = np.maximum(ndimage.gaussian_filter(inside.numpy(), sigma), 1e-3)
    expected = ndimage.gaussian_filter((film * inside).numpy(), sigma) / covered
    error = (blur_within(film, inside, sigma)[lungs] - torch.from_numpy(expected)[lungs]).abs()
    assert float(error.mean()) < 0.005


@pytest.mark.parametrize("shape", [(128, 176), (127, 175)])
def test_a_region_by_blocks_is_blurred_like_the_same_by_pixels(shape, chest):
    film, _ = chest(1, *shape)
    radiograph = Radiograph.of(film, Draws("a", "test"))
    tissue = (~radiograph.beam).float()
    by_blocks, by_pixels = blur_within_blocks(film, ~radiograph.blocks, 16.0), blur_within(film, tissue, 16.0)
    assert float((by_blocks - by_pixels).abs()[tissue > 0].mean()) < 0.004


@pytest.mark.parametrize("exponent", [0.4, 0.8, 1.25, 2.5])
def test_pointwise_functions_are_right_to_a_hundredth_of_a_grey_level(exponent):
    grey = torch.arange(256, dtype=torch.float32).reshape(16, 16) / 255
    assert float((power(grey, exponent) - grey.double() ** exponent).abs().max()) < 0.01 / 255
    assert float((log(exp(grey)) - grey).abs().max()) < 1e-6
    assert torch.equal(affine(grey.clone(), 2.0, 1.0), 2.0 * grey + 1.0)


def test_resize_keeps_the_mean(films):
    assert float(resize(films[0][0], 40, 55).mean()) == pytest.approx(float(films[0][0].mean()), abs=0.01)


def test_merging_beside_tissue_alone_is_merging_everywhere():
    """Beam on both sides and in a corner; more rows than one strip holds."""
    film = torch.rand(700, 900, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3
    film[:, :60], film[:, 850:], film[650:, 400:450] = 0.0, 0.0, 0.0
    radiograph, changed = Radiograph.of(film, Draws("beside", "a", 0)), 1.0 - film
    whole = torch.lerp(film, changed, radiograph.weight)
    found = radiograph.on_tissue(changed.clone())
    assert float((found - whole).abs().max()) < 1e-5
    assert torch.equal(found[:, :50], film[:, :50])
    tissue = slice(10, 300), slice(100, 800)
    assert torch.equal(found[tissue], changed[tissue])
