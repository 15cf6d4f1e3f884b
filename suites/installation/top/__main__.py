"""How is it run without its console script? `python -m chest_xray_reliability run --report`."""

from __future__ import annotations

import sys

from suites.commands import main

sys.exit(main())
