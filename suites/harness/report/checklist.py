"""The reporting checklist: what a reader must be able to find, and where this page answers it.

Drawn from TRIPOD+AI, STARD-AI, CLAIM, Metrics Reloaded, Model Cards and FUTURE-AI, boiled down to eighteen items.
Items 1-5, 13-15, 17 and 18 are answered by the page itself; the others by claims, recognised by what they measure. An
item no claim of the run answers says so: an absent answer must not look like a good one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from suites.harness.claims import Judgement
from suites.harness.record import Record
from suites.harness.report.results import all_measures
from suites.harness.report.wording import slug


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of the checklist.

    Attributes:
        number: 1-18; `title`: what must be reported.
        anchors: id -> link text of the page's own sections that answer it.
        measured_by: pattern over the names of measures (and claim ids) that answer it; empty for the page's own items.
    """

    number: int
    title: str
    anchors: dict[str, str]
    measured_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where an item is answered: link targets with their texts, or why it is not."""

    item: Item
    links: tuple[tuple[str, str], ...]
    absent: str = ""


ITEMS = (
    Item(
        number=1,
        title="Model identity and hash, revision, preprocessing used, hardware, seeds, package versions",
        anchors={"provenance": "Provenance"},
    ),
    Item(
        number=2,
        title="Intended use, not a device, population, class definition, source of the labels",
        anchors={"use": "Intended use", "flow": "Films"},
    ),
    Item(
        number=3,
        title="Data flow: films and patients by class and split, exclusions, duplicates, leakage, shortcut baselines",
        anchors={"flow": "Films", "exclusions": "Exclusions"},
        measured_by=r"duplicate|overlap|leak|shortcut|metadata|dataset_scope",
    ),
    Item(number=4, title="Limits of the reference standard", anchors={"limits-labels": "Limits of the labels"}),
    Item(
        number=5,
        title="Confusion matrix, sensitivity, specificity, PPV and NPV at stated prevalence, balanced accuracy, "
        "macro-F1, AUROC, AUPRC, Brier, NLL, each with an interval",
        anchors={"performance": "Performance on clean films"},
    ),
    Item(
        number=6,
        title="Calibration: curve, ECE with its estimator named, before and after recalibration, under shift",
        anchors={},
        measured_by=r"^(.*_)?(ece|ace|mce|smooth_ece|calibration\w*|temperature)(_|$)|calibrat",
    ),
    Item(
        number=7,
        title="Every documented failure mode with its test, effect, interval and verdict",
        anchors={"verdicts": "Verdict table", "claims": "Claims in detail"},
    ),
    Item(
        number=8,
        title="Severity curves with absolute and relative change, worst group, monotonicity",
        anchors={},
        measured_by=r"@[1-5]|severity",
    ),
    Item(
        number=9,
        title="Out-of-distribution detection per kind, near and far apart",
        anchors={},
        measured_by=r"fpr95|ood|unseen|lateral|adult",
    ),
    Item(
        number=10,
        title="Selective prediction: risk against coverage, area under it, coverage at 5 % risk",
        anchors={},
        measured_by=r"aurc|coverage|selective|abst",
    ),
    Item(
        number=11,
        title="Adversarial: threat model, budget, attack settings, checks",
        anchors={},
        measured_by=r"robust_accuracy|adversarial|attack",
    ),
    Item(
        number=12,
        title="Explanations with their sanity checks",
        anchors={},
        measured_by=r"saliency|attribution|explan|hit_rate|randomi[sz]ation|faithful",
    ),
    Item(number=13, title="Subgroups available, and those that are not", anchors={"subgroups": "Subgroups"}),
    Item(
        number=14,
        title="Multiplicity plan and pre-specified primary endpoints",
        anchors={"limits-statistics": "How verdicts are reached"},
    ),
    Item(
        number=15,
        title="What is synthetic, evidence of its realism, its limits",
        anchors={"limits-synthetic": "What is synthetic"},
    ),
    Item(number=16, title="Gallery of failures", anchors={}, measured_by="gallery"),
    Item(
        number=17,
        title="Machine-readable results and the exact command",
        anchors={"downloads": "Downloads", "command": "Command"},
    ),
    Item(
        number=18,
        title="Conclusions that never exceed the evidence",
        anchors={"limits": "Limits of the evidence"},
    ),
)


def claim_anchor(claim_id: str) -> str:
    """Return the id of a claim's section in the page."""
    return f"claim-{slug(claim_id)}"


def answers(record: Record) -> list[Answer]:
    """Return where the page written from this record answers each item, in order."""
    return [_answer(item, record) for item in ITEMS]


def _answer(item: Item, record: Record) -> Answer:
    links = [(f"#{anchor}", text) for anchor, text in item.anchors.items()]
    if item.measured_by:
        claims = dict.fromkeys(j.claim.id for j in record.judgements if j.result is not None and _measures(item, j))
        links += [(f"#{claim_anchor(claim)}", claim) for claim in claims]
    if len(links) > len(item.anchors) or not item.measured_by:
        return Answer(item=item, links=tuple(links))
    absent = "No claim of this run measured it" + (" beyond what is linked." if links else ".")
    return Answer(item=item, links=tuple(links), absent=absent)


def _measures(item: Item, judgement: Judgement) -> bool:
    if item.measured_by == "gallery":
        return bool(judgement.result and judgement.result.galleries)
    names = [judgement.claim.id]
    for measure in all_measures(judgement):
        names += [measure.name, measure.condition]
    return any(re.search(item.measured_by, name) for name in names)
