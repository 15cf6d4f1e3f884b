"""The commands that the README gives for public collections, on small folders of their real form."""

from __future__ import annotations

import gzip
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.layouts.chexpert import OBSERVATIONS
from suites.harness.cohorts.probes import load_probes
from suites.harness.evaluation import Evaluation
from suites.harness.plan import planned, stored
from suites.harness.plan.speed import Speed
from suites.harness.subjects.formats import load_subject, xrv
from tests.suites.cohorts.layouts.test_dicom import write as write_dicom

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = [
    shlex.split(line) for line in re.findall(r"^uv run pytest suites/ --report --weights xrv:.*$", README, re.MULTILINE)
]
FILMS = 8
EFFUSION, CONSOLIDATION = [number % 2 for number in range(FILMS)], [number // 2 % 2 for number in range(FILMS)]
CLAIM = next(claim for claim in load_claims() if claim.id == "classes.balanced_accuracy")
VINDR = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other disease", "No finding",
)  # fmt: skip


def film(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(grey).save(path)


def cells(names: Iterable[str], effusion: str, number: int, blank: str = "") -> str:
    known = {effusion: EFFUSION[number], "Consolidation": CONSOLIDATION[number]}
    return ",".join(str(known.get(name, blank)) for name in names)


def chexpert(root: Path) -> None:
    lines = [f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(OBSERVATIONS)}"]
    for number in range(FILMS):
        for at, (side, view) in enumerate((("frontal", "AP"), ("lateral", ""))):
            name = f"valid/patient{64541 + number}/study1/view{at + 1}_{side}.jpg"
            film(root / name, 2 * number + at)
            told = cells(OBSERVATIONS, "Pleural Effusion", number, "0.0")
            lines.append(f"{root.name}/{name},Male,73,{side.title()},{view},{told}")
    (root / "valid.csv").write_text("\n".join(lines))


def mimic(root: Path) -> None:
    names = sorted(OBSERVATIONS)
    metadata, labels = ["dicom_id,subject_id,study_id,ViewPosition"], [f"subject_id,study_id,{','.join(names)}"]
    split = ["dicom_id,study_id,subject_id,split"]
    for number in range(FILMS):
        patient, study, one = 10000032 + number, 50414267 + number, f"0{number}aa804e-bde0afdd"
        film(root / f"files/p10/p{patient}/s{study}/{one}.jpg", number)
        metadata.append(f"{one},{patient},{study},PA")
        labels.append(f"{patient},{study},{cells(names, 'Pleural Effusion', number)}")
        split.append(f"{one},{study},{patient},test")
    for kind, lines in (("metadata", metadata), ("chexpert", labels), ("split", split)):
        (root / f"mimic-cxr-2.0.0-{kind}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


def nih(root: Path) -> None:
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    lines = [header]
    names = [f"{number:08d}_000.png" for number in range(FILMS)]
    for number, name in enumerate(names):
        film(root / f"images_00{1 + number // 4}/images/{name}", number)
        found = ["Effusion"] * EFFUSION[number] + ["Consolidation"] * CONSOLIDATION[number]
        lines.append(f"{name},{'|'.join(found) or 'No Finding'},0,{number},058Y,M,PA,2682,2749,0.143,0.143,")
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines))
    (root / "test_list.txt").write_text("\n".join(names))
    (root / "BBox_List_2017.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{names[1]},Effusion,100.5,200.5,300,400,,,\n"
        f"{names[3]},Effusion,1900.5,200.5,300,400,,,\n"
    )


def vindr(root: Path) -> None:
    lines, boxes = [f"image_id,{','.join(VINDR)}"], ["image_id,class_name,x_min,y_min,x_max,y_max"]
    for number in range(FILMS):
        write_dicom(root / f"test/{number:032x}.dicom", PatientID=str(number))
        lines.append(f"{number:032x},{cells(VINDR, 'Pleural effusion', number, '0')}")
        boxes.append(f"{number:032x},{'Pleural effusion,2,3,30,40' if EFFUSION[number] else 'No finding,,,,'}")
    (root / "annotations").mkdir()
    (root / "annotations/image_labels_test.csv").write_text("\n".join(lines))
    (root / "annotations/annotations_test.csv").write_text("\n".join(boxes))


MADE: dict[str, Callable[[Path], None]] = {
    "CheXpert-v1.0-small?split=val": chexpert, "mimic-cxr-jpg/2.0.0": mimic, "ChestX-ray14": nih,
    "vindr-cxr/1.0.0": vindr,
}  # fmt: skip


def test_every_collection_of_the_readme_is_tried():
    assert [words[-1] for words in COMMANDS] == list(MADE)
    assert {words[words.index("--weights") + 1] for words in COMMANDS} == {"xrv:densenet121-res224-all"}


@pytest.mark.parametrize("spec", MADE)
def test_a_densenet_of_torchxrayvision_is_planned_on_it(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(xrv, "CACHE", tmp_path)
    torch.manual_seed(0)
    torch.save(xrv._densenet121(18).state_dict(), tmp_path / xrv.PUBLISHED["densenet121-res224-all"].file)
    root = tmp_path / spec.partition("?")[0]
    root.mkdir(parents=True)
    MADE[spec](root)
    cohort = load_cohort(spec)
    run = Evaluation(
        subjects=[load_subject("xrv:densenet121-res224-all")], cohort=cohort, claims=[CLAIM], cache=tmp_path / "cache",
        probes=load_probes(cohort, {}), quiet=True,
    )  # fmt: skip
    assert set(run.probes) == ({"lateral"} if MADE[spec] is chexpert else set())
    assert sorted(one.answers for one in run.subjects) == ["Consolidation", "Effusion"]
    made = planned(run, Speed({}, {}, {}, 0.0, frozenset(), ()), stored(run))
    assert {finding.lower(): [films for films, _ in counts.values()] for finding, counts in made.findings.items()} == {
        "consolidation": [4, 4], "effusion" if MADE[spec] is nih else "pleural effusion": [4, 4]
    }  # fmt: skip
    assert made.lines()[0].startswith("plan: films: 8, with and without ")
    assert made.refused == ""
    assert all(cohort.decode(row).pixels.size for row in cohort.rows())
