"""How long does predicting take for a film and condition, and how much memory, by the number of films?

    uv run python -m tests.benchmarks.predicting_scale               # 1,000 and 10,000 films under 20 conditions
    uv run python -m tests.benchmarks.predicting_scale 100000 3      # so many films under so many conditions

Films of 64 x 64 pixels are drawn, perturbed and resized for a subject that costs next to nothing, by two local
processes and by the driver that hands them blocks. Every number of films is a process of its own, in a fresh cache.
Peak memory is what the system says of each process at its end, on Linux.

November 2026, two cores that others used as well (load 8 to 14), processor milliseconds of a film and condition:

      films       conditions   workers   driver   peak of the driver   of each worker
      1,000               20     1.655    0.009              0.88 GB   0.99, 1.00 GB
     10,000               20     1.655    0.009              0.89 GB   1.02, 1.02 GB

and under three conditions, in which decoding and writing weigh more (a load of 8, 14 for the last row):

      1,000                3     2.463    0.030              0.88 GB   0.96, 0.97 GB
     10,000                3     1.912    0.028              0.89 GB   0.97, 0.96 GB
    100,000                3     1.932    0.027              0.98 GB   1.01, 1.02 GB
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from robustness import presets
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.predictions.resolution import Resolution
from suites.harness.predictions.table import predict
from suites.harness.subjects.preprocessing import REPOSITORY
from tests.benchmarks.worker_scaling import cohort_of, subject

FILMS = 1_000, 10_000
CONDITIONS = 20
WORKERS = 2


def peak(process: int | str) -> float:
    """Return the most memory (GB) that a process has held so far."""
    told = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM")) / 1e6


def predicted(films: int, conditions: int, folder: Path) -> str:
    """Predict films by local processes; return what it took."""
    one = subject()
    grid = expand([f"{name}@{severity}" for name, severity in presets.get("quick")])
    asked = grid[:: max(1, len(grid) // conditions)][:conditions]
    pool = LocalProcesses(WORKERS, [one])
    started = predict(
        {"bench": (one, asked[:1])}, cohort_of(64 * WORKERS, (8, 8)), seed=0, cache=folder / "warm", quiet=True,
        workers=pool,
    )  # fmt: skip
    del started
    workers = [worker.process.pid for worker in pool._workers]
    before = {one: ticks(one) for one in workers}
    began = time.process_time()
    found = predict(
        {"bench": (one, asked)}, cohort_of(films, (64, 64)), seed=0, cache=folder / "cache", quiet=True,
        resolution=Resolution.enough_for([REPOSITORY]), workers=pool,
    )["bench"]  # fmt: skip
    driver = time.process_time() - began
    theirs = sum(ticks(one) - before[one] for one in workers)
    asked_in_all = films * len(asked)
    assert len(found.table) == asked_in_all == found.computed
    peaks = " and ".join(f"{peak(one):.2f}" for one in workers)
    pool.close()
    return (
        f"{films:7,} films x {len(asked)} conditions: {1000 * theirs / asked_in_all:.3f} ms of the workers and "
        f"{1000 * driver / asked_in_all:.3f} ms of the driver each; peak of the driver "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, of the workers {peaks} GB"
    )


def ticks(process: int) -> float:
    """Return the processor seconds that a process has taken."""
    told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / 100


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["alone"]:
        with tempfile.TemporaryDirectory() as folder:
            print(predicted(int(arguments[1]), int(arguments[2]), Path(folder)), flush=True)
        return
    wanted = [(films, CONDITIONS) for films in FILMS]
    if arguments:
        wanted = [(int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else CONDITIONS)]
    for films, conditions in wanted:
        command = [sys.executable, "-m", "tests.benchmarks.predicting_scale", "alone", str(films), str(conditions)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
