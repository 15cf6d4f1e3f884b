"""Are the films behind a number found again in the table of a finished report?"""

from __future__ import annotations

import pandas as pd
import pytest

from suites import commands
from suites.harness.errors import UsageProblem
from suites.harness.report.stored_films import FILE, as_text, listed

ROWS = [
    ("a", "films", "one", "ill", "clean", "ill", 0.9, True, False),
    ("a", "films", "one", "ill", "scatter@3", "well", 0.6, False, True),
    ("a", "films", "two", "well", "clean", "ill", 0.7, False, False),
    ("a", "films", "two", "well", "scatter@3", "ill", 0.8, False, False),
    ("a", "films", "odd", "", "clean", "ill", 0.5, None, False),
    ("b", "films", "one", "ill", "clean", "well", 0.55, False, False),
    ("b", "films", "one", "ill", "scatter@3", "ill", 0.65, True, True),
]
NAMES = ["subject", "cohort", "film", "truth", "condition", "call", "confidence", "right", "changed"]


@pytest.fixture
def report(tmp_path):
    table = pd.DataFrame(ROWS, columns=NAMES).astype({"right": "boolean"})
    table.to_parquet(tmp_path / FILE)
    return tmp_path


def rows(table):
    return [tuple(row) for row in table[["subject", "film", "condition"]].itertuples(index=False)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [("a", "one", "scatter@3")]),
        ({"which": "wrong"}, [("a", "two", "scatter@3"), ("a", "two", "clean"), ("a", "one", "scatter@3"),
                              ("b", "one", "clean")]),
        ({"which": "changed"}, [("b", "one", "scatter@3"), ("a", "one", "scatter@3")]),
        ({"which": "wrong", "condition": "clean", "subject": "a"}, [("a", "two", "clean")]),
        ({"film": "two"}, [("a", "two", "clean"), ("a", "two", "scatter@3")]),
    ],
)  # fmt: skip
def test_films_are_found_by_what_was_said_of_them(report, asked, expected):
    assert rows(listed(report, **asked)) == expected


def test_everything_is_every_row(report):
    assert len(listed(report, which="all")) == len(ROWS)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"condition": "scater@3"}, "no condition 'scater@3' in this report; there are clean, scatter@3"),
        ({"film": "x" * 500}, "no film 'x"),
        ({"subject": "c"}, "no subject 'c' in this report; there are a, b"),
    ],
)
def test_what_is_not_there_is_one_line(report, asked, told):
    with pytest.raises(UsageProblem) as refused:
        listed(report, **asked)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("content", [b"", b"no table"])
def test_a_damaged_table_is_one_line(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UsageProblem, match="cannot be read"):
        listed(tmp_path)


def test_the_command_prints_them(report, capsys):
    assert commands.main(["films", str(report), "--which", "wrong", "--most", "1"]) == 0
    text = capsys.readouterr().out
    assert "two" in text
    assert "80 %" in text
    assert "3 more rows" in text


def test_rows_are_written_as_the_page_writes_them():
    row = ("a", "films", "one", "bacterial_pneumonia", "scatter@3", "viral_pneumonia", 0.9999, False, True)
    undefined = (*row[:5], "", float("nan"), None, False)
    shown = as_text(pd.DataFrame([row, undefined], columns=NAMES))
    assert list(shown["truth"]) == ["bacterial pneumonia"] * 2
    assert list(shown["call"]) == ["viral pneumonia", ""]
    assert list(shown["confidence"]) == [">99.9 %", ""]
    assert set(shown["condition"]) == {"scatter@3"}, "as --condition takes it"
