"""Does a run that was killed end as one that was not? SIGKILL of worker, run or Ray node, at moments all over the run.

    uv run python -m tests.benchmarks.worker_kills [MOMENTS] [local|ray ...]

Each round starts a run of its own, kills one process of it, lets it end if it lives, and then goes on with its cache in
one process: results.json (but for when it was, and how long it took), results.csv, films.csv and predictions.parquet
must be those of one undisturbed process, byte for byte, and so must the shards. The run predicts, attacks, explains and
judges; each line tells what was kept when that run had ended. What goes with workers on local processes and what goes
with Ray take turns; so do who is killed. A round takes as long as a run and a start of Ray.

November 2026, two cores: the first 13 of 20 rounds (undisturbed 11.4 s at a load of 8, killed after .8 to 7 s), and 7
more (undisturbed 4.8 s at a load of 2, killed after .5 to 4.2 s): 20 of 20 gave the same bytes. Where a worker was
killed the run ended with exit code 0; killed runs had kept nothing, or 15 blocks of predictions, once with 2 of
attacks. Of eight earlier rounds at a load of 16 to 23 the same is true. A killed node of Ray, or its head, ends a run
of pytest with one line and exit code 4 (tests/suites/predictions/test_ray_workers.py kills both): left to itself, Ray
prints the end of the node's log, and ends the process without a word to anybody.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from suites.harness.claims_table import load_claims
from suites.harness.evaluation import Evaluation
from suites.harness.predictions import blocks
from tests.suites.predictions.mortal import cohort_of, subject_of
from tests.suites.predictions.test_workers import CLAIM, ROOT

MOMENTS = 20
FILMS = 120
OF_A_BLOCK = 8
KINDS = ("predictions", "attacks", "maps", "map-checks")
"""Of shards that are compared."""
FURTHER = ("adversarial.one_level", "explanations.border")
"""Claims beside that about stress: attacks on the network's input, maps and their check."""
SHARE = (0.05, 0.95)
"""Of the time that an undisturbed run takes, within which it is killed."""
VICTIMS = {"local": ("worker", "run"), "ray": ("worker", "run", "node")}
FILES = ("predictions.parquet", "results.csv", "films.csv", "results.json")


def run(folder: Path, workers: int | str) -> None:
    blocks.FILMS = OF_A_BLOCK
    further = [claim for claim in load_claims() if claim.id in FURTHER]
    further = [
        replace(claim, parameters={**claim.parameters, "side_by_side": False})
        if "side_by_side" in claim.parameters
        else replace(claim, parameters={**claim.parameters, "method": "integrated gradients"})
        for claim in further
    ]
    Evaluation(
        subjects=[subject_of()], cohort=cohort_of(FILMS), claims=[CLAIM, *further], profile="quick",
        cache=folder / "cache", quiet=True, workers=workers,
    ).run().report(folder / "report")  # fmt: skip


def outcome(folder: Path) -> dict[str, bytes]:
    found = {name: (folder / "report" / name).read_bytes() for name in FILES}
    found["results.json"] = re.sub(rb'"(started|seconds)": [^,]+,', b"", found["results.json"])
    shards = [path for kind in KINDS for path in (folder / "cache" / kind).rglob("*.parquet")]
    return found | {path.name: path.read_bytes() for path in shards}


def processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent, and its command."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(path.name)] = parent, (path / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):
            continue
    return found


def below(pid: int) -> dict[int, str]:
    """The processes that a process has started, and those that these have: no others are ever killed."""
    everyone = processes()
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = {one: command for one, (above, command) in everyone.items() if above == parent}
        waiting += children
        found |= children
    return found


def victim(pid: int, kind: str, whom: str) -> int | None:
    if whom == "run":
        return pid
    sign = {"node": "/raylet/raylet ", "worker": "ray::RayWorker" if kind == "ray" else "multiprocessing.spawn"}[whom]
    return next((one for one, command in sorted(below(pid).items()) if sign in command), None)


def disturbed(folder: Path, kind: str, whom: str, after: float) -> str:
    """Start a run and kill one of its processes so long after its first worker is there; return how it ended."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.worker_kills",
        "run",
        str(folder),
        "2" if kind == "local" else "ray",
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and victim(process.pid, kind, "worker") is None:
        time.sleep(0.2)
    time.sleep(after)
    everyone = below(process.pid)
    whose = victim(process.pid, kind, whom)
    if whose is not None and process.poll() is None:
        os.kill(whose, signal.SIGKILL)
    _, said = process.communicate()
    for one in everyone:  # what outlives a killed run for a moment
        while everyone[one] and processes().get(one, (0, ""))[1] == everyone[one]:
            time.sleep(0.05)
    last = said.strip().splitlines()[-1:] if process.returncode else []
    return f"{'too late, ' if whose is None else ''}exit code {process.returncode}{': '.join(['', *last])[:160]}"


def main(moments: int, kinds: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        wanted_in = Path(place) / "undisturbed"
        began = time.monotonic()
        run(wanted_in, 1)
        took, wanted = time.monotonic() - began, outcome(wanted_in)
        print(f"undisturbed: {took:.1f} s, {len(wanted) - len(FILES)} shards")
        rounds, alike = [(kind, whom) for kind in kinds for whom in VICTIMS[kind]], Counter[bool]()
        for number in range(moments):
            kind, whom = rounds[number % len(rounds)]
            share = SHARE[0] + (SHARE[1] - SHARE[0]) * (number + 0.5) / moments
            folder = Path(place) / f"{number}"
            how = disturbed(folder, kind, whom, took * share)
            kept = {kind: len(list((folder / "cache" / kind).rglob("shard-*.parquet"))) for kind in KINDS}
            left = ", ".join(f"{number} {kind}" for kind, number in kept.items() if number) or "nothing"
            run(folder, 1)
            same = outcome(folder) == wanted
            alike[same] += 1
            print(
                f"{kind}, {whom} killed after {took * share:.1f} s: {how}; kept: {left}; the same: {same}", flush=True
            )
        print(f"{alike[True]} of {moments} the same")


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3].isdigit() else sys.argv[3])
    else:
        numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
        main(*(numbers or [MOMENTS]), [word for word in sys.argv[1:] if word in VICTIMS] or list(VICTIMS))
