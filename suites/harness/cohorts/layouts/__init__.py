"""How do films lie on a disk? The layouts, each in a file of its own that registers itself.

A new layout is one file here with a function under `@register`; nothing else needs to know it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from suites.harness.cohorts.decoding import BROKEN_SHARE_LIMIT, check_exclusions
from suites.harness.cohorts.layouts.labels import align_labels, normalise_label
from suites.harness.cohorts.layouts.registry import Spec, get, load_cohort, names, register

for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

__all__ = [
    "BROKEN_SHARE_LIMIT",
    "Spec",
    "align_labels",
    "check_exclusions",
    "get",
    "load_cohort",
    "names",
    "normalise_label",
    "register",
]
