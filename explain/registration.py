"""How do the registries of this package speak of a name that nobody has, or two?

The packages do not import one another, so each has these lines of its own; a test holds them to be the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from difflib import get_close_matches


def unknown_name(kind: str, name: str, known: Sequence[str]) -> str:
    """Return one line about a name that a registry does not have: the nearest it has or, if none is near, all."""
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"no {kind} is called {name!r}; {hint}"


def taken(kind: str, name: str, first: object, second: object) -> str:
    """Return one line about a name that two things want, with the place where each is written."""
    return f"two {kind}s are called {name!r} ({defined_in(first)}; {defined_in(second)}); rename one of them"


def defined_in(thing: object) -> str:
    """Return the file and line where a function or class is written, `fog.py, line 12`, or what is known of it."""
    code = getattr(inspect.unwrap(thing) if callable(thing) else thing, "__code__", None)
    kind = thing if isinstance(thing, type) else type(thing)
    try:
        file, line = (
            (code.co_filename, code.co_firstlineno)
            if code
            else (inspect.getsourcefile(kind) or "", inspect.getsourcelines(kind)[1])
        )
    except (TypeError, OSError):
        return f"in {kind.__module__}"
    return f"{file if len(file) <= 70 else f'...{file[-70:]}'}, line {line}"
