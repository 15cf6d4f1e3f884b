"""The contract, held by every registered perturbation."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness import PerturbationError, PerturbationUndefined, get, perturbation
from robustness.draws import Draws
from robustness.perturbation import Perturbation, register
from robustness.preview import load_film
from robustness.raw_beam import raw_beam
from robustness.tone_curve import TissueCurve
from tests.robustness.conftest import LAST

ALL = perturbation.names()
FINE = {"grid_lines", "softening", "ecg_leads"}
"""Their first severities are finer than the pixels of a small film."""
IDS = ["a", "b", "c"]


def rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize("name", ALL)
def test_severity_zero_is_the_film_bit_for_bit(name, films):
    batch, lungs = films
    assert torch.equal(get(name)(batch, 0, IDS, masks=lungs), batch)


@pytest.mark.parametrize("name", ALL)
def test_a_film_does_not_depend_on_its_batch(name, films):
    batch, lungs = films
    together = get(name)(batch, 3, IDS, masks=lungs)
    backward = get(name)(batch.flip(0), 3, IDS[::-1], masks=lungs.flip(0)).flip(0)
    alone = torch.cat([get(name)(batch[i : i + 1], 3, IDS[i : i + 1], masks=lungs[i : i + 1]) for i in range(3)])
    assert torch.equal(together, backward)
    assert torch.equal(together, alone)
    assert together.dtype == torch.float32
    assert float(together.min()) >= 0.0
    assert float(together.max()) <= 1.0
    assert torch.equal(together, (together * 255).round() / 255), "a film is stored in 8 bit"


@pytest.mark.parametrize("name", ALL)
def test_an_8_bit_film_gives_the_grey_values_of_the_same_film_in_floats(name, films):
    batch, lungs = films
    stored = (batch * 255).round().to(torch.uint8)
    assert get(name)(stored, 0, IDS, masks=lungs).dtype == torch.uint8
    before = stored.clone()
    for severity in (1, 3, LAST.get(name, 5)):
        grey = get(name)(stored, severity, IDS, masks=lungs)
        floats = get(name)(stored.float() / 255, severity, IDS, masks=lungs)
        assert grey.dtype == torch.uint8
        assert torch.equal(grey.float() / 255, floats)
    assert torch.equal(stored, before), "the film given was changed"


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(get(name), TissueCurve)])
@pytest.mark.parametrize("shape", [(128, 176), (127, 175)])
def test_a_tissue_curve_spares_the_raw_beam_and_is_a_plain_curve_where_there_is_none(name, shape, chest):
    film, _ = chest(5, *shape)
    lifted = film.clamp_min(13 / 255)
    assert raw_beam(film).any()
    assert not raw_beam(lifted).any()
    for one in (film, lifted):
        floats = get(name)(one[None], 5, ["a"])[0]
        stored = get(name)((one * 255).round().to(torch.uint8)[None], 5, ["a"])[0]
        assert torch.equal(stored.float() / 255, floats)
    near_tissue = cv2.dilate((~raw_beam(film)).numpy().astype("uint8"), np.ones((9, 9), "uint8"))
    inner = torch.from_numpy(near_tissue) == 0
    assert torch.equal(get(name)(film[None], 5, ["a"])[0][inner], film[inner])
    changed = get(name)(lifted[None], 5, ["a"])[0]
    for grey in lifted.unique():
        assert len(changed[lifted == grey].unique()) == 1, "a curve gives one value for another"


@pytest.mark.parametrize("name", ALL)
def test_input_is_left_alone_and_global_state_does_not_matter(name, films):
    batch, lungs = films
    before = batch.clone()
    torch.manual_seed(1)
    first = get(name)(batch, 4, IDS, masks=lungs)
    torch.manual_seed(2)
    assert torch.equal(get(name)(batch, 4, IDS, masks=lungs), first)
    assert torch.equal(batch, before)


@pytest.mark.parametrize("name", ALL)
def test_every_severity_does_something(name, films, chest):
    if name == "resave":
        pytest.skip("resave must change nothing")
    batch, lungs = films
    if name in FINE:
        batch, lungs = (part[None].expand(3, -1, -1) for part in chest(1, 256, 352))
    for severity in range(1, LAST.get(name, 5) + 1):
        changed = get(name)(batch, severity, IDS, masks=lungs)
        assert changed.shape != batch.shape or rms(changed, batch) > 1e-4


RANDOM = ["underexposure_stress", "grid_stripes", "ecg_leads", "whiteout_lobar", "medmnistc_gaussian_noise", "markers"]


@pytest.mark.parametrize("name", RANDOM)
def test_identity_and_seed_change_the_draw(name, films):
    batch, lungs = films
    base = get(name)(batch[:1], 5, ["a"], masks=lungs[:1])
    others = [get(name)(batch[:1], 5, [f"id {i}"], masks=lungs[:1]) for i in range(6)]
    seeds = [get(name)(batch[:1], 5, ["a"], seed=i, masks=lungs[:1]) for i in range(1, 7)]
    assert any(not torch.equal(base, other) for other in others)
    assert any(not torch.equal(base, other) for other in seeds)


# The benchmark's own pixelation to 0.8 blurs more than that to 0.7, depending on where the boxes fall.
MONOTONE = [name for name in ALL if not get(name).changes_shape and name != "medmnistc_pixelate"]


@pytest.mark.parametrize("name", MONOTONE)
@settings(max_examples=2)
@given(seed=st.integers(0, 10_000))
def test_damage_grows_with_severity(name, chest, seed):
    film, lungs = chest(seed % 7, 256, 352) if name in FINE else chest(seed % 7)
    curve = [
        rms(get(name)(film[None], severity, [f"film {seed}"], seed=seed, masks=lungs[None])[0], film)
        for severity in range(LAST.get(name, 5) + 1)
    ]
    # A thousandth of the scale: 8-bit storage and noise realisations may wobble by less than that.
    assert all(after >= before - 1e-3 for before, after in pairwise(curve)), (name, curve)


@pytest.mark.realdata
def test_damage_grows_with_severity_on_real_films(shared):
    table = pd.read_csv(shared / "data/kermany_native/metadata.csv").groupby("label").sample(2, random_state=4)
    for file in table.file:
        film = load_film(shared / "data/kermany_native" / file)
        for name in MONOTONE:
            try:
                curve = [rms(get(name)(film[None], severity, [file])[0], film) for severity in range(6)]
            except PerturbationUndefined:
                continue
            assert all(after >= before - 1e-3 for before, after in pairwise(curve)), (file, name, curve)


@pytest.mark.parametrize("name", ["aspect_squeeze", "aspect_stretch"])
def test_only_declared_perturbations_change_shape(name, films):
    batch, _ = films
    widths = [get(name)(batch, severity, IDS).shape[2] for severity in range(6)]
    assert widths == sorted(widths, reverse=name == "aspect_squeeze")
    assert len(set(widths)) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f * float("nan"), "finite"),
        (lambda f: f + 0.5, "finite values in"),
        (lambda f: f - 0.5, "finite values in"),
        (lambda f: f.double(), "float32"),
        (lambda f: (f * 255).to(torch.int16), "uint8"),
        (lambda f: f[0], "batch, height, width"),
        (lambda f: f[:, :8], "at least"),
    ],
)
def test_bad_films_are_refused(change, message, films):
    with pytest.raises(PerturbationError, match=message):
        get("scatter")(change(films[0]), 1, IDS)


@pytest.mark.parametrize("severity", [-1, 6, 2.0, True, "3", None])
def test_bad_severities_are_refused(severity, films):
    with pytest.raises(PerturbationError, match="severity"):
        get("scatter")(films[0], severity, IDS)


def test_wrong_masks_and_ids_are_refused(films):
    batch, lungs = films
    with pytest.raises(PerturbationError, match="must agree"):
        get("whiteout_lobar")(batch, 1, IDS, masks=lungs[:, :-1])
    with pytest.raises(PerturbationError, match="other than 0 and 1"):
        get("whiteout_lobar")(batch, 1, IDS, masks=lungs * 0.5)
    with pytest.raises(PerturbationError, match="2 image ids for 3 films"):
        get("scatter")(batch, 1, IDS[:2])


def test_undefined_films_are_named(films):
    batch, lungs = films
    empty = lungs.clone()
    empty[1] = False
    with pytest.raises(PerturbationUndefined, match=r"'b'.*empty") as caught:
        get("whiteout_mass")(batch, 2, IDS, masks=empty)
    assert caught.value.image_id == "b"
    black = torch.zeros(1, 64, 64)
    with pytest.raises(PerturbationUndefined):
        get("scatter")(black, 2, ["black"])
    with pytest.raises(PerturbationUndefined, match="contrast"):
        get("underexposure")(torch.full((1, 64, 64), 0.5), 2, ["flat"])


def test_empty_batch(films):
    assert get("scatter")(films[0][:0], 3, []).shape == films[0][:0].shape


def test_display_names_tell_perturbations_apart_and_stand_inside_a_sentence():
    shown = [perturbation.display(name) or name.replace("_", " ") for name in perturbation.names()]
    assert len(set(shown)) == len(shown)
    assert not any("_" in words or words.endswith(".") or len(words) > 50 for words in shown)
    assert perturbation.display("diffuse_dose_matched") == "water of a lobar white-out spread over both lungs"
    assert perturbation.display("scatter") == perturbation.display("nobody") == ""


def test_unknown_names_suggest_near_ones():
    with pytest.raises(ValueError, match="grid_stripes"):
        get("grid_stripe")
    with pytest.raises(ValueError, match="exposure"):
        perturbation.names("exposures")
    assert perturbation.names("exposure", "under*") == [
        "underexposure",
        "underexposure_stress",
        "underexposure_fixed_window",
    ]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"family": "weather"}, "family"),
        ({"levels": ({"a": 1},)}, "five"),
        ({"levels": ({"a": 1},) * 4 + ({"b": 1},)}, "five"),
        ({"name": "Not Snake"}, "snake_case"),
        ({"source": ""}, "source"),
        ({"__doc__": None}, "docstring"),
        ({"name": "scatter"}, "two perturbations"),
        ({"display": 3}, "display"),
    ],
)
def test_incomplete_declarations_are_refused(fault, message):
    good = {"__doc__": "x.", "name": "new_one", "family": "grid", "source": "s", "levels": ({"a": 1},) * 5}
    kind = type("New", (Perturbation,), {**good, **fault, "perturb": lambda self, film, level, draws: film})
    with pytest.raises(PerturbationError, match=message):
        register(kind)
    assert "new_one" not in perturbation.names()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda f: f * float("inf"), "non-finite"),
        (lambda f: f[1:], "turned a film"),
        (lambda f: f[None], "turned a film"),
    ],
)
def test_a_broken_perturbation_is_caught(result, message, films):
    body = {"__doc__": "x.", "name": "broken", "family": "grid", "source": "s", "levels": ({"a": 1},) * 5}
    kind = type("Broken", (Perturbation,), {**body, "perturb": lambda self, film, level, draws: result(film)})
    with pytest.raises(PerturbationError, match=message):
        kind()(films[0], 1, IDS)


@settings(max_examples=50)
@given(image_id=st.text(), other=st.text(), seed=st.integers(0, 2**31))
def test_draws_are_functions_of_their_labels(image_id, other, seed):
    draws = Draws(image_id, "x", seed)
    assert draws.uniform("a", 2.0, 3.0) == Draws(image_id, "x", seed).uniform("a", 2.0, 3.0)
    assert 2.0 <= draws.uniform("a", 2.0, 3.0) < 3.0
    assert draws.integer("i", 3, 5) in {3, 4, 5}
    assert torch.equal(draws.normals("n", 4, 5), Draws(image_id, "x", seed).normals("n", 4, 5))
    if image_id != other:
        assert draws.uniform("a") != Draws(other, "x", seed).uniform("a")
    assert draws.uniform("a") != draws.uniform("b")
    assert draws.uniform("a") != draws.twin("y").uniform("a")


def test_draws_have_the_promised_distributions():
    uniform = torch.tensor([Draws(str(i), "x").uniform("u") for i in range(4000)])
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    assert abs(float(uniform.std()) - 12**-0.5) < 0.01
    picks = [Draws(str(i), "x").choice("c", "abc", (0.7, 0.2, 0.1)) for i in range(4000)]
    assert [picks.count(letter) / 4000 for letter in "abc"] == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
    normal = Draws("i", "x").normals("n", 200, 200)
    assert abs(float(normal.mean())) < 0.02
    assert abs(float(normal.std()) - 1.0) < 0.02


def test_normal_numbers_are_normal():
    numbers = Draws("i", "x").normals("n", 500, 400).double().flatten()
    assert float(numbers.var()) == pytest.approx(1.0, rel=0.02)
    assert float(numbers.pow(3).mean()) == pytest.approx(0.0, abs=0.03)
    assert float(numbers.pow(4).mean()) == pytest.approx(3.0, abs=0.1)
    for limit, beyond in ((1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)):
        assert float((numbers.abs() > limit).double().mean()) == pytest.approx(beyond, rel=0.12)
    assert abs(float((numbers[1:] * numbers[:-1]).mean())) < 0.01
    single = torch.tensor([Draws(str(i), "x").normal("n") for i in range(4000)])
    assert abs(float(single.mean())) < 0.06
    assert float(single.std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", ALL)
def test_a_film_does_not_depend_on_the_number_of_threads(name, chest):
    film, lungs = chest(2, 256, 380)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            cv2.setNumThreads(count)
            results.append(get(name)(film[None], 4, ["a"], masks=lungs[None]))
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    assert torch.equal(*results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_agrees_with_cpu(films):
    batch, lungs = films
    for name in ALL:
        on_cpu = get(name)(batch, 3, IDS, masks=lungs)
        on_gpu = get(name)(batch.cuda(), 3, IDS, masks=lungs.cuda())
        assert on_gpu.is_cuda, name
        # Rounding to 8 bit may fall the other way here and there.
        assert float((on_gpu.cpu() - on_cpu).abs().median()) == 0.0, name
        assert rms(on_gpu.cpu(), on_cpu) < 0.01, name
