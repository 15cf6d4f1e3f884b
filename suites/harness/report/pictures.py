"""How do figures become files? Curves as small deterministic SVG, films as JPEG kept under a byte budget."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from suites.harness.claims import Draw, Drawn, Label, Tiles

logger = logging.getLogger(__name__)

FILM_BYTES = 42_000
"""One film picture stays under this: two subjects in the quick profile, 280 pictures, stay under 12 MB."""
FILM_SIDE = 900
SYSTEM_FONTS = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture of the page.

    Attributes:
        file: path relative to the page; empty when it could not be drawn.
        title: what it shows, also its alternative text.
        kind: `curve` (the page may invert it for the dark theme) or `film` (never touched).
        width, height: in CSS pixels, so that the page does not jump while loading.
        problem: why it could not be drawn.
        labels: what stands beneath each of its tiles, where it is a row of them.
    """

    file: str
    title: str
    kind: str = "curve"
    width: int = 0
    height: int = 0
    problem: str = ""
    labels: Sequence[Label] = ()

    @property
    def tile(self) -> tuple[int, int]:
        """Width and height of one of its tiles."""
        return round(self.width / max(1, len(self.labels))), self.height


def store(draw: Draw, folder: Path, stem: str, title: str) -> Picture:
    """Draw a figure and write it to `figures/<stem>.svg|jpg` under the report's folder.

    A figure that cannot be drawn becomes a picture with its problem: a long run must not lose its report to one curve.
    """
    try:
        drawn = encoded(draw())
    except Exception as error:  # drawing code of any suite; the reason is printed in the page
        logger.warning("figure %s could not be drawn", stem, exc_info=True)
        return Picture(file="", title=title, problem=f"{type(error).__name__}: {error}")
    target = folder / "figures" / f"{stem}.{drawn.suffix}"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(drawn.content)
    kind = "curve" if drawn.suffix == "svg" else "film"
    width, height = drawn.size
    name = f"figures/{target.name}"
    return Picture(file=name, title=title, kind=kind, width=width, height=height, labels=drawn.labels)


def encoded(figure: Figure | Image.Image | Tiles | Drawn) -> Drawn:
    """Return a figure as the bytes of its file."""
    if isinstance(figure, Drawn):
        return figure
    if isinstance(figure, Tiles):
        return replace(_photograph(figure.picture), labels=tuple(figure.labels))
    if isinstance(figure, Image.Image):
        return _photograph(figure)
    return _film(figure) if _holds_film(figure) else _curve(figure)


def _holds_film(figure: Figure) -> bool:
    return bool(figure.images) or any(axes.images for axes in figure.axes)


def _curve(figure: Figure) -> Drawn:
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "report", "svg.fonttype": "none", "svg.id": None}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*?)?(?=[;\"])", SYSTEM_FONTS, buffer.getvalue().decode())
    width, height = (round(float(side) * 96 / 72) for side in re.findall(r'(?:width|height)="([\d.]+)pt"', text)[:2])
    return Drawn(text.encode(), "svg", (width, height))


def _film(figure: Figure) -> Drawn:
    figure.set_dpi(min(160.0, FILM_SIDE / max(figure.get_size_inches())))
    figure.set_facecolor("white")
    # Taken from the canvas as it was drawn: by way of a PNG, half the time goes into writing and reading it.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call] # matplotlib has no types for it
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return _photograph(Image.fromarray(drawn))


def _photograph(picture: Image.Image) -> Drawn:
    image = picture.convert("RGB")
    for quality in (88, 78, 66, 50, 35):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= FILM_BYTES:
            break
    return Drawn(buffer.getvalue(), "jpg", image.size)
