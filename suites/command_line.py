"""Which options take a value? Joined to it before pytest looks for its configuration.

Of `--weights DIR` pytest knows nothing until its plugins are loaded; before that it takes DIR for a path of tests, and
a `pytest.ini` in it for its own configuration, `addopts = -p module` included. `--weights=DIR` it leaves alone. The
file `chest_xray_reliability.pth` therefore has Python call `join_values` when it starts, before pytest does. This
module is imported that early, so it needs nothing but the standard library.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import PurePath

WITH_VALUE = frozenset({
    "--weights", "--data", "--probe-lateral", "--probe-adult", "--probe-unseen", "--report", "--claims", "--profile",
    "--preset", "--preprocessing", "--temperature", "--limit", "--baseline", "--model-card", "--device", "--seed",
    "--cache",
})  # fmt: skip


def join_values() -> None:
    """Rewrite the command line of this process, and PYTEST_ADDOPTS, if it is pytest's."""
    own = next((place for place, word in enumerate(sys.orig_argv) if word in WITH_VALUE), len(sys.orig_argv))
    if any("pytest" in PurePath(word).name or "py.test" in PurePath(word).name for word in sys.orig_argv[:own]):
        sys.argv[1:] = joined(sys.argv[1:])
        if added := os.environ.get("PYTEST_ADDOPTS"):
            try:
                os.environ["PYTEST_ADDOPTS"] = shlex.join(joined(shlex.split(added)))
            except ValueError:  # an unbalanced quote: pytest says so itself
                return


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--option value` as `--option=value` for the options of `WITH_VALUE`.

    >>> joined(["--weights", "a", "--report", "--data", "b", "suites/"])
    ['--weights=a', '--report', '--data=b', 'suites/']
    """
    together: list[str] = []
    for argument in arguments:
        if together and together[-1] in WITH_VALUE and not argument.startswith("-"):
            together[-1] += f"={argument}"
        else:
            together.append(argument)
    return together
