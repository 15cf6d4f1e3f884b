"""How is the study run from the repository? `python -m suites.harness.validity REPORT... [--out DIR]`."""

from __future__ import annotations

import sys

from suites.commands import main

if __name__ == "__main__":
    sys.exit(main(["validity", *sys.argv[1:]]))
