"""Only regular files of a sane size are read whole; devices, pipes, folders and bombs end at once, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suites.harness.foreign_file import read_bytes, read_text, size_text


def test_a_small_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfgr\xc3\xbc\xc3\x9fe")
    assert read_text(tmp_path / "a") == "grüße"


def test_a_larger_file_is_refused_by_its_size(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="holds 1 TiB, more than the 16 MiB"):
        read_text(tmp_path / "a")


def test_devices_pipes_and_folders_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises((ValueError, IsADirectoryError), match=r"no regular file|directory"):
            read_bytes(path, 10)


def test_a_file_that_says_it_is_empty_is_read_up_to_the_limit():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("no /proc on this system")
    with pytest.raises(ValueError, match="more than the 10 bytes"):
        read_bytes(status, 10)


def test_text_of_another_encoding_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"ok \xff")
    with pytest.raises(ValueError, match="not UTF-8 text \\(byte 3\\)"):
        read_text(tmp_path / "a")


def test_sizes_read_as_people_write_them():
    assert [size_text(size) for size in (10, 2048, 16 * 2**20, 3 * 2**40)] == ["10 bytes", "2 KiB", "16 MiB", "3 TiB"]
