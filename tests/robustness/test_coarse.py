"""White-outs of large films: taken apart coarsely, and on the film nothing is lost; in the memory of a few films."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from robustness import coarse, get
from robustness.coarse import Coarse, pieces
from robustness.draws import Draws
from robustness.filters import gaussian_blur, resize
from robustness.lungs import estimate_lungs
from robustness.radiograph import Radiograph
from tests.robustness.test_opacity import CAUSES

GREY = 1 / 255
CHANGED = [*CAUSES, "sham_opacity", "diffuse_dose_matched"]


@pytest.fixture
def fine(chest, monkeypatch):
    """A film with quantum noise, and its lungs; films larger than a quarter of it are taken apart coarsely."""
    film, lungs = chest(1, 192, 256)
    film, lungs = resize(film, 384, 512), resize(lungs.float(), 384, 512) > 0.5
    grain = torch.randn(384, 512, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(coarse, "PIXELS", 192 * 256)
    monkeypatch.setattr(coarse, "PIECE", 24 * 512)
    return (film + 0.003 * grain * (film > 0.05)).clamp(0.0, 1.0), lungs


class Sizes(TorchDispatchMode):
    """Counts the images that are made, by their bytes."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least, self.made = least, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        known = {one.untyped_storage().data_ptr() for one in args if isinstance(one, Tensor)}
        if isinstance(made, Tensor) and made.nbytes >= self.least:
            self.made += made.untyped_storage().data_ptr() not in known
        return made


def perturbed(name: str, film: Tensor, lungs: Tensor, severity: int = 4) -> Tensor:
    return get(name)(film[None], severity, ["a"], masks=lungs[None])[0]


def test_a_film_that_is_small_is_its_own_coarse_film(chest):
    film, lungs = chest(0, 192, 256)
    draws = Draws("a", "b", lungs=lungs)
    coarse = Coarse.of(film, draws)
    assert (coarse.film, coarse.draws, coarse.block) == (film, draws, 1)


def test_a_large_film_is_averaged_and_its_lungs_with_it(fine):
    film, lungs = (one[:383, :511].contiguous() for one in fine)
    coarse = Coarse.of(film, Draws("a", "b", 7, lungs=lungs))
    whole = F.pad(film[None, None], (0, 1, 0, 1), mode="replicate")[0]
    assert coarse.block == 2
    torch.testing.assert_close(coarse.film, F.avg_pool2d(whole, 2)[0], atol=1e-6, rtol=0)
    assert coarse.draws.lungs.shape == (192, 256)
    assert float((coarse.draws.lungs[:191, :255] != lungs[:382:2, :510:2]).float().mean()) < 0.03
    assert (coarse.draws.image_id, coarse.draws.name, coarse.draws.seed) == ("a", "b", 7)


@pytest.mark.parametrize("shape", [(60, 75), (59, 73), (31, 44)])
def test_pieces_of_an_enlarged_image_fit_together(shape, monkeypatch):
    monkeypatch.setattr(coarse, "PIXELS", 300)
    monkeypatch.setattr(coarse, "PIECE", 200)
    film = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3
    small = Coarse.of(film, Draws("a", "b"))
    enlarged = F.interpolate(small.film[None, None], scale_factor=small.block, mode="bilinear")[0, 0]
    found = torch.zeros(shape)
    for piece in pieces(film, Radiograph.of(small.film, small.draws), small.block):
        found[piece.place] = piece.of(small.film)
    torch.testing.assert_close(found, enlarged[: shape[0], : shape[1]], atol=1e-5, rtol=0)
    where = torch.zeros(small.film.shape, dtype=torch.bool)
    where[3:5, 4:9] = True
    covered = torch.zeros(shape)
    for piece in pieces(film, Radiograph.of(small.film, small.draws), small.block, where):
        covered[piece.place] += 1
    size = small.block
    assert torch.equal(covered[3 * size : 5 * size, 4 * size : 9 * size], torch.ones(2 * size, 5 * size))
    assert int(covered.sum()) == 10 * size**2


@pytest.mark.parametrize("name", CHANGED)
def test_a_large_film_becomes_what_it_does_when_taken_apart_whole(name, fine, monkeypatch):
    """To a grey level or two where it is smooth; its grain fades and grows as much."""
    film, lungs = fine
    large = perturbed(name, film, lungs)
    monkeypatch.setattr(coarse, "PIXELS", film.numel())
    whole = perturbed(name, film, lungs)
    smooth = [gaussian_blur(one, 3.0) for one in (film, large, whole)]
    change = float((smooth[2] - smooth[0]).abs().mean())
    assert change > GREY / 4
    assert float((smooth[1] - smooth[2]).abs().mean()) < max(0.06 * change, GREY / 2)
    turned = (whole - film).abs() > 20 * GREY
    if int(turned.sum()) > 1000:
        grain = [float((one - gaussian_blur(one, 1.5))[turned].std()) for one in (large, whole)]
        assert grain[0] == pytest.approx(grain[1], rel=0.15)


@pytest.mark.parametrize("name", ["whiteout_total", "whiteout_lobar"])
def test_off_the_lungs_every_pixel_of_a_large_film_stays(name, fine):
    film, lungs = fine
    change = (perturbed(name, film, lungs, 5) - film).abs()
    assert float(change[:16].max()) <= GREY / 2 + 1e-6, "rounded to 8 bit"
    assert float(change[lungs].max()) > 40 * GREY


@pytest.mark.parametrize("name", CHANGED)
def test_of_a_large_film_few_images_of_its_size_are_made(name, fine):
    """Beside bits and numbers of the grain, the result and its moved copy: what a ceiling of memory rests on."""
    film, lungs = fine
    with Sizes(film.nbytes) as sizes:
        perturbed(name, film, lungs)
    assert sizes.made <= 6


def test_lungs_of_a_film_of_any_size_are_remembered_by_few_pixels(chest):
    film = resize(chest(0, 192, 256)[0], 768, 1024)
    with Sizes(film.nbytes) as sizes:
        estimate_lungs(film)
    assert sizes.made <= 1, "the mask before it is cut at a half"


def test_a_film_changed_in_other_pieces_is_the_same_film(fine, monkeypatch):
    film, lungs = fine
    whole = perturbed("whiteout_collapse", film, lungs)
    monkeypatch.setattr(coarse, "PIECE", 7 * 512)
    assert torch.equal(perturbed("whiteout_collapse", film, lungs), whole)
