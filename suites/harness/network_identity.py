"""What decides a logit, as one digest: a network's weights, all its settings, and the code of classes of one's own.

Two networks of the same weights answer differently under another normalisation, activation or epsilon, which no file
of weights tells; so the built network itself is read, module by module. Where a value cannot be read its type counts. A
digest that differs for nothing costs a computation; one that is the same for two networks would give one the other's
numbers.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OURS = frozenset({"calibration", "explain", "robustness", "suites"})
"""Our own code counts by the names of its classes: its versions are part of the caches' keys."""
_BESIDE = frozenset(vars(nn.Module())) - {"_parameters", "_buffers", "_modules"}
"""What every module carries and what decides no logit: hooks, and the mode, which is always evaluation."""
_LIBRARIES = tuple(str(Path(module.__file__).parents[1]) for module in (torch, np) if module.__file__)
DEPTH = 12
"""Containers and functions within one another that are followed."""


def network_identity(network: nn.Module) -> str:
    """Return 64 hexadecimal digits that change with whatever decides the network's logits, the same in every process.

    Read are every parameter and buffer (also those that are not saved), every plain attribute of every module, and
    functions and classes by their code. Not read is what happens outside of Python (a compiled extension, a file opened
    in `forward`); for libraries see `libraries_of`.

    Args:
        network: in evaluation mode.
    """
    digest = hashlib.sha256()
    for line in _lines(network):
        digest.update(line)
        digest.update(b"\x1e")
    return digest.hexdigest()


def libraries_of(network: nn.Module) -> dict[str, str]:
    """Return the versions of the packages that the classes of a network's modules come from, without our own."""
    names = {type(module).__module__.partition(".")[0] for module in network.modules()}
    found = {name: _version(name) for name in sorted(names - OURS)}
    return {name: version for name, version in found.items() if version}


def _lines(network: nn.Module) -> Iterator[bytes]:
    reader = _Reader()
    for name, module in network.named_modules(remove_duplicate=False):
        yield f"{name}\x1f{reader.of_class(type(module))}".encode()
        for key, value in sorted(vars(module).items()):
            if key not in _BESIDE and key not in ("_parameters", "_buffers", "_modules"):
                yield f"{key}\x1f{reader.of(value)}".encode()
        for key, tensor in [*sorted(module._parameters.items()), *sorted(module._buffers.items())]:  # noqa: SLF001
            yield f"{key}\x1f{reader.of(tensor)}".encode()
    # Packed weights of quantised layers are in no parameter and no buffer.
    for key, value in sorted(network.state_dict().items()):
        if not isinstance(value, Tensor) or value.is_quantized:
            yield f"{key}\x1f{reader.of(value)}".encode()


