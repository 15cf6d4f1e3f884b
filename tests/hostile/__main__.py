"""Which hostile inputs are there, and what comes of them? `python -m tests.hostile`, or the names of some cases.

uv run python -m tests.hostile --cases 2000         # what the tests run
uv run python -m tests.hostile --cases 20000        # as many as there is time for
uv run python -m tests.hostile sizes                # a kind
uv run python -m tests.hostile sizes.simulated_films-3  # one case, made anew from its name
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.hostile import kinds, runner
from tests.hostile.case import GENERATORS, names


def main() -> int:
    """Run, print every finding and the counts; return how many findings there were."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__.partition("\n")[0])
    parser.add_argument("cases_or_kinds", nargs="*", help="names of cases, of generators or of kinds")
    parser.add_argument("--cases", type=int, help="how many (default: the share of each generator)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=runner.DEADLINE, help="seconds a case may take")
    parser.add_argument("--all", action="store_true", help="print what came of every case, and the messages")
    options = parser.parse_args()
    usual = sum(known.share for known in GENERATORS.values())
    chosen = list(names((options.cases or usual) / usual))
    if options.cases_or_kinds:
        wanted = tuple(options.cases_or_kinds)
        exact = [name for name in wanted if name.rpartition("-")[0] in GENERATORS]
        chosen = exact or [name for name in chosen if name.startswith(wanted)]
    sys.stdout.reconfigure(errors="backslashreplace")  # what is shown of an input may be no text
    kinds.prepare()
    outcomes = []
    for outcome in runner.run(chosen, workers=options.workers, deadline=options.deadline):
        outcomes.append(outcome)
        if options.all or outcome.verdict in runner.BAD:
            told = f"{outcome.seconds:.1f} s, {outcome.memory / 2**20:.0f} MiB"
            print(f"{outcome.name}: {outcome.verdict}: {outcome.detail[:400]} ({told})", flush=True)
    print(runner.table(outcomes))
    return min(sum(Counter(outcome.verdict for outcome in outcomes)[word] for word in runner.BAD), 1)


if __name__ == "__main__":
    sys.exit(main())
