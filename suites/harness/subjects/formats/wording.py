"""How do messages fit in one line? Small turns of phrase."""

from __future__ import annotations

from collections.abc import Sequence


def first_few(items: Sequence[str], count: int = 3) -> str:
    """Return the first few items, with an ellipsis when there are more."""
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")


def in_one_line(error: BaseException, limit: int = 200) -> str:
    """Return an exception's kind and the beginning of its message, without line breaks."""
    text = " ".join(str(error).split())
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def in_short(value: object, limit: int = 120) -> str:
    """Return what a stranger sent as the beginning of one printable line, text in quotes."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
