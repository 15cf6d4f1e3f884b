"""Is all that is imported declared? What another package happens to bring is gone when that one no longer does."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from tests.suites.test_import_rules import PACKAGES, ROOT

OF_THE_BUILD = "suites/installation/build.py"
"""Runs where a wheel is built, with what `build-system` requires; nobody who installed the wheel imports it."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


brought_by = cache(packages_distributions)


@cache
def declared() -> tuple[set[str], set[str]]:
    """What is installed with the project, and what only with one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [re.match(r"[\w.-]+", line)[0] for line in project["dependencies"]]
    extras = [re.match(r"[\w.-]+", line)[0] for lines in project["optional-dependencies"].values() for line in lines]
    return set(map(canonical, named)), set(map(canonical, extras))


def imports(node: ast.AST, *, lazily: bool = False) -> Iterator[tuple[str, bool]]:
    """Every module that is imported, and whether only when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.partition(".")[0], lazily) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module.partition(".")[0], lazily
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
            yield from ((str(one.value).partition(".")[0], lazily) for one in child.args[:1]
                        if isinstance(one, ast.Constant))  # fmt: skip
        yield from imports(child, lazily=lazily or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def undeclared(source: str) -> list[str]:
    """What a module imports that nobody declares, or that is an extra and is imported as the module is."""
    always, extras = declared()
    found = []
    for name, lazily in imports(ast.parse(source)):
        if name in sys.stdlib_module_names or name in PACKAGES or name.startswith("chest_xray_reliability"):
            continue
        sources = {canonical(one) for one in brought_by().get(name.lstrip("_") or name, [name])}
        if not sources & always and not (lazily and sources & extras):
            found.append(name)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared_or_an_extra_that_is_imported_when_it_is_asked_for(package):
    files = [path for path in sorted((ROOT / package).rglob("*.py")) if str(path.relative_to(ROOT)) != OF_THE_BUILD]
    assert len(files) > 10
    missing = {str(path.relative_to(ROOT)): names for path in files if (names := undeclared(path.read_text()))}
    assert missing == {}


def test_an_import_that_nobody_declares_is_found(monkeypatch):
    assert undeclared("import numpy\nfrom pathlib import Path\n") == []
    assert undeclared("import yaml_of_nobody.sub\n") == ["yaml_of_nobody"]
    assert undeclared("def f():\n    from requests_of_nobody import get\n") == ["requests_of_nobody"]
    assert undeclared("import ray\n") == ["ray"], "an extra"
    assert undeclared("def f():\n    import ray\n") == []
    assert undeclared("def f():\n    import_module('ray.util')\n") == []
