"""What a person reads at the end: findings on a model apart from facts about films and about somebody's page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from suites.harness.claims_table import load_claims
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.formats.hub import PUBLISHED
from suites.harness.terminal_summary import print_summary
from tests.controls.films import cohort_of
from tests.controls.subjects import Calm, Reader, subject_of

ENDPOINTS = {"published_half_width", "patient_overlap", "recall_gap"}
"""Of claims about a page, about films and about subjects."""


class Written(list):
    """Takes lines as pytest's terminal does."""

    def section(self, title, sep="=", **_):
        self.append(f"{sep} {title}\n")

    def write(self, content, **_):
        self.append(content)

    def write_line(self, line, **_):
        self.append(f"{line}\n")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    claims = [claim for claim in load_claims() if claim.endpoint in ENDPOINTS]
    subjects = [subject_of(Reader(), "reader"), subject_of(Calm(), "calm")]
    cache = tmp_path_factory.mktemp("summary")
    return Evaluation(subjects=subjects, cohort=cohort_of(12), claims=claims, cache=cache, quiet=True).run()


def printed(evaluation) -> str:
    terminal = Written()
    print_summary(terminal, evaluation, None, [])
    return "".join(terminal)


def test_findings_come_first_and_every_total_says_of_what(judged):
    text = printed(judged)
    parts = re.findall(r"^- (.*)$", text, re.MULTILINE)
    assert parts == ["found on the model", "facts about these films", "facts about a published page", "in all"]
    totals = text.partition("- in all\n")[2].splitlines()
    assert [line.partition(": ")[0] for line in totals[:4]] == [
        "found on reader", "found on calm", "facts about these films", "facts about a published page",
    ]  # fmt: skip
    counted = sum(int(number) for line in totals[:4] for number in re.findall(r"\d+", line.partition(": ")[2]))
    assert counted == len(judged.judgements)


def test_the_page_of_the_model_itself_is_read_first(judged):
    first = judged.subjects[0]
    source = f"https://huggingface.co/{PUBLISHED}"
    own = replace(first, provenance=replace(first.provenance, source=source))
    others, judged.subjects = judged.subjects, [own, *judged.subjects[1:]]
    try:
        parts = re.findall(r"^- (.*)$", printed(judged), re.MULTILINE)
    finally:
        judged.subjects = others
    assert parts[:2] == ["facts about a published page", "found on the model"]
