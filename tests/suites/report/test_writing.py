"""The folder: everything that belongs in it, the same bytes every time, and nothing of anybody else's lost."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import filelock
import jsonschema
import pandas as pd
import pytest
from PIL import Image

from suites.harness.errors import UsageProblem
from suites.harness.record import writable
from suites.harness.report import folder, model_card, results, write_report


@pytest.fixture(scope="module")
def small(make_record):
    return make_record(subjects=1, films=60, plain=True)


def test_all_files_are_there_and_keep_their_contract(report: Path, make_record):
    document = json.loads((report.parent / "results.json").read_text())
    jsonschema.validate(document, json.loads((report.parent / "results.schema.json").read_text()))
    assert document["schema"] == 1
    assert {claim["verdict"] for claim in document["claims"]} == {
        "supported", "not_supported", "met", "violated", "inconclusive", "not_evaluable",
    }  # fmt: skip
    first = document["claims"][0]["measures"][0]
    assert list(first)[:8] == ["name", "condition", "estimate", "low", "high", "n", "patients", "estimator"]
    predictions = pd.read_parquet(report.parent / "predictions.parquet")
    assert list(predictions)[:6] == ["subject", "cohort", "image", "condition", "severity", "logit_0"]
    flat = pd.read_csv(report.parent / "results.csv")
    assert len(flat) >= len(document["claims"])
    assert set(flat["id"]) == {claim["id"] for claim in document["claims"]}
    assert sum(file.stat().st_size for file in report.parent.rglob("*")) < 15_000_000


def test_a_picture_has_its_numbers_beside_it_and_its_own_size(report: Path):
    sidecars = sorted((report.parent / "figures").glob("*.json"))
    assert len(sidecars) == 2 * 4, "two subjects, four strips"
    for sidecar in sidecars:
        content = json.loads(sidecar.read_text())
        assert content["method"] == "grad-cam"
        assert content["caption"] == f"strip {content['number']}"
        with Image.open(report.parent / content["picture"]) as picture:
            assert picture.size == (300, 90)
        assert f'href="figures/{sidecar.name}"' in report.read_text()


def test_numbers_that_are_none_become_null(report: Path):
    document = json.loads((report.parent / "results.json").read_text())
    assert any(claim["effect"] and claim["effect"]["estimate"] is None for claim in document["claims"])


def test_the_schema_refuses_another_verdict(report: Path):
    document = results.load_results(report.parent)
    document["claims"][0]["verdict"] = "fine"
    with pytest.raises(jsonschema.ValidationError):
        results.validate(document)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "JSON"),
        ('{"schema": 2}', "schema 2"),
        ("[]", "schema None"),
        ('{"schema": 1}', "it has no `subjects`"),
    ],
)
def test_a_results_file_that_is_none_is_named(tmp_path: Path, content: str, says: str):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UsageProblem, match=says):
        results.load_results(tmp_path)


def test_a_missing_results_file_is_named(tmp_path: Path):
    with pytest.raises(UsageProblem, match=r"no results\.json"):
        results.load_results(tmp_path)


def test_the_same_record_gives_the_same_bytes(small, tmp_path: Path):
    first, second = (write_report(small, tmp_path / name).parent for name in ("a", "b"))
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_an_earlier_report_is_replaced_and_its_leftovers_go(small, tmp_path: Path):
    index = write_report(small, tmp_path / "out")
    stale = tmp_path / "out" / "figures" / "stale.svg"
    stale.parent.mkdir(exist_ok=True)
    stale.write_text("<svg/>")
    manifest = tmp_path / "out" / folder.MANIFEST
    content = json.loads(manifest.read_text())
    content["files"].append("figures/stale.svg")
    manifest.write_text(json.dumps(content))
    (tmp_path / "out" / f"{folder.PARTIAL}killed").mkdir()
    assert write_report(small, tmp_path / "out") == index
    assert not stale.exists()
    assert not list((tmp_path / "out").glob(f"{folder.PARTIAL}*"))


def test_a_folder_with_foreign_files_is_refused_untouched(small, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageProblem, match=r"thesis\.tex"):
        write_report(small, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"], "not even a lock is left behind"
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_foreign_index_is_not_overwritten(small, tmp_path: Path):
    (tmp_path / "index.html").write_text("somebody's site")
    with pytest.raises(UsageProblem, match=r"index\.html"):
        write_report(small, tmp_path)
    assert (tmp_path / "index.html").read_text() == "somebody's site"


def test_a_file_in_place_of_the_folder_is_refused(small, tmp_path: Path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(UsageProblem, match="report"):
        write_report(small, tmp_path / "report")
    with pytest.raises(UsageProblem, match="cannot be written"):
        write_report(small, tmp_path / "report" / "deeper")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_or_no_permission_is_one_line_and_loses_nothing(small, tmp_path: Path, monkeypatch, code):
    index = write_report(small, tmp_path / "out")
    before = index.read_bytes()

    def fail(self: Path, *_: object, **__: object) -> int:
        raise OSError(code, "No space left on device" if code == errno.ENOSPC else "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fail)
        with pytest.raises(UsageProblem, match="cannot be written") as caught:
            write_report(small, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert index.read_bytes() == before
    assert not list((tmp_path / "out").glob(f"{folder.PARTIAL}*"))
    write_report(small, tmp_path / "out")


def test_two_runs_do_not_write_into_one_folder_at_once(small, tmp_path: Path):
    with filelock.FileLock(tmp_path / folder.LOCK), pytest.raises(UsageProblem, match="another run"):
        write_report(small, tmp_path)


def test_a_damaged_manifest_is_named(small, tmp_path: Path):
    write_report(small, tmp_path / "out")
    (tmp_path / "out" / folder.MANIFEST).write_text("{")
    with pytest.raises(UsageProblem, match="damaged"):
        write_report(small, tmp_path / "out")


def test_no_claim_is_no_report(make_record, tmp_path: Path):
    with pytest.raises(UsageProblem, match="no claim"):
        write_report(replace(make_record(subjects=1, films=30), judgements=[]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_text_of_a_report_or_card_names_a_folder(make_record, tmp_path):
    """Wherever a path may stand: specs, notes, training, reasons, exclusions, the command, files of endpoints."""
    secret = "/home/jane doe/secret"
    told = f"it failed (FileNotFoundError: '{secret}/x.pt') in {secret.replace(' ', '-')}/model.py, line 3"
    record = make_record(subjects=1, films=60, plain=True)
    subject = record.subjects[0]
    provenance = replace(
        subject.provenance,
        spec=f"{secret}/v1",
        source=f"{secret}/v1",
        notes=(told,),
        training={"on": f"'{secret}/a'"},
    )
    first = next(one for one in record.judgements if one.result)
    result = replace(first.result, summary=told, files={"told.csv": (f"file\n'{secret}/a.png'\n", told)})
    judgements = [replace(one, reason=told, result=result if one is first else one.result) for one in record.judgements]
    leaky = replace(
        record, subjects=[replace(subject, provenance=provenance)], judgements=judgements, notes=[told],
        cohort=writable(replace(record.cohort, spec=f"{secret}/films?view=PA", notes=(told,))),
        excluded=record.excluded.assign(reason=told),
    )  # fmt: skip
    write_report(leaky, tmp_path / "out")
    (tmp_path / "out" / "card.md").write_text(model_card(leaky))
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {"index.html", "results.json", "told.csv", "card.md"} <= {file.name for file in files}
    assert [file.name for file in files if b"jane" in file.read_bytes()] == []
    assert json.loads((tmp_path / "out" / "results.json").read_text())["cohort"]["spec"] == "films?view=PA"


def test_a_place_for_a_report_that_is_none_is_named_for_what_it_is(tmp_path):
    (tmp_path / "afile").write_text("mine")
    for place, told in (
        (tmp_path / "afile", "(it is a file, not a folder)"),
        (tmp_path / "afile" / "report", "afile is a file, not a folder)"),
        (Path("/proc/foo"), "(no folder can be made there)"),
    ):
        with pytest.raises(UsageProblem) as caught:
            folder.refuse_unwritable_folder(place)
        assert told in str(caught.value)
