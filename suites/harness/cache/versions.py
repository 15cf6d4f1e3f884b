"""With what was a run computed? Our own version and those of the libraries that decide its numbers."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "chest-xray-reliability", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pandas", "pillow",
    "pydicom", "captum", "torchattacks", "netcal", "albumentations",
)  # fmt: skip


def library_versions(devices: Iterable[str], precisions: Iterable[str] = ()) -> dict[str, str]:
    """Return package -> version, with `python`, `platform`, `device`, `precision`; what is not installed is left out.

    Args:
        devices: where the subjects run.
        precisions: what their networks multiply in.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found["device"] = ", ".join(sorted(set(devices))) or "cpu"
    found["precision"] = ", ".join(sorted(set(precisions))) or "float32"
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
