"""A message is one line that can be read, whatever it quotes."""

from __future__ import annotations

import pickle

from hypothesis import example, given
from hypothesis import strategies as st

from suites.harness.errors import LONGEST, CohortProblem, FilmUnreadable, PredictionProblem, UsageProblem, one_line


@given(st.text(st.characters(codec=None), max_size=2000) | st.text("a/\n", min_size=400, max_size=5000))
@example("\ud800" * 2000)
@example("a\x1b[31mred\x00\u2028b")
def test_any_text_becomes_one_line_that_any_terminal_and_file_takes(text):
    line = one_line(text)
    assert len(line) <= LONGEST
    assert line.isprintable()
    line.encode()


def test_what_is_wrong_and_what_to_do_stay():
    told = str(UsageProblem(f"cannot read {'/deep' * 900}/film.png: it is a device; name a file"))
    assert told.startswith("cannot read /deep/deep")
    assert told.endswith("/film.png: it is a device; name a file")
    many = one_line("start " + "word " * 500 + "end")
    assert many.startswith("start ")
    assert many.endswith(" end")
    assert "…" in many


def test_ordinary_messages_are_not_touched():
    text = "«Röntgen» 17 films: no label in column `class`; use ?label=class"
    assert str(CohortProblem(text)) == str(PredictionProblem(text)) == text


def test_a_film_keeps_its_reason_and_its_file_and_travels_between_processes():
    problem = FilmUnreadable("cut short", file="a\nb.png")
    assert (problem.reason, str(problem)) == ("cut short", "a b.png: cut short")
    assert str(pickle.loads(pickle.dumps(problem))) == "a b.png: cut short"
