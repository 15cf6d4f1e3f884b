"""How are words put on a picture? One typeface on every machine, lines that fit, a legend of colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
from PIL import ImageDraw, ImageFont

Key = tuple[tuple[int, ...], str]
"""A colour of the legend and what it means."""


@lru_cache
def typeface(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the typeface that matplotlib carries, so that a picture looks the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)


def wrapped(text: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    """Return the text in lines of at most `room` pixels, broken between words; at least one line."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def fitted(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Return the text, with its middle left out where it would be wider than `room` pixels."""
    kept = len(text)
    shown = text
    while font.getlength(shown) > room and kept > 2:
        kept -= 1
        shown = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
    return shown


def span(keys: Sequence[Key]) -> float:
    """Return how wide keys are beside one another, the space before each included."""
    return sum(round(typeface(12).getlength(words)) + 36 for _, words in keys)


def in_rows(keys: Sequence[Key], room: float) -> list[list[Key]]:
    """Return the keys in as few rows as fit the room."""
    rows: list[list[Key]] = []
    for key in keys:
        if rows and span([*rows[-1], key]) <= room:
            rows[-1].append(key)
        else:
            rows.append([key])
    return rows


def write_keys(draw: ImageDraw.ImageDraw, keys: Sequence[Key], right: int, top: int, ink: str) -> None:
    """Write keys from right to left, each behind its colour."""
    for colour, words in keys:
        length = round(typeface(12).getlength(words))
        draw.text((right, top), words, ink, typeface(12), anchor="ra")
        draw.rectangle((right - length - 20, top + 3, right - length - 6, top + 11), fill=colour)
        right -= length + 36
