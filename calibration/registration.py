"""How do the registries of this package find their members, and speak of a name that nobody has, or two?

The packages do not import one another, so each has these lines of its own; a test holds them to be the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import CodeType

OTHERS = "_beside"
"""How the files end that hold another library's numbers beside ours: seconds to import, and nothing registers there."""


@cache
def import_every_file() -> None:
    """Import the files of this folder, so that whatever registers in one of them is known."""
    for module in iter_modules([str(Path(__file__).parent)]):
        if not module.name.endswith(OTHERS):
            import_module(f"{__package__}.{module.name}")


def unknown_name(kind: str, name: str, known: Sequence[str]) -> str:
    """Return one line about a name that a registry does not have: the nearest it has or, if none is near, all."""
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"no {kind} is called {name!r}; {hint}"


def taken(kind: str, name: str, first: object, second: object) -> str:
    """Return one line about a name that two things want, with the place where each is written."""
    return f"two {kind}s are called {name!r} ({defined_in(first)}; {defined_in(second)}); rename one of them"


def defined_in(thing: object) -> str:
    """Return the file and line where a function, or the first method of a class, is written: `fog.py, line 12`."""
    inner = inspect.unwrap(thing) if callable(thing) else thing
    kind = inner if isinstance(inner, type) else type(inner)
    written = [inner, *(getattr(held, "__func__", held) for held in vars(kind).values())]
    codes = [code for held in written if isinstance(code := getattr(held, "__code__", None), CodeType)]
    for code in codes:
        if not code.co_filename.startswith("<"):  # made of a text, as dataclasses do
            file = code.co_filename
            return f"{file if len(file) <= 70 else f'...{file[-70:]}'}, line {code.co_firstlineno}"
    return f"module {getattr(inner, '__module__', kind.__module__)}"
