"""By what are caches keyed? The identity of our own code, and of a table of values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from suites.import_names import INSTALLED, OURS

DECODING_VERSION = 3
"""Of the way from a file's bytes to pixels (`film`, `dicom_film`): raise it whenever a film comes out differently."""
DECODERS = ("pillow", "pydicom", "numpy", "opencv-python", "opencv-python-headless", "pylibjpeg", "pylibjpeg-libjpeg",
            "pylibjpeg-openjpeg", "pylibjpeg-rle", "gdcm", "python-gdcm", "pyjpegls")  # fmt: skip
"""Libraries that have a hand in it; pydicom takes those after OpenCV where they are installed."""
OUR_PACKAGES = OURS
ROWS = 2**18
"""Of a table that are digested together."""
TEXTS = 2**14
"""Rows of a table without categories that are: pandas makes an object of each text."""
_IMPORTS = ((f"from {INSTALLED} import ".encode(), b"import "), (f"{INSTALLED}.".encode(), b""))
"""How the sources differ where they are installed (`suites/installation/build.py`), and as they are told alike."""


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
    """Return the sha256 of the sources of a package, in the order of their paths; of an installed one the same.

    Args:
        package: dotted name, for example `phantom.__name__`.
        pattern: which files below its folder; `**/*.py` takes those of its subpackages along.
    """
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - one of our own
    digest = hashlib.sha256()
    for path in sorted(Path(spec.origin).parent.glob(pattern)):
        source = path.read_bytes()
        for installed, plain in _IMPORTS:
            source = source.replace(installed, plain)
        digest.update(source)
    return digest.hexdigest()


def digest_of_table(table: pd.DataFrame) -> str:
    """Return a sha256 over every value of a table, in its order, and the names of its columns."""
    digest = hashlib.sha256("\x1f".join(map(str, table.columns)).encode())
    # Of a row each value's digest is its own. Categories are digested once for all rows of a part.
    categories = any(isinstance(dtype, pd.CategoricalDtype) for dtype in table.dtypes)
    rows = ROWS if categories else TEXTS
    for at in range(0, len(table), rows):
        part = table.iloc[at : at + rows]
        plain = part.apply(lambda column: column if _is_plain(column.dtype) else column.astype(str))
        digest.update(pd.util.hash_pandas_object(plain, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def digest_of_texts(texts: Mapping[str, str]) -> str:
    """Return a sha256 over texts by their names, whatever their order."""
    digest, before = hashlib.sha256(b"["), ""
    for name, text in sorted(texts.items()):  # as JSON has the sorted pairs, which are never all written out
        digest.update(f"{before}{json.dumps([name, text])}".encode())
        before = ", "
    digest.update(b"]")
    return digest.hexdigest()


def _is_plain(dtype: object) -> bool:
    """Return whether values of a type have a digest as they are: numbers, and categories that are texts."""
    if isinstance(dtype, pd.CategoricalDtype):  # digested as the same column of texts is, once for each text
        return dtype.categories.dtype == "str"
    return getattr(dtype, "kind", "O") in "fi"
