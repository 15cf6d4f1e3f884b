"""How is a record of an attack stored? One row of the cache: JSON for the numbers, PNG for 8-bit pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from robustness.attacks import AtBudget, AttackResult

PICTURES = ("film", "adversarial", "stored")
COLUMNS = {"image": "text", "record": "text", "film": "bytes", "example": "bytes"}


def to_row(result: AttackResult) -> dict[str, object]:
    """Return a record as a row with `image`, `record`, and the PNGs `film` and `example` (None where there is none)."""
    without = replace(result, film=None, adversarial=None, stored=None)  # or `asdict` would copy them
    plain = {key: value for key, value in asdict(without).items() if key not in PICTURES}
    return {
        "image": result.image_id,
        "record": json.dumps(plain),
        "film": _png(result.film),
        "example": _png(result.stored),
    }


def from_row(row: Mapping[Any, Any]) -> AttackResult:
    """Return the record of a row; `film` comes back in 8 bits, the point between grey levels does not come back."""
    plain = json.loads(str(row["record"]))
    plain["at"] = tuple(AtBudget(**{**item, "logits": tuple(item["logits"])}) for item in plain["at"])
    for name in ("clean_logits", "logits", "not_evaluable", "stored_logits"):
        plain[name] = tuple(plain[name])
    plain["passes"] = {name: tuple(pair) for name, pair in plain["passes"].items()}
    film, example = _pixels(row["film"]), _pixels(row["example"])
    return AttackResult(
        **plain, film=None if film is None else (film / np.float32(255)).astype(np.float32), stored=example
    )


def _png(image: npt.NDArray[np.generic] | None) -> bytes | None:
    if image is None:
        return None
    pixels = np.asarray(image)
    eight_bit = pixels if pixels.dtype == np.uint8 else np.round(pixels * 255).astype(np.uint8)
    shown = eight_bit[0] if len(eight_bit) == 1 else np.moveaxis(eight_bit, 0, -1)  # grey, or three colours
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "PNG")
    return buffer.getvalue()


def _pixels(data: object) -> npt.NDArray[np.uint8] | None:
    if not isinstance(data, bytes):
        return None
    pixels = np.asarray(Image.open(io.BytesIO(data)), dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
