"""Where do modules live that people imported by an earlier name? Found under both, with a word where they are now.

A model of one's own (`module:factory`) imports what it is made of from here, and must not break because rooms moved.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

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


class _Former(MetaPathFinder, Loader):
    """Finds a module by its former name: the very same module, not a copy."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system passes it
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in FORMER else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        now = FORMER[spec.name]
        told = f"{spec.name} is now {now}; its public names are best imported from {_HARNESS}"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        module = import_module(now)
        spec.loader_state = module.__spec__  # the import system puts the new spec in its place
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and isinstance(spec.loader_state, ModuleSpec):
            module.__spec__ = spec.loader_state


def find_former_names() -> None:
    """Have imports find the former names, once per process."""
    if not any(isinstance(finder, _Former) for finder in sys.meta_path):
        sys.meta_path.append(_Former())
