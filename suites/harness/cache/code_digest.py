"""By what are caches keyed? The identity of our own code, and of a table of values."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

DECODING_VERSION = 3
"""Of the way from a file's bytes to pixels (`film`, `dicom_film`): raise it whenever a film comes out differently."""
DECODERS = ("pillow", "pydicom", "numpy", "opencv-python", "opencv-python-headless", "pylibjpeg", "pylibjpeg-libjpeg",
            "pylibjpeg-openjpeg", "pylibjpeg-rle", "gdcm", "python-gdcm", "pyjpegls")  # fmt: skip
"""Libraries that have a hand in it; pydicom takes those after OpenCV where they are installed."""
OUR_PACKAGES = ("robustness", "calibration", "explain", "suites")


@cache
def decoding() -> dict[str, object]:
    """Return what decides the pixels of a film besides its bytes, whose hash is what caches know a film by."""
    found: dict[str, object] = {"version": DECODING_VERSION}
    for name in DECODERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def digest_of(package: str, pattern: str = "*.py") -> str:
    """Return the sha256 of the sources of a package, in the order of their paths.

    Args:
        package: dotted name, for example `robustness.phantom`.
        pattern: which files below its folder; `**/*.py` takes those of its subpackages along.
    """
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - one of our own
    digest = hashlib.sha256()
    for path in sorted(Path(spec.origin).parent.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def digest_of_table(table: pd.DataFrame) -> str:
    """Return a sha256 over every value of a table, in its order, and the names of its columns."""
    plain = table.apply(lambda column: column if column.dtype.kind in "fi" else column.astype(str))
    digest = hashlib.sha256("\x1f".join(map(str, table.columns)).encode())
    digest.update(pd.util.hash_pandas_object(plain, index=False).to_numpy().tobytes())
    return digest.hexdigest()
