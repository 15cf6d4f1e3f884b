"""The quality that a JPEG was saved with is read from its header, and a file that is none has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from suites.harness.validity.jpeg_tables import jpeg_quality

FILM = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 24), dtype=np.uint8))


@pytest.mark.parametrize("quality", [5, 25, 50, 75, 90, 98])
def test_the_quality_it_was_saved_with(tmp_path, quality):
    FILM.save(tmp_path / "film.jpeg", quality=quality)
    assert jpeg_quality(tmp_path / "film.jpeg") == quality
    FILM.convert("RGB").save(tmp_path / "colour.jpeg", quality=quality)
    assert jpeg_quality(tmp_path / "colour.jpeg") == quality


def test_tables_of_another_encoder_get_the_nearest(tmp_path):
    FILM.save(tmp_path / "flat.jpeg", qtables=[[3] * 64])
    assert jpeg_quality(tmp_path / "flat.jpeg") == pytest.approx(97, abs=2)


def test_a_file_that_is_no_jpeg_has_none(tmp_path):
    FILM.save(tmp_path / "film.png")
    (tmp_path / "text.jpeg").write_bytes(b"no film")
    assert all(math.isnan(jpeg_quality(tmp_path / name)) for name in ("film.png", "text.jpeg", "missing.jpeg"))
