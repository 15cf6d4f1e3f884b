"""Is this the very same network? One SHA-256 of everything in it that can decide a logit.

Not the file of weights is hashed, nor the settings a loader is known to read, but what came of them: every module with
its class, its plain attributes (epsilons, strides, activations, flags), its parameters, its buffers whether they are
saved or not, its hooks, and the code that runs: functions of the user's by bytecode, defaults, closures and the globals
they name, followed into the user's own modules; libraries by name, version and list of installed files. A setting that
a loader begins to read tomorrow is covered today.

Objects of libraries are written like the user's own, with all they hold; so is what replaces a library's method or
function in this process (see `library_code`).

The same network has the same digest in every process: no address, no hash of Python's, no time enters. Comments,
docstrings, file names and line numbers do not count. What differs without a consequence (a path kept as an attribute)
costs a second computation. An object that does not tell what it holds (a handle into compiled code, a generator) gives
a digest of this process only, so its predictions are never found again (see `not_told`). What cannot be seen from here
costs trust and is therefore listed: files, environment variables and services read while answering, names looked up by
a text (`getattr(module, name)`), constants changed inside a library, functions replaced there more than two calls away
from a layer's own methods, and compiled code outside installed libraries.
"""

from __future__ import annotations

import concurrent.futures
import enum
import functools
import hashlib
import io
import logging
import socket
import threading
import types
import typing
import weakref
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as of_all_modules

from suites.harness.subjects.code_writer import CodeWriter
from suites.harness.subjects.library_code import in_library
from suites.harness.subjects.object_state import UnknownStateError, attributes, out_of_sight, process_token

