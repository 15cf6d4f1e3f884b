"""Measures of clean films are resampled once, and again when anything that decides them is another."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from suites.harness.cache import measures
from suites.harness.cache.measures import KeptMeasures
from suites.harness.performance import clean_films

VERSIONS = {"numpy": "2"}


@pytest.fixture
def record(make_record, tmp_path):
    made = make_record(subjects=1, films=60, plain=True)
    return replace(made, kept=KeptMeasures(tmp_path, VERSIONS))


@pytest.fixture
def ranked(monkeypatch):
    """Names of the measures that were resampled by rank, in their order."""
    names, of_ranks = [], clean_films._of_ranks

    def counting(answers, name, statistic, parts):
        names.append(name)
        return of_ranks(answers, name, statistic, parts)

    monkeypatch.setattr(clean_films, "_of_ranks", counting)
    return names


def found(record):
    (subject,) = record.subjects
    return clean_films.per_class(clean_films.clean_answers(record, subject))


def same(first, second) -> bool:
    """Whether all measures are the same to the last bit, NaN included."""
    return [(name, [repr(asdict(one)) for one in many]) for name, many in first.items()] == [
        (name, [repr(asdict(one)) for one in many]) for name, many in second.items()
    ]


def test_what_was_resampled_comes_back_to_the_last_bit_and_is_not_resampled_again(record, ranked):
    plain = found(replace(record, kept=None))
    ranked.clear()
    first = found(record)
    assert len(ranked) == 6
    ranked.clear()
    assert same(first, plain)
    assert same(found(replace(record, kept=KeptMeasures(record.kept.cache, VERSIONS))), plain)
    assert ranked == []


def relabelled(record):
    table = record.cohort.table.copy()
    table.loc[5, "label"] = next(name for name in record.subjects[0].classes if name != table.loc[5, "label"])
    return replace(record, cohort=replace(record.cohort, table=table))


def repatiented(record):
    table = record.cohort.table.copy()
    table.loc[5, "patient"] = "somebody else"
    return replace(record, cohort=replace(record.cohort, table=table))


def answered(record):
    rows = record.predictions.copy()
    at = rows.index[rows["condition"] == "clean"][5]
    rows.loc[at, "logit_0"] += 0.25
    return replace(record, predictions=rows)


def unanswered(record):
    rows = record.predictions
    at = rows.index[rows["condition"] == "clean"][5]
    return replace(record, predictions=rows.drop(index=at))


CHANGES = {
    "a label": relabelled,
    "a patient": repatiented,
    "a logit": answered,
    "a film without an answer": unanswered,
    "the seed": lambda record: replace(record, seed=record.seed + 1),
    "a version": lambda record: replace(record, kept=KeptMeasures(record.kept.cache, {"numpy": "3"})),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_a_measure_makes_it_anew(record, ranked, changed):
    found(record)
    other = changed(record)
    ranked.clear()
    assert same(found(other), found(replace(other, kept=None)))
    assert len(ranked) == 2 * 6, "by both, the kept ones were of other films"


def test_other_code_of_ours_makes_it_anew(record, ranked, monkeypatch):
    found(record)
    ranked.clear()
    monkeypatch.setattr(measures, "digest_of", lambda *_: "other code")
    found(record)
    assert len(ranked) == 6