class _Reader:
    """Values as text that says all of them that matters, and nothing that differs between two processes."""

    def __init__(self) -> None:
        self._open: set[int] = set()  # a function that calls itself is named, not followed

    def of(self, value: object, depth: int = 0) -> str:
        """Return a value as text."""
        if value is None or isinstance(value, bool | int | str | bytes | torch.dtype | torch.Size | range | slice):
            return repr(value)
        if isinstance(value, float | complex | np.generic):
            return repr(value)  # the shortest text that gives the same number back
        if isinstance(value, Tensor | np.ndarray):
            return _of_array(value)
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if depth > DEPTH or id(value) in self._open:
            return f"<{type(value).__qualname__}>"
        self._open.add(id(value))
        try:
            return self._of_deep(value, depth + 1)
        finally:
            self._open.discard(id(value))

    def _of_deep(self, value: object, depth: int) -> str:
        if isinstance(value, nn.Module):
            return f"module {type(value).__qualname__}"  # it is read where it is registered
        if isinstance(value, Mapping):
            return "{" + ",".join(sorted(f"{self.of(k, depth)}:{self.of(v, depth)}" for k, v in value.items())) + "}"
        if isinstance(value, list | tuple):
            return "(" + ",".join(self.of(item, depth) for item in value) + ")"
        if isinstance(value, set | frozenset):
            return "{" + ",".join(sorted(self.of(item, depth) for item in value)) + "}"
        if isinstance(value, functools.partial):
            return f"partial{self.of((value.func, value.args, value.keywords), depth)}"
        if isinstance(value, types.MethodType):
            return f"method {self.of(value.__func__, depth)}"
        if isinstance(value, types.FunctionType):
            return self._of_function(value, depth)
        if isinstance(value, type):
            return self.of_class(value, depth)
        if isinstance(value, types.ModuleType):
            return _of_module(value)
        if is_dataclass(value):
            inside = {field.name: getattr(value, field.name, None) for field in fields(value)}
            return f"{type(value).__qualname__}{self.of(inside, depth)}"
        if _foreign(type(value)) and hasattr(value, "__dict__"):
            return f"{self.of_class(type(value), depth)}{self.of(vars(value), depth)}"
        return f"<{getattr(value, '__qualname__', type(value).__qualname__)}>"

    def of_class(self, kind: type, depth: int = 0) -> str:
        """Return a class by name, and those of the user's own by what they do as well."""
        if not _foreign(kind):
            ours = kind.__module__.partition(".")[0] in OURS
            return kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"
        own: dict[str, object] = {}
        for base in reversed(kind.__mro__):
            if _foreign(base):
                own |= {key: value for key, value in vars(base).items() if not _bookkeeping(key)}
        return f"class {kind.__qualname__}{self.of({key: _unwrapped(value) for key, value in own.items()}, depth)}"

    def _of_function(self, function: types.FunctionType, depth: int) -> str:
        if not _foreign(function):
            return f"{function.__module__}.{function.__qualname__}"
        cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        # What its code names in its module: a constant, a function beside it, a module of the user's.
        named = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
        known = {name: value for name, value in named.items() if name not in ("torch", "nn", "F", "np")}
        parts = (_of_code(function.__code__), function.__defaults__, function.__kwdefaults__, cells, known)
        return f"def {function.__qualname__}{self.of(parts, depth)}"


def _of_array(value: Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    kind = f"{value.dtype}{tuple(value.shape)}"
    if value.is_meta:
        return kind
    plain = value.detach()
    plain = (plain.dequantize() if plain.is_quantized else plain.to_dense() if plain.is_sparse else plain).cpu()
    content = plain.contiguous().flatten().view(torch.uint8).numpy() if plain.numel() else np.empty(0, np.uint8)
    return f"{kind}{hashlib.sha256(content.data).hexdigest()}"


def _of_code(code: types.CodeType) -> str:
    """Return what code does, without where it stands."""
    inner = [_of_code(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts]
    inner = [part for part in inner if not part.startswith("frozenset")] + [
        repr(sorted(map(repr, part))) for part in code.co_consts if isinstance(part, frozenset)
    ]
    text = f"{code.co_code.hex()}{inner}{code.co_names}{code.co_varnames}{code.co_freevars}"
    return hashlib.sha256(text.encode()).hexdigest()


def _names(code: types.CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return {*code.co_names, *(name for part in inner for name in _names(part))}


def _of_module(module: types.ModuleType) -> str:
    """Return a module by name, and one of the user's own by its text."""
    file = getattr(module, "__file__", None)
    if file is None or not _users(module.__name__):
        return f"module {module.__name__}"
    try:
        return f"module {module.__name__}{hashlib.sha256(Path(file).read_bytes()).hexdigest()}"
    except OSError:
        return f"module {module.__name__}"


def _unwrapped(value: object) -> object:
    """Return the function of a method, property or static method."""
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _bookkeeping(key: str) -> bool:
    """Whether an attribute of a class says nothing about what it does."""
    return key in {"__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__annotate_func__",
                   "__firstlineno__", "__static_attributes__", "__qualname__", "__slots__"}  # fmt: skip


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _foreign(thing: type | Callable[..., object]) -> bool:
    """Whether the code of a class or function is neither a library's nor ours, so that only its text identifies it."""
    return _users(getattr(thing, "__module__", None) or "builtins")


@functools.cache
def _users(name: str) -> bool:
    top = name.partition(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        return False
    module = sys.modules.get(name) or sys.modules.get(top)
    file = getattr(module, "__file__", None) or ""
    if top == "__main__":
        return True
    return bool(file) and not file.startswith(_LIBRARIES) and inspect.getsourcefile(module) is not None  # type: ignore[arg-type]


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
