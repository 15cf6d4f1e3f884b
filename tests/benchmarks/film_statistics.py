"""What can be measured on any film, made or real? Contrast, noise, lines, sharpness, shading, frame, letters, posture.

Every statistic takes a film (H, W) of float32 in [0, 1], white = dense, and returns a number; NaN where no lung field
is found on a film and the statistic is one of posture. Lengths in pixels are those of a film as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from robustness.raw_beam import raw_beam
from tests.benchmarks.film_posture import posture

Film = NDArray[np.float32]


@dataclass(frozen=True)
class Statistic:
    """A number of a film.

    Attributes:
        words: what it is.
        unit: of its number; empty for a ratio.
        of: film (H, W) -> number.
        digits: decimals that are printed.
    """

    words: str
    unit: str
    of: Callable[[Film], float]
    digits: int = 2


def middle(film: Film, share: float = 0.6) -> Film:
    """The central part of a film, a share of each side."""
    rows, columns = (slice(round(side * (1 - share) / 2), round(side * (1 + share) / 2)) for side in film.shape)
    return film[rows, columns]


def width(film: Film) -> float:
    """From the 5th to the 95th percentile of the middle; beside it a film may be black, framed, or neither."""
    return float(np.subtract(*np.percentile(middle(film, 0.7), [95, 5])))


def typical(film: Film) -> float:
    """Median of the middle."""
    return float(np.median(middle(film)))


def clipped(film: Film) -> float:
    """Percent of the middle within two grey levels of black or white."""
    inner = middle(film)
    return float(100.0 * ((inner < 2.5 / 255) | (inner > 252.5 / 255)).mean())


def detail(film: Film) -> float:
    """Contrast of what is as broad as ribs and vessels: grey levels of 255, standard deviation in the middle."""
    inner = middle(film)
    return float(255.0 * (ndimage.gaussian_filter(inner, 1.5) - ndimage.gaussian_filter(inner, 6.0)).std())


def noise(film: Film) -> float:
    """Immerkaer's noise on the flattest quarter of the middle, grey levels of 255."""
    inner = middle(film)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    flat = ndimage.gaussian_gradient_magnitude(inner, 2.0)
    residual = np.abs(ndimage.convolve(inner, kernel))[flat <= np.percentile(flat, 25)]
    return float(255.0 * np.sqrt(np.pi / 2) / 6.0 * residual.mean())


def power_spectrum(film: Film) -> tuple[Film, Film, Film]:
    """Power of the windowed middle, and the frequencies of its rows and columns in cycles per pixel."""
    side = 2 * (min(middle(film).shape) // 2)
    inner = middle(film)[:side, :side]
    inner = inner - ndimage.gaussian_filter(inner, 8.0)
    window = np.hanning(side)
    power = np.abs(np.fft.rfft2(inner * window[:, None] * window[None, :])) ** 2
    return power, np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]


def slope(film: Film) -> float:
    """Exponent of the radial power spectrum between 0.1 and 0.4 cycles per pixel; white noise has 0."""
    power, rows, columns = power_spectrum(film)
    radius = np.hypot(rows, columns)
    edges = np.geomspace(0.1, 0.4, 9)
    levels = [np.log(power[(radius >= low) & (radius < high)].mean() + 1e-12) for low, high in pairwise(edges)]
    return float(np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), levels, 1)[0])


def line_peak(film: Film) -> float:
    """Strongest line of the spectrum within 12 degrees of an axis over the median of its ring, in decibels."""
    power, rows, columns = power_spectrum(film)
    radius = np.hypot(rows, columns)
    ring = np.rint(radius * power.shape[0]).astype(int)
    medians = ndimage.median(power, ring, np.arange(ring.max() + 1))
    lean = np.minimum(np.abs(rows), np.abs(columns)) / np.maximum(radius, 1e-9)
    near = (radius > 0.06) & (radius < 0.5) & (lean < np.sin(np.radians(12)))
    return float(10.0 * np.log10(np.max((power / np.maximum(medians[ring], 1e-12))[near])))


