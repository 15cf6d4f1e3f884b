"""A record made of random numbers and nasty names: nothing in it was measured on anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from suites.harness.claims import Claim, GalleryItem, Judgement, Measure, Result, Verdict
from suites.harness.cohorts.cohort import Cohort
from suites.harness.formatting import figures
from suites.harness.performance.paired_comparison import Pair, PairedMeasure
from suites.harness.record import PAGE, Record
from suites.harness.report.write import write_report
from suites.harness.subjects.subject import Provenance, Subject

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
EVIL = "<script>alert(1)</script>"
CONDITIONS = ["clean"] + [f"{name}@{severity}" for name in ("underexposed", "grid_lines") for severity in range(1, 6)]

MakeRecord = Callable[..., Record]


def _never(*_: object) -> None:
    raise AssertionError("the report must not touch films or networks")


def _subject(name: str) -> Subject:
    provenance = Provenance(
        spec=f"timm:{name}", format="timm", source=f"weights/{name}.safetensors", sha256="ab12" * 16,
        architecture="convnextv2_tiny", notes=(f"note {EVIL}",),
    )  # fmt: skip
    return Subject(name=name, classes=CLASSES, provenance=provenance, respond=_never)  # type: ignore[arg-type]


def _cohort(films: int, seed: int, name: str = "synthetic films") -> Cohort:
    rng = np.random.default_rng(seed)
    label = rng.choice(CLASSES, size=films, p=[0.4, 0.35, 0.25])
    label[:3] = CLASSES
    patient = [
        f"{kind}-{number}" for kind, number in zip(label, rng.integers(0, max(2, films // 3), films), strict=True)
    ]
    table = pd.DataFrame({
        "id": [f"film-{index:04d}" for index in range(films)],
        "file": [f"{index:04d}.jpeg" for index in range(films)],
        "label": label, "patient": patient, "view": "PA", "age_group": "", "finding": "", "split": "test",
    })  # fmt: skip
    table.loc[0, "id"] = f"{EVIL} ünïcödé 胸部.jpeg"
    return Cohort(name=name, spec="folder:films", table=table, decode=_never, notes=("labels from folder names",))  # type: ignore[arg-type]


def _answers(cohort: Cohort, subjects: Sequence[Subject], strength: Sequence[float], seed: int) -> pd.DataFrame:
    frames = []
    truth = cohort.table["label"].map({name: index for index, name in enumerate(CLASSES)}).to_numpy()
    for number, (subject, skill) in enumerate(zip(subjects, strength, strict=True)):
        for index, condition in enumerate(CONDITIONS):
            rng = np.random.default_rng([seed, number, index])
            severity = int(condition[-1]) if "@" in condition else 0
            logits = rng.normal(size=(len(cohort), 3))
            logits[np.arange(len(cohort)), truth] += skill - 0.35 * severity
            frame = pd.DataFrame(logits, columns=["logit_0", "logit_1", "logit_2"]).astype(np.float32)
            frame.insert(0, "severity", severity)
            frame.insert(0, "condition", condition)
            frame.insert(0, "image", cohort.table["id"].to_numpy())
            frame.insert(0, "cohort", cohort.name)
            frame.insert(0, "subject", subject.name)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def measure(name: str, estimate: float, half: float = 0.03, condition: str = "clean", **more: object) -> Measure:
    differs = name.endswith(("_gap", "_drop"))
    plain = name in ("temperature", "ece")
    facts: dict[str, object] = {"unit": "plain" if plain else "points" if differs else "share"}
    facts |= {"n": 624, "patients": 428, "estimator": "patient bootstrap, B=2000, 95 %"} | more
    return Measure(
        name=name, condition=condition, estimate=estimate, low=estimate - half, high=estimate + half, **facts
    )  # type: ignore[arg-type]


def _film_figure(seed: int) -> Figure:
    figure = Figure(figsize=(3, 3), layout="constrained")
    axes = figure.subplots()
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    noise = np.random.default_rng(seed).normal(size=(96, 96))
    axes.imshow(np.exp(-(rows**2 + columns**2)) + 0.05 * noise, cmap="gray")
    axes.set_axis_off()
    return figure


def _curve(seed: int) -> Figure:
    values = 0.92 - 0.06 * np.arange(6) + np.random.default_rng(seed).normal(size=6) * 0.01
    series = {
        "bacterial pneumonia": (values, values - 0.04, values + 0.04),
        "normal": (values - 0.05, values - 0.1, values),
        "viral pneumonia": (values - 0.1, values - 0.16, values - 0.05),
    }
    return figures.severity_curve(range(6), series, ylabel="recall", title="Recall by severity", margin=0.8)


def _broken() -> Figure:
    raise RuntimeError("no data to draw " + EVIL)


def _claims() -> list[tuple[Claim, Verdict, Result | None, str]]:
    """One claim for every verdict and every shape a result can have."""

    def claim(name: str, section: str, statement: str, kind: str = "limitation", **more: object) -> Claim:
        facts: dict[str, object] = {
            "margin": 0.05,
            "endpoint": "drop",
            "remedy": "Window to the 1st and 99th percentile.",
        }
        return Claim(id=name, section=section, statement=statement, kind=kind, **(facts | more))  # type: ignore[arg-type]

    gallery = {
        "Worst failures": [
            GalleryItem(
                caption=f"film-{i:04d}: bacterial taken for viral {EVIL}",
                draw=partial(_film_figure, i),
                facts={"confidence": 0.9 + i / 100},
            )  # type: ignore[misc]
            for i in range(6)
        ],
        f"Saliency {EVIL}": [
            GalleryItem(
                caption=f"strip {i}",
                draw=partial(Image.new, "RGB", (300, 90), (40 * i, 0, 0)),
                facts={"class": CLASSES[i % 2], "method": ("grad-cam", EVIL)[i // 2], "condition": "clean"},
                details=partial(dict, method="grad-cam", number=i),
            )
            for i in range(4)
        ],
    }
    curves = [
        measure("recall_viral_pneumonia", 0.82 - 0.06 * s, condition=f"underexposed@{s}", exploratory=s > 3)
        for s in range(1, 6)
    ]
    drop = "Balanced accuracy falls by 21.0 pp (17.4 to 24.6) on films at severity 3."
    many = [measure("flip_rate", 0.01 * i, 0.005, condition=f"grid_lines@{1 + i % 5}") for i in range(30)]
    half_width = Result(effect=measure("accuracy", 0.022, 0.0), summary="The interval is ±2.2 %, not ±1.5 %.")
    recalls = [measure("recall_viral_pneumonia", 0.824), measure("recall_normal", 0.897)]
    gap = Result(effect=measure("recall_gap", 0.073, 0.02), measures=recalls)
    per_class = pd.DataFrame({"class": list(CLASSES), "": "kind", "drop": [0.1, 0.2, np.nan], "films": [242, 234, 148]})
    underexposed = Result(
        effect=measure("balanced_accuracy_drop", 0.21, 0.036, condition="clean - underexposed@3"), measures=curves,
        summary=drop, figures={"recall_by_severity": lambda: _curve(1), "broken": _broken}, galleries=gallery,
        tables={"Per class": per_class},
    )  # fmt: skip
    flips = measure("flip_rate", 0.012, 0.009, condition="grid_lines@3 - clean")
    grid = Result(effect=flips, measures=many, figures={"curve": lambda: _curve(2)})
    nowhere = measure("temperature", float("nan"), 0.0, n=12, patients=3, exploratory=True)
    page, classes = "Published numbers", "Class boundaries"
    modes, reliability = "Known failure modes", "Adversarial and reliability"
    needed = {"kind": "requirement", "direction": "below"}
    asked = {"condition": "underexposed@3", "measure": "balanced_accuracy"}
    return [
        (claim("published_numbers.interval", page, "The stated uncertainty of the accuracy is too small",
               margin=0.015, documented=0.03), Verdict.SUPPORTED, half_width, "beyond the margin"),
        (claim("class_boundaries.viral_recall", classes, "Viral films are recognised less often than the page admits",
               margin=0.03, documented=0.05), Verdict.SUPPORTED, gap, "beyond the margin"),
        (claim("class_boundaries.balanced", classes, "Balanced accuracy reaches 85 %", kind="requirement", margin=0.85),
         Verdict.MET, Result(effect=measure("balanced_accuracy", 0.90, 0.025)), "the interval lies above the margin"),
        (claim("failure_modes.underexposed", modes, "Underexposed films are answered markedly worse",
               documented=0.15, parameters=asked), Verdict.SUPPORTED, underexposed, "beyond the margin"),
        (claim("failure_modes.grid", modes, "Grid lines turn normal films into pneumonia " + EVIL),
         Verdict.NOT_SUPPORTED, grid, "within the margin"),
        (claim("failure_modes." + "very_long_name_" * 8, modes, "A statement that goes on and on " * 9,
               margin=0.1, **needed),
         Verdict.VIOLATED, Result(effect=measure("false_positive_rate", 0.34, 0.05, condition="whiteout@3")), "above"),
        (claim("uncertainty.ece", reliability, "Confidence can be taken at its word", **needed),
         Verdict.INCONCLUSIVE, Result(effect=measure("ece", 0.048, 0.02), needed=2400), "crosses the margin"),
        (claim("adversarial.linf", reliability, "A change of one grey level turns the answer"),
         Verdict.NOT_EVALUABLE, None, "a deployed service gives no gradients"),
        (claim("uncertainty.temperature", reliability, "The logits need no rescaling", margin=1.0, kind="requirement"),
         Verdict.INCONCLUSIVE, Result(effect=nowhere), "too few films"),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Return a maker of records: `make_record(subjects=2, films=400, skill=2.6, seed=0)`.

    `noise` draws other answers on the same films; `plain` leaves the figures out, for speed.
    """

    def make(
        *, subjects: int = 2, films: int = 400, skill: float = 2.6, seed: int = 0, noise: int = 0, plain: bool = False
    ) -> Record:
        names = ["ConvNeXt-V2 Tiny", f"DINOv2 <b>{EVIL}"][:subjects]
        models = [_subject(name) for name in names]
        cohort = _cohort(films, seed)
        judgements = []
        for claim, verdict, result, reason in _claims():
            shown = replace(result, figures={}, galleries={}) if plain and result else result
            speakers = [PAGE] if claim.section == "Published numbers" else names
            for speaker in speakers:
                beyond = claim.documented is not None and "recall" in claim.id
                judgements.append(
                    Judgement(
                        claim=claim,
                        subject=speaker,
                        verdict=verdict,
                        reason=reason,
                        result=shown,
                        beyond_documented=beyond,
                    )
                )
        excluded = pd.DataFrame(
            {"cohort": [cohort.name], "file": [f"{EVIL}.jpeg"], "reason": ["truncated after 1,024 bytes"]}
        )
        return Record(
            subjects=models, cohort=cohort, judgements=judgements,
            predictions=_answers(cohort, models, [skill, skill - 0.6][:subjects], seed + noise),
            excluded=excluded, profile="quick", seed=7, command="uv run pytest suites/ --report --weights 'hf:a/b'",
            started="2026-11-23T15:00:00+00:00", seconds=93.4, notes=[f"Self-test on random numbers {EVIL}."],
            versions={"python": "3.11.7", "torch": "2.15.0", "device": "cpu"},
            probes={"lateral": _cohort(40, seed + 1, "lateral phantoms")},
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def report(make_record: MakeRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the index.html of a report on two subjects."""
    record = make_record(films=200)
    accuracy = PairedMeasure(
        measure="accuracy", first=0.9, second=0.842, difference=0.058, low=0.03, high=0.086, films=200, patients=200
    )
    names = [subject.name for subject in record.subjects]
    pair = Pair(
        first=names[0], second=names[1], measures=(accuracy,), films=200, patients=200, only_first=15, only_second=4,
        mcnemar=0.02, sign_flip=0.02,
    )  # fmt: skip
    return write_report(record, tmp_path_factory.mktemp("report") / "out", comparison=[pair])
