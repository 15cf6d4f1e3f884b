"""Files that are as they were are not read again; whatever changes them has them read, and no note is lost."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from suites.harness.cohorts import file_stamps, identities
from suites.harness.cohorts.identities import Identities, stamp_of
from suites.harness.cohorts.kept_by_stamp import KeptByStamp
from suites.harness.cohorts.layouts import films, load_cohort
from suites.harness.cohorts.layouts.boxes import Box, BoxedFilms, as_text
from suites.harness.errors import CohortProblem
from suites.harness.predictions import opened
from suites.harness.predictions.table import predict
from tests.suites.predictions.mortal import CONDITIONS, subject_of

FILMS = 4
NAMES = ("film0.bmp", "film1.bmp", "film2.png", "film3.bmp")


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    monkeypatch.setattr(file_stamps, "SETTLED_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path):
    """Films of two classes: one deep, so that its brightness is guessed and noted, and one with a mask."""
    generator = np.random.default_rng(0)
    where = tmp_path / "films"
    where.mkdir()
    for number in range(FILMS):
        pixels = generator.integers(0, 200, (40, 48)).astype(np.uint16 if number == 2 else np.uint8)
        Image.fromarray(pixels).save(where / NAMES[number])
    mask = np.zeros((40, 48), np.uint8)
    mask[9:, 9:] = 255
    Image.fromarray(mask).save(where / "mask.bmp")
    lines = [f"{NAMES[number]},{'ab'[number % 2]},{'mask.bmp' if number == 1 else ''}" for number in range(FILMS)]
    (where / "films.csv").write_text("\n".join(["file,label,lung_mask", *lines]))
    return where


@pytest.fixture
def read(monkeypatch):
    """Names of the files that are decoded."""
    names: list[str] = []
    decode = films.decode_image

    def noted(path):
        names.append(path.name)
        return decode(path)

    monkeypatch.setattr(films, "decode_image", noted)
    return names


def predicted(folder, cache, conditions=CONDITIONS[:2]):
    cohort = load_cohort(str(folder / "films.csv"))
    return predict({"mortal": (subject_of(), conditions)}, cohort, seed=0, cache=cache, quiet=True)["mortal"]


def test_a_second_start_reads_no_file_and_says_the_same(folder, tmp_path, read):
    first = predicted(folder, tmp_path)
    assert sorted(read) == list(NAMES)
    read.clear()
    again = predicted(folder, tmp_path)
    assert read == []
    assert again.table.equals(first.table)
    assert again.contents == first.contents
    assert again.notes == first.notes
    assert len(first.notes) == 1
    assert "film2.png" in first.notes[0]
    more = predicted(folder, tmp_path, CONDITIONS[:3])
    assert len(read) == FILMS, "once each, for what was not asked before"
    assert more.computed == FILMS


def test_a_file_that_changed_is_read_though_its_size_and_time_of_writing_are_the_old_ones(folder, tmp_path, read):
    first = predicted(folder, tmp_path)
    for name, film in (("film0.bmp", "film0.bmp"), ("mask.bmp", "film1.bmp")):
        read.clear()
        path = folder / name
        before = path.stat()
        Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        changed = predicted(folder, tmp_path)
        assert read == [film]
        assert {name for name in first.contents if changed.contents[name] != first.contents[name]} == {film}
        first = changed


def test_a_file_that_changed_a_moment_ago_or_is_not_there_has_no_stamp(folder, monkeypatch):
    assert stamp_of([folder / "film0.bmp", folder / "mask.bmp"]) is not None
    assert stamp_of([folder / "film0.bmp", folder / "gone.png"]) is None
    monkeypatch.setattr(file_stamps, "SETTLED_SECONDS", 2.0)
    assert stamp_of([folder / "film0.bmp"]) is None


def test_a_broken_file_is_read_every_time_and_told_the_same(folder, tmp_path, read):
    (folder / "film3.bmp").write_bytes((folder / "film3.bmp").read_bytes()[:-30])
    first = predicted(folder, tmp_path)
    read.clear()
    again = predicted(folder, tmp_path)
    assert read == ["film3.bmp"]
    assert again.excluded.equals(first.excluded)
    assert len(first.excluded) == 1
    assert again.table.equals(first.table)


def test_a_film_that_is_not_what_it_was_remembered_as_ends_the_run_with_one_line(folder, tmp_path, monkeypatch):
    predicted(folder, tmp_path)
    stamps = {path.name: stamp_of([path]) for path in folder.glob("film*")}
    monkeypatch.setattr(identities, "stamp_of", lambda paths, _: stamps.get(paths[0].name) if len(paths) == 1 else None)
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(folder / "film0.bmp")
    with pytest.raises(CohortProblem, match=r"the film film0.bmp .* changed while it was read; run again"):
        predicted(folder, tmp_path, CONDITIONS[:3])


def test_a_film_with_boxes_is_remembered_as_long_as_they_are_the_same(folder, tmp_path, read):
    def boxed(right):
        cohort = load_cohort(str(folder / "films.csv"))
        boxes = [
            as_text([Box("mass", 2, 2, right, 9), Box("mass", 1, 1, 99, 9)] * (number == 0)) for number in range(4)
        ]
        cohort = replace(cohort, table=cohort.table.assign(boxes=boxes), decode=BoxedFilms(cohort.decode))
        return predict({"mortal": (subject_of(), CONDITIONS[:2])}, cohort, seed=0, cache=tmp_path, quiet=True)["mortal"]

    first, plain = boxed(8), predicted(folder, tmp_path)
    assert "do not lie on the film" in "".join(first.notes)
    read.clear()
    again = boxed(8)
    assert read == []
    assert (again.contents, again.notes) == (first.contents, first.notes)
    assert again.contents["film0.bmp"] != plain.contents["film0.bmp"]
    other = boxed(7)
    assert read == ["film0.bmp"]
    assert {name for name in first.contents if other.contents[name] != first.contents[name]} == {"film0.bmp"}


def test_what_files_told_is_believed_until_they_change(tmp_path):
    file, odd = tmp_path / "film", tmp_path / os.fsdecode(b"film\xff")
    looked = []

    def look(path):
        looked.append(path)
        return (path.read_text(),) if path.exists() else None

    def told(*paths):
        with KeptByStamp(tmp_path / "cache", "texts", {"version": 1}, ("text",)) as kept:
            return [kept.found([path], partial(look, path)) for path in paths]

    file.write_text("one")
    odd.write_text("name that is no text")
    assert told(file, file, tmp_path / "gone", odd) == [("one",), ("one",), None, ("name that is no text",)]
    assert looked == [file, tmp_path / "gone", odd]
    assert told(file) == [("one",)]
    assert len(looked) == 3
    file.write_text("two")
    assert told(file) == [("two",)]


def test_what_is_no_file_is_left_as_it_is(tmp_path):
    cohort = load_cohort("phantom:n=6")
    known = Identities(cohort, tmp_path)
    assert known.cohort is cohort
    assert list(known.rows) == list(cohort.rows())
    assert cohort.mostly_known(known.rows)
    assert not (tmp_path / "identities").exists()
    assert opened.HELD
