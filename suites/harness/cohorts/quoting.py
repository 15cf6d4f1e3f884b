"""How does a message quote what a user wrote? On one line, escaped, and cut, so that the message stays one."""

from __future__ import annotations

from collections.abc import Iterable

from suites.harness.errors import printable

_TEXT, _NAME, _NAMES, _ALL = 110, 30, 8, 100


def shown(text: object, most: int = _TEXT) -> str:
    """Return text of any length and content as part of one line, its middle left out where it is long.

    Args:
        text: of a user or of a file; what cannot be printed is escaped.
        most: characters of the answer.
    """
    whole = str(text)
    line = printable(whole if len(whole) <= 2 * most else whole[:most] + whole[-most:])
    if len(line) <= most:
        return line
    tail = (most - 1) * 2 // 3  # the end of a path tells most
    return f"{line[: most - 1 - tail]}…{line[-tail:]}"


def listed(names: Iterable[object], most: int = _ALL) -> str:
    """Return the first few of some names in one line, and how many more there are; a name with a comma is quoted."""
    names = list(names)
    parts = [_apart(shown(name, _NAME)) for name in names[:_NAMES]]
    while len(parts) > 1 and sum(map(len, parts)) + 2 * len(parts) > most:
        parts.pop()
    left = len(names) - len(parts)
    return ", ".join(parts) + (f" and {left} more" if left else "")


def _apart(name: str) -> str:
    """Return a name that does not look like two."""
    return f'"{name}"' if "," in name and name[0] not in "'\"" else name
