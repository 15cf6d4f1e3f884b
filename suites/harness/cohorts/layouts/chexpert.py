"""How is CheXpert laid out? `train.csv`, `valid.csv`, `test.csv` beside folders of these names.

Of each of 14 observations 1 is positive, 0 negative, -1 uncertain, and a blank was not mentioned in the report; the
labels of valid and test are radiologists' and have no blanks. Columns and values after https://stanfordmlgroup.github.io/
competitions/chexpert/ and Irvin et al. 2019, arXiv:1901.07031, table 1; CheXpert-v1.0 and -small are laid out alike.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import NOT_MENTIONED, PREFIX
from suites.harness.cohorts.layouts.finding_cohort import finding_cohort, root_of
from suites.harness.cohorts.layouts.finding_tables import NUMBERS, column, header_of, meanings, read_table, tables_in
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem

OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
_TABLES = r"(train|valid|test|test_labels|groundtruth)\.csv"
_ENOUGH = 7
"""Of the 14 observations as columns make a table one of CheXpert's."""
_SPLITS = {"train": "train", "valid": "val"}
_PLACE = re.compile(r"(?P<patient>patient\d+)/(?P<study>study\d+)/view\d+_(?P<view>frontal|lateral)", re.IGNORECASE)


def _recognises(spec: Spec) -> bool:
    """Tables of others are called so, too: the observations tell; a missing `Path` is for the loader to name."""
    return spec.path.exists() and any(
        len(set(OBSERVATIONS) & set(header_of(table))) >= _ENOUGH for table in tables_in(spec.path, _TABLES)
    )


@register(
    "chexpert",
    recognises=_recognises,
    precedence=10,
    frontal=True,
    described="CheXpert: a folder with train.csv, valid.csv, or one of these tables",
)
def chexpert(spec: Spec) -> Cohort:
    """Load every table of CheXpert that is there, or the one that is named; that one counts as without splits.

    Raises:
        CohortProblem: there is no such table, it is of another release, or none of its films is there.
    """
    tables = tables_in(spec.path, _TABLES)
    if not tables:
        raise CohortProblem(f"{shown(spec.text)}: holds none of CheXpert's tables: train.csv, valid.csv, test.csv")
    read = [_films(table, spec, single=spec.path.is_file()) for table in tables]
    films = pd.concat([films for films, _ in read], ignore_index=True)
    named = {f"{PREFIX}{name}": NOT_MENTIONED for name in OBSERVATIONS if f"{PREFIX}{name}" in films}
    return finding_cohort(
        spec,
        films.fillna(named),
        table=listed(table.name for table in tables),
        notes=[
            "CheXpert's labels: 1 positive, 0 negative, -1 uncertain, blank not mentioned",
            *(note for _, notes in read for note in notes),
        ],
    )


def _films(path: Path, spec: Spec, *, single: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    table = read_table(path, ["Path"], "CheXpert-v1.0")
    names = [name for name in OBSERVATIONS if name in table]
    if not names:
        raise CohortProblem(
            f"{shown(path)}: has none of CheXpert's 14 observations ({listed(OBSERVATIONS, 60)}) as a column; is it a "
            "table of another release?"
        )
    root = root_of(spec)
    places = table["Path"].str.extract(_PLACE).fillna("")
    side = column(table, "Frontal/Lateral").str.lower()
    side = side.where(side != "", places["view"].str.lower())
    view = column(table, "AP/PA").where(side == "frontal", side)
    films = pd.DataFrame(
        {
            "name": table["Path"],
            # The paths begin with the collection's own folder, which is the root or lies in it.
            "path": [f"{root}/{_below(name)}" for name in table["Path"].tolist()],
            "patient": places["patient"],
            "study": (places["patient"] + "/" + places["study"]).str.strip("/"),
            "view": view.where(view != "", side),
            "age": column(table, "Age"),
            "sex": column(table, "Sex"),
            "split": "" if single else _SPLITS.get(path.name.split(".")[0].lower(), "test"),
        }
    )
    missing = [name for name in OBSERVATIONS if name not in table]
    notes = (f"{path.name}: has no column for {listed(missing, 60)}, so that it mentions none of these",) * bool(
        missing
    )
    for name in names:
        films[f"{PREFIX}{name}"], more = meanings(table[name], f"{path.name}, {name}", NUMBERS)
        notes += more
    return films, notes


def _below(name: str) -> str:
    plain = name.replace("\\", "/")
    first, _, rest = plain.partition("/")
    return rest if first.lower().startswith("chexpert") else plain
