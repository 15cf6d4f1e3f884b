"""What do local processes gain, and what do shards of blocks cost? Measured side by side, in turns, in one run.

    uv run python -m tests.benchmarks.worker_scaling
    uv run python -m tests.benchmarks.worker_scaling sleeping   # 8 and 64 workers, simulated, beside real processes
    uv run python -m tests.benchmarks.worker_scaling ray 8      # Ray beside local processes, 8 blocks of 2 s each

Films are drawn, perturbed and resized as `predict` does it, for a subject that costs next to nothing, so that preparing
them dominates; workers are started before the clock is. One process prepares films in as many threads as there are
cores, so that processes are compared with one thread and with these.

Storing is compared with the store of single rows that predictions were kept in before.

Measured in November 2026 on two cores with nothing else at them, in film-conditions a second: 256 x 320 under 10
conditions, one thread 592, one process of two threads 505 (0.85), two processes 1,037 (1.75); 968 x 1344 under 4, 92,
149 (1.62) and 160 (1.74). In CPU seconds of 128 films under 12 conditions: 5.2, 5.1, and 2.6 for each of the two:
nothing is done twice.
Writing and reading 200 films x 150 conditions: single rows 0.05 s, blocks 0.10 s; predicting them takes minutes.

Simulated with 3 ms of the driver for a block, measured, and 0.97 s of a worker: 99.7 % with 8 workers, 99.0 % with 64,
of 224,316 films under 19 conditions. Two real processes that sleep: 99 % of twice one.

Eight blocks of 2 s by two workers: local processes 8.32 s, Ray 8.38 s, +0.7 % (wanted: no more than 5).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from importlib import import_module
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from robustness import presets
from suites.harness.cache import BlockShards, Keeping, Shards
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.dispatching import THIS_PROCESS, ThisProcess, Workers
from suites.harness.predictions.engine import _columns
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.predictions.ray_workers import RayWorkers
from suites.harness.predictions.resolution import Resolution
from suites.harness.predictions.table import predict
from suites.harness.subjects.preprocessing import REPOSITORY
from suites.harness.subjects.subject import Provenance, Subject

SIZES = {"256 x 320": ((256, 320), 20), "968 x 1344": ((968, 1344), 4)}
"""Size of a film, and under how many conditions it is prepared."""
PASS = 0.0008
"""Seconds that a film takes on a GPU under one condition: 64 films under 19 conditions take `BLOCK_SECONDS`."""
BLOCK_SECONDS = 64 * 19 * PASS
LONG_BLOCK = 2.0
"""Seconds of a block that Ray is compared with local processes at."""
FILMS_OF_A_STUDY = 224_316
FILMS = 128
ROUNDS = 3
STORED = 200, 150
"""Films and conditions that are stored."""


def decode(row) -> Film:
    generator = np.random.default_rng(int(row["number"]))
    coarse = torch.from_numpy(generator.random((1, 1, 24, 24), dtype=np.float32))
    shape = int(row["height"]), int(row["width"])
    pixels = torch.nn.functional.interpolate(coarse, shape, mode="bicubic").clamp(0, 1)[0, 0].numpy()
    return Film(pixels=pixels, content=identify(row))


def identify(row) -> str:
    return hashlib.sha256(f"{row['number']} {row['height']} {row['width']}".encode()).hexdigest()


def cohort_of(films: int, shape: tuple[int, int]) -> Cohort:
    columns = dict.fromkeys(("view", "age_group", "finding", "split"), "") | {"height": shape[0], "width": shape[1]}
    rows = [
        {"id": f"{number}", "file": "", "label": "ab"[number % 2], "patient": f"{number}", "number": number, **columns}
        for number in range(films)
    ]
    return Cohort(name="drawn", spec="drawn", table=pd.DataFrame(rows), decode=decode, identify=identify)


def subject() -> Subject:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), torch.nn.Linear(48, 2))
    origin = Provenance(spec="bench", format="user", source="random weights", sha256="0" * 64)
    return Subject(name="bench", classes=("a", "b"), network=network, provenance=origin)


class OneThread(ThisProcess):
    def receipts(self, here, blocks, told):
        return super().receipts(replace(here, job=here.job.in_threads(1)), blocks, told)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median of some rounds, in which every way has its turn."""
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(one[name] for one in rounds) for name in ways}


