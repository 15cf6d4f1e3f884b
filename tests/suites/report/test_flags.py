"""Every check and warning of a report is explained on its page: raised when, what it means, what to do."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from suites.harness.formatting.wording import TRUST
from suites.harness.predictions import subject_checks
from suites.harness.predictions.subject_checks import FLOAT_PATH, SubjectCheck
from suites.harness.report import flags, write_report

ROOT = Path(flags.__file__).parents[3]


def made(name: str, *folders: str) -> set[str]:
    """Return the first arguments of all calls of `name` in our packages: the names of checks that can be made."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == name
                    and node.args
                ):
                    first = node.args[0]
                    if isinstance(first, ast.Constant):
                        found.add(first.value)
                    elif isinstance(first, ast.Name):
                        found.add(getattr(subject_checks, first.id))
    return found


@pytest.mark.parametrize(("kind", "group", "least"), [("SanityCheck", "attack", 14), ("SubjectCheck", "subject", 6)])
def test_every_check_that_can_be_made_has_an_entry_and_no_entry_is_of_a_check_that_is_gone(kind, group, least):
    can_be_made = made(kind, "robustness", "suites")
    assert len(can_be_made) >= least
    assert can_be_made == {flag.name for flag in flags.FLAGS if flag.group == group}


def test_entries_say_everything_once():
    assert len({(flag.group, flag.name) for flag in flags.FLAGS}) == len(flags.FLAGS)
    for flag in flags.FLAGS:
        assert flag.group in flags.GROUPS
        assert all(text.endswith(".") and len(text) > 20 for text in (flag.raised, flag.meaning)), flag.name
        assert flag.advice.endswith(".")
        assert (flag.of is not None) == (flag.group == "verdict")


def raised(record) -> dict[str, list[str]]:
    return {
        entry.flag.name: [text for _, text in entry.raised]
        for group in flags.entries(record).values()
        for entry in group
        if entry.raised
    }


def test_what_a_run_found_stands_beside_its_meaning(make_record):
    record = make_record(films=30, plain=True)
    before = raised(record)
    name = record.subjects[0].name
    judged = next(item for item in record.judgements if item.result is not None)
    table = pd.DataFrame([("loss rises", "NO", "1 of 16 <films>")], columns=["check", "passed", "detail"])
    result = replace(judged.result, tables={TRUST: table}, effect=replace(judged.result.effect, too_few="few"))
    checks = [
        SubjectCheck("not saturated", passed=False, detail="its head is saturated"),
        SubjectCheck(FLOAT_PATH, passed=True, detail="near"),
    ]
    record = replace(record, judgements=[replace(judged, result=result)], checks={name: checks})
    now = raised(record)
    assert now["not saturated"] == [f"{name}: its head is saturated"]
    assert now["loss rises"] == [f"{judged.claim.id} on {judged.subject}: 1 of 16 <films>"]
    assert now["too few patients"] == [f"{judged.claim.id} on {judged.subject}"]
    assert FLOAT_PATH not in now
    assert "loss rises" not in before


def test_the_page_holds_them(make_record, tmp_path):
    record = make_record(films=30, plain=True)
    report = write_report(record, tmp_path / "report")
    page, checks = (path.read_text(encoding="utf-8") for path in (report, report.with_name("checks.html")))
    assert 'id="flags"' in page
    here = {entry.flag.name for group in flags.raised(record).values() for entry in group}
    assert 0 < len(here) < len(flags.FLAGS)
    for flag in flags.FLAGS:
        advice = flag.advice.split("`")[0].split("'")[0][:40].split("<")[0]
        assert advice in checks, flag.name
        assert (advice in page) == (flag.name in here), flag.name
