"""What can a claim ask for? All endpoints with their parameters: `python -m suites.harness.endpoints [NAME...]`."""

from __future__ import annotations

import os
import sys

from suites.harness.endpoints import get, names
from suites.harness.errors import UsageProblem


def main(wanted: list[str]) -> int:
    """Print the endpoints of these names, or all; a reader who has seen enough (`| head`) ends it without a word."""
    try:
        for name in wanted or sorted(names()):
            sys.stdout.write("\n".join(get(name).described()) + "\n")
        sys.stdout.flush()
    except UsageProblem as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python flushes when it ends goes nowhere
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
