"""What can be done to a film before the subject sees it? Perturbations, attacks, probes, and the phantom.

Importing the package imports every file of this folder, so that each perturbation is registered; `get` and `names`
reach them by name.
"""

from importlib import import_module
from pkgutil import iter_modules

from robustness.perturbation import (
    Perturbation,
    PerturbationError,
    PerturbationUndefined,
    get,
    names,
    register,
)

_NOT_ASKED = ("preview", "transforms")
"""A program, and the faces for albumentations, which takes seconds to import: nothing registers there."""

for _module in iter_modules(__path__):
    if not _module.ispkg and _module.name not in _NOT_ASKED:
        import_module(f"{__name__}.{_module.name}")

__all__ = ["Perturbation", "PerturbationError", "PerturbationUndefined", "get", "names", "register"]
