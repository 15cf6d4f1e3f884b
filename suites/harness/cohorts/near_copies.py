"""Which films of two cohorts show the same picture, whatever files they lie in? By what is left of each at 32 x 32.

Equal files are found by their bytes (`cohorts.external`). A film that was saved anew, as a JPEG of another quality, of
another size or brightness, is another file with other pixels. So each film is averaged down to 32 x 32 whatever its
shape, what varies slowly (the body that all films share) is taken out, what is left is brought to one contrast
everywhere, and two films are copies where these correlate above `ALIKE`.

Measured on 3,947 real films (every second paediatric film, all of their test split, all adult ones): of 7.8 million
pairs of different films the most alike correlate at .839, two films of one patient; of other patients at .825. 158 of
them saved anew correlate with themselves at .993 at least (JPEG quality 50; 30: .983), .989 (half the size, or 112 x
112 pixels whatever their shape), .977 (gamma .7); quality 10 gives .904 to .99. A margin of 2 % cut off all around
gives .71 to .9: films that were cropped are not found.

Where two home films are as alike as that themselves, only equal pixels count: drawings of one body tell nothing apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from suites.harness.cache.code_digest import decoding
from suites.harness.cache.shards import Row, Shards
from suites.harness.cohorts.cohort import Cohort
from suites.harness.errors import FilmUnreadable

ALIKE = 0.95
"""Correlation from which two films are one picture."""
MOST = 10_000
"""Films of a cohort that are compared, a random sample of more."""
SIDE, SLOW = 32, 2.0
"""Pixels of what is compared; those over which what all films share varies (a Gaussian's sigma)."""
_FLOOR = 1 / 255  # contrast below which there is nothing but rounding
_VERSION = 1
_AT_ONCE = 1024


def near_copies(
    home: Cohort, away: Cohort, at_home: Mapping[str, str], there: Mapping[str, str], cache: Path
) -> dict[str, str]:
    """Return film of the other cohort -> film of the home cohort that shows the same picture.

    Films that say what they are without being decoded (simulated ones) are none of anybody else.

    Args:
        home: the cohort under test.
        away: the other.
        at_home: film -> what identifies its pixels, of those that can be read.
        there: the same of the other.
        cache: root of the cache; what was found of a film is kept in it.
    """
    if home.identify is not None or away.identify is not None:
        return {}
    shards = Shards(
        cache, "fingerprints", {"version": _VERSION, "decoding": decoding()},
        {"content": "text", "pixels": "text", "picture": "bytes"},
    )  # fmt: skip
    known = shards.known(["content"])
    mine, theirs = _some(at_home), _some(there)
    own = shards.fill(["content"], _asked(home, mine, at_home), known)
    others = shards.fill(["content"], _asked(away, theirs, there), known)
    if not own:
        return {}
    first = {str(row["pixels"]): film for row, film in reversed(list(zip(own, mine, strict=True)))}
    pictures = _pictures(own)
    ambiguous = np.array([(row > ALIKE).sum() > 1 for part in _products(pictures, pictures) for row in part], bool)
    found: dict[str, str] = {}
    best = [(int(row.argmax()), row.max()) for part in _products(_pictures(others), pictures) for row in part]
    for film, row, (at, likeness) in zip(theirs, others, best, strict=True):
        if row["pixels"] and (same := first.get(str(row["pixels"]), "")):
            found[film] = same
        elif likeness > ALIKE and not ambiguous[at]:
            found[film] = mine[at]
    return found


def picture(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (1024,) what tells a film from others, of length 1; zeros where it shows nothing.

    Args:
        pixels: (H, W) in [0, 1].
    """
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    detail = small - gaussian_filter(small, SLOW, mode="nearest")
    detail /= np.sqrt(gaussian_filter(detail**2, 2 * SLOW, mode="nearest")) + _FLOOR
    detail -= detail.mean()
    length = float(np.linalg.norm(detail))
    told = detail / length if length > _FLOOR else np.zeros_like(detail)
    return np.asarray(told.ravel(), np.float32)


def _some(contents: Mapping[str, str]) -> list[str]:
    """Return the films that are compared, in their order; which of many, their contents decide."""
    if len(contents) <= MOST:
        return list(contents)
    drawn = sorted(contents, key=lambda film: hashlib.sha256(f"{contents[film]}".encode()).digest())[:MOST]
    chosen = set(drawn)
    return [film for film in contents if film in chosen]


def _asked(
    cohort: Cohort, films: Sequence[str], contents: Mapping[str, str]
) -> Iterator[tuple[tuple[str], Callable[[], Row]]]:
    """Yield the content of each film and what looks at it."""
    place = {str(film): at for at, film in enumerate(cohort.table["id"])}
    for film in films:
        yield (contents[film],), partial(_looked_at, cohort, place[film])


def _looked_at(cohort: Cohort, at: int) -> Row:
    try:
        pixels = cohort.decode(cohort.rows([at])[0]).pixels
    except FilmUnreadable:  # it could be read a moment ago
        return {"pixels": "", "picture": np.zeros(SIDE**2, np.float32).tobytes()}
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return {"pixels": digest, "picture": picture(pixels).tobytes()}


def _pictures(rows: Sequence[Row]) -> NDArray[np.float32]:
    return np.array([np.frombuffer(row["picture"], np.float32) for row in rows], np.float32).reshape(-1, SIDE**2)


def _products(one: NDArray[np.float32], other: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield how films correlate with others, for some of the rows of the former after another."""
    for start in range(0, len(one), _AT_ONCE):
        yield one[start : start + _AT_ONCE] @ other.T
