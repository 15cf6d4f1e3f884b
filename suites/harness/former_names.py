"""Where do modules live that people imported by an earlier name? Found under both, with a word where they are now.

A model of one's own (`module:factory`) imports what it is made of from here, and must not break because rooms moved.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from suites.import_names import SameModule

_HARNESS = __name__.rpartition(".")[0]
FORMER = {
    f"{_HARNESS}.{old}": f"{_HARNESS}.{new}"
    for old, new in {
        "cohort": "cohorts.cohort",
        "film": "cohorts.decoding",
        "formats": "subjects.formats",
        "layouts": "cohorts.layouts",
        "preprocessing": "subjects.preprocessing",
        "subject": "subjects.subject",
    }.items()
}


class _FormerModule(SameModule):
    """Loads a module by its former name: the very same module, not a copy."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        told = f"{spec.name} is now {self.name}; its public names are best imported from {_HARNESS}"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        return super().create_module(spec)


class _Former(MetaPathFinder):
    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system passes it
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return ModuleSpec(name, _FormerModule(FORMER[name])) if name in FORMER else None


def find_former_names() -> None:
    """Have imports find the former names, once per process."""
    if not any(isinstance(finder, _Former) for finder in sys.meta_path):
        sys.meta_path.append(_Former())
