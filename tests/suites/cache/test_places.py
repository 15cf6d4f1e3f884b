"""Finished blocks at an address: whole or absent, whoever else writes; what cannot be reached is one line."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from suites.harness.cache import BlockShards, Unfinished, block_shards, default_folder, shards
from suites.harness.cache.places import Address, caches, place_of, root_of
from suites.harness.errors import UsageProblem
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.dispatching import THIS_PROCESS
from suites.harness.predictions.feature_and_dropout_passes import features_under
from suites.harness.predictions.table import predict
from tests.suites.predictions.mortal import CONDITIONS, cohort_of, subject_of


class Renaming(MemoryFileSystem):
    """A server that renames, not over a file that is there, and whose written files appear while they are written."""

    protocol = "renaming"
    store, pseudo_dirs = {}, [""]
    written: ClassVar[list[str]] = []
    broken = False

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self.written.append(path)
        if self.broken:
            super().pipe_file(path, value[:7])
            raise OSError(28, "No space left on device")
        super().pipe_file(path, value)

    def mv(self, path1, path2, **kwargs):
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2, **kwargs)


class Forgetful(MemoryFileSystem):
    """An object store that knows no conditions."""

    protocol = ("forgetful", "s3")
    store, pseudo_dirs = {}, [""]

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if mode == "create":
            raise NotImplementedError("a header implies functionality that is not implemented")
        super().pipe_file(path, value)

    def mv(self, path1, path2, **kwargs):
        raise AssertionError("nothing is renamed to appear")


register_implementation("renaming", Renaming, clobber=True)
register_implementation("forgetful", Forgetful, clobber=True)
KINDS = ("memory", "renaming", "forgetful")


@pytest.fixture
def address(request):
    return f"{request.param}://{uuid.uuid4().hex}/cache"


def predicted(cache: Path, address: str | None, films: int = 5):
    subject = subject_of()
    asked = {subject.name: (subject, CONDITIONS)}
    return predict(asked, cohort_of(films), seed=0, cache=cache, quiet=True, blocks_at=address)[subject.name]


def kept(address: str) -> dict[str, bytes]:
    files = Address(address)._files
    return {path.rpartition("/")[2]: files.cat_file(path) for path in files.find(Address(address)._folder)}


@pytest.mark.parametrize("address", KINDS, indirect=True)
def test_an_address_keeps_the_bytes_that_a_folder_does_and_a_second_run_finds_them(tmp_path, address):
    wanted, found = predicted(tmp_path / "folder", None), predicted(tmp_path / "local", address)
    assert found.table.equals(wanted.table)
    assert kept(address) == {path.name: path.read_bytes() for path in (tmp_path / "folder").rglob("*.parquet")}
    assert not list((tmp_path / "local").rglob("*.parquet"))
    again = predicted(tmp_path / "another machine", address)
    assert (again.computed, found.computed) == (0, wanted.computed)
    assert again.table.equals(wanted.table)
    more = predicted(tmp_path / "another machine", address, films=6)
    assert more.computed == 0, "film5 cannot be read"


def test_passes_beyond_the_table_lie_at_the_address_too(tmp_path):
    address = f"memory://{uuid.uuid4().hex}"
    answers = Answers.of(
        subject_of(), cohort_of(5), predicted(tmp_path, None), seed=0, workers=THIS_PROCESS, blocks_at=address
    )
    features = features_under(answers, "gamma_low@3", tmp_path / "unused")
    assert features.shape == (5, 4)
    assert list(kept(address))
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("address", KINDS, indirect=True)
def test_a_damaged_file_at_an_address_is_set_aside_and_done_again(tmp_path, address, monkeypatch):
    for place in ("cache.shards", "predictions.answering"):
        monkeypatch.setattr(f"suites.harness.{place}.SET_ASIDE", [])
    first = predicted(tmp_path, address)
    store = Address(address)._files
    (path,) = [path for path in store.find(Address(address)._folder) if path.endswith(".parquet")]
    whole = store.cat_file(path)
    store.store[path if path in store.store else f"/{path}"].seek(40)
    store.store[path if path in store.store else f"/{path}"].write(b"rot")
    if address.startswith("forgetful"):
        monkeypatch.setattr(Forgetful, "mv", MemoryFileSystem.mv)
    again = predicted(tmp_path, address)
    assert again.table.equals(first.table)
    assert again.computed == first.computed
    assert store.cat_file(path) == whole
    assert len(shards.SET_ASIDE) == 1
    assert "was set aside and is computed again" in shards.SET_ASIDE[0]


def test_a_part_at_an_address_is_found_and_tidied_away(tmp_path):
    address = f"memory://{uuid.uuid4().hex}"
    store = BlockShards(address, "kind", {"a": 1}, {"values": "text"})
    films = [("one", "c1"), ("two", "c2")]
    rows = [{"content": content, "image": image, "identity": "x", "values": image} for image, content in films]
    with Unfinished(store, films, ["x"]) as unfinished:  # and something ends it
        unfinished.keep(rows[0])
    assert [name[:5] for name in kept(address)] == ["part-"]
    with Unfinished(BlockShards(address, "kind", {"a": 1}, {"values": "text"}), films, ["x"]) as unfinished:
        assert len(unfinished.rows) == 1
        unfinished.keep(rows[1])
        unfinished.finished(films, ["x"])
    assert [name[:6] for name in kept(address)] == ["shard-"]
    assert not BlockShards(address, "kind", {"a": 2}, {"values": "text"}).answered()
    assert store.answered() == {"one": {"x"}, "two": {"x"}}


def test_a_server_that_renames_never_shows_half_a_file_and_a_full_one_is_one_line(monkeypatch):
    monkeypatch.setattr(Renaming, "written", [])
    place = place_of(f"renaming://{uuid.uuid4().hex}")
    place.write("whole", b"0123456789")
    assert [path.rpartition("/")[2][-8:] for path in Renaming.written] == [".partial"]
    place.write("whole", b"0123456789")  # by another run, at the same time
    assert place.names("*") == ["whole"]
    monkeypatch.setattr(Renaming, "broken", True)
    with pytest.raises(UsageProblem, match=r"cannot write to renaming://.*No space left on device") as told:
        place.write("second", b"0123456789")
    assert len(str(told.value)) < 300
    assert place.names("*") == ["whole"], "nor is anything left behind"
    with pytest.raises(FileNotFoundError):
        place.read("second", 10)
    with pytest.raises(ValueError, match="it holds more than"):
        place.read("whole", 9)


def test_what_is_given_as_a_cache_is_a_folder_or_an_address(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert root_of(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert caches(tmp_path) == caches(f"file://{tmp_path}") == {"cache": tmp_path}
    assert caches(None) == {"cache": default_folder()}
    assert caches("memory://x") == {"cache": default_folder(), "blocks_at": "memory://x"}
    assert place_of("memory://x").names("*") == [], "that it could be written to was tried"
    monkeypatch.setattr(Renaming, "broken", True)
    with pytest.raises(UsageProblem, match=r"cannot write to renaming://full; see that it can be reached and has room"):
        caches("renaming://full")
    for given in ("nonsense://bucket", "s3n://" + "x" * 5000):
        with pytest.raises(UsageProblem, match=r"cannot be used; s3:// needs the extra `s3`") as told:
            caches(given)
        assert len(str(told.value)) < 300


def test_a_block_of_pictures_is_verified_without_a_copy_of_all_and_not_held(tmp_path, monkeypatch):
    films, pictures = [("a", "1"), ("b", "2"), ("c", "3")], [b"picture", None, b"another"]
    rows = {
        (content, image, "x"): {"content": content, "image": image, "identity": "x", "picture": picture}
        for (image, content), picture in zip(films, pictures, strict=True)
    }
    BlockShards(tmp_path, "kind", {}, {"picture": "bytes"}).write(films, ["x"], rows)
    monkeypatch.setattr(block_shards, "LARGE", 0)
    store = BlockShards(tmp_path, "kind", {}, {"picture": "bytes"})
    table = store.read(films, ["x"])
    assert table is not None, "the checksum is that of the other way"
    assert table["picture"].to_pylist() == pictures
    assert store.read(films, ["x"]) is not table
