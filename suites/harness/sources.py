"""What caches are keyed by: the identity of our own code, and of a table of values."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

OUR_PACKAGES = ("robustness", "calibration", "explain", "suites")


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
