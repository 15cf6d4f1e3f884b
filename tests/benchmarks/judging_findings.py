"""How long does judging take where a subject answers fourteen findings? From made-up answers, nothing is predicted.

    uv run python -m tests.benchmarks.judging_findings               # 2,000 films, 14 findings
    uv run python -m tests.benchmarks.judging_findings 500 profile   # fewer films, and where the time goes
    uv run python -m tests.benchmarks.judging_findings contrast. classes.   # some claims, by the start of their names
    uv run python -m tests.benchmarks.judging_findings workers=2     # and once more with two worker processes

Every claim of the table that needs answers alone is judged on each finding, under the conditions that the profile quick
predicts for them; attacks and maps are no judging. No network is asked, no film is decoded.

Seconds of one core of a machine with nothing else at it, November 2026: a section of all fourteen findings of 2,000
films, one section after the other. In brackets before rates were counted by patient and found once (a value on a
rounding tie prints another last digit, .0625 as 6.2 for 6.3 points; else the printed digits are the same), behind them
what it took before groups were counted together, intervals by inversion moved from candidate to candidate and
recalibrations were fitted by Newton's method, on a machine with a load of 4 to 8.

    Class boundaries, with the resamples of each finding      2.1   (4.8)     7.7
    Low contrast and underexposure                            1.6   (6.8)    26.2
    Grid artefacts                                             .5   (2.7)     7.6
    White-out, both sections                                  1.8   (6.9)
    Other institutions                                        1.0   (5.9)
    Calls that change                                          .1   (2.1)
    Uncertainty                                              42.6  (44.7)   134
    Subgroups                                                 9.5  (10.7)   204
    all                                                      59.4  (84.6)   about 420

Since then resamples of an intercept take their first step together, bytes of simulated outcomes are mixed bit by bit,
an AUROC is added up from the steps of its order and one temperature of all findings is searched once for all blocks of
resamples; side by side in the same minutes the row Uncertainty took 57.4 s before most of this and 50.2 s after it, on
a machine with a load of 4 to 8. The table is without that temperature, 3 s; the answers made here did not allow it.

Two worker processes that stand already take 32.4 and 33.3 s by the clock, one process alone 62.2 and 65.3 s, on the
same machine with nothing else at it, which was 5 % slower than when the table was made (Uncertainty 22.5 for 44.5,
Subgroups 5.3 for 10.5). Two seconds of each are imports; workers that must be started take 5 s more. What is sent takes
.2 s in all.

Wanted: 30 seconds on two cores. Uncertainty is what remains: of each finding five recalibrations fitted out of fold,
each with an interval by inversion of a test (eleven intervals, .1 s each, are two fifths of the row), null bands, and
one temperature under each of its shifts, all on 2,000 resamples. Judging findings in two threads gains a tenth: what
numpy does at a time is too short. Looking at fewer candidates of an inversion (false position in place of halving)
takes a third less time, and moves every eleventh end, for what is searched jumps by a film. Of Subgroups a fifth are
products of debiased errors with all resamples, a sixth null bands, and a tenth drawing patients.
"""

from __future__ import annotations

import cProfile
import pstats
import resource
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from suites.harness.cache.results import without_pictures
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.endpoints import get
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.per_finding import of_subject, whole_of
from suites.harness.predictions.table import Predictions
from suites.harness.subjects.finding import own_finding
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject

FILMS = 2_000
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural Thickening", "Hernia",
)  # fmt: skip
"""Those of ChestX-ray14."""
RARE = np.linspace(0.35, 0.03, len(FINDINGS))
"""How many films show each of them."""


def content(row) -> str:
    return str(row["id"])


def decoded(row) -> Film:
    return Film(pixels=np.linspace(0.2, 0.8, 40 * 40, dtype=np.float32).reshape(40, 40), content=content(row))


