"""How is COVIDx laid out? Lists `train*.txt`, `val*.txt`, `test*.txt` of patient, file, class and source by blanks.

The class is `positive` or `negative` for COVID-19 (COVIDx CXR-2 to -4, lists B), or `normal`, `pneumonia` (of another
cause) or `COVID-19` (lists A). Films lie in folders named as the splits; the source is their site. Form after
https://github.com/lindawangg/COVID-Net/blob/master/docs/COVIDx.md and https://www.kaggle.com/datasets/andyczhao/covidx-cxr2.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import NEGATIVE, NOT_MENTIONED, POSITIVE, PREFIX
from suites.harness.cohorts.layouts.finding_cohort import finding_cohort, root_of
from suites.harness.cohorts.layouts.finding_tables import tables_in
from suites.harness.cohorts.layouts.labels import normalise_label
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem
from suites.harness.foreign_file import MIB, read_text

COVID, PNEUMONIA = "COVID-19", "Pneumonia"
_LISTS = r"(train|val|test)(_COVIDx\w+)?\.txt"
# class -> the label, and what it tells of COVID-19 and of other pneumonia
_CLASSES = {
    "positive": (COVID, POSITIVE, NOT_MENTIONED),
    "negative": ("negative", NEGATIVE, NOT_MENTIONED),
    "normal": ("normal", NEGATIVE, NEGATIVE),
    "pneumonia": ("pneumonia", NEGATIVE, POSITIVE),
    "covid-19": (COVID, POSITIVE, NOT_MENTIONED),
}
_LINE = re.compile(rf"(?P<patient>\S+) (?P<name>.+?) (?P<label>{'|'.join(_CLASSES)})(?: (?P<site>.+))?", re.IGNORECASE)


def _begins_a_list(path: Path) -> bool:
    with path.open("rb") as stream:
        return _LINE.fullmatch(stream.readline(4096).decode("latin-1").strip()) is not None


def _recognises(spec: Spec) -> bool:
    return spec.path.exists() and any(map(_begins_a_list, tables_in(spec.path, _LISTS)))


@register(
    "covidx",
    recognises=_recognises,
    precedence=10,
    frontal=True,
    described="COVIDx: a folder with train.txt, test.txt (or train_COVIDx9A.txt) and folders train, test",
)
def covidx(spec: Spec) -> Cohort:
    """Load the films of the lists that are there, or of the one that is named.

    Raises:
        CohortProblem: there is no list, two of one split, or none of the films is there.
    """
    lists = tables_in(spec.path, _LISTS)
    splits = [re.split(r"[_.]", path.name.lower())[0] for path in lists]
    if not lists:
        raise CohortProblem(f"{shown(spec.text)}: holds none of COVIDx's lists: train.txt, val.txt, test.txt")
    if len(set(splits)) < len(splits):
        raise CohortProblem(f"{shown(spec.text)}: holds {listed(path.name for path in lists)}; name one of each split")
    read = [_films(path, root_of(spec) / split) for path, split in zip(lists, splits, strict=True)]
    parts = [
        films.assign(split="" if spec.path.is_file() else split) for (films, _), split in zip(read, splits, strict=True)
    ]
    films = pd.concat(parts, ignore_index=True)
    pneumonia = f"{PREFIX}{PNEUMONIA}"
    if (films[pneumonia] == NOT_MENTIONED).all():
        films = films.drop(columns=pneumonia)
    notes = [note for _, more in read for note in more]
    return finding_cohort(spec, films, table=listed(path.name for path in lists), notes=notes)


def _films(path: Path, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    lines = [line.strip() for line in read_text(path, 64 * MIB).splitlines() if line.strip()]
    read = [_LINE.fullmatch(line) for line in lines]
    other = [number for number, found in enumerate(read) if not found]
    if len(other) == len(lines):
        raise CohortProblem(
            f"{shown(path)}: has no line of patient, file, class ({listed(_CLASSES, 60)}) and source; is it a list of "
            "another release?"
        )
    rows = []
    for found in filter(None, read):
        label, covid, pneumonia = _CLASSES[found["label"].lower()]
        rows.append(
            {
                "name": found["name"],
                "path": str(folder / found["name"]),
                "patient": found["patient"],
                "label": normalise_label(label),
                "finding": found["label"],
                "site": found["site"] or "",
                f"{PREFIX}{COVID}": covid,
                f"{PREFIX}{PNEUMONIA}": pneumonia,
            }
        )
    if not other:
        return pd.DataFrame(rows), []
    note = f"{path.name}: {len(other)} lines are not of patient, file, class and source, first line {other[0] + 1}"
    return pd.DataFrame(rows), [note]
