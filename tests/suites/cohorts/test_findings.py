"""Labels per finding: four values, and which of them count."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from robustness.phantom.several import SEVERAL
from suites.harness.cohorts import findings
from suites.harness.cohorts.cohort import COLUMNS, Cohort, Film
from suites.harness.cohorts.finding_names import labelled
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.errors import CohortProblem
from suites.options import OPTIONS

EDEMA = ["positive", "negative", "uncertain", "not mentioned", "uncertain"]


def cohort_of(**columns: list[str]) -> Cohort:
    size = len(next(iter(columns.values()), EDEMA))
    table = pd.DataFrame({name: [""] * size for name in COLUMNS}).assign(id=list("abcdefgh"[:size]), patient="p")
    table = table.assign(**{f"finding:{name.replace('_', ' ')}": values for name, values in columns.items()})
    film = Film(pixels=np.zeros((2, 2), np.float32), content="")
    return Cohort(name="made", spec="made", table=table, decode=lambda _: film)


def test_a_cohort_tells_its_findings_in_the_order_of_their_columns():
    made = cohort_of(Pleural_Effusion=EDEMA, Edema=EDEMA)
    assert made.findings == ("Pleural Effusion", "Edema")
    assert cohort_of().findings == ()
    assert cohort_of().finding_counts().columns.tolist() == ["finding", *findings.VALUES]


@pytest.mark.parametrize(
    ("policy", "truth"),
    [("leave-out", [1, 0, -1, -1, -1]), ("positive", [1, 0, 1, -1, 1]), ("negative", [1, 0, 0, -1, 0])],
)
def test_uncertain_films_count_as_the_user_says_and_unmentioned_ones_never(policy, truth):
    made = load_cohort(cohort_of(Edema=EDEMA), uncertain=policy)
    assert made.finding("Edema").dtype == np.int64
    assert made.finding("Edema").tolist() == truth
    # The numbers beside it are those of the source, whatever is done about them.
    assert made.finding_counts().to_dict("records") == [
        {"finding": "Edema", "positive": 1, "negative": 1, "uncertain": 2, "not mentioned": 1}
    ]


def test_the_number_of_labels_that_are_left_out_is_noted(tmp_path):
    for name in "abcde":
        Image.new("L", (8, 8), ord(name)).save(tmp_path / f"{name}.png")
    lines = [f"{name}.png,{value}" for name, value in zip("abcde", EDEMA, strict=True)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file,finding:Edema", *lines]))
    note = "labels of 1 findings on 5 films: 2 uncertain ({}), 1 not mentioned (left out)"
    assert note.format("left out") in load_cohort(str(tmp_path)).notes
    assert note.format("counted as positive") in load_cohort(str(tmp_path), uncertain="positive").notes


def test_what_decides_the_counts_is_part_of_a_cohorts_identity():
    made = cohort_of(Edema=EDEMA)
    others = [
        replace(made, uncertain="positive"),
        cohort_of(Edema=["negative", *EDEMA[1:]]),
        cohort_of(),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cohort_of(Edema=["positive", "maybe"]), "column 'finding:Edema' holds 'maybe'; what is known of a"),
        (lambda: replace(cohort_of(Edema=EDEMA), uncertain="perhaps"), "uncertain is 'perhaps'; expected leave-out, "),
        (lambda: cohort_of(Edema=EDEMA).finding("Mass"), "nothing of the finding 'Mass'; they tell of Edema"),
        (lambda: cohort_of().finding("Mass"), "they tell of none"),
    ],
)
def test_what_is_no_label_of_a_finding_is_refused(make, message):
    with pytest.raises(CohortProblem, match=re.escape(message)):
        make()


def test_the_option_knows_the_policies():
    assert tuple(OPTIONS["--uncertain"]["choices"]) == tuple(findings.POLICIES)
    assert OPTIONS["--uncertain"]["default"] == cohort_of().uncertain


def test_a_simulated_cohort_of_several_findings_knows_each_and_where_it_is():
    made = load_cohort("phantom:n=12,findings=several")
    assert made.findings == SEVERAL
    row = next(row for row in made.rows() if "+" in str(row["finding"]))
    shown_on = str(row["finding"]).split("+")
    assert [name for name in SEVERAL if row[f"finding:{name}"] == "positive"] == shown_on
    film = made.decode(row)
    assert [name for name in film.masks if name.startswith("lesion:")] == [f"lesion:{name}" for name in shown_on]
    parts = np.stack([film.masks[f"lesion:{name}"] for name in shown_on])
    assert np.array_equal(parts.any(0), film.masks["lesion"])
    assert made.table["label"].unique().tolist() == [""]
    assert "labelled with findings (consolidation, " in made.no_label


def test_a_limited_cohort_keeps_films_with_and_without_each_finding_and_fewer_lie_among_the_more() -> None:
    generator = np.random.default_rng(0)
    shares = {"Effusion": 0.3, "Edema": 0.2, "Hernia": 0.01, "Devices": 0.99}
    rows = {"id": [f"f{i}" for i in range(1000)], "patient": [f"p{i // 2}" for i in range(1000)]}
    rows |= dict.fromkeys(("file", "label", "view", "age_group", "finding", "split"), "")
    rows |= {
        f"finding:{name}": np.where(generator.random(1000) < share, "positive", "negative")
        for name, share in shares.items()
    }
    cohort = Cohort(name="c", spec="c", table=pd.DataFrame(rows), decode=lambda row: row)
    before: set[str] = set()
    for films in (20, 60, 200):
        for seed in range(5):
            some = cohort.limited(films, seed)
            assert films <= len(some) <= 1.15 * films + 6
            assert some.table.groupby("patient").size().eq(2).all()
            for name in cohort.findings:
                known, whole = some.finding(name), cohort.finding(name)
                for value in (0, 1):
                    share = films * (whole == value).mean()
                    assert (known == value).sum() >= max(1, round(0.75 * share)), (films, seed, name, value)
        kept = set(cohort.limited(films, 7).table["id"])
        assert before <= kept
        before = kept


def test_another_hospitals_name_of_a_finding_is_read_as_that_of_the_home_films():
    """Home says effusion, away Pleural Effusion; where two of its findings could be meant, none is."""
    away = cohort_of(Pleural_Effusion=EDEMA)
    read = labelled(away, "effusion", ("no effusion", "effusion"), probe=True)
    assert read.table["label"].tolist() == ["effusion", "no effusion", "", "", ""]
    other = ["negative"] * 5
    both = labelled(cohort_of(Pleural_Effusion=EDEMA, EFFUSION=other), "effusion", ("no", "yes"), probe=True)
    assert set(both.table["label"]) == {""}
    exact = labelled(cohort_of(Pleural_Effusion=EDEMA, effusion=other), "effusion", ("no", "yes"), probe=True)
    assert set(exact.table["label"]) == {"no"}
    assert set(labelled(away, "mass", ("no mass", "mass"), probe=True).table["label"]) == {""}