def edge_spread(film: Film) -> float:
    """10 to 90 % rise of the strongest edges, pixels: from their gradients after blurs of 1 and 2.5 pixels."""
    inner = middle(film, 0.8)
    fine, coarse = (ndimage.gaussian_gradient_magnitude(inner, sigma) for sigma in (1.0, 2.5))
    strong = (coarse >= ndimage.maximum_filter(coarse, 5) - 1e-6) & (coarse >= np.percentile(coarse, 97))
    ratio = np.square(ndimage.maximum_filter(fine, 3)[strong] / np.maximum(coarse[strong], 1e-6))
    # An edge of spread s has a gradient of 1 / sqrt(s^2 + blur^2).
    spread = (6.25 - ratio) / np.maximum(ratio - 1.0, 1e-2)
    return float(2.56 * np.sqrt(np.clip(np.median(spread), 0.0, 100.0)))


def laplacian(film: Film) -> float:
    """Mean absolute Laplacian, grey levels of 255."""
    return float(255.0 * np.abs(ndimage.laplace(film)).mean())


def coarse_detail(film: Film) -> float:
    """Contrast of what is 5 pixels broad over the width of the histogram."""
    inner = middle(film)
    return float((inner - ndimage.gaussian_filter(inner, 5.0)).std() / max(width(film), 1e-6))


def shading(film: Film) -> float:
    """Left third against right third of the middle: difference of medians over the histogram's width, unsigned."""
    inner = middle(film, 0.8)
    third = inner.shape[1] // 3
    return float(abs(np.median(inner[:, :third]) - np.median(inner[:, -third:])) / max(width(film), 1e-6))


def pale_sides(film: Film) -> float:
    """Outer sixths over the middle third of the film's width, difference of medians over the histogram's width."""
    inner = middle(film, 0.9)
    sixth = inner.shape[1] // 6
    sides = np.concatenate([inner[:, :sixth], inner[:, -sixth:]], axis=1)
    return float((np.median(sides) - np.median(inner[:, 2 * sixth : -2 * sixth])) / max(width(film), 1e-6))


def frame(film: Film) -> float:
    """Percent of the film that is black and connected to its border."""
    return float(100.0 * raw_beam(torch.from_numpy(film)).numpy().mean())


def letters(film: Film) -> float:
    """Height of the tallest compact white blob beside shoulders and arms, percent of the film's height; 0: none."""
    height, width = film.shape
    white = film > 0.85 * max(float(film.max()), 0.5)
    white[round(0.35 * height) :, round(0.2 * width) : round(0.8 * width)] = False
    labels, _ = ndimage.label(white)
    best = 0
    for rows, columns in ndimage.find_objects(labels):
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        around = film[max(rows.start - 3, 0) : rows.stop + 3, max(columns.start - 3, 0) : columns.stop + 3]
        if 3 <= tall <= 0.12 * height and wide <= 0.12 * width and np.percentile(around, 30) < 0.5:
            best = max(best, tall)
    return 100.0 * best / height


