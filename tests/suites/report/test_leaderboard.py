"""Do only subjects judged on the same films stand side by side, in the order of their harms, with nothing made up?"""

from __future__ import annotations

import copy
import json
import math

import pandas as pd
import pytest

from suites.commands.compare import compare
from suites.harness.errors import UsageProblem
from suites.harness.report.leaderboard import leaderboard, write_leaderboard
from suites.harness.report.results import load_results


@pytest.fixture
def stored(report, tmp_path):
    """Return what writes a results.json after the one of two subjects, changed, into a folder of a name."""
    document = load_results(report.parent)

    def store(name, *, subject=None, change=lambda document: None):
        made = copy.deepcopy(document)
        if subject is not None:
            old = made["subjects"][0]["name"]
            made["subjects"] = made["subjects"][:1]
            made["claims"] = [claim for claim in made["claims"] if claim["subject"] == old]
            for entry in [*made["claims"]]:
                entry["subject"] = subject
            made["subjects"][0]["name"] = subject
            made["comparison"] = []
        change(made)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(made))
        return folder

    return store


def worse(by):
    """Return what makes every limitation that counts upwards larger by so much."""

    def change(document):
        for claim in document["claims"]:
            if claim["effect"] and claim["effect"]["estimate"] is not None:
                up = (1 if claim["direction"] == "above" else -1) * (1 if claim["kind"] == "limitation" else -1)
                claim["effect"]["estimate"] += by * up

    return change


def test_the_least_harmed_comes_first(stored):
    reports = [
        stored("a", subject="middle", change=worse(0.1)),
        stored("b", subject="best"),
        stored("c", subject="worst", change=worse(0.2)),
    ]
    (board,) = leaderboard(reports)
    assert [entry.name for entry in board.entries] == ["best", "middle", "worst"]
    assert board.ranks == (1.0, 2.0, 3.0)
    assert board.shared


@pytest.mark.parametrize(
    "other",
    [
        lambda d: d["cohort"].update(fingerprint="another"),
        lambda d: d["run"].update(seed=8),
        lambda d: d["run"].update(profile="full"),
        lambda d: d["run"]["versions"].update(precision="bf16"),
        lambda d: d["probes"].update(lateral=dict(d["cohort"], fingerprint="another")),
    ],
    ids=["films", "seed", "profile", "precision", "probes"],
)
def test_what_was_judged_otherwise_stands_apart(stored, other):
    boards = leaderboard([stored("a", subject="one"), stored("b", subject="two", change=other)])
    assert [len(board.entries) for board in boards] == [1, 1]
    assert all(math.isnan(rank) for board in boards for rank in board.ranks)
    assert not any(board.shared for board in boards)


def test_a_claim_judged_by_another_measure_is_shown_and_not_ranked(stored):
    def change(document):
        claim = next(claim for claim in document["claims"] if claim["effect"])
        claim["effect"]["name"] = "something else"

    (before,) = leaderboard([stored("a", subject="one"), stored("b", subject="two", change=worse(0.1))])
    (after,) = leaderboard([stored("c", subject="one"), stored("d", subject="two", change=change)])
    assert len(after.shared) == len(before.shared) - 1


def test_subjects_of_one_name_are_told_apart_by_their_report(stored):
    (board,) = leaderboard([stored("v1", subject="net"), stored("v2", subject="net", change=worse(0.1))])
    assert [entry.name for entry in board.entries] == ["net (v1)", "net (v2)"]


def test_every_subject_of_a_part_is_marked(stored):
    def part(document):
        document["incomplete"] = {"judged": 4, "of": 120, "what": "judgements", "why": "-k x"}

    (board,) = leaderboard([stored("v1", subject="net"), stored("v2", subject="other", change=part)])
    assert {entry.name for entry in board.entries} == {"net", "other (v2, 4 of 120 judgements)"}


def open_but(settled):
    """Return what leaves all but so many claims inconclusive."""

    def change(document):
        for claim in document["claims"][settled:]:
            claim["verdict"] = "inconclusive"

    return change


def test_too_little_in_common_is_not_ranked_and_says_why(stored, tmp_path, capsys):
    reports = [stored(name, subject=name, change=open_but(2)) for name in ("one", "two")]
    (board,) = leaderboard(reports)
    assert len(board.shared) > 2
    assert all(math.isnan(rank) for rank in board.ranks)
    assert "5 shared claims" in board.unranked
    assert not board.claims()["ranked"].any()
    assert compare([*map(str, reports), "--out", str(tmp_path / "board")]) == 0
    printed = capsys.readouterr().out
    assert f"no rank: {board.unranked}" in printed
    assert "1.00" not in printed
    assert f"No rank: {board.unranked}." in (tmp_path / "board" / "index.html").read_text()


def test_one_report_twice_is_refused(stored):
    folder = stored("a", subject="one")
    with pytest.raises(UsageProblem, match="name each once"):
        leaderboard([folder, folder])


def test_what_is_no_report_is_one_line(tmp_path):
    with pytest.raises(UsageProblem, match=r"no results\.json there"):
        leaderboard([tmp_path])


def test_page_and_tables_tell_the_same(stored, tmp_path):
    boards = leaderboard([stored("a", subject="<b>one</b>"), stored("b", subject="two", change=worse(0.1))])
    page = write_leaderboard(boards, tmp_path / "board").read_text()
    assert "<b>one</b>" not in page
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert "Not a medical device" in page
    table = pd.read_csv(tmp_path / "board" / "leaderboard.csv")
    both = json.loads((tmp_path / "board" / "leaderboard.json").read_text())
    assert [row["subject"] for row in both["subjects"]] == list(table["subject"]) == ["<b>one</b>", "two"]
    claims = pd.read_csv(tmp_path / "board" / "leaderboard-claims.csv")
    assert set(claims.loc[claims["ranked"], "claim"]) == set(boards[0].shared)
    assert str(tmp_path) not in page
