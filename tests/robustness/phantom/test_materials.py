"""Attenuation against published tables, and Beer-Lambert on a slab."""

import numpy as np
import pytest
import torch

from robustness.phantom.beam import ConeBeam
from robustness.phantom.geometry import ellipsoid
from robustness.phantom.materials import ATTENUATION, attenuation, bone

# NIST, X-ray mass attenuation coefficients (NISTIR 5632), cm2/g without the density: water, cortical bone (ICRU-44).
NIST = {"water": (1.0, {50: 0.2269, 60: 0.2059, 80: 0.1837}), "cortical": (1.92, {50: 0.4242, 60: 0.3148, 80: 0.2229})}


@pytest.mark.parametrize("material", NIST)
def test_the_table_agrees_with_nist(material):
    density, values = NIST[material]
    for energy, mass in values.items():
        assert attenuation(material, energy) == pytest.approx(density * mass, rel=0.03)


def test_tissues_keep_their_order_at_every_energy():
    for energy in np.linspace(45, 80, 15):
        order = [attenuation(m, energy) for m in ("air", "lung", "adipose", "water", "soft", "cortical")]
        assert order == sorted(order)
        assert attenuation("soft", energy) < bone(0.35, energy) < bone(0.5, energy) < attenuation("cortical", energy)


def test_attenuation_falls_with_energy():
    for material in set(ATTENUATION) - {"air"}:
        values = [attenuation(material, e) for e in np.linspace(45, 80, 30)]
        assert values == sorted(values, reverse=True)


def test_beer_lambert_on_a_slab():
    """A slab 5 cm thick lets exp(-mu 5 / cos) of the beam through on every ray, also the oblique ones."""
    beam = ConeBeam(65, 40.0, 50.0, np.eye(3))
    slab = ellipsoid([0, 0, 0], [500, 500, 500]).cut([0, 1, 0], 2.5).cut([0, -1, 0], 2.5)
    enter, leave = beam.intervals(slab)
    mu = attenuation("water", 60)
    transmitted = torch.exp(-mu * (leave - enter)[0] * beam.oblique)
    cosine = 50.0 / torch.sqrt(2500.0 + beam.u[None] ** 2 + beam.v[:, None] ** 2)
    assert torch.allclose(transmitted, torch.exp(-mu * 5.0 / cosine), rtol=1e-4)
    assert float(transmitted.max()) == pytest.approx(np.exp(-mu * 5.0), rel=1e-4)


def test_bad_input_names_what_is_known():
    with pytest.raises(ValueError, match="known: soft"):
        attenuation("kryptonite", 50)
    with pytest.raises(ValueError, match="45 to 80 keV"):
        attenuation("soft", 30)
    with pytest.raises(ValueError, match="mineral"):
        bone(1.4, 50)
