"""Manifests: every column where it belongs, and clear words for tables that cannot be used."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from suites.harness.cohorts.layouts import films as film_tables
from suites.harness.cohorts.layouts import load_cohort, metadata, tables
from suites.harness.cohorts.layouts.metadata import age_group
from suites.harness.errors import CohortProblem, FilmUnreadable

Films = Callable[..., Path]

ROWS = {
    "File": ["a.png", "deep/b.png", "c.png"],
    "label": ["NORMAL", "virus", "bacterial pneumonia"],
    "patient": ["007", "008", ""],
    "view": ["PA", "AP", ""],
    "age": ["3", "44", ""],
    "finding": ["", "COVID-19", "None"],
    "split": ["Test", "test", "TEST"],
    "dose": ["1.5", "2", "3"],
}


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "bom", "parquet"])
def test_every_column_finds_its_place(films: Films, kind: str) -> None:
    root = films("a.png", "deep/b.png", "c.png")
    table = pd.DataFrame(ROWS)
    path = root / {"parquet": "films.parquet", "tsv": "films.tsv"}.get(kind, "films.csv")
    if kind == "parquet":
        table.assign(dose=[1.5, 2, 3], age=[3.0, 44.0, None]).to_parquet(path)
    else:
        separator = {"tsv": "\t", "semicolon": ";"}.get(kind, ",")
        table.to_csv(path, sep=separator, index=False, encoding="utf-8-sig" if kind == "bom" else "utf-8")
    cohort = load_cohort(str(path))
    found = cohort.table.set_index("id").loc[["a.png", "deep/b.png", "c.png"]]
    assert found["label"].tolist() == ["normal", "viral_pneumonia", "bacterial_pneumonia"]
    assert found["patient"].tolist() == ["007", "008", "c.png"]
    assert found["age_group"].tolist() == ["child", "adult", ""]
    assert found["finding"].tolist() == ["", "COVID-19", ""]
    assert found["split"].tolist() == ["test"] * 3
    assert found["dose"].tolist() == [1.5, 2, 3]
    assert cohort.decode(cohort.table.iloc[2].to_dict()).pixels.shape == (40, 48)


def test_a_folder_with_metadata_is_a_manifest(films: Films) -> None:
    root = films("lateral/x/a.png", "frontal/x/b.png")
    (root / "metadata.csv").write_text("file,view\nlateral/x/a.png,L\nfrontal/x/b.png,PA\n")
    assert load_cohort(f"{root}?view=L").table["id"].tolist() == ["lateral/x/a.png"]


def test_files_elsewhere_and_absolute_and_from_windows(films: Films) -> None:
    root = films("films/a.png", "lists/b.png", "lists/deep/c.png")
    (root / "lists/list.csv").write_text(f"file\n../films/a.png\n{root}/lists/b.png\ndeep\\c.png\n")
    cohort = load_cohort(f"{root}/lists/list.csv")
    assert sorted(cohort.table["id"]) == ["../films/a.png", "b.png", "deep/c.png"]
    for row in cohort.table.to_dict("records"):
        cohort.decode(row)


def test_a_missing_film_is_named_when_it_is_decoded(films: Films) -> None:
    root = films("a.png")
    (root / "list.csv").write_text("file\na.png\nlost.png\n")
    cohort = load_cohort(f"{root}/list.csv")
    with pytest.raises(FilmUnreadable, match=r"lost\.png: no such file"):
        cohort.decode(cohort.table.iloc[1].to_dict())


def test_masks_ride_along_and_change_the_content(films: Films) -> None:
    root = films("a.png", "b.png")
    inside = np.zeros((40, 48), dtype=np.uint8)
    inside[10:20, 10:20] = 1
    Image.fromarray(inside).save(root / "lung.png")
    Image.fromarray(inside[::-1]).save(root / "spot.png")
    (root / "list.csv").write_text("file,lung_mask,mask\na.png,lung.png,spot.png\nb.png,,\n")
    cohort = load_cohort(f"{root}/list.csv")
    first, second = (cohort.decode(row) for row in cohort.table.to_dict("records"))
    assert first.masks["lung"].sum() == 100
    assert first.masks["lesion"][20:30, 10:20].all()
    assert not second.masks
    assert "`mask` are read as lesions" in " ".join(cohort.notes)
    (root / "plain.csv").write_text("file\na.png\n")
    plain = load_cohort(f"{root}/plain.csv")
    assert plain.decode(plain.table.iloc[0].to_dict()).content != first.content
    Image.fromarray(inside[:20]).save(root / "lung.png")
    with pytest.raises(FilmUnreadable, match="mask is 48 x 20 pixels"):
        cohort.decode(cohort.table.iloc[0].to_dict())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,label\na.png,normal\n", "needs a column `file`; found image, label"),
        ("file,label\n", "holds no row"),
        ("", "cannot be read as a manifest"),
        ("file,label\n,normal\n", "row 1 names no file"),
        ("file,label\na.png,normal\na.png,normal\n", "more than once"),
        ("file,label\na.png,normal\n./a.png,virus\n", "more than once"),
        (
            "file,label\na.png,normal\nc.png,virus\ndeep/../a.png,normal\n",
            r"rows 1 and 3 name \S*a\.png more than once",
        ),
        ("file,FILE\na.png,a.png\n", "column file occurs more than once"),
        ('file,label\na.png,"normal\n', "cannot be read as a manifest"),
        (b"file,label\n\xff\xfe.png,normal\n", "not UTF-8"),
        (
            'file,label,note\na.png,normal,"x\nb.png,normal,y\nc.png,normal,z"\n',
            "line 2 holds a quote that is not closed",
        ),
        ('file,label\na.png,normal\n"b.png,normal\n"c.png,normal\n', "line 3 holds a quote"),
        ("file,label\na.png,normal,PA\n", "line 2 has 3 cells, the header 2"),
        ("file,label,view\n\na.png,normal\n", "line 3 has 2 cells, the header 3"),
        ("file,label,Label \na.png,normal,virus\n", "column label occurs more than once"),
        ("file,label,label\na.png,normal,virus\n", "column label occurs more than once"),
        ("file,label,\na.png,normal,virus\n", "column 3 has no name"),
        ("file,id\na.png,x\nb.png,x\n", "gives the id x more than once"),
        ("file,mask,lesion_mask\na.png,m.png,n.png\n", "mask and lesion_mask mean the same"),
    ],
)
def test_tables_that_cannot_be_used(films: Films, text: str | bytes, reason: str) -> None:
    path = films("a.png") / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CohortProblem, match=reason):
        load_cohort(str(path))


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(CohortProblem, match="cannot be read as a manifest"):
        load_cohort(str(tmp_path / "list.parquet"))


@pytest.mark.parametrize(
    ("age", "group"),
    [
        ("17.9", "child"),
        ("18", "adult"),
        ("003Y", "child"),
        ("018M", "child"),
        ("300M", "adult"),
        ("", ""),
        ("old", ""),
    ],
)
def test_age_groups(age: str, group: str) -> None:
    assert age_group(age) == group


def test_quoted_cells_empty_lines_and_a_trailing_separator_are_read(films: Films) -> None:
    path = films("a, b.png", "c.png") / "list.csv"
    path.write_bytes(b'\xef\xbb\xbffile,label,note,\r\n"a, b.png",normal,"say ""ah""",\r\n\r\nc.png,virus,5" tube,\r\n')
    table = load_cohort(str(path)).table
    assert table["label"].tolist() == ["normal", "viral_pneumonia"]
    assert table["note"].tolist() == ['say "ah"', '5" tube']


