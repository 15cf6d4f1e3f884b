"""By which names are our packages imported? `chest_xray_reliability.suites` installed, `suites` in the repository.

At the top level of an environment names such as `calibration` belong to everybody, so the wheel holds the four packages
in one of its own (`suites/installation/build.py`). Code that was written for the one place works in the other: both
names lead to the very same modules, never to copies, which would register everything twice. Where somebody has a
package of such a name, the short name is theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

PACKAGES = ("robustness", "calibration", "explain", "suites")
INSTALLED = "chest_xray_reliability"
PREFIX = __name__.removesuffix("suites.import_names")
"""What stands before the names of our packages here: nothing in the repository."""
OURS = tuple(PREFIX + name for name in PACKAGES)
OTHER_NAMES = {f"{'' if PREFIX else f'{INSTALLED}.'}{name}": PREFIX + name for name in PACKAGES}
"""The name of each package in the other place -> its name here."""
PLUGIN = f"{INSTALLED}.suites.plugin"
"""By which pytest knows our plugin, in both places, so that its options are declared once."""


def is_ours(module: str) -> bool:
    """Whether a module of this name is one of ours."""
    return module.startswith(tuple(f"{name}." for name in OURS)) or module in OURS


class SameModule(Loader):
    """Loads, under another name, the very module that has this one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module, imported by its own name."""
        module = import_module(self.name)
        spec.loader_state = module.__spec__  # the import system puts the new spec in its place
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is, its own spec included."""
        spec = module.__spec__
        if spec is not None and isinstance(spec.loader_state, ModuleSpec):
            module.__spec__ = spec.loader_state


class _OtherNames(MetaPathFinder):
    """Finds our packages by the names they have in the other place, where nobody else has a package of that name."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package = next((one for one in OTHER_NAMES if name == one or name.startswith(f"{one}.")), None)
        if package is None:
            return None
        here = OTHER_NAMES[package]
        if name == package:
            ours = PathFinder.find_spec(name, path, target) is None
        else:
            ours = sys.modules.get(package) is sys.modules.get(here)
        return ModuleSpec(name, SameModule(here + name.removeprefix(package))) if ours else None


def find_other_names() -> None:
    """Have imports find our packages by their other names as well, once per process."""
    if not any(isinstance(finder, _OtherNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OtherNames())
