"""Are folders of films read as people have them: as many films, patients, views and labels as there are?"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from suites.harness import Cohort, load_cohort
from suites.harness.cohorts.layouts import align_labels
from tests.hostile import material
from tests.hostile.case import Case, accepted, either, generator, refused
from tests.hostile.kinds.dicom import radiograph

CLASSES = ("normal", "pneumonia")


def holds(films: int, patients: int | None = None, **columns: set[str]) -> Callable[[Cohort], object]:
    """Judge numbers of films and patients, and the values of columns."""

    def right(found: Cohort) -> object:
        if len(found) != films or (patients is not None and found.patients != patients):
            return f"{len(found)} films of {found.patients} patients, not {films} of {patients}: {found.notes}"
        for column, values in columns.items():
            if set(found.table[column]) != values:
                return f"{column} is {sorted(set(found.table[column]))}, not {sorted(values)}"
        for row in found.rows()[:2]:
            found.decode(row)
        return True

    return right


def dicom(path: Path, seed: int, patient: str) -> None:
    values = np.random.default_rng(seed).integers(0, 4096, (24, 20)).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    radiograph(
        values, 12, WindowCenter=2000, WindowWidth=1500, PatientID=patient, ViewPosition="PA", PatientAge="058Y"
    ).save_as(path)


@generator("folders", share=40)
def dicoms_in_class_folders(rng: random.Random, place: Path) -> Case:
    """Patient, view and age come from the headers, whatever tells the labels."""
    films, patients, form = (
        rng.randint(4, 10),
        rng.randint(2, 3),
        rng.choice(["classes", "splits", "manifest", "manifest with other suffix"]),
    )
    suffix, rows = rng.choice([".dcm", "", ".dicom"]), []
    for number in range(films):
        label = CLASSES[number % 2]
        folder = {"classes": f"films/{label}", "splits": f"films/test/{label}"}.get(form, "films")
        file = place / folder / f"i{number}{suffix}"
        dicom(file, number, f"patient{number % patients}")
        rows.append({"file": file.name, "label": label})
    if form.startswith("manifest"):
        with (place / "films" / "films.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["file", "label"])
            writer.writeheader()
            writer.writerows(rows)
    spec = str(place / "films") + ("/films.csv" if form.startswith("manifest") else "")
    right = holds(films, patients, view={"PA"}, age_group={"adult"}, label=set(CLASSES))
    return accepted(lambda: load_cohort(spec, classes=CLASSES), right, what=f"DICOM, {form}, {suffix or 'no suffix'}")


@generator("folders", share=40)
def class_folders(rng: random.Random, place: Path) -> Case:
    """With and without splits, and with what systems leave behind."""
    splits, count, wanted = rng.choice([[""], ["train", "test"], ["Training", "Validation", "Testing"]]), 0, 0
    for split in splits:
        for label in ("NORMAL", "PNEUMONIA"):
            for _ in range(rng.randint(1, 4)):
                material.png(place / "films" / split / label / f"film{count}.png", count)
                count += 1
                wanted += split in ("", "test", "Testing")
            (
                place / "films" / split / label / rng.choice(["Thumbs.db", ".DS_Store", "desktop.ini", "._film.png"])
            ).write_bytes(b"x")
    return accepted(
        lambda: load_cohort(str(place / "films"), classes=CLASSES),
        holds(wanted, label=set(CLASSES)),
        what=f"splits {splits}",
    )


@generator("folders", share=30)
def masks_beside_images(rng: random.Random, place: Path) -> Case:
    """`images/` and `masks/` in each class folder, as a large public database has them: masks are no films."""
    films, inner = rng.randint(2, 5), rng.choice([("images", "masks"), ("Images", "Masks"), ("image", "mask")])
    for label in CLASSES:
        for number in range(films):
            for folder in inner:
                material.png(
                    place / "data" / label / folder / f"{label}-{number}.png", number + 100 * (folder == inner[1])
                )
    return either(
        lambda: load_cohort(str(place / "data"), classes=CLASSES),
        holds(2 * films, label=set(CLASSES)),
        what=f"folders {inner}",
    )


@generator("folders", share=30)
def links(rng: random.Random, place: Path) -> Case:
    """Links to folders and files are followed, or told; a circle ends."""
    films, form = rng.randint(2, 5), rng.choice(["folder", "file", "circle", "dangling"])
    for label in CLASSES:
        for number in range(films):
            where = place / ("elsewhere" if form == "folder" and label == "pneumonia" else f"data/{label}")
            material.png(where / f"{label}{number}.png", number)
    if form == "folder":
        (place / "data" / "pneumonia").mkdir()
        (place / "data" / "pneumonia" / "p2").symlink_to(place / "elsewhere")
    elif form == "file":
        (place / "data" / "normal" / "one more.png").symlink_to(place / "data" / "normal" / "normal0.png")
    elif form == "circle":
        (place / "data" / "normal" / "again").symlink_to(place / "data")
    else:
        (place / "data" / "normal" / "gone.png").symlink_to(place / "nowhere.png")

    def right(found: Cohort) -> object:
        told = any(word in " ".join(found.notes) for word in ("link", "folder", "again", "twice", "same", "gone"))
        more = form in ("file", "dangling") and len(found) == 2 * films + 1  # counted as it lies, decoded or not
        return len(found) == 2 * films or told or more or f"{len(found)} films, not {2 * films}: {found.notes}"

    return either(lambda: load_cohort(str(place / "data"), classes=CLASSES), right, what=f"link: {form}")


@generator("folders", share=30)
def one_film_under_several_names(rng: random.Random, place: Path) -> Case:
    """`a.png`, `./a.png`, `x/../a.png` and a link are one film: counted once, or refused by row."""
    for number in range(4):
        material.png(place / "films" / f"{number}.png", number)
    (place / "films" / "x").mkdir()
    again = rng.choice(
        ["./0.png", "x/../0.png", str(place / "films" / "0.png"), "link.png", "..\\films\\0.png", "0.png"]
    )
    (place / "films" / "link.png").symlink_to("0.png")
    names = ["0.png", "1.png", "2.png", "3.png", again]
    (place / "films" / "films.csv").write_text(
        "file,label\n" + "".join(f"{name},{CLASSES[index % 2]}\n" for index, name in enumerate(names))
    )
    return refused(
        lambda: load_cohort(str(place / "films" / "films.csv")), what=f"again as {again}", where="0.png|link.png|row"
    )


@generator("folders", share=30)
def contradictions(rng: random.Random, place: Path) -> Case:
    """A manifest beside films that contradicts the folders, or the headers of DICOMs."""
    form = rng.choice(["label", "split", "patient of a DICOM"])
    for number in range(6):
        label = CLASSES[number % 2]
        file = place / "films" / "test" / label / f"{number}"
        if form == "patient of a DICOM":
            dicom(file.with_suffix(".dcm"), number, f"patient{number // 2}")
        else:
            material.png(file.with_suffix(".png"), number)
    suffix = ".dcm" if form == "patient of a DICOM" else ".png"
    told = {"label": "file,label\ntest/normal/0.png,pneumonia", "split": "file,split\ntest/normal/0.png,train"}
    rows = "file,patient\n" + "\n".join(f"test/{CLASSES[n % 2]}/{n}{suffix},p{n}" for n in range(6))
    (place / "films" / "metadata.csv").write_text(told.get(form, rows) + "\n")
    if form in told:
        return refused(lambda: load_cohort(str(place / "films"), classes=CLASSES), what=form, where="0.png")

    def right(found: Cohort) -> object:
        return (
            found.patients == 3
            or any("patient" in note for note in found.notes)
            or f"{found.patients} patients without a word"
        )

    return either(lambda: load_cohort(str(place / "films"), classes=CLASSES), right, what=form)


@generator("folders", share=30)
def without_a_label(rng: random.Random, place: Path) -> Case:
    """An archive one folder too deep, one class only, a column `class`: what is missing is a label, not a film."""
    form = rng.choice(["one folder too deep", "one class", "a column class"])
    root = place / "data" / ("archive" if form == "one folder too deep" else "")
    for number in range(6):
        label = "normal" if form == "one class" else CLASSES[number % 2]
        material.png(root / label / f"{number}.png", number)
    spec = str(place / "data")
    if form == "a column class":
        rows = "".join(f"{CLASSES[n % 2]}/{n}.png,{CLASSES[n % 2]}\n" for n in range(6))
        (place / "data" / "films.csv").write_text("file,class\n" + rows)
        spec += "/films.csv"
    right = holds(6, label=set(CLASSES))
    # To read the labels is right as well; to say that there is no film is not.
    return either(lambda: _labelled(spec), right, what=form, where="label|class")


def _labelled(spec: str) -> Cohort:
    return align_labels(load_cohort(spec, classes=CLASSES), CLASSES, probe=False)


@generator("folders", share=24)
def names_of_a_viewer(rng: random.Random, place: Path) -> Case:
    """Exports whose names begin alike, one folder per patient: as many patients as folders, or a note."""
    patients = rng.randint(3, 6)
    stem = rng.choice(["IM-0001-{:04}", "person1_virus_{}", "image{}", "{:05}"])
    for number in range(2 * patients):
        name = stem.format(number % 2 + 1)
        material.png(place / "data" / CLASSES[number % 2] / f"patient{number // 2}" / f"{name}.png", number)

    def right(found: Cohort) -> object:
        merged = found.patients < patients and not any("patient" in note for note in found.notes)
        return (len(found) == 2 * patients and not merged) or f"{found.patients} patients of {patients}: {found.notes}"

    return either(lambda: load_cohort(str(place / "data"), classes=CLASSES), right, what=f"{patients} patients, {stem}")


@generator("folders", share=30)
def nothing_there(rng: random.Random, place: Path) -> Case:
    form = rng.choice(["empty", "hidden", "a pipe", "a device", "no folder", "only texts"])
    folder = place / "data"
    folder.mkdir()
    if form == "hidden":
        material.png(folder / ".hidden" / "a.png", 1)
    elif form == "a pipe":
        os.mkfifo(folder / "films.csv")
    spec = {"a pipe": f"{folder}/films.csv", "a device": "/dev/zero", "no folder": f"{folder}/no"}.get(
        form, str(folder)
    )
    if form == "only texts":
        (folder / "readme.txt").write_text("no film")
        return either(lambda: load_cohort(spec), lambda found: len(found) == 1, what=form)
    return refused(lambda: load_cohort(spec), what=form)
