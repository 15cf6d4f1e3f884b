"""A card tells everything of every perturbation of ours, in the numbers the code uses, and takes any docstring."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness import PerturbationError, get, perturbation
from robustness.card import NOT_TOLD, card_of
from robustness.perturbation import Perturbation

OURS = perturbation.names()


@pytest.mark.parametrize("name", OURS)
def test_every_part_of_every_card_is_told_with_units(name):
    kind = type(get(name))
    card = get(name).card
    assert card.missing == []
    assert list(card.severities) == [1, 2, 3, 4, 5]
    assert set(kind.levels[0]) <= set(kind.units), "every parameter has its unit"
    assert all(re.search(r"[a-z]", unit) for unit in kind.units.values() if unit)
    for key in kind.levels[0]:
        assert re.search(rf"\b{key}\b[^:.]*:", card.parameters) or kind.units[key] == "", f"{key} is not explained"


@pytest.mark.parametrize("name", OURS)
def test_the_numbers_of_a_card_are_those_the_code_uses(name):
    kind, card = type(get(name)), get(name).card
    for severity, level in enumerate(kind.levels, 1):
        shown = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", card.severities[severity])]
        for key, value in level.items():
            if isinstance(value, bool) or "{}" not in kind.units[key]:
                continue
            for number in value if isinstance(value, tuple) else (value,):
                assert any(math.isclose(number, one, rel_tol=1e-5) for one in shown), (key, card.severities[severity])


def test_a_card_follows_the_levels(monkeypatch):
    kind = type(get("scatter"))
    monkeypatch.setattr(kind, "levels", tuple({"ratio": 9.0 + step} for step in range(5)))
    assert get("scatter").card.severities[1] == "scatter to primary 9 (contrast x 0.100)"


@pytest.mark.parametrize(
    ("name", "severity", "told"),
    [
        ("underexposure", 1, "0.5 of the exposure (DI -3.0)"),
        ("underexposure_fixed_window", 5, "0.25 of the exposure (DI -6.0, +118 of 255 grey levels)"),
        ("overexposure_fixed_window", 3, "2 times the exposure (DI +3.0, -59 of 255 grey levels)"),
        ("tube_voltage", 5, "70 keV effective (contrast of lung x 0.78, of bone x 0.40)"),
        ("scatter", 5, "scatter to primary 4 (contrast x 0.200)"),
        ("grid_upside_down", 5, "grid ratio 4:1 (no primary beyond 12.5 cm from the midline)"),
        ("bit_depth", 5, "8 grey values (3 bit)"),
    ],
)
def test_what_follows_from_a_level_is_what_physics_says(name, severity, told):
    assert get(name).card.severities[severity] == told


@pytest.mark.parametrize("severity", [1, 2, 4])
def test_the_alias_on_the_card_is_on_the_film(severity):
    period = float(re.search(r"period ([\d.]+) mm", get("grid_lines").card.severities[severity])[1])
    spectrum = torch.fft.rfft2(get("grid_lines")(torch.full((1, 256, 256), 0.5), severity, ["film"])[0] - 0.5).abs()
    spectrum[0, 0] = 0.0
    row, column = divmod(int(spectrum.argmax()), spectrum.shape[1])
    assert 220.0 / math.hypot(min(row, 256 - row), column) == pytest.approx(period, rel=0.05)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_window_on_the_card_is_on_the_film(severity, films):
    film, inside = films[0][0], (slice(60, 90), slice(60, 110))
    wide = get("window_widening")(film[None], severity, ["a"])[0]
    told = float(re.search(r"contrast x ([\d.]+)", get("window_widening").card.severities[severity])[1])
    assert float(wide[inside].std() / film[inside].std()) == pytest.approx(told, rel=0.03)


def made(doc: str, **attributes: object) -> Perturbation:
    """A user's perturbation, not registered."""
    body = {"name": "mine", "family": "grid", "source": "s", "levels": ({"fog": 0.1},) * 5, **attributes}
    return type("Mine", (Perturbation,), {"__doc__": doc, **body, "perturb": lambda self, film, level, draws: film})()


@settings(max_examples=60)
@given(doc=st.text(max_size=200) | st.text("Formula: Kept\n fog.", max_size=80), unit=st.none() | st.text(max_size=20))
def test_any_docstring_and_unit_of_a_user_makes_a_card(doc, unit):
    card = made(doc, units={} if unit is None else {"fog": unit}).card
    assert len(card.severities) == 5
    assert all(isinstance(text, str) and text for text in (card.happens, card.formula, card.parameters))


def test_a_card_says_what_nobody_told():
    card = made("Base fog.\n\nfog: added grey.").card
    assert card.missing == ["formula", "kept", "not_modelled", "looks_like", "differs_from"]
    assert (card.happens, card.parameters, card.kept) == ("Base fog.", "fog: added grey.", NOT_TOLD)
    assert card.severities[2] == "fog 0.1"
    parts = (
        "Formula: g' = g\n  + fog.\nKept: noise.\n\nNot modelled: dust.\nLooks like: an old film.\nDiffers from: it."
    )
    whole = made(f"Base fog.\n\nfog: grey.\n\n{parts}").card
    assert (whole.formula, whole.kept, whole.not_modelled) == ("g' = g + fog.", "noise.", "dust.")
    assert (whole.looks_like, whole.differs_from) == ("an old film.", "it.")
    assert whole.missing == []


def test_a_perturbation_made_from_another_does_not_borrow_its_card():
    kind = type("Mine", (type(get("scatter")),), {"__doc__": "Haze.", "name": "mine"})
    missing = ["formula", "parameters", "kept", "not_modelled", "looks_like", "differs_from"]
    assert card_of(kind).missing == missing


def test_a_reading_that_fails_is_told_in_one_line():
    def reading(cls, level):
        raise RuntimeError("no\n" * 500)

    with pytest.raises(PerturbationError, match="mine has no card") as caught:
        _ = made("x.", reading=classmethod(reading)).card
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
