"""Named grids, controls, remedies and the contact sheet."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from robustness import PerturbationError, get, perturbation, presets
from robustness.presets import CONTROLS
from robustness.preview import contact_sheet
from robustness.remedies import REMEDIES

IDS = ["a", "b", "c"]


def rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean().sqrt())


def test_presets_are_complete():
    standard, quick, benchmark = (presets.get(name) for name in ("standard", "quick", "medmnist-c"))
    assert sum(severities == (1, 2, 3, 4, 5) for severities in standard.grid.values()) >= 25
    assert set(standard.grid) | set(benchmark.grid) == set(perturbation.names())
    assert len(quick) == 24
    assert set(quick.grid) <= set(standard.grid)
    assert len(benchmark) == 65
    assert len(list(standard)) == len(standard) == len(set(standard))
    families = Counter(get(name).family for name in standard.grid)
    assert set(families) == {"exposure", "contrast", "grid", "bedside", "institution", "opacity", "control"}


def test_every_control_stands_beside_something():
    for name, controls in CONTROLS.items():
        assert get(name).family != "control"
        assert all(get(control).family == "control" for control in controls)
    assert {control for controls in CONTROLS.values() for control in controls} == set(perturbation.names("control"))


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="did you mean standard"):
        presets.get("standart")


@pytest.mark.parametrize("name", REMEDIES)
def test_remedies_keep_the_shape_and_the_range(name, films):
    views = REMEDIES[name](films[0])
    assert views.shape[1:] == films[0].shape
    assert float(views.min()) >= 0.0
    assert float(views.max()) <= 1.0
    assert REMEDIES[name].source
    with pytest.raises(PerturbationError):
        REMEDIES[name](films[0] * 2.0)


@pytest.mark.parametrize("axis", [0, 1])
def test_notch_removes_stripes_and_leaves_clean_films_alone(axis, chest):
    film = torch.stack([chest(seed, 256, 352)[0] for seed in (1, 2)])
    along = torch.arange(film.shape[1 + axis], dtype=torch.float32)
    stripes = 0.03 * torch.sin(along * 2 * torch.pi / 5.3)
    striped = (film + (stripes[None, :, None] if axis == 0 else stripes[None, None, :])).clamp(0, 1)
    cleaned = REMEDIES["notch"](striped)[0]
    assert rms(cleaned, film) < 0.55 * rms(striped, film)
    assert rms(REMEDIES["notch"](film)[0], film) < 0.004


def test_rewindowing_undoes_a_wide_window(films):
    wide = get("window_widening")(films[0], 3, IDS)
    treat = REMEDIES["rewindow"]
    assert rms(treat(wide)[0], treat(films[0])[0]) < 0.5 * rms(wide, films[0])


def test_shifted_views_start_with_the_film_itself(films):
    views = REMEDIES["shifts"](films[0])
    assert len(views) == 5
    assert rms(views[0], films[0]) < 1e-4
    assert all(rms(view, films[0]) > 0.005 for view in views[1:])


def test_contact_sheet_shows_every_tile_and_says_what_is_undefined(films):
    sheet = contact_sheet(films[0][0], ["scatter", "aspect_squeeze"], severities=(0, 5), height=64)
    pixels = np.asarray(sheet)
    assert pixels.shape[1] == 2 * (88 + 4) + 4
    assert pixels.std() > 20
    undefined = contact_sheet(torch.full((64, 64), 0.5), ["whiteout_lobar"], severities=(1,), height=64)
    assert (np.asarray(undefined) < 200).any(), "the reason is written where the film would be"
