"""How is code written into a digest? Functions, classes, modules; a user's in full, a library's by its version."""

from __future__ import annotations

import enum
import hashlib
import sys
import types
from collections.abc import Iterable
from typing import Any

from suites.harness.subjects.library_code import Foreign, in_library, version_text, written_by_library
from suites.harness.subjects.object_state import attributes

_NO_CODE = frozenset(
    {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate_func__", "__firstlineno__",
     "__static_attributes__", "__annotations_cache__", "__abstractmethods__", "_abc_impl", "__dataclass_fields__",
     "__dataclass_params__", "__match_args__", "__hash__", "__slots__", "__slotnames__", "__parameters__",
     "__orig_bases__"}
)  # fmt: skip
"""Attributes of a class that are no code of its author's."""


class CodeWriter:
    """Writes code into a digest; how the values that it holds are written is for a subclass to say."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._followed: set[tuple[int, str]] = set()
        self._foreign = Foreign()

    def write(self, value: object, names: Iterable[str]) -> None:
        """Write a value; `names` are those the code that holds it looks up, and so all that it takes of a module."""
        raise NotImplementedError

    def _text(self, *parts: str) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            self.digest.update(b"%d:" % len(data))
            self.digest.update(data)

    def _all(self, kind: str, values: Iterable[object]) -> None:
        held = list(values)
        self._text(kind, str(len(held)))
        for value in held:
            self.write(value, ())

    def _attributes(self, held: Iterable[tuple[str, object]]) -> None:
        for name, value in held:
            if name not in _NO_CODE:
                self._text(name)
                self.write(value, ())

    def _bound(self, function: Any) -> None:  # noqa: ANN401 - any callable of C
        """Write what a method of C is bound to: the list of `list.append`, the class of `Function.apply`."""
        holder = getattr(function, "__self__", None)
        if holder is None or isinstance(holder, types.ModuleType):
            return
        if not isinstance(holder, type) or not in_library(holder.__module__):
            self.write(holder, ())

    def _function(self, function: types.FunctionType) -> None:
        if original := vars(function).get("_torchdynamo_orig_callable"):  # by torch.compile
            self._all("compiled", [original])
            return
        if self._library(function.__module__, function.__code__.co_filename) and written_by_library(function):
            self._text("function", function.__qualname__)
            at_hand = vars(sys.modules.get(function.__module__, types)).get(function.__qualname__)
            if function.__closure__ and at_hand is not function:  # made while running, from what it was given
                self._all("closure", map(_content, function.__closure__))
            return
        self._text("function", function.__qualname__)
        names = self._code(function.__code__, function.__doc__)
        self._all("defaults", (function.__defaults__, function.__kwdefaults__))
        self._all("closure", (_content(cell) for cell in function.__closure__ or ()))
        self._attributes((name, held) for name, held in attributes(function) if name != "__wrapped__")
        for name in names:
            if name in function.__globals__ and not name.startswith("__"):
                self._text("global", name)
                self.write(function.__globals__[name], names)
            elif name in sys.modules:  # imported where it is used
                self._python_module(sys.modules[name], names)

    def _code(self, code: types.CodeType, doc: str | None = None) -> list[str]:
        """Write what a piece of bytecode does, and return the names it looks up."""
        inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        constants = [value for value in code.co_consts if not isinstance(value, types.CodeType) and value != doc]
        self._text("code", code.co_code.hex(), *code.co_names, "|", *code.co_varnames, "|", *code.co_freevars)
        self._all("constants", constants)
        names = set(code.co_names)
        for one in inner:
            self._text(one.co_name)
            names.update(self._code(one))
        return sorted(names)

    def _class(self, kind: type) -> None:
        self._text("class", kind.__qualname__)
        if self._library(kind.__module__, ""):
            self._put_into_library(self._foreign.in_class(kind))
            return
        for base in kind.__bases__:
            self.write(base, ())
        for name, value in sorted(vars(kind).items()):
            if name not in _NO_CODE and not (issubclass(kind, enum.Enum) and _of_enum(kind, name, value)):
                self._text(name)
                self.write(value, ())

    def _put_into_library(self, found: Iterable[tuple[str, object]]) -> None:
        for path, value in found:
            self._text("in place of a library's", path)
            self.write(value, ())

    def _wrapped(self, value: Any) -> None:  # noqa: ANN401 - a property, a class method, ...
        names = ("__func__", "fget", "func")
        self._all(type(value).__name__, (getattr(value, name) for name in names if hasattr(value, name)))

    def _python_module(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """Write a module: a library's with its version, one of the user's with those of its names that code uses."""
        self._text("import", module.__name__.rpartition(".")[2])
        if self._library(module.__name__, ""):
            self._put_into_library(self._foreign.in_module(module, names))
            return
        wanted = set(names)
        for name, value in sorted(vars(module).items()):
            if name in wanted and not name.startswith("__") and (id(module), name) not in self._followed:
                self._followed.add((id(module), name))
                self._text(name)
                self.write(value, wanted)

    def _library(self, name: str | None, file: str) -> bool:
        """Whether code belongs to an installed library; its version is then written in place of the code."""
        if not in_library(name, file):
            return False
        if version := version_text(name):
            self._text(version)
        return True


def _of_enum(kind: type[enum.Enum], name: str, value: object) -> bool:
    """Whether an attribute of an enumeration was put there by `enum`: its members and its tables of them."""
    return isinstance(value, kind) or name in kind.__members__ or (name.startswith("_") and name.endswith("_"))


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
