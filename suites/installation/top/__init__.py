"""What is offered to other code? `from chest_xray_reliability import Subject, evaluate`, and the four packages.

    from chest_xray_reliability import robustness, calibration, explain
    from chest_xray_reliability.suites.harness import Preprocessing

These names work wherever the project is installed, and in its repository too, where the packages are also called by
their short names. Every Python of an environment may import this package when it starts, so it loads nothing before it
is asked for; PYTEST_DONT_REWRITE for the same reason.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from suites import import_names

if not import_names.PREFIX:  # in the repository the packages are not in this one
    import_names.find_other_names()


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever it is
    """Return one of the packages, or a public name of `suites.harness`."""
    if name in import_names.PACKAGES:
        return import_module(import_names.PREFIX + name)
    return getattr(import_module(f"{import_names.PREFIX}suites.harness"), name)


def __dir__() -> list[str]:
    """List the packages, and the public names of `suites.harness`."""
    return sorted({*import_names.PACKAGES, *dir(import_module(f"{import_names.PREFIX}suites.harness"))})