_NO_SETTING = frozenset(
    {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}
)
"""What a module holds besides its settings; tensors and submodules are written on their own."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_BACKWARD_HOOKS = ("_backward_pre_hooks", "_backward_hooks")
_OF_HOOKS = frozenset(name for name in vars(nn.Module()) if "hooks" in name)
_GLOBAL_HOOKS = tuple(f"_global_{name}_hooks" for name in ("forward_pre", "forward", "backward_pre", "backward"))
"""Of every module in this process."""
_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis), complex, range, slice)
_NAMED = (torch.dtype, torch.layout, torch.memory_format, torch.Size)
_CONTAINERS = (Mapping, list, tuple, set, frozenset, functools.partial, types.MethodType)
_WRAPPED = (staticmethod, classmethod, property, functools.cached_property)
_BY_NAME = (logging.Logger, typing.TypeVar, typing.ParamSpec, torch._ops.OpOverload, torch._ops.OpOverloadPacket)  # noqa: SLF001

_RUNNING = (threading.Thread, concurrent.futures.Executor, io.IOBase, socket.socket)
"""What runs, or leads out of the process: it holds half the process, and none of it tells what it will answer."""
MOST_OBJECTS = 200_000
"""Objects followed before a value counts as one that cannot be told; a large network is made of some thousands."""


def digest_of_network(network: nn.Module) -> str:
    """Return the SHA-256 of a network as it is now: structure, settings, weights, buffers and code.

    Hashing 28 million float32 parameters takes about a tenth of a second.
    """
    return digest_of(network)


def digest_of(value: object) -> str:
    """Return the SHA-256 of any value by the same rules: a network, a function that answers films, a setting."""
    return _written(value).digest.hexdigest()


def not_told(value: object) -> tuple[str, ...]:
    """Return the kinds of the objects whose content could not be written, so that the digest holds here and now only.

    Empty for a network whose predictions another run finds again.
    """
    return tuple(sorted(_written(value).not_told))


def _written(value: object, within: _Writer | None = None) -> _Writer:
    """Return a writer with a value written: of its own, for what is in a set, whose items have no order."""
    writer = _Writer(within)
    try:
        writer.write(value, ())
        writer.hooks_of_all_modules()
    except RecursionError:  # a chain too long to follow, or more objects than any network is made of
        writer = _Writer(within)
        writer.unknown(value)
    return writer


class _Writer(CodeWriter):
    """Writes values into a digest, each object once; one that comes again is written as its number."""

    def __init__(self, within: _Writer | None = None) -> None:
        super().__init__()
        self._seen: dict[int, tuple[int, object]] = {}  # the object is held, so that no other gets its id
        self.entered: set[int] = set() if within is None else set(within.entered)
        self.left: list[int] = [MOST_OBJECTS] if within is None else within.left
        self.not_told: set[str] = set()

    def write(self, value: object, names: Iterable[str]) -> None:
        """Write a value; `names` are those the code that holds it looks up, and so all that it takes of a module."""
        if isinstance(value, enum.Enum):
            self._text("enum", type(value).__qualname__, value.name)
            if not in_library(type(value).__module__):
                self._once(value, self._enumerated)
        elif isinstance(value, (float, *_PLAIN)):
            kind = type(value).__name__
            self._text(*(("float", value.hex()) if isinstance(value, float) else (kind, repr(value))))
            self._as_users(value)
        elif isinstance(value, _NAMED):
            self._text(str(value))
        elif isinstance(value, torch.device):
            self._text("device", value.type)
        elif isinstance(value, types.ModuleType):
            self._python_module(value, names)
        elif isinstance(value, _CONTAINERS):  # by content: whether two equal ones are the same object decides nothing
            if id(value) in self.entered:
                self._text("inside itself")
                return
            self.entered.add(id(value))
            self._object(value)
            self.entered.remove(id(value))
        else:
            self._once(value, self._object)

    def hooks_of_all_modules(self) -> None:
        """Write the hooks that every module calls, where there are any."""
        for name in _GLOBAL_HOOKS:
            if found := vars(of_all_modules).get(name):
                self._all(name, found.values())

    def unknown(self, value: object) -> None:
        """Write a token that no other process and no other object has."""
        self.not_told.add(type(value).__qualname__)
        self._text("unknown", process_token(value))

    def _once(self, value: object, write: Callable[[Any], None]) -> None:
        if id(value) in self._seen:
            self._text("again", str(self._seen[id(value)][0]))
        else:
            self._seen[id(value)] = len(self._seen), value
            self.left[0] -= 1
            if self.left[0] < 0:
                raise RecursionError("more objects than any network is made of")
            write(value)

    def _object(self, value: Any) -> None:  # noqa: ANN401, C901, PLR0912 - one line for every kind of value
        if isinstance(value, nn.Module):
            self._network(value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self._array(value)
        elif isinstance(value, Mapping):
            self._all("mapping", (part for item in value.items() for part in item))
            if isinstance(value, defaultdict) and value.default_factory is not None:
                self.write(value.default_factory, ())
            self._as_users(value)
        elif isinstance(value, list | tuple):
            self._all(type(value).__name__, value)
            self._as_users(value)
        elif isinstance(value, set | frozenset):
            self._set(value)
        elif isinstance(value, functools.partial):
            self._all("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self._all("method", (value.__self__, value.__func__))
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, torch.jit.ScriptFunction):
            self._script(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, _WRAPPED):
            self._wrapped(value)
        elif isinstance(value, _RUNNING):
            self.unknown(value)
        elif isinstance(value, weakref.ref):
            self._all("weak", [value()])
        elif isinstance(value, _BY_NAME):
            self._text("named", str(getattr(value, "name", value)))
        elif isinstance(value, functools._lru_cache_wrapper):  # noqa: SLF001 - it has no public name
            self._all("remembering", [value.__wrapped__])
        elif _of_c(value):
            self._text("builtin", str(getattr(value, "__module__", "")), value.__qualname__)
            self._bound(value)
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
            name: value for name, value in vars(module).items() if name not in _NO_SETTING | _OF_HOOKS
        }  # fmt: skip
        for name in sorted(about):
            self._text(name)
            self.write(about[name], ())
        for hooks in _HOOKS:
            self._all(hooks, vars(module).get(hooks, {}).values())
        for hooks in _BACKWARD_HOOKS:  # they change what attacks and maps see
            if found := vars(module).get(hooks):
                self._all(hooks, found.values())
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for name, tensor in tensors.items():
            self._text("tensor", name)
            self.write(tensor, ())
        self._packed(module, set(tensors))
        for name, child in vars(module)["_modules"].items():
            self._text("child", name)
            self.write(child, ())

    def _script(self, module: Any) -> None:  # noqa: ANN401 - a module or a function of TorchScript
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

    def _array(self, value: np.ndarray[Any, Any] | np.generic) -> None:
        self._text("array", value.dtype.str, str(value.shape))
        if value.dtype.hasobject:
            self.write(value.tolist(), ())
        else:
            self.digest.update(np.ascontiguousarray(value).tobytes())

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        written = [_written(item, self) for item in value]
        self.not_told.update(*(one.not_told for one in written))
        self._all("set", sorted(one.digest.hexdigest() for one in written))
        self._as_users(value)

    def _enumerated(self, value: enum.Enum) -> None:
        """Write what a member of an enumeration of the user's stands for; a library's is known by its name."""
        self._attributes((name, held) for name, held in attributes(value) if name != "__objclass__")
        self.write(type(value), ())

    def _as_users(self, value: object) -> None:
        """Write what a class of the user's adds to the plain value or container that it also is."""
        if not in_library(type(value).__module__):
            self.write(type(value), ())
            self._attributes(attributes(value))

    def _instance(self, value: object) -> None:
        """Write an object with all it holds; where it does not tell, what stands for it in this process alone."""
        self.write(type(value), ())
        self._attributes(attributes(value))
        try:
            further = out_of_sight(value)
        except UnknownStateError:
            self.unknown(value)
            return
        if further:
            self._all("state", further)


def _of_c(value: object) -> bool:
    """Whether something callable is compiled code of a library, known by its name."""
    if isinstance(value, np.ufunc) or "__qualname__" in getattr(value, "__dict__", {}):  # of anybody's making
        return False
    return callable(value) and hasattr(value, "__qualname__") and in_library(type(value).__module__)
