"""What does a whole quick run take beside the passes of its network? Predicted, attacked, explained, drawn, written.

    uv run python -m tests.benchmarks.quick_run_overhead [--size 1344x968] [--films 12] [--network convnextv2_atto]

Forward and backward passes are timed where they happen in the run, in time of the processor; the rest is all other time
of the process, starting Python and building the network not among it. Films are simulated ones enlarged, with grain, as
8-bit JPEG; the weights are random. `--profile-calls` says where the rest goes.

Three films of 1344 x 968, convnextv2_atto, one thread, in seconds of the processor on two cores, one of them idle,
November 2026:

                 whole   passes
    checking        .8       .7
    predicting     7.9      4.7   +68 %
    measuring       .6      0
    attacking     23.2     20.2   +15 %
    explaining    56.8     53.3    +7 %
    drawing        9.2      0
    in all        98.9     78.8   +25 %   wanted 25 %

What is no pass is about the same for any network. Of convnextv2_tiny, in the same way but with other processes at the
cores:

                 whole   passes
    checking       3.7      3.5
    predicting    29.7     26.7   +11 %
    measuring       .6      0
    attacking    161.0    155.8    +3 %
    explaining   305.1    299.6    +2 %
    drawing        8.5      0
    in all       509.0    485.6    +5 %   wanted 10 %

Of more films drawing is a smaller part.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import timm
import torch
from torch import Tensor, nn

from robustness import phantom
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.evaluation import Evaluation
from suites.harness.progress import STAGES, Progress
from suites.harness.subjects.subject import Normalised, Provenance, Subject
from tests.benchmarks.test_native_speed import enlarged

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")


class Passes:
    """Seconds of the processor that passes take, by the stage of the run that they happen in."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = defaultdict(float)
        self.number = 0
        self._inside = threading.local()

    def timed(self, call: Any) -> Any:
        """Return a function that counts what it takes, once where one lies within another."""

        def counting(*given: Any, **named: Any) -> Any:
            if getattr(self._inside, "busy", False):
                return call(*given, **named)
            self._inside.busy, began = True, time.thread_time()
            try:
                return call(*given, **named)
            finally:
                self._inside.busy = False
                stack = self.progress._stack
                self.seconds[stack[-1][0] if stack else ""] += time.thread_time() - began
                self.number += 1

        return counting


class Timed(nn.Module):
    """A network whose forward passes are counted."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.passes: Passes | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) if self.passes is None else self.passes.timed(self.network)(x)


def cohort_in(folder: Path, films: int, width: int, height: int) -> Path:
    """Write films of a size and the table of them."""
    rows, many = [], phantom.cohort_table(12 * films)
    table = many.iloc[sorted(many.groupby("label").head(-(-films // len(CLASSES))).index)].head(films)
    for row, (image, film) in zip(table.to_dict("records"), phantom.films(table), strict=True):
        name = f"{image}.jpeg"
        grey = (film.film.numpy() * 255).round().astype("uint8")
        cv2.imwrite(str(folder / name), enlarged(grey, width, height), [cv2.IMWRITE_JPEG_QUALITY, 92])
        rows.append({"file": name, "label": row["label"], "patient": row["patient"], "split": "test"})
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    return folder / "films.csv"


def main() -> None:
    """Print what each stage took, its passes, and the rest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1344x968")
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--network", default="convnextv2_atto")
    parser.add_argument("--profile-calls", action="store_true", help="of the main thread, the dearest functions")
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Timed(timm.create_model(asked.network, num_classes=len(CLASSES)).eval())
    origin = Provenance(spec="bench", format="user", source="random weights", sha256="0" * 64)
    subject = Subject(name="bench", classes=CLASSES, network=Normalised(network), provenance=origin)
    progress = Progress(time.process_time)
    passes = network.passes = Passes(progress)
    torch.autograd.grad = passes.timed(torch.autograd.grad)
    torch.autograd.backward = passes.timed(torch.autograd.backward)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cohort = load_cohort(str(cohort_in(folder, asked.films, width, height)))
        run = Evaluation(
            subjects=[subject], cohort=cohort, claims=load_claims(), cache=folder / "cache", quiet=True,
            progress=progress,
        )  # fmt: skip
        calls = cProfile.Profile(time.thread_time) if asked.profile_calls else None
        began = time.process_time()
        if calls:
            calls.enable()
        try:
            run.run().report(folder / "report")
        except KeyboardInterrupt:
            print("interrupted: so far,")
        if calls:
            calls.disable()
        whole = time.process_time() - began
    bare = sum(passes.seconds.values())
    print(f"{asked.films} films of {asked.size}, {asked.network}: {whole:.1f} s, {passes.number} passes {bare:.1f} s, ")
    print(f"overhead {whole / bare - 1:+.0%}")
    spent: dict[str, float] = {**progress.spent()}
    for stage in [*STAGES, ""]:
        took = spent.get(stage, whole - sum(spent.values()))
        print(f"  {stage or 'between':12s} {took:7.1f} s, passes {passes.seconds[stage]:7.1f} s")
    if calls:
        pstats.Stats(calls).sort_stats("cumulative").print_stats(r"suites|robustness|explain|calibration", 70)


if __name__ == "__main__":
    main()
