"""What the suite costs on top of the network itself, measured side by side on the same batches in one run.

    uv run pytest tests/benchmarks/test_prediction_overhead.py

No test here asserts a time; the ratio is printed for the report of a change.

Where it goes on native films, in ms of the processor for a film under a condition, quick grid (25), one thread, beside
a network that does nothing:

    film                   perturbed, resized   decoded, identified   all else
    1344 x 968, JPEG       22.5                 .5                    1.3
    3056 x 2544, DICOM     48                   5.1                   3.0
"""

from __future__ import annotations

import hashlib
import itertools
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.predictions.batch_size import SMALLEST as BATCH
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.table import predict
from suites.harness.subjects.preprocessing import REPOSITORY
from suites.harness.subjects.subject import Normalised, Provenance, Subject

CONDITIONS = expand(["clean", "gamma_low@1-5", "window_widening@1-5", "grid_stripes@1-4"])
FILMS = 8
SMALL = len(sys.argv) > 1 and sys.argv[1] == "memory"


def decode(row) -> Film:
    generator = np.random.default_rng(int(row["number"]))
    pixels = generator.random((64, 64) if SMALL else (256, 340), dtype=np.float32)
    return Film(pixels=pixels, content=hashlib.sha256(pixels.tobytes()).hexdigest())


def cohort_of(films: int) -> Cohort:
    columns = dict.fromkeys(("view", "age_group", "finding", "split"), "")
    rows = [
        {"id": f"{number}", "file": "", "label": "ab"[number % 2], "patient": f"{number}", "number": number, **columns}
        for number in range(films)
    ]
    return Cohort(name="drawn", spec="drawn", table=pd.DataFrame(rows), decode=decode)


def subject_of(network: torch.nn.Module) -> Subject:
    origin = Provenance(spec="bench", format="user", source="random weights", sha256="0" * 64)
    return Subject(name="bench", classes=("a", "b"), network=Normalised(network), provenance=origin)


@pytest.mark.parametrize("name", ["convnextv2_atto", "convnextv2_tiny"])
def test_overhead_over_bare_forward_passes(benchmark, tmp_path, name):
    torch.manual_seed(0)
    subject = subject_of(timm.create_model(name, num_classes=2))
    cohort, fresh = cohort_of(FILMS), itertools.count()
    inputs = torch.rand(BATCH, 3, REPOSITORY.size, REPOSITORY.size)
    batches = -(-FILMS * len(CONDITIONS) // BATCH)

    def bare() -> float:
        began = time.perf_counter()
        for _ in range(batches):
            subject.answer(inputs)
        return time.perf_counter() - began

    def suite() -> None:
        predict({"bench": (subject, CONDITIONS)}, cohort, seed=0, cache=tmp_path / f"{next(fresh)}", quiet=True)

    suite()
    forward = [bare() for _ in range(3)]
    benchmark.pedantic(suite, rounds=3)
    ratio = benchmark.stats["min"] / min(forward)
    benchmark.extra_info["overhead over bare passes"] = f"{ratio - 1:+.1%}"
    print(f"\n{name}: {FILMS} films x {len(CONDITIONS)} conditions, overhead over bare passes {ratio - 1:+.1%}")
    assert ratio > 0.5, "the suite cannot be twice as fast as the passes it contains: something was not run"


def test_warm_run_computes_nothing(benchmark, tmp_path):
    subject, cohort = subject_of(timm.create_model("test_convnext", num_classes=2)), cohort_of(100)
    predict({"bench": (subject, CONDITIONS)}, cohort, seed=0, cache=tmp_path, quiet=True)
    found = benchmark.pedantic(
        lambda: predict({"bench": (subject, CONDITIONS)}, cohort, seed=0, cache=tmp_path, quiet=True), rounds=3
    )
    assert found["bench"].computed == 0


def peak_memory(films: int, folder: Path) -> int:
    """Return the peak resident memory in KiB of a process that predicts so many small films."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "memory", str(films), str(folder / str(films))]
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()[-1])


def test_memory_does_not_grow_with_the_cohort(tmp_path):
    small, large = peak_memory(1_000, tmp_path), peak_memory(10_000, tmp_path)
    grown = f"{small / 1024:.0f} MiB for 1,000 films, {large / 1024:.0f} MiB for 10,000 ({large / small - 1:+.1%})"
    print(f"\npeak memory: {grown}")
    assert large < 1.10 * small


if SMALL:
    head = torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), torch.nn.Linear(48, 2))
    predict(
        {"bench": (subject_of(head), CONDITIONS[:3])},
        cohort_of(int(sys.argv[2])),
        seed=0,
        cache=Path(sys.argv[3]),
        quiet=True,
    )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
