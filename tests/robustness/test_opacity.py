"""White-out: inside the lung, in attenuation, by extent; and the lung field estimate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from robustness import PerturbationUndefined, get
from robustness.draws import Draws
from robustness.lungs import estimate_lungs, lungs_of
from robustness.opacity import missing, side_of
from robustness.phantom import render, sample_patient
from robustness.preview import load_film
from robustness.radiograph import Radiograph
from robustness.thorax import fill, random_field, thorax_of

STILL = ["whiteout_lobar", "whiteout_mass"]
CAUSES = [*STILL, "whiteout_effusion", "whiteout_collapse", "whiteout_bilateral"]
IDS = ["a", "b", "c"]


@pytest.mark.parametrize("name", [*STILL, "whiteout_bilateral", "diffuse_dose_matched"])
def test_nothing_changes_outside_the_lungs(name, films):
    batch, lungs = films
    changed = get(name)(batch, 5, IDS, masks=lungs)
    assert float((changed - batch)[~lungs].abs().max()) <= 1 / 255
    assert float((changed - batch)[lungs].mean()) > 0.02, "opacity is white"


@pytest.mark.parametrize("name", STILL)
def test_one_side_is_hit_and_all_causes_hit_the_same(name, films):
    batch, lungs = films
    changed = get(name)(batch, 5, IDS, masks=lungs) - batch
    for image_id, difference, mask in zip(IDS, changed, lungs, strict=True):
        thorax = thorax_of(mask)
        hit = side_of(Draws(image_id, name))
        other = "right" if hit == "left" else "left"
        assert float(difference[thorax.side(hit)].mean()) > 0.05
        assert float(difference[thorax.side(other)].abs().max()) <= 1 / 255


@pytest.mark.parametrize("name", STILL)
def test_extent_is_the_share_of_the_lung(name, films):
    batch, lungs = films
    full = get(name)(batch, 5, IDS, masks=lungs) - batch
    for severity, extent in enumerate((0.2, 0.4, 0.6, 0.8), start=1):
        changed = get(name)(batch, severity, IDS, masks=lungs) - batch
        for index, image_id in enumerate(IDS):
            region = thorax_of(lungs[index]).side(side_of(Draws(image_id, name)))
            share = float((changed[index][region] > 0.5 * full[index][region]).float().mean())
            assert share == pytest.approx(extent, abs=0.1)


def test_a_full_lung_is_as_dense_as_the_mediastinum(films):
    film, lungs = films[0][0], films[1][0]
    thorax, radiograph = thorax_of(lungs), Radiograph.of(film, Draws("a", "test"))
    full = radiograph.attenuation + missing(thorax, radiograph, 1.7)
    deep = thorax.depth > 6.0
    between = radiograph.attenuation[thorax.mediastinum].median()
    assert float(full[deep].median()) == pytest.approx(float(between), abs=0.35)
    assert float(full[deep].median() - radiograph.attenuation[deep].median()) > 0.5


@pytest.mark.parametrize(("name", "away"), [("whiteout_effusion", True), ("whiteout_collapse", False)])
def test_the_mediastinum_moves_away_from_an_effusion_and_toward_a_collapse(name, away, films):
    film, lungs = films[0][:1], films[1][:1]
    changed = get(name, field_cm=11.0)(film, 5, ["a"], masks=lungs)[0]
    thorax = thorax_of(lungs[0])
    spine = slice(round(thorax.midline) - 14, round(thorax.midline) + 15)
    columns = torch.arange(film.shape[2], dtype=torch.float32)[spine]
    rows = slice(12, 24)  # above the lungs, where nothing is added
    weights = [(part[rows, spine].mean(0) - 0.6).clamp_min(0) for part in (film[0], changed)]
    before, after = (float((weight * columns).sum() / weight.sum()) for weight in weights)
    toward_right = after > before
    assert toward_right == ((side_of(Draws("a", name)) == "left") == away)


@pytest.mark.parametrize("control", ["diffuse_dose_matched", "sham_opacity"])
@pytest.mark.parametrize("severity", [1, 3])
def test_controls_carry_the_dose_of_the_lobar_opacity(control, severity, films):
    batch, lungs = films
    # The tone curve and the white end of the display distort sums of grey values, hence the width of the interval.
    lobar = (get("whiteout_lobar")(batch, severity, IDS, masks=lungs) - batch).sum(dim=(1, 2))
    other = (get(control)(batch, severity, IDS, masks=lungs) - batch).sum(dim=(1, 2))
    ratio = (other / lobar).tolist()
    assert all(0.4 < value < 1.6 for value in ratio), ratio


def test_sham_opacity_stays_off_the_lungs(films):
    batch, lungs = films
    changed = get("sham_opacity")(batch, 4, IDS, masks=lungs)
    assert float((changed - batch)[lungs].abs().max()) <= 1 / 255


def test_fill_is_exact_and_nested():
    order = random_field(Draws("a", "b"), "order", (60, 80), beta=3.0)
    region = torch.zeros(60, 80, dtype=torch.bool)
    region[10:50, 10:70] = True
    parts = [fill(order, region, share, 0.0) for share in (0.2, 0.5, 1.0)]
    assert [float(part.sum()) / float(region.sum()) for part in parts] == pytest.approx([0.2, 0.5, 1.0], abs=0.002)
    assert bool((parts[0] <= parts[1]).all())
    assert bool((fill(order, region, 0.5, 3.0)[~region] == 0).all())


@pytest.mark.parametrize("fault", ["one side", "a few pixels"])
def test_masks_that_are_no_lungs_are_refused(fault, films):
    batch, lungs = films
    mask = lungs[:1].clone()
    if fault == "one side":
        mask[:, :, : mask.shape[2] // 2] = False
        mask[:, :, 100:] = False
    else:
        mask[:] = False
        mask[:, 40:43, 50:52] = True
    with pytest.raises(PerturbationUndefined):
        get("whiteout_lobar")(batch[:1], 1, ["a"], masks=mask)


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_lungs_are_found_on_a_drawn_chest(chest):
    for seed in range(4):
        film, lungs = chest(seed, 192, 256)
        found = estimate_lungs(film)
        assert overlap(found.mask, lungs) > 0.7
        assert found.contrast > 0.08
        assert lungs_of(film, Draws("a", "b", lungs=lungs)) is lungs, "a mask that came with the film wins"


@pytest.mark.parametrize("what", ["noise", "flat", "black", "ramp", "sideways", "inverted"])
def test_no_lungs_are_found_where_there_are_none(what, chest):
    film, _ = chest(0, 192, 256)
    ramp = torch.linspace(0.1, 0.9, 256).expand(192, 256).contiguous()
    impostor = {
        "noise": torch.from_numpy(np.random.default_rng(0).random((192, 256), dtype=np.float32)),
        "flat": torch.full((192, 256), 0.5),
        "black": torch.zeros(192, 256),
        "ramp": ramp,
        "sideways": film.T.contiguous(),
        "inverted": 1.0 - film,
    }[what]
    with pytest.raises(PerturbationUndefined, match="no lung field"):
        estimate_lungs(impostor)


def test_lungs_are_found_on_a_frontal_phantom_and_not_on_a_lateral_one():
    frontal = render(sample_patient("p2", 0, "child"), "normal", "AP", size=192)
    found = estimate_lungs(frontal.film).mask
    # The phantom's mask goes on behind heart and diaphragm, the estimate is of the lung one can see.
    assert float((found & frontal.lung).sum() / found.sum()) > 0.93
    assert overlap(found, frontal.lung) > 0.5
    with pytest.raises(PerturbationUndefined, match="no lung field"):
        estimate_lungs(render(sample_patient("p2", 0, "child"), "normal", "LATERAL", size=192).film)


@pytest.mark.realdata
def test_lungs_are_found_on_normal_films_and_not_on_lateral_ones(shared):
    def found(folder: str, files: pd.Series) -> float:
        hits = []
        for file in files:
            try:
                estimate_lungs(load_film(shared / "data" / folder / file))
                hits.append(1.0)
            except PerturbationUndefined:
                hits.append(0.0)
        return float(np.mean(hits))

    native = pd.read_csv(shared / "data/kermany_native/metadata.csv")
    assert found("kermany_native", native[native.label == "normal"].file.sample(60, random_state=0)) > 0.97
    assert found("kermany_native", native[native.label != "normal"].file.sample(60, random_state=0)) > 0.6
    external = pd.read_csv(shared / "data/external/metadata.csv")
    assert found("external", external[external.view == "L"].file) < 0.15
