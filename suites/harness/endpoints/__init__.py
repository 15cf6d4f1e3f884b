"""How are claims measured? The endpoints of the claims table; importing this package registers all of them."""

import importlib
import pkgutil

from suites.harness.endpoints.registry import Endpoint, endpoint, get, names

__all__ = ["Endpoint", "endpoint", "get", "names"]

for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
    if not _module.name.endswith(".__main__"):
        importlib.import_module(_module.name)
