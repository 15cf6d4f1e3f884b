"""What belongs to an installed library, and what was put into one since? The code that a version does not tell.

Code of a library is known by name, version and list of installed files. That says nothing of a method or function that
was replaced at run time (`nn.ReLU.forward = ...`, `torch.nn.functional.relu = ...`), so what a network can reach in its
libraries is looked through for code that does not lie in their files.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from torch import nn

_FOLDERS = tuple(
    {sysconfig.get_path(name).rstrip(os.sep) + os.sep for name in ("purelib", "platlib", "stdlib", "platstdlib")}
)
_OF_INSTALLERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
_DEPTH = 2
"""How far calls are followed inside libraries: from a method to `functional.relu`, and on to `torch.relu`."""
Found = Iterator[tuple[str, object]]


def in_library(name: str | None, file: str = "") -> bool:
    """Whether a module, or code of that file where no such module is loaded, belongs to an installed library."""
    module = sys.modules.get(name or "")
    top = (name or "").partition(".")[0]
    if top == "__main__" or (module is None and not file):
        return False
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    return str(getattr(module, "__file__", None) or file).startswith(_FOLDERS)


def written_by_library(function: types.FunctionType) -> bool:
    """Whether the code of a function lies in a library's file, whatever module the function says it is from."""
    file = function.__code__.co_filename
    if file.startswith("<"):  # made of a text, as dataclasses do, in the name of the module it was made for
        return in_library(str(function.__globals__.get("__name__")))
    return file.startswith(_FOLDERS)


def version_text(name: str | None) -> str:
    """Return what stands for the code of a library's module: empty for Python's own, whose version torch's implies."""
    top = (name or "").partition(".")[0]
    return "" if top in sys.stdlib_module_names or top in sys.builtin_module_names else _installed(top)


@functools.cache
def _installed(package: str) -> str:
    """Return name, version and the hash of the list of installed files of the distribution behind a package."""
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        owners = metadata.packages_distributions().get(package, [])
        if not owners:
            return package
        found = metadata.distribution(owners[0])
    files = hashlib.sha256(_files_of(found.read_text("RECORD") or "").encode()).hexdigest()
    return f"{found.name} {found.version} {files}"


def _files_of(record: str) -> str:
    """Return the lines of a list of installed files (PEP 376) that are the same wherever a library is installed.

    Scripts begin with the folder of their interpreter, and installers note for themselves where they found a package.
    """
    lines = [line for line in record.splitlines() if not line.lstrip('"').startswith(("../", "..\\", "/"))]
    names = {line: line.rpartition(",")[0].rpartition(",")[0].strip('"') for line in lines}
    return "\n".join(
        line for line, name in sorted(names.items())
        if not name.endswith((".pyc", ".pth")) and name.rpartition("/")[2] not in _OF_INSTALLERS
    )  # fmt: skip


class Foreign:
    """Finds what is not a library's own among the things that a network reaches inside libraries, each once."""

    def __init__(self) -> None:
        self._looked: set[object] = set()

    def in_class(self, kind: type) -> Found:
        """Yield users' bases and methods of a library's class, and users' functions that its methods call."""
        for base in kind.__mro__[:-1]:
            if not in_library(base.__module__):
                yield base.__qualname__, base
            elif base not in self._looked:
                self._looked.add(base)
                for name, held in sorted(vars(base).items()):
                    if name == "forward" and base is not nn.Module and _elsewhere(base, held):
                        yield f"{base.__qualname__}.{name}", held
                    for function in _functions(held):
                        yield from self._in_function(f"{base.__qualname__}.{name}", function, _DEPTH)

    def in_module(self, module: types.ModuleType, names: Iterable[str], depth: int = _DEPTH) -> Found:
        """Yield what stands in a library's module under one of these names and is not of a library."""
        for name in sorted(set(names) & vars(module).keys()):
            if name.startswith("__"):
                continue
            path, held = f"{module.__name__}.{name}", vars(module)[name]
            if isinstance(held, types.ModuleType):
                if in_library(held.__name__) and (held, frozenset(names)) not in self._looked:
                    self._looked.add((held, frozenset(names)))
                    yield from self.in_module(held, names, depth)
            elif isinstance(held, types.FunctionType | types.BuiltinFunctionType) and not _under_its_name(held, path):
                yield path, held
            elif isinstance(held, types.FunctionType):
                yield from self._in_function(path, held, depth)
            elif callable(held) and not in_library((held if isinstance(held, type) else type(held)).__module__):
                yield path, held

    def _in_function(self, path: str, function: types.FunctionType, depth: int) -> Found:
        if not written_by_library(function):
            yield path, function
            return
        if not depth or (function.__code__, depth) in self._looked:
            return
        self._looked.add((function.__code__, depth))
        names = _names(function.__code__)
        for name in sorted(names & function.__globals__.keys()):
            held = function.__globals__[name]
            if isinstance(held, types.ModuleType):
                if in_library(held.__name__):
                    yield from self.in_module(held, names, depth - 1)
            elif isinstance(held, types.FunctionType):
                yield from self._in_function(f"{held.__module__}.{name}", held, depth - 1)


def _under_its_name(function: types.FunctionType | types.BuiltinFunctionType, path: str) -> bool:
    """Whether a library's function stands where it was defined, and not in the place of another."""
    *_, module, name = path.split(".")
    return name.startswith("_") or function.__name__ in {name, f"_{name}", f"{module}_{name}"}


def _functions(held: Any) -> list[types.FunctionType]:  # noqa: ANN401 - a function, property, class method, ...
    parts = (held, *(getattr(held, name, None) for name in ("__func__", "fget", "func")))
    return [part for part in parts if isinstance(part, types.FunctionType)]


def _elsewhere(base: type, held: object) -> bool:
    """Whether a `forward` was not written as this class's own: a built-in function, or another method in its place."""
    if not isinstance(held, types.FunctionType):
        return True
    return held.__code__.co_qualname != f"{base.__qualname__}.forward" and not hasattr(held, "__wrapped__")


def _names(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))
