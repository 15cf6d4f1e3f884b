"""The threat model: budgets, projection, 8-bit storage, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.attacks import AttackError, BudgetError, Protocol, ThreatModel, attack_films, get
from robustness.attacks import threat as threats
from robustness.attacks.threat import ROUNDING, check_budgets, requantise


@pytest.mark.parametrize("bad", [0.0, -1 / 255, 1.01, 8.0, math.nan, math.inf])
def test_budget_outside_its_range_is_named(bad: float) -> None:
    with pytest.raises(BudgetError, match=r"outside \(0, 1\]"):
        check_budgets([1 / 255, bad])


def test_budgets_are_sorted_and_needed() -> None:
    assert check_budgets([0.5, 0.1, 0.5]) == (0.1, 0.5)
    with pytest.raises(BudgetError, match="no budget"):
        check_budgets([])


def test_names_say_norm_and_space() -> None:
    assert ThreatModel().name == "linf/grey"
    assert ThreatModel("l2", tied=False).name == "l2/colour"
    assert ThreatModel(preprocess=lambda film: film.expand(-1, 3, -1, -1)).name == "linf/film"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"norm": "l1"}, "'linf' or 'l2'"), ({"channels": 0}, "1 or more"),
     ({"tied": False, "preprocess": lambda film: film}, "always grey")],
)  # fmt: skip
def test_impossible_threat_models(arguments: dict, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        ThreatModel(**arguments)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(torch.rand(2, 2, 8, 8), "expected"), (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floats in"),
     (torch.full((1, 1, 8, 8), 2.0), "range from"), (torch.full((1, 1, 8, 8), torch.nan), "range from"),
     (torch.rand(2, 3, 8, 8), "no grey threat model")],
)  # fmt: skip
def test_wrong_pixels_are_refused(pixels: torch.Tensor, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        ThreatModel().start(pixels)


@settings(max_examples=40)
@given(st.sampled_from(["linf", "l2"]), st.floats(1e-3, 1.0), st.integers(0, 10_000))
def test_projection_stays_inside_and_leaves_inner_points(norm: str, budget: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    threat, start = ThreatModel(norm), torch.rand(3, 1, 8, 8, generator=generator)
    moved = start + torch.randn(3, 1, 8, 8, generator=generator)
    limit = torch.full((3,), budget, dtype=torch.float64)
    inside = threat.project(moved, start, limit)
    assert float(threat.size(inside - start).max()) <= budget + ROUNDING
    assert torch.equal(inside, inside.clamp(0.0, 1.0))
    assert torch.allclose(threat.project(inside, start, limit), inside, atol=1e-6)


@settings(max_examples=60)
@given(
    st.sampled_from(["linf", "l2"]),
    st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0, 8.0]),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_stored_images_replay_inside_the_budget(norm: str, levels: float, seed: int, on_grid: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    threat, start = ThreatModel(norm), torch.rand(2, 1, 8, 8, generator=generator)
    start = (start * 255).round() / 255 if on_grid else start
    budget = torch.full((2,), levels / 255, dtype=torch.float64)
    noise = torch.randn(2, 1, 8, 8, generator=generator)
    moved = threat.project(start + levels / 255 * threat.steepest(noise), start, budget)
    stored, inside = requantise(moved, start, budget, threat)
    measured = threat.size(stored.float() / 255 - start)
    assert torch.equal(inside, measured <= budget + ROUNDING)
    assert bool(inside.all()) or not on_grid
    if levels >= 1:
        assert bool(inside.all())


def test_off_grid_film_has_no_image_in_a_tiny_budget() -> None:
    start = torch.full((1, 1, 8, 8), 0.5)  # 127.5 grey levels
    budget = torch.tensor([0.25 / 255], dtype=torch.float64)
    _, inside = requantise(start, start, budget, ThreatModel())
    assert not bool(inside.any())


def test_l2_budget_is_a_root_mean_square() -> None:
    threat = ThreatModel("l2")
    change = torch.full((1, 1, 10, 10), 0.02)
    assert float(threat.size(change)) == pytest.approx(0.02)
    assert threat.euclidean(0.02, (1, 10, 10)) == pytest.approx(float(change.norm()))


def test_a_subject_that_takes_8_bits_sees_and_is_charged_whole_grey_levels() -> None:
    """Half a level up would flip it; what is sent is a whole one, and so is the size that is booked."""
    film = torch.full((1, 1, 8, 8), 100.3 / 255)
    seen = []

    def subject(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels.clone())
        up = pixels.mean(dim=(1, 2, 3)) * 255 - 100.4
        return torch.stack([-up, up], 1)

    threat = ThreatModel(preprocess=lambda moved: moved, channels=1, eight_bit=True)
    plan = Protocol("square", (get("square", queries=300),))
    (result,) = attack_films(subject, film, [0], ["film"], threat, budgets=[1 / 255, 2 / 255], profile=plan).results
    assert result.threat == "linf/film"
    assert result.distance * 255 == pytest.approx(1.0, abs=1e-4)
    for pixels in seen:
        assert float((pixels * 255 - (pixels * 255).round()).abs().max()) < 1e-4
    with pytest.raises(BudgetError, match="moves no pixel"):
        attack_films(subject, film, [0], ["film"], threat, budgets=[0.5 / 255], profile=plan)


def test_rows_are_stored_as_the_whole_film_is(monkeypatch):
    start = torch.rand(2, 1, 33, 20, generator=torch.Generator().manual_seed(1))
    moved = (start + 0.02 * torch.rand_like(start) - 0.01).clamp(0, 1)
    budget = torch.tensor([2 / 255, 3 / 255], dtype=torch.float64)
    whole, inside = requantise(moved, start, budget, ThreatModel())
    monkeypatch.setattr(threats, "PART", 7 * 2 * 20)
    rows, again = requantise(moved, start, budget, ThreatModel())
    assert torch.equal(whole, rows)
    assert torch.equal(inside, again)
