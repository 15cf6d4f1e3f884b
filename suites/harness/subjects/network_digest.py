"""Is this the very same network? One SHA-256 of everything in it that can decide a logit.

Not the file of weights is hashed, nor the settings a loader is known to read, but what came of them: every module with
its class, its plain attributes (epsilons, strides, activations, flags), its parameters, its buffers whether they are
saved or not, its hooks, and the code that runs: functions of the user's by bytecode, defaults, closures and the globals
they name, followed into the user's own modules; libraries by name, version and list of installed files. A setting that
a loader begins to read tomorrow is covered today.

The same network has the same digest in every process: no address, no hash of Python's, no time enters. Comments,
docstrings, file names and line numbers do not count. What differs without a consequence (a path kept as an attribute)
costs a second computation; what cannot be seen from here costs trust and is therefore listed: files, environment
variables and services read while answering, names looked up by a text (`getattr(module, name)`), and compiled code
outside installed libraries.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import io
import sys
import sysconfig
import types
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_NO_SETTING = frozenset(
    {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}
)
"""What a module holds besides its settings; tensors and submodules are written on their own."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_NO_CODE = frozenset(
    {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate_func__", "__firstlineno__",
     "__static_attributes__", "__annotations_cache__", "__abstractmethods__", "_abc_impl", "__dataclass_fields__",
     "__dataclass_params__", "__match_args__", "__hash__", "__slots__", "__slotnames__", "__parameters__",
     "__orig_bases__"}
)  # fmt: skip
"""Attributes of a class that are no code of its author's."""
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")})
_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis), complex, range, slice)
_NAMED = (torch.dtype, torch.layout, torch.memory_format, torch.Size)
_CONTAINERS = (Mapping, list, tuple, set, frozenset, functools.partial, types.MethodType)
_WRAPPED = (staticmethod, classmethod, property, functools.cached_property)


def digest_of_network(network: nn.Module) -> str:
    """Return the SHA-256 of a network as it is now: structure, settings, weights, buffers and code.

    Hashing 28 million float32 parameters takes about a tenth of a second.
    """
    return digest_of(network)


def digest_of(value: object) -> str:
    """Return the SHA-256 of any value by the same rules: a network, a function that answers films, a setting."""
    writer = _Writer()
    writer.write(value, ())
    return writer.digest.hexdigest()


