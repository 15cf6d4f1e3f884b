"""Who is harmed more on real films? Claims about subgroups on the films of the shared folder, by view, age and sex.

    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.subgroups_on_real_films [REPORT]

The stand-in weights, asked for pneumonia or normal, on adult films of two collections (`external/adult_frontal`) and on
the children that they were trained for (`kermany`, of whom nothing is recorded by patient). Writes a report of each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from suites.harness import load_subject
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.subject import Subject

CLASSES = ("normal", "pneumonia")


class IllOrHealthy(nn.Module):
    """Tells the kinds of pneumonia no longer apart: their probabilities are one."""

    def __init__(self, network: nn.Module, normal: int) -> None:
        super().__init__()
        self.network, self.normal = network, normal

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.network(pixels)
        ill = [kind for kind in range(logits.shape[1]) if kind != self.normal]
        return torch.stack([logits[:, self.normal], logits[:, ill].logsumexp(dim=1)], dim=1)


def stand_in(shared: Path) -> Subject:
    """Return the stand-in weights as a subject of two classes."""
    three = load_subject(str(shared / "weights" / "kermany-convnextv2-atto"))
    assert three.network is not None
    network = IllOrHealthy(three.network, three.classes.index("normal"))
    return replace(three, name="stand-in", classes=CLASSES, network=network, preprocessings={})


def adults(shared: Path, folder: Path) -> Cohort:
    """Return the adult frontal films with a label: `No Finding` and `no finding` are normal, all other findings ill."""
    root = shared / "data" / "external"
    told = pd.read_csv(root / "metadata.csv")
    told = told[told["file"].str.startswith("adult_frontal") & told["finding"].notna()]
    healthy = told["finding"].str.casefold() == "no finding"
    told = told.assign(file=[str(root / name) for name in told["file"]])
    told.assign(label=healthy.map({True: "normal", False: "pneumonia"})).to_csv(folder / "adults.csv", index=False)
    return load_cohort(str(folder / "adults.csv"))


def run_on(cohort: Cohort, subject: Subject, cache: Path, chosen: Sequence[str] = ()) -> Evaluation:
    """Return the run of the claims about subgroups alone, or of those that are chosen."""
    claims = [
        claim for claim in load_claims() if claim.id in chosen or (not chosen and claim.id.startswith("subgroup."))
    ]
    return Evaluation(subjects=[subject], cohort=cohort, claims=claims, cache=cache, quiet=True).run()


def main(folder: Path) -> None:
    """Judge both cohorts, print the verdicts, write the reports."""
    shared = Path(os.environ["CHEST_XRAY_SHARED"])
    folder.mkdir(parents=True, exist_ok=True)
    subject = stand_in(shared)
    children = load_cohort(str(shared / "data" / "kermany"))
    pneumonia = children.table["label"].where(children.table["label"] == "normal", "pneumonia")
    cohorts = {
        "adults": adults(shared, folder),
        "children": replace(children, table=children.table.assign(label=pneumonia)),
    }
    for name, cohort in cohorts.items():
        run = run_on(cohort, subject, folder / "cache")
        for judgement in run.judgements:
            print(f"{name:9} {judgement.claim.id:24} {judgement.verdict:14} {judgement.reason}")
            for title, table in (judgement.result.tables if judgement.result else {}).items():
                print(f"\n{title}\n{table.to_string(index=False)}\n")
        print(run.report(folder / name))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "report-subgroups"))
