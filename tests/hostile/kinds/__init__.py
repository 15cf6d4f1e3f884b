"""Which kinds of hostile input are there? One file each; every file of this folder is imported."""

from __future__ import annotations

import importlib
import pkgutil

from tests.hostile import material

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def prepare() -> None:
    """Make what many cases share, once, before workers are forked."""
    material.prepare()