def test_a_film_named_through_a_link_is_the_same_film(films: Films) -> None:
    root = films("a.png")
    (root / "b.png").symlink_to(root / "a.png")
    (root / "list.csv").write_text("file,label\na.png,normal\nb.png,normal\n")
    with pytest.raises(CohortProblem, match=r"rows 1 and 2 name \S*b\.png more than once"):
        load_cohort(f"{root}/list.csv")


@pytest.mark.parametrize("name", ["NA", "null", "None", "nan", "N/A"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_class_may_have_the_name_of_nothing(films: Films, name: str, kind: str) -> None:
    path = films("a.png", "b.png", "c.png") / f"list.{kind}"
    files, views = ["a.png", "b.png", "c.png"], ["PA", name, "PA"]
    table = pd.DataFrame({"file": files, "label": [name, "normal", None], "view": views})
    _ = table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    found = load_cohort(str(path)).table
    assert found["label"].tolist() == [name.lower(), "normal", ""]
    assert found["view"].tolist() == ["PA", "", "PA"]


def test_ids_of_films_that_lie_elsewhere_name_no_folder_above_them(films: Films, tmp_path: Path) -> None:
    """Ids are published in films.csv and stand in every caption."""
    root = films("a.png", "deep/b.png", "c.png")
    (tmp_path / "tables").mkdir()
    shutil.copy(root / "a.png", tmp_path / "tables" / "a.png")
    files = ["a.png", *map(str, (root / "a.png", root / "deep" / "b.png", root / "c.png"))]
    path = tmp_path / "tables" / "films.csv"
    pd.DataFrame({"file": files, "label": ["normal", "virus"] * 2}).to_csv(path, index=False)
    cohort = load_cohort(str(path))
    outside = f"../{root.name}"
    assert set(cohort.table["id"]) == {"a.png", f"{outside}/a.png", f"{outside}/deep/b.png", f"{outside}/c.png"}
    assert set(cohort.table["patient"]) == set(cohort.table["id"])
    assert all(cohort.decode(row).pixels.size for row in cohort.rows())


FIVE_SPELLINGS = "file,label,Gender,Patient Age,Institution,Manufacturer,View Position\n" + "".join(
    f"{name}.png,normal,{sex},{age},Ward  {name},GE,{view}\n"
    for name, sex, age, view in zip(
        "abcdefg",
        ["M", "male", "1", "Mann", "O", "", "2"],
        ["058Y", "58.0", "006M", "-1", "999", "", "58"],
        ["PA", "AP Supine", "LL", "AP", "", "PA", "L"],
        strict=True,
    )
)  # fmt: skip


def test_patients_are_told_apart_however_their_groups_are_spelt(films: Films) -> None:
    path = films(*(f"{name}.png" for name in "abcdefg")) / "list.csv"
    path.write_text(FIVE_SPELLINGS)
    table = load_cohort(str(path)).table
    assert table["sex"].tolist() == ["male"] * 4 + ["other", "", "female"]
    assert table["age"].dtype == np.float64
    np.testing.assert_allclose(table["age"], [58, 58, 0.5, np.nan, np.nan, np.nan, 58])
    assert set(table["scanner"]) == {"GE"}
    assert table["site"][0] == "Ward  a"
    assert table["view"].tolist() == ["PA", "AP Supine", "LL", "AP", "", "PA", "L"]
    lateral = ["frontal", "frontal", "lateral", "frontal", "", "frontal", "lateral"]
    assert table["projection"].tolist() == lateral


def test_films_are_filtered_by_sex_and_age_in_any_spelling(films: Films) -> None:
    path = films(*(f"{name}.png" for name in "abcdefg")) / "list.csv"
    path.write_text(FIVE_SPELLINGS)
    assert len(load_cohort(f"{path}?sex=M")) == len(load_cohort(f"{path}?sex=Mann")) == 4
    assert len(load_cohort(f"{path}?age=58")) == len(load_cohort(f"{path}?age=058Y")) == 3
    with pytest.raises(
        CohortProblem, match=r"no film is left by sex=tall; sex is one of '', 'female', 'male', 'other'"
    ):
        load_cohort(f"{path}?sex=tall")


def test_what_no_table_records_stays_unrecorded(films: Films) -> None:
    path = films("a.png", "b.png") / "list.csv"
    path.write_text("file,label\na.png,normal\nb.png,normal\n")
    table = load_cohort(str(path)).table
    for name in ("sex", "site", "scanner", "projection"):
        assert table[name].tolist() == ["", ""]
    assert table["age"].isna().all()


def test_an_age_that_cannot_be_tells_no_age_group(films: Films) -> None:
    """It read 999 as an adult."""
    path = films("a.png", "b.png", "c.png") / "list.csv"
    path.write_text("file,label,age\na.png,normal,999\nb.png,normal,-1\nc.png,normal,4\n")
    assert load_cohort(str(path)).table["age_group"].tolist() == ["", "", "child"]


def long_manifest(folder: Path, kind: str, rows: int) -> str:
    numbers = [f"{number:07d}" for number in range(rows)]
    table = pd.DataFrame({
        "file": [f"deep/{'café' * (number % 3)}/film {text}.png" for number, text in enumerate(numbers)],
        "label": ["NORMAL", "virus", "", "bacteria"] * (rows // 4), "patient": ["7", "", "8", "9"] * (rows // 4),
        "id": [f"x{text}" if number % 5 else "" for number, text in enumerate(numbers)], "age": "44", "dose": "1.5",
        "note": ["", "NA", "1", " a "] * (rows // 4), "lung_mask": ["", "deep/mask.png"] * (rows // 2),
    })  # fmt: skip
    if kind == "csv":
        table.to_csv(folder / "films.csv", index=False)
    else:
        table.assign(dose=1.5).to_parquet(folder / "films.parquet", index=False)
    return str(folder / f"films.{kind}")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_read_in_batches_is_that_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind) -> None:
    spec = long_manifest(tmp_path, kind, 40)
    whole = load_cohort(spec)
    for module in (tables, metadata, film_tables):
        monkeypatch.setattr(module, "_BATCH", 7)
    found = load_cohort(spec)
    pd.testing.assert_frame_equal(found.table, whole.table)
    assert len(found) == 40
    assert found.table["dose"].tolist() == [1.5] * 40
    assert (found.notes, found.fingerprint) == (whole.notes, whole.fingerprint)


def test_no_object_is_kept_for_each_row_of_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows as Python's texts and dictionaries took more than two kilobytes each."""
    for module in (tables, metadata, film_tables):
        monkeypatch.setattr(module, "_BATCH", 100)

    def most_held(rows: int) -> int:
        spec = long_manifest(tmp_path, "csv", rows)
        tracemalloc.start()
        load_cohort(spec)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most_held(40)  # whatever is loaded at the first time
    assert most_held(2_400) - most_held(800) < 1_600 * 1_000
