"""How many films does a network answer at once? As many in every batch of a run, so that no logit depends on chance.

On a CPU 16: larger batches gain nothing. On a GPU larger ones do, until it is busy; how many that takes depends on the
GPU and the network, so it is measured once for each pair and kept beside the predictions, whose key it is part of.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from suites.harness.errors import UsageProblem
from suites.harness.subjects.subject import Subject

SMALLEST = 16
LARGEST = 256
WORTH = 1.1
"""How many times as fast twice the films must be answered to be worth their memory."""
PASSES = 3


def batch_size(subject: Subject, cache: Path) -> int:
    """Return how many films the subject's network answers at once; measures it where nobody has on such a GPU.

    Args:
        subject: the classifier.
        cache: root of the cache.

    Raises:
        UsageProblem: the cache cannot be written.
    """
    if subject.network is None or torch.device(subject.device).type != "cuda":
        return SMALLEST
    name = hashlib.sha256(json.dumps(subject.cache_key, sort_keys=True).encode()).hexdigest()
    file = cache / "batch-sizes" / f"{name}.json"
    try:
        return _kept(file) or _written(file, measured(lambda size: _seconds(subject, size)))
    except OSError as problem:
        raise UsageProblem(
            f"the cache {cache} cannot be written ({problem.strerror}); name another --cache"
        ) from problem


def measured(seconds: Callable[[int], float]) -> int:
    """Return the largest size, doubling from 16, that still answers more films a second by a tenth.

    Args:
        seconds: how long a batch of that size takes; raises `torch.cuda.OutOfMemoryError` where it does not fit.
    """
    size, rate = SMALLEST, SMALLEST / seconds(SMALLEST)
    while 2 * size <= LARGEST:
        try:
            larger = 2 * size / seconds(2 * size)
        except torch.cuda.OutOfMemoryError:
            break
        if larger < WORTH * rate:
            break
        size, rate = 2 * size, larger
    return size


def _seconds(subject: Subject, size: int) -> float:
    """Return the seconds of a pass of the network on grey films, the fastest of three after one to warm up."""
    pixels = subject.pixels(torch.full((1, 256, 256), 0.5)).expand(size, -1, -1, -1).contiguous()
    times = []
    for _ in range(PASSES + 1):
        began = time.perf_counter()
        subject.answer(pixels)[0].cpu()  # waits for the GPU
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _kept(file: Path) -> int | None:
    """Return what was measured before; None where nobody has, or what is written there is no size."""
    try:
        size = json.loads(file.read_text("utf-8"))["films"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and SMALLEST <= size <= LARGEST else None


def _written(file: Path, size: int) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(f".{time.monotonic_ns()}")
    beside.write_text(json.dumps({"films": size}), encoding="utf-8")
    beside.replace(file)
    return size
