"""What does one gallery panel show? Film, perturbed film, saliency before and after, and their difference.

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
from PIL import Image, ImageDraw
from scipy import ndimage

from explain.lettering import Key, fitted, in_rows, span, typeface, wrapped, write_keys
from explain.network import F64
from explain.regions import Mask
from explain.sanity import Outcome

Sanity = Outcome | Literal["not checked"]

GOOD, BAD, UNDECIDED, QUIET, INK = "#1b7837", "#b2182b", "#9a6700", "#555555", "#111111"
SANITY_WORDS: dict[str, tuple[str, str]] = {
    "passed": ("passed its sanity check", GOOD),
    "failed": (
        "FAILED its sanity check: this picture would look much the same if the network had learned nothing",
        BAD,
    ),
    "undecided": ("sanity check undecided: it may show nothing that was learned", UNDECIDED),
    "not evaluable": ("its sanity check could not be evaluated", UNDECIDED),
    "not checked": ("sanity not checked", UNDECIDED),
}
SIGNED_MAP, UNSIGNED_MAP = "coolwarm", "inferno"
DISPLAY_BLUR = 1 / 75
"""Signed maps alternate from pixel to pixel with the network's stride. To be seen they are drawn, never measured,
after a Gaussian blur of this fraction of the side, which leaves the net evidence of a neighbourhood."""
LESION_COLOUR, LUNG_COLOUR = (0, 200, 225), (255, 200, 60)
TILE, GAP, LINE = 256, 8, 19
"""Side of a tile, the space around it and the height of a line beneath it, in pixels of the picture."""


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
    """One square of a panel: title, coloured note, picture (S, S, 3) in [0, 1], and words on it or in its place."""

    title: str
    note: str
    colour: str
    picture: F64 | None
    words: str = ""


def tiles(panel: Panel) -> list[Tile]:
    """Return what the panel shows from left to right: films, maps, and the difference where it means something."""
    views = [(panel.before, "film", "before")]
    views += [(panel.after, panel.condition, "after")] if panel.after is not None else []
    top = _scale(panel)
    shown = [_film(panel, view, title) for view, title, _ in views]
    shown += [_map(panel, view, when, top) for view, _, when in views]
    return shown + ([_difference(panel, panel.after, top)] if panel.after is not None else [])


def _film(panel: Panel, view: View, title: str) -> Tile:
    said = f"{_plain(view.predicted)} {_percent(view.confidence)}"
    picture = _grey(view.film)
    if panel.truth is None:
        return Tile(title, said, INK, picture)
    right = view.predicted == panel.truth
    return Tile(title, f"{'✓' if right else '✗'} {said}", GOOD if right else BAD, picture)


def _map(panel: Panel, view: View, when: str, top: float) -> Tile:
    title = f"{panel.method}, {when}" if panel.after is not None else panel.method
    note = f"why {_plain(view.target)}?" if panel.class_specific else "the same for every class"
    if view.saliency is None:
        return Tile(title, note, QUIET, None, "no map")
    drawn = _drawable(panel, view)
    if drawn is None:
        return Tile(title, note, QUIET, None, "map is not finite:\nleft out of all averages")
    flat = "flat map: it says nothing" if float(np.ptp(view.saliency)) == 0.0 else ""
    return Tile(title, note, QUIET, heat(view.film, drawn, top, signed=panel.signed), flat)


def _difference(panel: Panel, after: View, top: float) -> Tile:
    title, first, second = "after - before", _drawable(panel, panel.before), _drawable(panel, after)
    if not panel.comparable or first is None or second is None:
        same = after.target == panel.before.target
        words = "nothing to compare" if same else "the maps explain\ndifferent classes"
        return Tile(title, "no difference", QUIET, None, words)
    level = np.clip((second - first) / (top or 1.0), -1, 1)
    picture = np.asarray(mpl.colormaps[SIGNED_MAP]((level + 1) / 2)[..., :3], dtype=np.float64)
    return Tile(title, "red gained, blue lost", QUIET, picture)


def footing(panel: Panel) -> tuple[str, str]:
    """Return the line on whether the method can be believed, and its colour."""
    words, colour = SANITY_WORDS[panel.sanity]
    return f"{panel.method}{' (drawn smoothed)' if panel.signed else ''}: {words}", colour


def draw_panel(panel: Panel) -> Image.Image:
    """Return the panel as an RGB picture, 256 pixels per tile."""
    shown = tiles(panel)
    width, head, titles = GAP + len(shown) * (TILE + GAP), 48, 38
    room = width - 2 * GAP
    words, colour = footing(panel)
    face = typeface(13, bold=panel.sanity == "failed")
    lines, keys = wrapped(words, face, room), in_rows(_keys(panel), room)
    # The legend stands behind the last line where there is room, else beneath it: never over it.
    beside = not keys or (len(keys) == 1 and face.getlength(lines[-1]) + span(keys[0]) <= room)
    above = len(lines) - beside
    picture = Image.new("RGB", (width, head + titles + TILE + 30 + LINE * (above + max(len(keys), 1) - 1)), "white")
    draw = ImageDraw.Draw(picture)
    truth = f"truth: {_plain(panel.truth)}" if panel.truth else "truth unknown"
    draw.text((GAP, 6), fitted(panel.image_id, typeface(14, bold=True), room), INK, typeface(14, bold=True))
    topic = panel.topic if panel.topic == panel.condition else f"{panel.topic}, {panel.condition}"
    about = f"{truth}, picked as {panel.rule}: {topic}"
    draw.text((GAP, 27), fitted(about, typeface(12), room), QUIET, typeface(12))
    for place, tile in enumerate(shown):
        left = GAP + place * (TILE + GAP)
        draw.text((left, head + 3), tile.title, INK, typeface(12))
        draw.text((left, head + 19), tile.note, tile.colour, typeface(12, bold=True))
        picture.paste(_square(tile, panel), (left, head + titles))
        if tile.words:
            middle = (left + TILE // 2, head + titles + TILE // 2)
            ink = QUIET if tile.picture is None else "white"
            draw.multiline_text(middle, tile.words, ink, typeface(13), anchor="mm", align="center")
    top = head + titles + TILE + 7
    for number, line in enumerate(lines):
        draw.text((GAP, top + LINE * number), line, colour, face)
    for number, row in enumerate(keys):
        write_keys(draw, row, width - GAP, top + 2 + LINE * (above + number), QUIET)
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


def _keys(panel: Panel) -> list[Key]:
    """Return the legend from right to left: what the signs mean, and outlines that are drawn."""
    ends = mpl.colormaps[SIGNED_MAP]
    against, towards = (tuple(round(255 * c) for c in ends(at)[:3]) for at in (0.0, 1.0))
    keys: list[Key] = [(against, "against it"), (towards, "speaks for the class")] if panel.signed else []
    keys += [(LUNG_COLOUR, "lung")] if panel.lung is not None else []
    keys += [(LESION_COLOUR, "lesion")] if panel.lesion is not None else []
    return keys


def _grey(film: npt.ArrayLike) -> F64:
    return np.repeat(np.clip(np.asarray(film, dtype=np.float64), 0, 1)[..., None], 3, axis=2)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(share: float) -> str:
    """Return a percentage that never claims certainty by rounding."""
    return ">99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %" if share > 0.99 else f"{100 * share:.0f} %"
