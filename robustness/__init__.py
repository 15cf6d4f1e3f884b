"""What can be done to a film before the subject sees it: perturbations, attacks, probes, and the phantom.

Importing the package registers every perturbation; `get` and `list_perturbations` reach them by name.
"""

from robustness import (
    bedside,
    contrast,
    control,
    cutoff,
    exposure,
    grid,
    institution,
    medmnistc,
    opacity,
    positioning,
)
from robustness.perturbation import (
    Perturbation,
    PerturbationError,
    PerturbationUndefined,
    get,
    list_perturbations,
    register,
)

__all__ = [
    "Perturbation",
    "PerturbationError",
    "PerturbationUndefined",
    "bedside",
    "contrast",
    "control",
    "cutoff",
    "exposure",
    "get",
    "grid",
    "institution",
    "list_perturbations",
    "medmnistc",
    "opacity",
    "positioning",
    "register",
]
