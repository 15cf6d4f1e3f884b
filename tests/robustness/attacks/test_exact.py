"""Linear subjects, where the smallest flipping change has a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from robustness.attacks import AttackedFilms, AttackedNetwork, ThreatModel, attack_films, get
from robustness.attacks.minimal import reach

GRID = (0.01, 0.05, 0.2, 0.5)


def closed_form(subject: torch.nn.Module, films: Tensor, labels: Tensor, norm: str) -> np.ndarray:
    """min over t of (z_y - z_t) / dual norm of (w_t - w_y), in budget units, on the grey pixel."""
    number = films[0].numel()
    weight = subject.weight.detach().double().view(subject.weight.shape[0], 3, number).sum(1)
    logits = films.flatten(1).double() @ weight.T + subject.bias.detach().double()
    smallest = []
    for z, y in zip(logits, labels.tolist(), strict=True):
        distances = []
        for t in set(range(len(z))) - {y}:
            difference = weight[t] - weight[y]
            dual = difference.abs().sum() if norm == "linf" else difference.norm() * number**0.5
            distances.append(float((z[y] - z[t]) / dual))
        smallest.append(min(distances))
    return np.asarray(smallest)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_smallest_change_of_a_linear_subject(linear, norm: str, classes: int, scale: float) -> None:
    subject = linear(classes, scale=scale).eval()
    films = 0.2 + 0.6 * torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = subject(films.expand(-1, 3, -1, -1)).argmax(1)
    attacked = attack_films(
        subject, films, labels, [f"f{i}" for i in range(10)], ThreatModel(norm), budgets=GRID, profile="quick"
    )
    exact = closed_form(subject, films, labels, norm)
    found = attacked.films["distance"].to_numpy()
    assert np.all(found >= exact * (1 - 1e-5)), "smaller than the smallest: the size is measured wrongly"
    assert np.all(found <= exact * 1.01)
    expected = [float((exact > budget).mean()) for budget in GRID]
    assert attacked.curve.tolist() == pytest.approx(expected)


ALONE = {
    # name: (classes, room beyond the exact distance). With two classes cross-entropy and margin rise together; with
    # more, cross-entropy pulls towards several classes at once and does not meet the exact distance.
    "fab": (3, 1.01),
    "deepfool": (3, 1.03),
    "cw": (3, 1.5),
    "apgd-margin": (3, 1.03),
    "apgd-targeted": (3, 1.03),
    "apgd-ce": (2, 1.03),
    "pgd": (2, 1.1),
    "fgsm": (2, 1.03),
    "mifgsm": (2, 1.03),
}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", list(ALONE))
def test_each_white_box_attack_alone(linear, name: str, norm: str) -> None:
    """Just beyond the exact distance of a linear subject every attack succeeds; just below none does."""
    attack = get(name, **({"steps": 60, "searches": 4} if name == "cw" else {}))
    classes, room = ALONE[name]
    if norm not in attack.norms:
        pytest.skip(f"{name} is not defined for {norm}")
    subject = linear(classes).eval()
    pixels = 0.3 + 0.4 * torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = subject(pixels.expand(-1, 3, -1, -1)).argmax(1)
    exact = torch.from_numpy(closed_form(subject, pixels, labels, norm))
    for factor, flips in ((0.99, False), (room, True)):
        films = AttackedFilms(AttackedNetwork(subject, ThreatModel(norm)), pixels, labels, list("abcdef"))
        assert attack(films, torch.arange(6), exact * factor).tolist() == [flips] * 6


def test_reach_is_optimal_inside_the_box() -> None:
    generator = torch.Generator().manual_seed(0)
    point, normal = torch.rand(5, 1, 3, 3, generator=generator), torch.randn(5, 1, 3, 3, generator=generator)
    offset = torch.tensor([0.3, -0.5, 1.0, -1.5, 0.05])
    change = reach(point, normal, offset, "linf")
    assert float((point + change).min()) >= -1e-6
    assert float((point + change).max()) <= 1 + 1e-6
    for film in range(5):
        w, x, c = normal[film].flatten().double().numpy(), point[film].flatten().double().numpy(), float(offset[film])
        # minimise r subject to w.d = c, |d| <= r, 0 <= x + d <= 1
        n = len(w)
        eye, ones = np.eye(n), -np.ones((n, 1))
        best = linprog(np.r_[np.zeros(n), 1.0], A_ub=np.r_[np.c_[eye, ones], np.c_[-eye, ones]], b_ub=np.zeros(2 * n),
                       A_eq=np.r_[w, 0.0][None], b_eq=[c], bounds=[(-v, 1 - v) for v in x] + [(0, None)])  # fmt: skip
        assert best.success
        assert float((normal[film] * change[film]).sum()) == pytest.approx(c, abs=1e-5)
        assert float(change[film].abs().max()) == pytest.approx(best.fun, abs=1e-5)


def test_reach_beyond_the_box_goes_to_its_corner() -> None:
    point, normal = torch.full((1, 1, 2, 2), 0.5), torch.ones(1, 1, 2, 2)
    assert torch.allclose(reach(point, normal, torch.tensor([100.0]), "l2"), torch.full((1, 1, 2, 2), 0.5))


def test_colour_buys_the_adversary_what_no_film_can_show(linear) -> None:
    subject = linear(2).eval()
    films = 0.3 + 0.4 * torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    logits = subject(films.expand(-1, 3, -1, -1))
    labels = logits.argmax(1)
    threat = ThreatModel(tied=False)
    attacked = attack_films(subject, films, labels, list("abcdef"), threat, budgets=GRID, profile="quick")
    colour = attacked.films["distance"].to_numpy()
    exact = (logits[:, 0] - logits[:, 1]).abs() / (subject.weight[0] - subject.weight[1]).abs().sum()
    assert colour == pytest.approx(exact.detach().numpy(), rel=0.01)
    assert np.all(colour < closed_form(subject, films, labels, "linf"))


def test_attack_through_the_resize(linear) -> None:
    """On a film reduced by averaging 2 x 2 pixels a grey change at the input is worth the same change of the film."""
    subject = linear(3).eval()
    films = 0.3 + 0.4 * torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(2))

    def reduce(film: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(film, 2).expand(-1, 3, -1, -1)

    small = torch.nn.functional.avg_pool2d(films, 2)
    labels = subject(reduce(films)).argmax(1)
    attacked = attack_films(
        subject, films, labels, list("abcde"), ThreatModel(preprocess=reduce), budgets=GRID, profile="quick"
    )
    assert attacked.films["distance"].to_numpy() == pytest.approx(closed_form(subject, small, labels, "linf"), rel=0.01)
    assert attacked.results[0].film.shape == (1, 16, 16)


def test_films_of_different_sizes(linear) -> None:
    subject = linear(3).eval()

    def reduce(film: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(film, (8, 8), mode="area").expand(-1, 3, -1, -1)

    films = [torch.rand(1, 16, 24), torch.rand(1, 8, 8), torch.rand(1, 8, 8)]
    labels = [int(subject(reduce(film[None])).argmax()) for film in films]
    attacked = attack_films(
        subject, films, labels, list("abc"), ThreatModel(preprocess=reduce), budgets=[0.5], profile="quick"
    )
    assert [result.film.shape for result in attacked.results] == [(1, 16, 24), (1, 8, 8), (1, 8, 8)]
    assert not attacked.rows["robust"].any()
