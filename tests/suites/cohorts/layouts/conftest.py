"""Small films on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def films(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes films of the given relative names, each different, and returns their folder."""

    def write(*names: str, root: str = "films") -> Path:
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:4], "big")
            grey = np.random.default_rng(seed).integers(0, 256, (40, 48), dtype=np.uint8)
            kind = "JPEG" if path.suffix in (".jpeg", ".jpg") else "PNG"
            with path.open("wb") as stream:
                Image.fromarray(grey).save(stream, format=kind)
        return tmp_path / root

    return write
