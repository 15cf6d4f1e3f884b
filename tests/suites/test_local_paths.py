"""What is published names no folder of a machine, and everything that only looks like one stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suites.harness.local_paths import spec_without_folders, without_folders


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("[Errno 2] No such file: '/home/jane doe/x.pt'", "[Errno 2] No such file: 'x.pt'"),
        ("see /srv/films/a/b.png.", "see b.png."),
        ("fails (/tmp/lost/x.py, line 3)", "fails (x.py, line 3)"),
        ("file:///tmp/a/b", "b"),
        ("at C:\\Users\\jane\\x.pt", "at x.pt"),
        ("~/films/a and key=/tmp/x/y", "a and key=y"),
        ("in ...me/jane/x/model.py, line 3", "in ...model.py, line 3"),
        ("/srv/models/v1/", "v1"),
    ],
)
def test_of_a_path_stays_the_last_name(text, published):
    assert without_folders(text) == published


@pytest.mark.parametrize(
    "text",
    [
        "http://host:80/predict/now", "hf:owner/name@main", "ece/top-label/15/equal-width", "accuracy / coverage / x",
        "POST /predict", "logits / T", "p < 0.05/3", "50 %/50 %", "wait... a/b", "\\d+\\w and\\n\\n", "./models/v1",
    ],
)  # fmt: skip
def test_what_is_no_path_of_a_machine_stays(text):
    assert without_folders(text) == text
    assert json.loads(without_folders(json.dumps({"text": text}))) == {"text": text}


def test_a_home_and_a_working_folder_with_blanks_leave_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "my models").mkdir()
    monkeypatch.chdir(tmp_path / "my models")
    assert without_folders(f"no {Path.cwd()}/films/x.png here") == "no x.png here"


@pytest.mark.parametrize(
    ("spec", "published"),
    [
        ("/srv/models/v1", "v1"),
        ("/srv/films?view=PA&split=val", "films?view=PA&split=val"),
        ("timm:resnet?checkpoint=/srv/a/b.pt&classes=a,b", "timm:resnet?checkpoint=b.pt&classes=a,b"),
        ("../other/films", "films"),
        ("~/films", "films"),
        ("models/v1", "models/v1"),
        ("hf:owner/name", "hf:owner/name"),
        ("http://host:80/x?classes=a,b", "http://host:80/x?classes=a,b"),
        ("phantom:n=24,view=PA", "phantom:n=24,view=PA"),
        ("module:factory", "module:factory"),
    ],
)
def test_specs_can_be_typed_in_where_the_project_is(spec, published):
    assert spec_without_folders(spec) == published


def test_a_folder_whose_name_has_a_question_mark_is_one_name(tmp_path):
    folder = tmp_path / "why?/films"
    folder.mkdir(parents=True)
    assert spec_without_folders(str(folder)) == "films"
