"""How is a file read that holds a pickled network, and not its weights alone, without running anything it says?

`torch.save(network)` writes the names of classes, and loading it as it is meant to be loaded runs their code, and any
other code that the file names. Here a list says which names may stand in the file at all: classes of networks, in whose
place empty shells are filled, and what tensors are made of. Any other name refuses the file before it can do a thing
(Python's own "Restricting Globals"; torch's `weights_only` reader does the same, but takes no network of before 2020).
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from suites.harness.subjects.formats.tensors import State
from suites.harness.subjects.formats.weights import plain, read_torch

LAYERS = frozenset(
    f"torch.nn.modules.{module}.{name}"
    for module, names in {
        "container": ("Sequential",),
        "conv": ("Conv2d",),
        "batchnorm": ("BatchNorm2d",),
        "activation": ("ReLU",),
        "pooling": ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"),
        "linear": ("Linear",),
        "dropout": ("Dropout",),
    }.items()
    for name in names
)
"""Layers of torch's own that a network may be made of."""
_STORAGES = frozenset({"FloatStorage", "DoubleStorage", "HalfStorage", "LongStorage", "IntStorage", "BoolStorage"})


class Shell:
    """What an object of a network's class becomes: its attributes, and nothing that could run."""

    dump_patches = False  # torch asks classes of old files for it


def read_shells(path: Path, classes: Collection[str]) -> Any:  # noqa: ANN401 - a checkpoint holds whatever was saved
    """Read a torch file that may hold networks of some classes; everything else as `read_torch` reads it.

    Args:
        path: the file.
        classes: dotted names of the classes besides torch's own `LAYERS`.

    Raises:
        SubjectProblem: as `read_torch`, also where the file names anything else.
    """
    return read_torch(path, load=lambda file: _load(file, LAYERS | frozenset(classes)))


def state_of(shell: Shell, before: str = "") -> State:
    """Return the parameters and buffers of a network that was read as shells, by their dotted names."""
    held: Mapping[str, Any] = vars(shell)
    own = {**(held.get("_parameters") or {}), **(held.get("_buffers") or {})}
    found: State = {f"{before}{name}": one.detach() for name, one in own.items() if isinstance(one, Tensor)}
    for name, inner in (held.get("_modules") or {}).items():
        if isinstance(inner, Shell):
            found |= state_of(inner, f"{before}{name}.")
    return found


def _load(path: Path, classes: frozenset[str]) -> Any:  # noqa: ANN401 - as above
    try:
        return plain(path)
    except pickle.UnpicklingError:
        pass  # it holds a network, or what is refused below
    # Of this file alone: whatever a file does to what it is given ends with it.
    allowed: dict[str, Any] = dict.fromkeys(classes, type("Shell", (Shell,), {}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        allowed[f"torch._utils.{name}"] = _calling(getattr(torch._utils, name))  # noqa: SLF001 - how torch saves tensors
    allowed |= {f"torch.{name}": getattr(torch, name) for name in _STORAGES}
    allowed |= {"collections.OrderedDict": OrderedDict, "builtins.set": set, "__builtin__.set": set}

    class Restricted(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - classes and functions
            found = allowed.get(f"{module}.{name}")
            if found is None:
                raise pickle.UnpicklingError(f"GLOBAL {module}.{name} was not an allowed global")
            return found

    reader = ModuleType("restricted")
    reader.__dict__.update(Unpickler=Restricted, load=lambda file, **how: Restricted(file, **how).load())
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)


def _calling(function: Callable[..., object]) -> Callable[..., object]:
    def call(*given: object) -> object:
        return function(*given)

    return call
