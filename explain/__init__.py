"""Where does a subject look, and can that answer be believed? Attributions, sanity checks, galleries.

Importing the package imports every file of this folder, so that each attribution is registered; `get` and `names` reach
them by name.
"""

from importlib import import_module
from pkgutil import iter_modules

from explain.attribution import Attribution, AttributionMap, Passes, get, names, refusals, register
from explain.network import NotAttributableError

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Attribution",
    "AttributionMap",
    "NotAttributableError",
    "Passes",
    "get",
    "names",
    "refusals",
    "register",
]