def ridges(film: Film) -> float:
    """White lines up to 5 pixels broad: mean of the strongest 0.5 % of a top-hat of the middle, grey levels of 255."""
    inner = middle(film, 0.8)
    hat = inner - ndimage.grey_opening(inner, size=(5, 5))
    return float(255.0 * np.sort(hat.ravel())[-max(1, hat.size // 200) :].mean())


def blocking(film: Film) -> float:
    """Steps across the borders of 8 x 8 blocks over steps elsewhere; 1 without compression."""
    ratios = []
    for image in (film, film.T):
        steps = np.abs(np.diff(image, axis=1)).mean(axis=0)
        border = np.arange(len(steps)) % 8 == 7
        ratios.append(steps[border].mean() / max(steps[~border].mean(), 1e-6))
    return float(np.mean(ratios))


def greys(film: Film) -> float:
    """How many grey values of 256 occur."""
    return float(len(np.unique(np.rint(film * 255.0))))


def aspect(film: Film) -> float:
    """Width over height."""
    return film.shape[1] / film.shape[0]


def polarity(film: Film) -> float:
    """Median of the outer tenth of the film less that of the middle."""
    rim = np.ones(film.shape, dtype=bool)
    rows, columns = (slice(side // 10, side - side // 10) for side in film.shape)
    rim[rows, columns] = False
    return float(np.median(film[rim]) - np.median(middle(film)))


def side_windows(film: Film) -> tuple[Film, Film, Film]:
    """The middle of both lungs and of the mediastinum, by place on the film."""
    height, wide = film.shape
    rows = slice(round(0.35 * height), round(0.65 * height))
    left, right, centre = (
        film[rows, round(low * wide) : round(high * wide)] for low, high in ((0.20, 0.36), (0.64, 0.80), (0.46, 0.54))
    )
    return left, right, centre


def whiter_side(film: Film) -> float:
    """Median of the whiter lung's middle over that of the mediastinum."""
    left, right, centre = side_windows(film)
    return float(max(np.median(left), np.median(right)) / max(float(np.median(centre)), 1e-6))


def darker_side(film: Film) -> float:
    """Median of the darker lung's middle over that of the mediastinum."""
    left, right, centre = side_windows(film)
    return float(min(np.median(left), np.median(right)) / max(float(np.median(centre)), 1e-6))


def ribs_in_white(film: Film) -> float:
    """Contrast of rib-sized structure in the whiter side over that in the darker one."""
    bands = [
        ndimage.gaussian_filter(side, 1.5) - ndimage.gaussian_filter(side, 6.0)
        for side in sorted(side_windows(film)[:2], key=np.median)
    ]
    return float(bands[1].std() / max(float(bands[0].std()), 1e-6))


def lean(film: Film) -> float:
    """Angle by which the film must be turned for its halves to mirror each other best, unsigned degrees up to 26."""
    small = ndimage.zoom(ndimage.gaussian_filter(middle(film, 0.9), 2.0), 0.3, order=1)
    small = small - ndimage.gaussian_filter(small, 12.0)
    likeness = {}
    for angle in range(-26, 27, 2):
        turned = ndimage.rotate(small, angle, reshape=False, order=1, mode="nearest")
        halves = [turned[:, max(0, 2 * off) : turned.shape[1] + min(0, 2 * off)] for off in range(-6, 7)]
        likeness[angle] = max(np.corrcoef(half.ravel(), half[:, ::-1].ravel())[0, 1] for half in halves)
    return float(abs(max(likeness, key=likeness.__getitem__)))


STATISTICS: Mapping[str, Statistic] = {
    "width": Statistic("width of the histogram in the middle, 5th to 95th percentile", "of the full scale", width),
    "typical": Statistic("median grey of the middle", "of the full scale", typical),
    "clipped": Statistic("share of black and white in the middle", "%", clipped, 1),
    "detail": Statistic("contrast of what is as broad as ribs", "grey levels of 255", detail, 1),
    "noise": Statistic("noise in flat areas", "grey levels of 255", noise),
    "slope": Statistic("exponent of the power spectrum", "", slope),
    "lines": Statistic("strongest line of the spectrum over its ring", "dB", line_peak, 0),
    "edges": Statistic("10 to 90 % rise of strong edges", "pixels", edge_spread),
    "laplacian": Statistic("mean absolute Laplacian", "grey levels of 255", laplacian, 1),
    "coarse": Statistic("contrast of detail of 5 pixels", "of the histogram's width", coarse_detail, 3),
    "shading": Statistic("difference between left and right", "of the histogram's width", shading),
    "pale sides": Statistic("sides over middle", "of the histogram's width", pale_sides),
    "frame": Statistic("black border", "% of the film", frame, 1),
    "letters": Statistic("tallest blob like a letter", "% of the film's height", letters, 1),
    "ridges": Statistic("strength of thin white lines", "grey levels of 255", ridges, 0),
    "blocking": Statistic("steps at 8-pixel blocks over steps elsewhere", "", blocking),
    "greys": Statistic("grey values that occur", "of 256", greys, 0),
    "aspect": Statistic("width over height", "", aspect),
    "polarity": Statistic("rim less middle", "of the full scale", polarity),
    "whiter side": Statistic("grey of the whiter lung over that of the mediastinum", "", whiter_side),
    "darker side": Statistic("grey of the darker lung over that of the mediastinum", "", darker_side),
    "ribs in white": Statistic("contrast of ribs in the whiter side over that in the other", "", ribs_in_white),
    "midline": Statistic("mediastinum off the middle of the chest", "% of its width", partial(posture, "midline"), 1),
    "lean": Statistic("lean of the axis of symmetry", "degrees", lean, 1),
    "heart": Statistic("width of the heart over that of the chest", "", partial(posture, "heart")),
    "chest": Statistic("height of the lungs over the width of the chest", "", partial(posture, "chest")),
}
"""Statistics by key."""
