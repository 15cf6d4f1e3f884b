"""What claims share stands on the page once, and nothing is left out without a word on where it is."""

from __future__ import annotations

from suites.harness.report.repetition import MOST_NUMBERS, Estimators, Printed, run_of, shown_with
from suites.harness.report.table import Table
from tests.suites.report.conftest import measure


def test_a_number_of_clean_films_is_printed_with_the_first_claim_that_has_it():
    printed = Printed([], ())
    clean, other = measure("accuracy", 0.9), measure("flip_rate", 0.1, condition="x@3 - clean")
    assert printed.numbers([clean, other, other]) == ([clean, other], 0)
    effect = measure("recall_normal", 0.8)
    assert printed.numbers([effect, clean, other]) == ([effect, other], 0)
    assert printed.numbers([clean]) == ([clean], 0), "the effect always is"
    many = [measure("flip_rate", 0.01 * index) for index in range(MOST_NUMBERS + 3)]
    assert printed.numbers(many) == (many[:MOST_NUMBERS], 3)


def test_a_table_that_another_holds_is_named_and_not_printed():
    def table(*rows: str) -> Table:
        return Table(columns=["a"], rows=[[row] for row in rows], numeric=[False])

    tables = [
        ("one", "T", table("x")),
        ("two", "T", table("x")),
        ("three", "All", table("x", "y")),
        ("four", "U", table("z")),
    ]
    assert shown_with(tables) == {("one", "T"): "three", ("two", "T"): "three"}, "never one that is not printed"
    assert shown_with(tables[:2]) == {("two", "T"): "one"}


def test_cells_that_rows_share_stand_once():
    rows = [measure("a", 0.1, condition=name) for name in ("x", "x", "y", "x")]
    assert [run_of(rows, at, "condition") for at in range(4)] == [2, 0, 1, 1]


def test_an_interval_made_otherwise_has_a_letter(make_record):
    found = Estimators.of(make_record(films=30, plain=True).judgements)
    assert found.letter(found.usual) == ""
    assert all(found.letter(name) == letter for letter, name in found.others.items())
    assert Estimators("usual", {"a": "usual, and more", "b": "exact"}).told() == [("a", "and more"), ("b", "exact")]
