"""Is the number of films in a batch the same throughout, and measured once where it matters?"""

from __future__ import annotations

import json

import pytest
import torch

from suites.harness.errors import UsageProblem
from suites.harness.predictions import batch_size as module
from suites.harness.predictions.batch_size import batch_size, measured
from suites.harness.subjects.formats import load_subject


@pytest.mark.parametrize(
    ("busy_from", "expected"), [(16, 16), (64, 64), (10_000, 256)], ids=["busy at once", "busy from 64", "never busy"]
)
def test_twice_the_films_while_more_are_answered_a_second(busy_from, expected):
    assert measured(lambda size: max(size, busy_from) / 1000.0) == expected


def test_what_does_not_fit_is_not_taken():
    def seconds(size):
        if size > 32:
            raise torch.cuda.OutOfMemoryError
        return 1.0

    assert measured(seconds) == 32


def test_a_cpu_has_sixteen_and_keeps_nothing(tmp_path):
    assert batch_size(load_subject("bundled:fragile"), tmp_path) == 16
    assert not list(tmp_path.iterdir())


@pytest.fixture
def on_gpu(monkeypatch):
    """Return a subject that says it is on a GPU, and the sizes that were timed on it."""
    subject, timed = load_subject("bundled:fragile"), []
    monkeypatch.setattr(type(subject), "cache_key", {"subject": "one"})
    subject.__dict__["device"] = "cuda"

    def seconds(_subject, size):
        timed.append(size)
        return max(size, 64)

    monkeypatch.setattr(module, "_seconds", seconds)
    return subject, timed


def test_a_gpu_is_measured_once(on_gpu, tmp_path):
    subject, timed = on_gpu
    assert batch_size(subject, tmp_path) == 64
    once = len(timed)
    assert batch_size(subject, tmp_path) == 64
    assert len(timed) == once > 0


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"films": "64"}', '{"films": 7}', '{"films": 100000}'])
def test_a_damaged_file_is_measured_anew(on_gpu, tmp_path, text):
    subject, _ = on_gpu
    batch_size(subject, tmp_path)
    (file,) = (tmp_path / "batch-sizes").iterdir()
    file.write_text(text)
    assert batch_size(subject, tmp_path) == 64
    assert json.loads(file.read_text()) == {"films": 64}


def test_a_cache_that_cannot_be_written_is_one_line(on_gpu, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageProblem, match="name another --cache"):
        batch_size(on_gpu[0], tmp_path / "file")
