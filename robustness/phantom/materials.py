"""Linear attenuation of the tissues in a chest, between 45 and 80 keV.

Computed with xraylib 4.3 (XCOM-type cross sections) from the tissue compositions that NIST lists, in agreement with
the X-ray mass attenuation coefficients of NISTIR 5632 (nist.gov/pml/x-ray-mass-attenuation-coefficients).
A child's film (60-70 kVp) has an effective energy near 45 keV, an adult's (110-125 kVp) near 60-70 keV.
"""

from __future__ import annotations

import numpy as np

ENERGIES_KEV = (45.0, 50.0, 60.0, 70.0, 80.0)

# Linear attenuation in 1/cm at ENERGIES_KEV; densities (g/cm3) in the comments.
ATTENUATION: dict[str, tuple[float, ...]] = {
    "soft": (0.2530, 0.2364, 0.2152, 0.2020, 0.1926),  # 1.06
    "muscle": (0.2557, 0.2376, 0.2150, 0.2011, 0.1913),  # 1.05
    "blood": (0.2586, 0.2403, 0.2174, 0.2032, 0.1934),  # 1.06
    "adipose": (0.2120, 0.2016, 0.1878, 0.1786, 0.1716),  # 0.95
    "lung": (0.0635, 0.0590, 0.0533, 0.0499, 0.0474),  # 0.26, inflated
    "consolidated": (0.2565, 0.2383, 0.2154, 0.2014, 0.1915),  # 1.05, airless lung
    "cortical": (0.970, 0.796, 0.596, 0.489, 0.426),  # 1.92
    "water": (0.2436, 0.2269, 0.2059, 0.1929, 0.1837),  # 1.00
    "air": (0.0003, 0.0003, 0.0002, 0.0002, 0.0002),  # 0.0012
}


def attenuation(material: str, energy_kev: float) -> float:
    """Return the linear attenuation coefficient of a tissue, interpolated log-log in energy.

    Args:
        material: a key of `ATTENUATION`.
        energy_kev: photon energy, 45 to 80 keV.

    Returns:
        Coefficient in 1/cm.

    Raises:
        ValueError: for an unknown tissue or an energy outside the table (no extrapolation).
    """
    if material not in ATTENUATION:
        raise ValueError(f"unknown material {material!r}; known: {', '.join(ATTENUATION)}")
    low, high = ENERGIES_KEV[0], ENERGIES_KEV[-1]
    if not low <= energy_kev <= high:
        raise ValueError(f"energy_kev={energy_kev!r} is outside the attenuation table, {low:g} to {high:g} keV")
    return float(np.exp(np.interp(np.log(energy_kev), np.log(ENERGIES_KEV), np.log(ATTENUATION[material]))))


def bone(mineral: float, energy_kev: float) -> float:
    """Return the attenuation (1/cm) of living bone: a mixture of cortical bone and soft tissue by volume.

    Args:
        mineral: volume fraction of cortical bone, 0 to 1 (about 0.3 at one year, 0.5 in adults).
        energy_kev: photon energy, 45 to 80 keV.

    Raises:
        ValueError: for a fraction outside [0, 1].
    """
    if not 0.0 <= mineral <= 1.0:
        raise ValueError(f"mineral={mineral!r} must be a volume fraction between 0 and 1")
    return mineral * attenuation("cortical", energy_kev) + (1.0 - mineral) * attenuation("soft", energy_kev)
