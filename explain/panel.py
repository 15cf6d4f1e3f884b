"""What does one gallery panel show? Film, perturbed film, saliency before and after, and their difference.

A panel is a row of equal tiles without a letter in the picture: what each shows stands in its title and note, for the
page to write beneath it.
Colours are perceptually even: inferno for maps without a sign, a symmetric blue-red map around zero for maps with one.
Both maps of a panel share one scale, or their difference would be an artefact of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from explain.network import F64
from explain.regions import Mask
from explain.sanity import Outcome

Sanity = Outcome | Literal["not checked"]

LEGEND = (
    "cyan line: lesion", "yellow line: lung",
    "red: for it, blue: against it (drawn smoothed)", "red: gained, blue: lost",
)  # fmt: skip
"""What lines and colours mean, at the end of the note of each tile that has them."""
SANITY_WORDS: dict[str, str] = {
    "passed": "passed its sanity check",
    "failed": "FAILED its sanity check: this picture would look much the same if the network had learned nothing",
    "undecided": "sanity check undecided: it may show nothing that was learned",
    "not evaluable": "its sanity check could not be evaluated",
    "not checked": "sanity not checked",
}
SIGNED_MAP, UNSIGNED_MAP = "coolwarm", "inferno"
DISPLAY_BLUR = 1 / 75
"""Signed maps alternate from pixel to pixel with the network's stride. To be seen they are drawn, never measured,
after a Gaussian blur of this fraction of the side, which leaves the net evidence of a neighbourhood."""
LESION_COLOUR, LUNG_COLOUR = (0, 200, 225), (255, 200, 60)
TILE = 256
"""Side of a tile in pixels of the picture."""


@dataclass(frozen=True)
class View:
    """A film as the network saw it, what was predicted, and where the method says it looked.

    Attributes:
        film: grey (S, S) in [0, 1].
        probabilities: class name to softmax probability.
        saliency: (S, S), None if the method gave nothing for this view.
        target: class name that the saliency explains.
    """

    film: npt.NDArray[np.floating]
    probabilities: Mapping[str, float]
    saliency: npt.NDArray[np.floating] | None
    target: str

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[self.predicted]


@dataclass(frozen=True)
class Panel:
    """Everything one gallery picture shows, and everything it can be filtered by.

    Attributes:
        image_id: the film.
        truth: its class name, None if unknown.
        topic: the failure mode the gallery is about.
        condition: what was done to the film, "clean" if nothing.
        rule: why this film was picked (`explain.selection`).
        method: attribution method.
        signed: whether its maps have a sign.
        sanity: outcome of its randomisation check.
        before: the clean view.
        after: the perturbed view, None if there is none.
        lesion: outline (S, S) where known.
        lung: outline (S, S) where known.
        class_specific: False if the method's map does not depend on the class.
    """

    image_id: str
    truth: str | None
    topic: str
    condition: str
    rule: str
    method: str
    signed: bool
    sanity: Sanity
    before: View
    after: View | None = None
    lesion: Mask | None = None
    lung: Mask | None = None
    class_specific: bool = True

    @property
    def comparable(self) -> bool:
        """Whether the two maps answer the same question, so that their difference means something."""
        return (
            self.after is not None
            and _usable(self.before)
            and _usable(self.after)
            and self.before.target == self.after.target
        )


def _usable(view: View) -> bool:
    return view.saliency is not None and bool(np.isfinite(view.saliency).all())


def _drawable(panel: Panel, view: View | None) -> F64 | None:
    """Return the map as it is drawn, None if there is nothing to draw."""
    if view is None or view.saliency is None or not _usable(view):
        return None
    saliency = np.asarray(view.saliency, dtype=np.float64)
    if not panel.signed:
        return saliency
    return np.asarray(ndimage.gaussian_filter(saliency, DISPLAY_BLUR * saliency.shape[0]), dtype=np.float64)


def _scale(panel: Panel) -> float:
    """Return the 99.5th percentile of both drawn magnitudes, the top of the common scale; 0 if both are empty."""
    maps = [np.abs(one) for one in (_drawable(panel, panel.before), _drawable(panel, panel.after)) if one is not None]
    return max((float(np.percentile(one, 99.5)) or float(one.max()) for one in maps), default=0.0)


def heat(film: npt.ArrayLike, saliency: npt.ArrayLike, top: float, *, signed: bool) -> F64:
    """Return the film with a map laid over it, RGB (S, S, 3); where the map is weak the film shows through."""
    grey = _grey(film)
    level = np.clip(np.asarray(saliency, dtype=np.float64) / (top or 1.0), -1, 1)
    colour = mpl.colormaps[SIGNED_MAP if signed else UNSIGNED_MAP]((level + 1) / 2 if signed else np.abs(level))[
        ..., :3
    ]
    opacity = (
        0.85 * (np.abs(level) if signed else np.sqrt(np.abs(level)))[..., None]
    )  # the middle of a signed map is grey
    return np.asarray((1 - opacity) * 0.8 * grey + opacity * colour, dtype=np.float64)


@dataclass(frozen=True)
class Tile:
    """One square of a panel: title, note, whether that is `right`, `wrong` or neither, and picture (S, S, 3) in [0, 1].

    Without a picture, a grey square: the note says why.
    """

    title: str
    note: str
    tone: str
    picture: F64 | None


def tiles(panel: Panel) -> list[Tile]:
    """Return what the panel shows from left to right: films, maps, and the difference where it means something."""
    views = [(panel.before, "film", "before")]
    views += [(panel.after, panel.condition, "after")] if panel.after is not None else []
    top = _scale(panel)
    shown = [_film(panel, view, title) for view, title, _ in views]
    shown += [_map(panel, view, when, top) for view, _, when in views]
    return shown + _difference(panel, top)


def _film(panel: Panel, view: View, title: str) -> Tile:
    said = f"{_plain(view.predicted)} {_percent(view.confidence)}"
    drawn = [words for mask, words in ((panel.lesion, LEGEND[0]), (panel.lung, LEGEND[1])) if mask is not None]
    note = ", ".join([said, *drawn])
    tone = "" if panel.truth is None else "right" if view.predicted == panel.truth else "wrong"
    return Tile(title, note, tone, _grey(view.film))


def _map(panel: Panel, view: View, when: str, top: float) -> Tile:
    title = f"{panel.method}, {when}" if panel.after is not None else panel.method
    note = f"why {_plain(view.target)}?" if panel.class_specific else "the same for every class"
    if view.saliency is None:
        return Tile(title, f"{note} no map", "", None)
    drawn = _drawable(panel, view)
    if drawn is None:
        return Tile(title, f"{note} map is not finite: left out of all averages", "", None)
    if float(np.ptp(view.saliency)) == 0.0:
        note = f"{note} flat map: it says nothing"
    elif panel.signed:
        note = f"{note} {LEGEND[2]}"
    return Tile(title, note, "", heat(view.film, drawn, top, signed=panel.signed))


def _difference(panel: Panel, top: float) -> list[Tile]:
    """Return what the map gained and lost; nothing where the two maps cannot be compared."""
    first, second = _drawable(panel, panel.before), _drawable(panel, panel.after)
    if not panel.comparable or first is None or second is None:
        return []
    level = np.clip((second - first) / (top or 1.0), -1, 1)
    picture = np.asarray(mpl.colormaps[SIGNED_MAP]((level + 1) / 2)[..., :3], dtype=np.float64)
    return [Tile("after − before", LEGEND[3], "", picture)]


def footing(panel: Panel) -> str:
    """Return the line on whether the method can be believed."""
    return f"{panel.method}{' (drawn smoothed)' if panel.signed else ''}: {SANITY_WORDS[panel.sanity]}"


def draw_panel(panel: Panel) -> Image.Image:
    """Return the panel's tiles side by side as an RGB picture, 256 pixels each, nothing between them."""
    shown = tiles(panel)
    picture = Image.new("RGB", (len(shown) * TILE, TILE))
    for place, tile in enumerate(shown):
        picture.paste(_square(tile, panel), (place * TILE, 0))
    return picture


def _square(tile: Tile, panel: Panel) -> Image.Image:
    """Return a tile's picture at its size with the outlines drawn in."""
    if tile.picture is None:
        return Image.new("RGB", (TILE, TILE), "#e8e8e8")
    rough = Image.fromarray(np.round(255 * np.clip(tile.picture, 0, 1)).astype(np.uint8))
    pixels = np.array(rough.resize((TILE, TILE), Image.Resampling.BICUBIC))
    for mask, colour in ((panel.lung, LUNG_COLOUR), (panel.lesion, LESION_COLOUR)):
        if mask is not None:
            large = np.array(Image.fromarray(mask).resize((TILE, TILE), Image.Resampling.NEAREST))
            pixels[large & ~ndimage.binary_erosion(large)] = colour
    return Image.fromarray(pixels)


def _grey(film: npt.ArrayLike) -> F64:
    return np.repeat(np.clip(np.asarray(film, dtype=np.float64), 0, 1)[..., None], 3, axis=2)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(share: float) -> str:
    """Return a percentage that never claims certainty by rounding."""
    return ">99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %" if 0.99 < share < 1 else f"{100 * share:.0f} %"
