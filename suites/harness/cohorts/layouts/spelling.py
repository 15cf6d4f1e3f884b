"""When are two texts one? As they are seen; labels also where only case, blanks and hyphens between words differ."""

from __future__ import annotations

import re
import unicodedata

from suites.harness.errors import printable

_MINUS = "\N{MINUS SIGN}"  # a sign of mathematics, which Unicode does not count among the dashes


def as_seen(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), without format characters (zero-width ones, marks of direction).

    Two texts that look the same on the screen are then the same: a patient must not become two by how a keyboard or a
    file system writes an accent.
    """
    if text.isascii():
        return text.strip()
    kept = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", kept).strip()


def label_spelling(text: str) -> str:
    """Return a label in lower case, its words joined by `_`, with every sign kept: it may tell classes apart.

    A hyphen between words joins them as a blank does; at an end, beside another sign, or behind a blank and before a
    digit it is a minus. Blanks beside signs go.

    >>> label_spelling("Lung-Opacity"), label_spelling("TB +"), label_spelling("TB-"), label_spelling("-1")
    ('lung_opacity', 'tb+', 'tb-', '-1')
    """
    plain = printable("".join(map(_plain, as_seen(text)))).lower()
    return unicodedata.normalize("NFC", re.sub("[_-]+", _joint, unicodedata.normalize("NFC", plain)))


def _plain(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Pd" or letter == _MINUS:
        return "-"
    return "_" if category in ("Pc", "Cc") or letter.isspace() else letter


def _joint(run: re.Match[str]) -> str:
    """Return what stays of blanks and hyphens."""
    text, (start, end) = run.string, run.span()
    dashes = run[0].replace("_", "")
    if not (_is_word(text[max(start - 1, 0) : start]) and _is_word(text[end : end + 1])):
        return dashes
    return f"_{dashes}" if text[end].isdigit() and re.fullmatch("_+-+", run[0]) else "_"


def _is_word(letter: str) -> bool:
    return letter != "" and unicodedata.category(letter)[0] not in "PS"