def scaling(folder: Path) -> Iterator[str]:
    one, cores = subject(), os.cpu_count() or 1
    grid = expand([f"{name}@{severity}" for name, severity in presets.get("quick")])
    pool = LocalProcesses(cores, [one])
    yield f"film-conditions a second (times one thread) on {cores} cores, load {os.getloadavg()[0]:.0f}"
    for name, (shape, few) in SIZES.items():
        cohort, conditions = cohort_of(FILMS, shape), grid[:: len(grid) // few][:few]

        def run(by, films=cohort, conditions=conditions) -> None:
            here = Path(tempfile.mkdtemp(dir=folder))
            asked, resolution = {"bench": (one, conditions)}, Resolution.enough_for([REPOSITORY])
            predict(asked, films, seed=0, cache=here, quiet=True, resolution=resolution, workers=by)
            shutil.rmtree(here)

        predict(
            {"bench": (one, conditions[:1])}, cohort_of(64 * cores, (64, 64)), seed=0, cache=folder / name, quiet=True,
            workers=pool,
        )  # fmt: skip
        ways = {"one thread": OneThread(), "one process": THIS_PROCESS, f"{cores} processes": pool}
        took = in_turns({way: lambda by=by: run(by) for way, by in ways.items()})
        base, asked = took["one thread"], FILMS * len(conditions)
        yield f"  {name}: " + ", ".join(
            f"{way} {asked / spent:.0f} ({base / spent:.2f})" for way, spent in took.items()
        )
    pool.close()


def simulated(workers: int, blocks: int, block: float, driver: float) -> float:
    """Return the efficiency of workers that are handed whole blocks by one driver, event by event.

    Args:
        workers: that answer.
        blocks: of a cohort.
        block: seconds that a worker takes for one.
        driver: seconds that the driver takes for one: it reads the receipt and the shard, and hands out the next.
    """
    free = [0.0] * workers  # when each has told its receipt
    now = 0.0
    for _ in range(blocks):
        now = max(now, heappop(free)) + driver
        heappush(free, now + block)
    return blocks * block / (workers * max(free))


class Sleeping(torch.nn.Module):
    """Takes as long as a pass of a batch takes on a GPU, or so many seconds for each of its films."""

    def __init__(self, each: float = PASS) -> None:
        super().__init__()
        self.each = each
        self.bias = torch.nn.Parameter(torch.zeros(2))

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        time.sleep(self.each * len(films))
        return self.bias + films.mean(dim=(1, 2, 3))[:, None]


def sleeping(folder: Path) -> Iterator[str]:
    """Yield what a driver costs, measured with processes whose subject sleeps, and what follows for many workers."""
    one = replace(subject(), network=Sleeping())
    grid = expand(["clean"])
    blocks, pool = 16, LocalProcesses(2, [one])
    predict({"bench": (one, grid)}, cohort_of(128, (8, 8)), seed=0, cache=folder / "warm", quiet=True, workers=pool)
    took = {}
    for name, by in {"one": OneThread(), "two": pool}.items():
        cohort = cohort_of(64 * blocks, (8, 8))
        used = time.process_time()
        took[name] = seconds(
            lambda by=by, cohort=cohort, name=name: predict(
                {"bench": (one, grid)}, cohort, seed=0, cache=folder / name, quiet=True, workers=by
            )
        )
        used = time.process_time() - used
    pool.close()
    gained = took["one"] / took["two"] / 2
    yield f"two processes that sleep: {gained:.0%} of twice one; the driver {used / blocks:.4f} s a block"
    for workers in (8, 64):
        found = simulated(workers, FILMS_OF_A_STUDY // 64, BLOCK_SECONDS, used / blocks)
        yield f"{workers} workers, {FILMS_OF_A_STUDY:,} films: {found:.1%}"


def over_ray(folder: Path, blocks: int) -> Iterator[str]:
    """Yield what a Ray cluster of this machine alone costs over as many local processes, all of them started before."""
    os.environ["RAY_ADDRESS"] = "local"
    cores = os.cpu_count() or 1
    one = replace(subject(), network=Sleeping(LONG_BLOCK / 64))
    asked = {"bench": (one, expand(["clean"]))}
    ways = {"processes": LocalProcesses(cores, [one]), "Ray": RayWorkers("ray", [one])}

    def run(by: Workers, films: int) -> None:
        here = Path(tempfile.mkdtemp(dir=folder))
        predict(asked, cohort_of(films, (8, 8)), seed=0, cache=here, quiet=True, workers=by)

    for by in ways.values():
        while sum(worker.ready for worker in by._workers) < cores:  # one may answer all before another has its imports
            run(by, 64 * cores)
    took = in_turns({name: lambda by=by: run(by, 64 * blocks) for name, by in ways.items()})
    for by in ways.values():
        by.close()
    yield f"{blocks} blocks of {LONG_BLOCK:g} s by {cores} workers, load {os.getloadavg()[0]:.0f}: " + ", ".join(
        f"{name} {spent:.2f} s" for name, spent in took.items()
    ) + f"; Ray takes {took['Ray'] / took['processes'] - 1:+.1%}"  # fmt: skip


def storing(folder: Path) -> Iterator[str]:
    films, conditions = STORED
    keys = [(f"film {number}", identify({"number": number, "height": 1, "width": 1})) for number in range(films)]
    identities = [f"condition {number}" for number in range(conditions)]
    rows = {
        (content, image, what): {
            "content": content, "image": image, "identity": what, "undefined": "", "features": None,
            **{f"logit_{index}": np.float32(index / (1 + place)) for index in range(3)},
        }
        for image, content in keys
        for place, what in enumerate(identities)
    }  # fmt: skip
    fresh = (Path(tempfile.mkdtemp(dir=folder)) for _ in iter(int, 1))

    def single() -> None:
        store = Shards(next(fresh), "predictions", {}, {"content": "text"})
        with Keeping(store) as keeping:
            for row in rows.values():
                keeping.keep(row)
        store.read()

    def blocks() -> None:
        store = BlockShards(next(fresh), "predictions", {}, _columns(3))
        for at in range(0, films, 64):
            store.known(keys[at : at + 64], identities)
            store.write(keys[at : at + 64], identities, rows)
            store.read(keys[at : at + 64], identities)

    took = in_turns({"single rows": single, "blocks": blocks})
    each = ", ".join(f"{way} {spent:.2f} s" for way, spent in took.items())
    yield f"writing and reading {films} films x {conditions} conditions: {each}"


def main(arguments: list[str]) -> None:
    parts: list[Callable[[Path], Iterator[str]]] = [sleeping] if arguments == ["sleeping"] else [storing, scaling]
    if arguments[:1] == ["ray"]:
        blocks = int(arguments[1]) if len(arguments) > 1 else 8
        parts = [partial(over_ray, blocks=blocks)]
    with tempfile.TemporaryDirectory() as place:
        for line in chain.from_iterable(part(Path(place)) for part in parts):
            print(line, flush=True)


if __name__ == "__main__":
    # Under its own name: what workers of Ray are sent lies in a module that they can import.
    import_module("tests.benchmarks.worker_scaling").main(sys.argv[1:])
