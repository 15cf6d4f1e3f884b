"""The endpoints of the claims table; importing this package registers all of them."""

import importlib
import pkgutil

from suites.harness.endpoints.registry import endpoint, find

__all__ = ["endpoint", "find"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
