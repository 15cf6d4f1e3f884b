"""What must a reader be able to find, and where does this page answer it? The reporting checklist.

Drawn from TRIPOD+AI, STARD-AI, CLAIM, Metrics Reloaded, Model Cards and FUTURE-AI, boiled down to eighteen items.
Some are answered by the page itself, the others by claims, recognised by their endpoint: only what was measured answers
an item, never a claim whose name resembles it. An item no claim of the run answers says so, and a claim that could not
be evaluated stands there with its reason: an absent answer must not look like a good one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from suites.harness.claims import Judgement, Verdict
from suites.harness.formatting.wording import slug
from suites.harness.record import Record
from suites.harness.report.results import all_measures

GRID = "grid"
"""Anchor of the stress grid, which a report may lack."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of the checklist.

    Attributes:
        number: 1-18; `title`: what must be reported.
        anchors: id -> link text of the page's own sections that answer it.
        endpoints: those whose claims answer it; empty for the page's own items.
        curves: a claim answers it only with measures at several severities of one change.
        failures: so does every claim with pictures that was not found harmless.
        lacking: what no report of this kind holds.
    """

    number: int
    title: str
    anchors: dict[str, str]
    endpoints: tuple[str, ...] = ()
    curves: bool = False
    failures: bool = False
    lacking: str = ""

    @property
    def measured(self) -> bool:
        """Whether claims answer it."""
        return bool(self.endpoints) or self.failures


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where an item is answered: link targets with their texts, or why it is not.

    Attributes:
        not_evaluable: (link target, claim, reason) of claims that would answer it.
    """

    item: Item
    links: tuple[tuple[str, str], ...]
    not_evaluable: tuple[tuple[str, str, str], ...] = ()
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
        endpoints=("duplicate_share", "patient_overlap", "class_mix_shift", "shortcut_auroc"),
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
        endpoints=("calibration_error", "temperature"),
    ),
    Item(
        number=7,
        title="Every documented failure mode with its test, effect, interval and verdict",
        anchors={"claims": "Claims"},
    ),
    Item(
        number=8,
        title="Severity curves with absolute and relative change, worst group, monotonicity",
        anchors={GRID: "Stress grid"},
        endpoints=("stress",),
        curves=True,
    ),
    Item(
        number=9,
        title="Out-of-distribution detection, each kind of film by itself",
        anchors={},
        endpoints=("probe_detection",),
    ),
    Item(
        number=10,
        title="Selective prediction: risk against coverage, area under it, coverage at 5 % risk",
        anchors={},
        endpoints=("selective",),
    ),
    Item(
        number=11,
        title="Adversarial: threat model, budget, attack settings, checks",
        anchors={},
        endpoints=("robust_accuracy", "universal_pattern"),
    ),
    Item(
        number=12,
        title="Explanations with their sanity checks",
        anchors={},
        endpoints=(
            "map_goes_with_the_weights",
            "looks_at_lesion",
            "looks_at_border",
            "looks_off_the_lung",
            "map_moves",
        ),
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
        lacking="This page holds no evidence of how realistic it is.",
    ),
    Item(
        number=16,
        title="Gallery of failures",
        anchors={},
        endpoints=("map_goes_with_the_weights",),
        failures=True,
    ),
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


def answers(record: Record, *, grid: bool = False) -> list[Answer]:
    """Return where the page written from this record answers each item, in order.

    Args:
        record: the finished run.
        grid: whether the page has a stress grid.
    """
    return [_answer(item, record, grid=grid) for item in ITEMS]


def _answer(item: Item, record: Record, *, grid: bool) -> Answer:
    own = [(f"#{anchor}", text) for anchor, text in item.anchors.items() if grid or anchor != GRID]
    if not item.measured:
        return Answer(item=item, links=tuple(own), absent=item.lacking)
    found = dict.fromkeys(judgement.claim.id for judgement in record.judgements if _answers(item, judgement))
    claims = [(f"#{claim_anchor(claim)}", claim) for claim in found]
    refused = {
        judgement.claim.id: judgement.reason
        for judgement in record.judgements
        if judgement.claim.endpoint in item.endpoints
        and judgement.verdict is Verdict.NOT_EVALUABLE
        and judgement.claim.id not in found
    }
    absent = "" if claims else "No claim of this run measured it" + (" beyond what is linked." if own else ".")
    return Answer(
        item=item,
        links=(*own, *claims),
        not_evaluable=tuple((f"#{claim_anchor(claim)}", claim, reason) for claim, reason in refused.items()),
        absent=absent,
    )


def _answers(item: Item, judgement: Judgement) -> bool:
    if judgement.result is None or judgement.verdict is Verdict.NOT_EVALUABLE:
        return False
    if judgement.claim.endpoint in item.endpoints:
        return not item.curves or _severities(judgement) > 1
    # Where nothing was found the pictures show changes, which may all be for the better.
    harmless = judgement.verdict in (Verdict.MET, Verdict.NOT_SUPPORTED)
    return item.failures and bool(judgement.result.galleries) and not harmless


def _severities(judgement: Judgement) -> int:
    """Return at how many severities one change is measured, of the change that has most."""
    levels: dict[str, set[str]] = {}
    for measure in all_measures(judgement):
        if step := re.fullmatch(r"(.*)@([1-5])", measure.condition):
            levels.setdefault(step[1], set()).add(step[2])
    return max(map(len, levels.values()), default=0)
