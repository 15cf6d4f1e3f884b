"""One is never several."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suites.harness.counts import counted

SUITES = Path(__file__).parents[2] / "suites"


@pytest.mark.parametrize(
    ("count", "words", "told"),
    [
        (0, ("film",), "0 films"),
        (1, ("film",), "1 film"),
        (2, ("film",), "2 films"),
        (2100, ("patient",), "2,100 patients"),
        (1, ("file is", "files are"), "1 file is"),
        (3, ("file is", "files are"), "3 files are"),
    ],
)
def test_a_count_and_its_words_agree(count, words, told):
    assert counted(count, *words) == told


def test_no_sentence_puts_how_many_there_are_before_several_by_itself():
    """Where one is left, `{len(films)} films` is `1 films`. What is counted out of a total may be left as it is."""
    bare = re.compile(
        r"(?<!of )(?<!the )(?<!its )(?<!these )\{len\([^{}]*\)(?::,)?\} (?:films(?! x)|patients|files|maps)\b"
    )
    found = [
        f"{path.relative_to(SUITES)}: {told}"
        for path in SUITES.rglob("*.py")
        for told in bare.findall(path.read_text(encoding="utf-8"))
    ]
    assert found == []
