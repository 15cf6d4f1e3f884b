"""How does pytest know the options of the suites before it reads a single word of its command line?

pytest reads its command line before it loads any plugin of an environment. Of `--weights DIR` it knows nothing then,
takes DIR for a path of tests, and a `pytest.ini` in it for its own configuration, `addopts = -p module` included. Only
its default plugins it loads earlier, so `suites.plugin` becomes one of them: however pytest is started (from a shell,
by `python -m`, by `pytest.main` in a notebook) and wherever the options stand (in `@file`, in PYTEST_ADDOPTS).

The file `chest_xray_reliability.pth` has every Python of the environment call `know_the_options` when it starts. This
module is imported that early, so it needs nothing but the import system.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from suites.import_names import PLUGIN

_CONFIG = "_pytest.config"


def know_the_options() -> None:
    """Have pytest, once this process imports it, count `suites.plugin` among its default plugins."""
    if _CONFIG not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the module of pytest that lists its default plugins, once, and everything else not at all."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _CONFIG:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        names = vars(module)
        if "default_plugins" in names:  # where it is not, the plugin is loaded late and says so
            names["default_plugins"] = (*names["default_plugins"], PLUGIN)
