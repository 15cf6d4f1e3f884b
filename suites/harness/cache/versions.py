"""With what was a run computed? Our own version and those of the libraries that decide its numbers."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "chest-xray-reliability", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pandas", "pillow",
    "pydicom", "captum", "torchattacks", "netcal", "albumentations",
)  # fmt: skip


def library_versions(devices: Iterable[str]) -> dict[str, str]:
    """Return package -> version, with `python`, `platform` and `device`; packages that are not installed are left out.

    Args:
        devices: where the subjects run.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found["device"] = ", ".join(sorted(set(devices))) or "cpu"
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