class _Writer:
    """Writes values into a digest, each object once; one that comes again is written as its number."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._seen: dict[int, tuple[int, object]] = {}  # the object is held, so that no other gets its id
        self._open: set[int] = set()
        self._followed: set[tuple[int, str]] = set()

    def write(self, value: object, names: Iterable[str]) -> None:
        """Write a value; `names` are those the code that holds it looks up, and so all that it takes of a module."""
        if isinstance(value, float):
            self._text("float", value.hex())
        elif isinstance(value, enum.Enum):
            self._text("enum", type(value).__qualname__, value.name)
        elif isinstance(value, _PLAIN):
            self._text(type(value).__name__, repr(value))
        elif isinstance(value, _NAMED):
            self._text(str(value))
        elif isinstance(value, torch.device):
            self._text("device", value.type)
        elif isinstance(value, types.ModuleType):
            self._python_module(value, names)
        elif isinstance(value, _CONTAINERS):  # by content: whether two equal ones are the same object decides nothing
            if id(value) in self._open:
                self._text("inside itself")
                return
            self._open.add(id(value))
            self._object(value)
            self._open.remove(id(value))
        elif id(value) in self._seen:
            self._text("again", str(self._seen[id(value)][0]))
        else:
            self._seen[id(value)] = len(self._seen), value
            self._object(value)

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

    def _object(self, value: Any) -> None:  # noqa: ANN401, C901, PLR0912 - one line for every kind of value
        if isinstance(value, nn.Module):
            self._network(value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self._text("array", value.dtype.str, str(value.shape))
            self.digest.update(np.ascontiguousarray(value).tobytes() if value.dtype != object else b"objects")
        elif isinstance(value, Mapping):
            self._all("mapping", (part for item in value.items() for part in item))
        elif isinstance(value, list | tuple):
            self._all(type(value).__name__, value)
        elif isinstance(value, set | frozenset):
            self._all("set", sorted(map(digest_of, value)))
        elif isinstance(value, functools.partial):
            self._all("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self._all("method", (value.__self__, value.__func__))
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, _WRAPPED):
            self._wrapped(value)
        elif callable(value) and hasattr(value, "__qualname__"):  # of C, so of a library
            self._text("builtin", str(getattr(value, "__module__", "")), value.__qualname__)
        else:
            self._instance(value)

    def _network(self, module: nn.Module) -> None:
        self.write(type(module), ())
        if isinstance(module, torch.jit.ScriptModule):
            self._script(module)
            return
        self._text("module", str(getattr(module, "code", "")))  # torch.fx keeps what it runs as text
        compiled = (
            "_orig_mod" in vars(module)["_modules"]
        )  # by torch.compile, which keeps what it is busy with beside it
        about = {} if compiled else {
            name: value for name, value in vars(module).items() if name not in _NO_SETTING and "hooks" not in name
        }  # fmt: skip
        for name in sorted(about):
            self._text(name)
            self.write(about[name], ())
        for hooks in _HOOKS:
            self._all(hooks, vars(module).get(hooks, {}).values())
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for name, tensor in tensors.items():
            self._text("tensor", name)
            self.write(tensor, ())
        self._packed(module, set(tensors))
        for name, child in vars(module)["_modules"].items():
            self._text("child", name)
            self.write(child, ())

    def _script(self, module: torch.jit.ScriptModule) -> None:
        """Write what TorchScript would save: code, constants, attributes and tensors, without the way to the source."""
        with zipfile.ZipFile(io.BytesIO(module.save_to_buffer())) as archive:
            for name in sorted(archive.namelist()):
                inside = name.partition("/")[2]
                if not inside.endswith(".debug_pkl"):
                    self._text(inside, hashlib.sha256(archive.read(name)).hexdigest())

    def _packed(self, module: nn.Module, known: set[str]) -> None:
        """Write what a module saves but holds as no tensor of its own: quantised weights, extra state."""
        saved: dict[str, object] = {}
        module._save_to_state_dict(saved, "", keep_vars=True)  # noqa: SLF001 - state_dict() would take the children along
        for name in sorted(set(saved) - known):
            self._text("saved", name)
            self.write(saved[name], ())

    def _tensor(self, tensor: Tensor) -> None:
        plain = tensor.detach()
        self._text("values", str(plain.dtype), str(tuple(plain.shape)), str(plain.layout))
        if plain.is_quantized:
            self._text(str(plain.qscheme()))
            per_channel = plain.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
            scales = plain.q_per_channel_scales() if per_channel else plain.q_scale()
            zeros = plain.q_per_channel_zero_points() if per_channel else plain.q_zero_point()
            self._all("quantised", (plain.int_repr(), scales, zeros))
        elif plain.layout != torch.strided:
            self.write(plain.to_dense(), ())
        elif not plain.is_meta:
            values = plain.cpu().resolve_conj().resolve_neg().contiguous().flatten()
            self.digest.update(values.view(torch.uint8).numpy().data)

    def _function(self, function: types.FunctionType) -> None:
        if self._library(function.__module__, function.__code__.co_filename):
            self._text("function", function.__qualname__)
            return
        self._text("function", function.__qualname__)
        names = self._code(function.__code__, function.__doc__)
        self._all("defaults", (function.__defaults__, function.__kwdefaults__))
        self._all("closure", (_content(cell) for cell in function.__closure__ or ()))
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
            return
        for base in kind.__bases__:
            self.write(base, ())
        for name, value in sorted(vars(kind).items()):
            if name not in _NO_CODE:
                self._text(name)
                self.write(value, ())

    def _wrapped(self, value: Any) -> None:  # noqa: ANN401 - a property, a class method, ...
        names = ("__func__", "fget", "func")
        self._all(type(value).__name__, (getattr(value, name) for name in names if hasattr(value, name)))

    def _instance(self, value: object) -> None:
        """Write an object: one of the user's with all it holds, one of a library's with its plain settings."""
        kind = type(value)
        self.write(kind, ())
        strange = self._library(kind.__module__, "")
        for name, held in sorted(getattr(value, "__dict__", {}).items()):
            if not strange or _is_plain(held):
                self._text(str(name))
                self.write(held, ())

    def _python_module(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """Write a module: a library's with its version, one of the user's with those of its names that code uses."""
        self._text("import", module.__name__.rpartition(".")[2])
        if self._library(module.__name__, ""):
            return
        wanted = set(names)
        for name, value in sorted(vars(module).items()):
            if name in wanted and not name.startswith("__") and (id(module), name) not in self._followed:
                self._followed.add((id(module), name))
                self._text(name)
                self.write(value, wanted)

    def _library(self, name: str | None, file: str) -> bool:
        """Whether code belongs to an installed library; its version is then written in place of the code."""
        module = sys.modules.get(name or "")
        where = str(getattr(module, "__file__", None) or file)
        top = (name or "").partition(".")[0]
        if top == "__main__" or (module is None and not file):
            return False
        if top in sys.stdlib_module_names or top in sys.builtin_module_names:
            return True
        if not where.startswith(_LIBRARIES):
            return False
        self._text(_installed(top))
        return True


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
    files = hashlib.sha256((found.read_text("RECORD") or "").encode()).hexdigest()
    return f"{found.name} {found.version} {files}"


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, (*_PLAIN, *_NAMED, float, enum.Enum, type, types.FunctionType))
