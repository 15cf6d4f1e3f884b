"""How long does judging take, and how much memory, where every film has been predicted? By the number of films.

    uv run python -m tests.benchmarks.judging_scale              # 1,000, 10,000 and 100,000 films from finished shards
    uv run python -m tests.benchmarks.judging_scale patients     # 1,000,000 patients x 150 conditions from counts

No film is read (but those drawn in the report) and no network is asked: shards are filled with made-up logits first, by
the code that keeps real ones.
Every step is a process of its own; peak memory is that process's.

Processor seconds on one core of a shared machine, November 2026; 19 conditions, 16 claims, and judged a
second time (`again`), which finds results, pictures, the cells of the stress grid and the measures of every class:

      films           read   judged   report   in all       peak     before
      1,000            0.1      0.2      1.7     8 s         1.17 GB    1.16 GB
             again     0.1      0.0      1.3     7 s         1.16 GB    1.16 GB
     10,000            0.7      1.0      5.5     13 s        1.17 GB    1.18 GB
             again     0.8      0.2      3.2     11 s        1.17 GB    1.19 GB
    100,000            6.0     12.9     18.3    45 s         1.27 GB    1.36 GB
             again     6.0      0.8      7.2    20 s         1.27 GB    1.31 GB

The machine was shared and at work: in turn with these, what was before took 41 s at 100,000, and 19 s again, which on a
machine with little else at it were 32 and 15.

A process that only loads the libraries and the subject takes 4 s and 1.0 GB, which is in all of them; nearly half of it
is files of libraries that are mapped.

What grew, and what of it is left, by resident memory from stage to stage, or (*) by the size of arrays: up to 20,000
films the weights of all resamples were an array of 160 MB* at 10,000, and 190 MB* more while films were counted; now a
byte is kept for each patient and resample, and a block of rows is made of it. Of 100,000 films, bins of rank measures
took 270 MB at once (now 50, some resamples at a time), the table of predictions 150 MB more while it was put together
(now 10) and 66 MB then (now 40*), drawn numbers 86 MB* (now 43*, two in a byte), rows of the cohort 65 MB (now 30),
logits by condition once more 45 MB (now none). Rows of the cohort are made as they are looked at (48 MB less), texts
are found as Arrow holds them and not as objects, and what a part of the report takes is handed back before the next.

Then answers were put into their table as blocks come (names of films as objects, and tables of blocks beside it, left
30 MB of holes), Arrow's memory came from where all other comes (it kept 30 MB to itself, and is a little faster),
patients and labels were numbered without texts, bins summed 32 resamples at a time, confidences computed where films
are written, and what was drawn forgotten there.

Left of 100,000 films: the table of predictions 34 MB*, what identifies films 13*, the cohort's tables 12*, ids as
objects 6, and drawn numbers 43* while anything is resampled. 100,000 take 9 % more than 1,000, judged first or again.
The page has 0.2 MB (index.html) and 2.6 MB (films.html, which never exceeds about 3) at any size.

1,000,000 patients x 150 conditions from counts, 900 intervals: 232 s of one processor, 2.15 GB; of 100,000 12 s, 1.3 GB
on the machine under less load.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from suites.harness.api import load_subject
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.answering import PredictionJob
from suites.harness.predictions.blocks import cut
from suites.harness.statistics import Resamples
from suites.harness.stress_grid.measuring import paired_errors

FILMS = (1_000, 10_000, 100_000)
SECTIONS = ("Class boundaries", "Other institutions", "Calls that change")
PATIENTS, CONDITIONS = 1_000_000, 150


def content(row) -> str:
    return hashlib.sha256(str(row["id"]).encode()).hexdigest()


def decoded(row) -> Film:
    pixels = np.random.default_rng(int(str(row["id"]))).random((64, 64)).astype(np.float32)
    return Film(pixels=pixels, content=content(row))


def cohort(films: int) -> Cohort:
    """Films of half as many patients, in three classes."""
    classes = load_subject("bundled:fragile").classes
    rng = np.random.default_rng(0)
    patient = rng.integers(0, max(films // 2, 1), films)
    table = pd.DataFrame({
        "id": [f"{number:07d}" for number in range(films)], "file": [f"{number:07d}.png" for number in range(films)],
        "label": np.array(classes)[patient % 3], "patient": [f"{owner % 3}-{owner}" for owner in patient], "view": "PA",
        "age_group": "child", "finding": "", "split": "test",
    })  # fmt: skip
    return Cohort(name="made up", spec="made up", table=table, decode=decoded, identify=content)


def evaluation(films: int, folder: Path) -> Evaluation:
    claims = [claim for claim in load_claims() if claim.section in SECTIONS]
    run = Evaluation(
        subjects=[load_subject("bundled:fragile")], cohort=cohort(films), claims=claims, cache=folder, quiet=True
    )
    run.__dict__["checks"] = {subject.name: () for subject in run.subjects}  # they would ask the network
    return run


def fill(films: int, folder: Path) -> None:
    """Write the shards of a finished run."""
    run = evaluation(films, folder)
    (subject,) = run.subjects
    job = PredictionJob.of(
        {subject.name: (subject, run.plan["main"])}, run.cohort, seed=0, cache=folder, resolution=run.working
    )
    (engine,) = job.ready({subject.name: subject}).engines.values()
    rng, conditions = np.random.default_rng(1), run.plan["main"]
    for block in cut(run.cohort.rows()):
        keys = [(str(row["id"]), content(row)) for row in block.rows]
        truth = np.array([subject.classes.index(str(row["label"])) for row in block.rows])
        logits = rng.normal(size=(len(keys), 1, 3)) + 0.7 * rng.normal(size=(len(keys), len(conditions), 3))
        logits[np.arange(len(keys)), :, truth] += 1.5 - 0.1 * np.arange(len(conditions)) / len(conditions)
        rows = {
            (known, image, condition.identity): {
                "content": known, "image": image, "identity": condition.identity, "undefined": "", "features": None,
                **{f"logit_{index}": float(value) for index, value in enumerate(logits[film, at])},
            }
            for film, (image, known) in enumerate(keys) for at, condition in enumerate(conditions)
        }  # fmt: skip
        engine.shards.write(keys, [condition.identity for condition in conditions], rows)


def judge(films: int, folder: Path) -> str:
    run = evaluation(films, folder)
    began = time.process_time()
    run.evidence(run.subjects[0].name)
    read = time.process_time() - began
    run.run()
    judged = time.process_time() - began - read
    run.report(folder.parent / "report")
    drawn = time.process_time() - began - read - judged
    return f"{len(run.plan['main'])} conditions: read {read:.1f} s, judged {judged:.1f} s, report {drawn:.1f} s"


def patients() -> str:
    """Paired harm of every class under every condition, with its interval, from one byte a film and condition."""
    rng = np.random.default_rng(0)
    owner = np.arange(PATIENTS).astype(str)
    labels = np.arange(PATIENTS) % 3
    wrong = rng.integers(0, 256, (PATIENTS, CONDITIONS), dtype=np.uint8) < 40
    before, seen = wrong[:, 0].copy(), np.ones_like(wrong)
    began = time.process_time()
    resamples = Resamples.draw(owner, labels, seed=0)
    ends = []
    for label in range(3):
        inside = labels == label
        pairs = paired_errors(resamples.subset(inside), seen[inside], wrong[inside], before[inside])
        ends += [part.interval() for pair in pairs for part in pair]
    assert all(end.low < end.estimate < end.high for end in ends)
    return f"{len(ends)} intervals: {time.process_time() - began:.0f} s"


def alone(step: str, *arguments: str) -> None:
    """Take a step in a process of its own, and print what it says, its times and its peak."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.judging_scale", "step", step, *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    print(
        f"{step:9} {' '.join(arguments[:1]):>9}  {said}; {time.perf_counter() - began:.0f} s by the clock", flush=True
    )


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["step"]:
        step, *rest = arguments[1:]
        said = patients() if step == "patients" else {"fill": fill, "judge": judge, "again": judge}[step](
            int(rest[0]), Path(rest[1])
        )  # fmt: skip
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(f"{said or ''} CPU in all {usage.ru_utime + usage.ru_stime:.0f} s, peak {usage.ru_maxrss / 1e6:.3f} GB")
    elif arguments == ["patients"]:
        alone("patients")
    else:
        for films in map(int, arguments) if arguments else FILMS:
            with tempfile.TemporaryDirectory() as folder:
                for step in ("fill", "judge", "again"):
                    alone(step, str(films), str(Path(folder) / "cache"))


if __name__ == "__main__":
    main(sys.argv[1:])
