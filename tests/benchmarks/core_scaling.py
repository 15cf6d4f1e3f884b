"""Do films get ready faster on two cores, and in threads or in processes? Measured side by side in one run.

    uv run python -m tests.benchmarks.core_scaling

Every film is decoded, perturbed under the standard grid's conditions and resized, as `predict` does it; the pixels for
the network are handed to the main process, from processes through shared memory.

Film-conditions a second on 2 cores (times one thread), November 2026:

    film             1 thread    2 threads    1 process    2 processes
    256 x 320             223   297 (1.33)   191 (0.86)     343 (1.54)
    968 x 1344             27    43 (1.58)    28 (1.03)      43 (1.59)
    2544 x 3056            22    34 (1.54)    23 (1.04)      37 (1.68)

Threads stay: of films of a thousand pixels they prepare as many, they share what is remembered of a film, and nothing
is copied. On small films half of the work holds the interpreter's lock (1.33 of 2 cores), so more cores would add
little. For 16 the plan is one process per core that works on whole blocks of films, decoding included, and hands over
pixels through shared memory, so that the main process does nothing but fill batches.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import torch

from robustness import phantom, presets
from robustness.filters import resize
from suites.harness.cohorts.cohort import Film
from suites.harness.predictions.conditions import apply_all, parse
from suites.harness.predictions.resolution import Resolution
from suites.harness.subjects.preprocessing import REPOSITORY

SIZES = {"256 x 320": (256, 320), "968 x 1344": (968, 1344), "2544 x 3056": (2544, 3056)}
FILMS = {"256 x 320": 16, "968 x 1344": 8, "2544 x 3056": 4}
ROUNDS = 3


def conditions() -> list:
    return [parse(f"{name}@{severity}") for name, severity in presets.get("quick")]


def film(number: int, size: tuple[int, int]) -> Film:
    table = phantom.cohort_table(24)
    drawn = next(made for (row, made) in phantom.films(table.iloc[[number % 24]]))
    pixels = resize(drawn.film, *size).clamp(0, 1).numpy()
    pixels = np.round(pixels * 255).astype(np.float32) / 255
    return Film(pixels=pixels, content=hashlib.sha256(pixels.tobytes()).hexdigest())


def prepared(one: Film, name: str) -> Iterator[np.ndarray]:
    """The network's pixels of a film under every condition that has a meaning for it."""
    with torch.inference_mode():
        for _, views, _ in apply_all(one, conditions(), name, seed=0, resolution=Resolution.enough_for([REPOSITORY])):
            if views is not None:
                yield REPOSITORY(views).numpy()


def in_threads(films: Sequence[Film], threads: int) -> int:
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return sum(pool.map(lambda pair: sum(1 for _ in prepared(pair[1], str(pair[0]))), enumerate(films)))


def _work(asked, answered) -> None:
    torch.set_num_threads(1)
    while (job := asked.get()) is not None:
        number, name, shape = job
        memory = SharedMemory(name=name)
        pixels = np.ndarray(shape, np.float32, memory.buf).copy()
        memory.close()
        parts = np.stack(list(prepared(Film(pixels=pixels, content=""), str(number))))
        out = SharedMemory(create=True, size=parts.nbytes)
        np.ndarray(parts.shape, parts.dtype, out.buf)[:] = parts
        answered.put((out.name, parts.shape))
        out.close()


class Processes:
    """Workers that are started once: what starting them takes is not part of a film."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.asked, self.answered = context.Queue(), context.Queue()
        self.workers = [context.Process(target=_work, args=(self.asked, self.answered)) for _ in range(count)]
        for worker in self.workers:
            worker.start()

    def __call__(self, films: Sequence[Film]) -> int:
        given = []
        for number, one in enumerate(films):
            memory = SharedMemory(create=True, size=one.pixels.nbytes)
            np.ndarray(one.pixels.shape, np.float32, memory.buf)[:] = one.pixels
            self.asked.put((number, memory.name, one.pixels.shape))
            given.append(memory)
        count = 0
        for _ in films:
            name, shape = self.answered.get()
            memory = SharedMemory(name=name)
            count += len(np.ndarray(shape, np.float32, memory.buf).copy())
            memory.close()
            memory.unlink()
        for memory in given:
            memory.close()
            memory.unlink()
        return count

    def stop(self) -> None:
        for _ in self.workers:
            self.asked.put(None)
        for worker in self.workers:
            worker.join()


def rate(work, films: Sequence[Film]) -> float:
    """Film-conditions a second, the best of a few rounds."""
    best = 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        count = work(films)
        best = max(best, count / (time.perf_counter() - began))
    return best


def main() -> None:
    cores = os.cpu_count() or 1
    print(f"{len(conditions())} conditions, {cores} cores; film-conditions a second (times one thread)")
    print(f"{'film':<14}{'1 thread':>12}{f'{cores} threads':>18}{'1 process':>18}{f'{cores} processes':>18}")
    single, several = Processes(1), Processes(cores)
    try:
        for name, size in SIZES.items():
            films = [film(number, size) for number in range(FILMS[name])]
            rates = [
                rate(lambda films: in_threads(films, 1), films), rate(lambda films: in_threads(films, cores), films),
                rate(single, films), rate(several, films),
            ]  # fmt: skip
            told = [f"{one:.0f} ({one / rates[0]:.2f})" for one in rates[1:]]
            print(f"{name:<14}{rates[0]:>12.0f}" + "".join(f"{text:>18}" for text in told), flush=True)
    finally:
        single.stop()
        several.stop()


if __name__ == "__main__":
    main()
