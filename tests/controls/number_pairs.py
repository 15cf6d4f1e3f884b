"""Controls of claims about printed numbers and about the cohort: pages and folders of films made for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from suites.harness.cohorts.layouts import load_cohort
from tests.controls.films import CLASSES, cohort_of
from tests.controls.registry import Pair, control


def confusion(classes: list[str], recalls: dict[str, float], films: int, towards: str) -> list[list[int]]:
    """A confusion matrix, rows = truth, of so many films per class; a film called wrong is called `towards`."""
    table = np.zeros((len(classes), len(classes)), dtype=int)
    for row, name in enumerate(classes):
        table[row, row] = round(films * recalls.get(name, 1.0))
        table[row, classes.index(towards)] += films - table[row, row]
    return table.tolist()


@control("published_half_width")
def published_half_width(claim, judge, _) -> Pair:
    """The same printed accuracy, from few films and from very many."""
    names = claim.parameters["classes"]
    few, many = (confusion(names, dict.fromkeys(names, 0.9), films, names[0]) for films in (100, 10_000))
    return Pair(judge(claim, confusion=few), judge(claim, confusion=many))


@control("published_recall_gap")
def published_recall_gap(claim, judge, _) -> Pair:
    """The printed gap is not that of the printed table, or it is."""
    names, better, worse = (claim.parameters[key] for key in ("classes", "better", "worse"))
    third = next(name for name in names if name not in {better, worse})
    table = confusion(names, {better: 0.9, worse: 0.8}, 200, third)
    return Pair(judge(claim, confusion=table, printed=0.03), judge(claim, confusion=table, printed=0.1))


@control("published_recall")
def published_recall(claim, judge, _) -> Pair:
    """A page on which the class is recognised too seldom, and one on which it is recognised."""
    names, name = claim.parameters["classes"], claim.parameters["class"]
    other = next(item for item in names if item != name)
    low, high = (confusion(names, {name: recall}, 200, other) for recall in (claim.margin - 0.1, claim.margin + 0.06))
    return Pair(judge(claim, confusion=low), judge(claim, confusion=high))


@control("published_confusion_asymmetry")
def published_confusion_asymmetry(claim, judge, _) -> Pair:
    """Films of one class called the other and never back, or both ways alike."""
    names, start, end = (claim.parameters[key] for key in ("classes", "from", "towards"))
    one_way = confusion(names, {start: 0.7}, 2000, end)
    both = np.array(one_way)
    a, b = names.index(start), names.index(end)
    both[b, b], both[b, a] = both[a, a], both[a, b]
    return Pair(judge(claim, confusion=one_way), judge(claim, confusion=both.tolist()))


@control("test_set_half_width")
def half_width(claim, judge, _) -> Pair:
    """Few films, and very many."""
    return Pair(judge(claim, cohort=cohort_of(300)), judge(claim, cohort=cohort_of(6000)))


def films_on_disk(
    folder: Path, rows: pd.DataFrame, *, side: Callable[[dict], int] = lambda _: 24, seed: int = 0
) -> str:
    """Write a manifest and one PNG of noise per row (`file`, `label`, `patient`, `split`); return the cohort's spec.

    Rows of the same `picture` get the same bytes; `side` says how large a row's film is, in pixels.
    """
    folder.mkdir()
    for number, row in enumerate(rows.to_dict("records")):
        generator = np.random.default_rng([seed, int(row.get("picture", number))])
        size = side(row)
        Image.fromarray(generator.integers(0, 256, (size, size), dtype=np.uint8)).save(folder / row["file"])
    rows.to_csv(folder / "films.csv", index=False)
    return str(folder / "films.csv")


def listed(films: int, **columns) -> pd.DataFrame:
    """A manifest of so many films, each of a patient of its own, classes in turn, all in the test split."""
    table = pd.DataFrame({"file": [f"f{number:04d}.png" for number in range(films)], "split": "test"})
    table["label"] = [CLASSES[number % 3] for number in range(films)]
    table["patient"] = [f"p{number}" for number in range(films)]
    return table.assign(**columns)


@control("duplicate_share")
def duplicate_share(claim, judge, folder) -> Pair:
    """Every tenth film is a copy of the one before it, or none is."""
    copies = [number - (number % 10 == 9) for number in range(60)]
    specs = [
        films_on_disk(folder / "copies", listed(60, picture=copies)),
        films_on_disk(folder / "different", listed(60)),
    ]
    return Pair(*(judge(claim, cohort=load_cohort(spec)) for spec in specs))


@control("patient_overlap")
def patient_overlap(claim, judge, folder) -> Pair:
    """The same patients on both sides of the split, or other ones."""
    split = ["train"] * 30 + ["test"] * 30
    shared = [f"p{number % 30 if number < 35 else number}" for number in range(60)]
    specs = [
        films_on_disk(folder / "shared", listed(60, split=split, patient=shared)),
        films_on_disk(folder / "apart", listed(60, split=split)),
    ]
    return Pair(*(judge(claim, cohort=load_cohort(spec)) for spec in specs))


@control("class_mix_shift")
def class_mix_shift(claim, judge, folder) -> Pair:
    """Train is half bacterial and test a third, or both are a third."""
    split, mixed = ["train"] * 60 + ["test"] * 60, [CLASSES[number % 3] for number in range(120)]
    shifted = [CLASSES[0] if number < 60 and number % 6 == 1 else label for number, label in enumerate(mixed)]
    specs = [
        films_on_disk(folder / "shifted", listed(120, split=split, label=shifted)),
        films_on_disk(folder / "alike", listed(120, split=split, label=mixed)),
    ]
    return Pair(*(judge(claim, cohort=load_cohort(spec)) for spec in specs))


@control("shortcut_auroc")
def shortcut_auroc(claim, judge, folder) -> Pair:
    """Films of the class are scanned larger; or size, and with it every property of the files, is drawn by lot."""
    name = str(claim.parameters["class"])

    def telling(row) -> int:
        return 28 if row["label"] == name else 20

    def lot(row) -> int:
        return 20 + int(np.random.default_rng([int(row["file"][1:5]), 3]).integers(0, 9))

    specs = [
        films_on_disk(folder / "telling", listed(150), side=telling),
        films_on_disk(folder / "lot", listed(240), side=lot),
    ]
    return Pair(*(judge(claim, cohort=load_cohort(spec)) for spec in specs))