def cohort(films: int, findings: tuple[str, ...] = FINDINGS) -> tuple[Cohort, np.ndarray]:
    """Films of half as many patients, and (N, F) which shows which finding."""
    rng = np.random.default_rng(0)
    there = rng.random((films, len(findings))) < RARE[: len(findings)]
    patient = rng.integers(0, max(films // 2, 1), films)
    table = pd.DataFrame({"id": [f"{at:06d}" for at in range(films)], "patient": [f"p{owner}" for owner in patient]})
    table = table.assign(
        file="", label="", view=rng.choice(["PA", "AP"], films), age_group="adult", finding="", split="test",
        sex=rng.choice(["F", "M"], len(patient))[patient], age=rng.uniform(20, 90, len(patient))[patient],
        **{f"finding:{name}": np.where(there[:, at], "positive", "negative") for at, name in enumerate(findings)},
    )  # fmt: skip
    return Cohort(name="made up", spec="made up", table=table, decode=decoded, identify=content), there


def nothing(_films):
    """Stand for a network that nobody asks."""


def evaluation(
    films: int, folder: Path, starts: tuple[str, ...] = ("",), workers: int = 1, findings: tuple[str, ...] = FINDINGS
) -> Evaluation:
    """A run whose answers are there: each finding's log-odds are normal around +-1, less sure under a condition."""
    claims = [
        claim for claim in load_claims()
        if (one := get(claim.endpoint)).about == "subject" and one.stage == "measuring" and claim.id.startswith(starts)
    ]  # fmt: skip
    films_of, there = cohort(films, findings)
    whole = Subject(
        name="fourteen", classes=findings, heads="sigmoid", respond=nothing,
        preprocessing=Preprocessing(name="small", short_side=8, size=8),
        provenance=Provenance(spec="fourteen", format="user", source="made up", sha256="0" * 64),
    )  # fmt: skip
    run = Evaluation(subjects=[whole], cohort=films_of, claims=claims, cache=folder, quiet=True, workers=workers)
    run.__dict__["checks"] = {subject.name: () for subject in run.subjects}  # they would ask the network
    rng, tables = np.random.default_rng(1), []
    clean = rng.normal(np.where(there, 1.0, -1.0), 1.2)
    for condition in run.plan["main"]:
        logits = clean if condition.text == "clean" else 0.9 * clean + rng.normal(0, 0.6, clean.shape)
        table = pd.DataFrame(logits.astype(np.float32), columns=[f"logit_{at}" for at in range(len(findings))])
        tables.append(table.assign(image=films_of.table["id"], condition=condition.text, severity=condition.severity))
    shown = pd.concat(tables, ignore_index=True).assign(subject=whole.name, cohort="made up", undefined="")
    excluded = pd.DataFrame(columns=["cohort", "file", "reason"])
    contents = {image: image for image in films_of.table["id"]}
    features = rng.normal(0, 1, (films, 64)).astype(np.float32)
    found = Predictions(shown, features, excluded, 0, contents=contents)
    for one in run.subjects:
        answered = Answers.of(
            one, run._aligned["main"][one.name], of_subject(one, found), offset=own_finding(one)[1], seed=0,
            cache=folder,
        )  # fmt: skip
        assert whole_of(one) is not one
        run._answers[one.name, "main"] = replace(answered, siblings=partial(run._siblings, whole, "main"))
    return run


def judged(run: Evaluation, times: dict[str, float] | None = None) -> tuple[float, float]:
    """Judge every claim; return seconds of this process's core and of the clock, of each claim the latter if asked."""
    spent, clock = time.process_time(), time.perf_counter()
    for claim in run.claims:
        began = time.perf_counter()
        for subject in run.about(claim):
            run.judgement(claim, subject)
        if times is not None:
            times[claim.id] = time.perf_counter() - began
    return time.process_time() - spent, time.perf_counter() - clock


def shown(run: Evaluation) -> list[str]:
    """Everything that was found, as text, but for what draws."""
    found = [(replace(one, result=None), one.result and without_pictures(one.result)) for one in run.judgements]
    tables = [
        [(title, table.to_csv()) for title, table in one.result.tables.items()] if one.result else []
        for one in run.judgements
    ]
    return [repr(pair) for pair in zip(found, tables, strict=True)]


def main(arguments: list[str]) -> None:
    films = next((int(text) for text in arguments if text.isdigit()), FILMS)
    workers = next((int(text.removeprefix("workers=")) for text in arguments if text.startswith("workers=")), 1)
    starts = tuple(text for text in arguments if "." in text)
    with tempfile.TemporaryDirectory() as folder:
        run = evaluation(films, Path(folder) / "one", starts or ("",))
        profile, by_claim = cProfile.Profile(), dict[str, float]()
        if "profile" in arguments:
            profile.enable()
        spent, clock = judged(run, by_claim)
        profile.disable()
        for name, took in by_claim.items():
            if took >= 0.05:  # whose section was not judged with another claim
                print(f"  {name:32} {took:6.1f} s")
        found = [one for one in run.judgements if one.result is not None]
        print(
            f"{films:,} films x {len(run.plan['main'])} conditions x {len(run.subjects)} findings, {len(run.claims)} "
            f"claims, {len(found)} of {len(run.judgements)} judgements with a number: {spent:.1f} s of one core, "
            f"{clock:.1f} s by the clock",
            flush=True,
        )
        if workers > 1:
            several = evaluation(films, Path(folder) / "several", starts or ("",), workers)
            spent, clock = judged(several, by_claim)
            for name, took in by_claim.items():
                if took >= 0.05:
                    print(f"  {name:32} {took:6.1f} s")
            same, there = shown(several) == shown(run), of_workers(several)
            print(
                f"with {workers} workers, started on the way: {clock:.1f} s by the clock, {spent:.1f} s of this "
                f"process's core and {there:.1f} s of theirs; all judgements the same: {same}"
            )
    if "profile" in arguments:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def of_workers(run: Evaluation) -> float:
    """End the workers of a run; return the seconds of cores that they have used."""
    run._workers.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
