"""What does a wheel hold? One package `chest_xray_reliability`, and in it the four that lie side by side here.

At the top level of an environment `calibration`, `explain`, `robustness` and `suites` would stand in the way of other
people's packages and folders of these names, and theirs in the way of ours. So the sources go into the wheel with every
import of one of the four, and every `python -m` in a text, written with the name of the package before it; lines stay
where they are. The same sources give the same wheel. An editable wheel leads to the sources as they are.

hatchling runs this file, by the path that pyproject.toml names.
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TOP = "chest_xray_reliability"
PACKAGES = ("robustness", "calibration", "explain", "suites")
SUFFIXES = (".py", ".toml", ".csv", ".json", ".j2", ".css", ".js", ".safetensors")
"""Files of these kinds are sources; what else may lie among them is somebody's own."""
BUILD = "suites/installation"
_ONE = f"(?P<package>{'|'.join(PACKAGES)})"
_FORMS = (
    (
        re.compile(rf"^(?P<indent>\s*)from {_ONE}(?=\.\w[\w.]* import\b| import\b)", re.MULTILINE),
        r"\g<indent>from {}.\g<package>",
    ),
    (re.compile(rf"^(?P<indent>\s*)import {_ONE}$", re.MULTILINE), r"\g<indent>from {} import \g<package>"),
    (re.compile(rf"python -m {_ONE}(?=\.\w)"), r"python -m {}.\g<package>"),
)


def renamed(source: str, name: str) -> str:
    """Return a module's source with every import of one of the four packages from within `chest_xray_reliability`.

    Args:
        source: the text of the module.
        name: its path, for the message.

    Raises:
        ValueError: it imports one of them in a form that is not known here.
    """
    for form, replacement in _FORMS:
        source = form.sub(replacement.format(TOP), source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            named = [node.module or ""]
        else:
            continue
        if any(one.partition(".")[0] in PACKAGES for one in named):
            raise ValueError(f"{name}, line {node.lineno}: write `from {named[0]} import ...` on a line of its own")
    return source


def lay_out(root: Path, into: Path) -> None:
    """Write into a folder what belongs in the wheel, as it lies in site-packages."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.suffix not in SUFFIXES or "__pycache__" in name or name.startswith(BUILD):
                continue
            _write(file, into / TOP / name)
    for file in sorted((root / BUILD / "top").glob("*.py")):
        _write(file, into / TOP / file.name)
    started = (root / BUILD / "start.pth").read_text(encoding="utf-8")
    (into / f"{TOP}.pth").write_text(started.replace("from suites.", f"from {TOP}.suites."), encoding="utf-8")


def _write(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".py":
        target.write_text(renamed(file.read_text(encoding="utf-8"), str(file)), encoding="utf-8")
    else:
        shutil.copyfile(file, target)


class InOnePackage(BuildHookInterface[Any]):
    """Hands hatchling the files of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lay them out; an editable wheel gets the package's own few files beside the path of the sources."""
        top = Path(self.root) / BUILD / "top"
        if version == "editable":
            build_data["force_include_editable"] = {
                **{str(file): f"{TOP}/{file.name}" for file in sorted(top.glob("*.py"))},
                str(top.with_name("start.pth")): f"{TOP}.pth",
            }
            return
        self._folder = Path(tempfile.mkdtemp(prefix=f"{TOP}-"))
        lay_out(Path(self.root), self._folder)
        build_data["force_include"].update({str(path): path.name for path in sorted(self._folder.iterdir())})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Take the folder away."""
        if version != "editable":
            shutil.rmtree(self._folder)
