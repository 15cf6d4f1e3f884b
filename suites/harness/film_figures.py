"""Pictures of films for galleries: what the subject saw before and after, with what it said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from suites.harness.conditions import CLEAN, parse
from suites.harness.evidence import Evidence


def films_in_a_row(films: Sequence[npt.NDArray[np.float32]], titles: Sequence[str]) -> Figure:
    """Draw films side by side at the same height, white dense, without interpolation of grey values."""
    aspects = [film.shape[1] / film.shape[0] for film in films]
    figure = Figure(figsize=(2.6 * sum(aspects), 2.9), dpi=100)
    grid = figure.add_gridspec(
        1, len(films), width_ratios=aspects, wspace=0.03, left=0.01, right=0.99, bottom=0.01, top=0.87
    )
    for index, (film, title) in enumerate(zip(films, titles, strict=True)):
        axes = figure.add_subplot(grid[0, index])
        axes.imshow(film, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def before_and_after(
    evidence: Evidence, image: str, condition: str, calls: Sequence[str], sure: Sequence[float]
) -> Figure:
    """Draw a film clean and under a condition, with what the subject called each."""
    film = evidence.film(image)
    pixels = torch.from_numpy(film.pixels)
    lungs = torch.from_numpy(film.masks["lung"]) if "lung" in film.masks else None
    changed = parse(condition).apply(pixels, image, seed=evidence.seed, lungs=lungs)[0]
    titles = [f"{name}\n{call} {share:.0%}" for name, call, share in zip((CLEAN, condition), calls, sure, strict=True)]
    return films_in_a_row([film.pixels, changed.numpy()], titles)
