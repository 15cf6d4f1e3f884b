"""How do the registries of this package speak of a name that nobody has?

The packages do not import one another, so each has these lines of its own; a test holds them to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def unknown_name(kind: str, name: str, known: Sequence[str]) -> str:
    """Return one line about a name that a registry does not have: the nearest it has or, if none is near, all."""
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"no {kind} is called {name!r}; {hint}"
