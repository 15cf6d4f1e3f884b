"""The summary of a job counts the verdicts, names the three worst and the gate, and prints foreign text as it is."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from suites.harness.claims import Claim, Judgement, Measure, Result, Verdict
from suites.harness.errors import UsageProblem
from suites.harness.report.gate import GateOutcome
from suites.harness.report.job_summary import job_summary, write_job_summary


def judged(name, verdict, estimate, *, unit="share", kind="limitation", statement="It fails."):
    claim = Claim(id=f"classes.{name}", section=name, statement="s", kind=kind, endpoint="score", margin=0.1)
    effect = Measure(
        name="accuracy", condition="clean", estimate=estimate, low=estimate - 0.01, high=estimate + 0.01, n=9,
        patients=9, estimator="e", unit=unit,
    )  # fmt: skip
    return Judgement(
        claim=claim, subject="mine|<b>", verdict=verdict, reason="r", result=Result(effect=effect, finding=statement)
    )


def test_the_three_worst_come_first_and_what_fails_the_run_before_them():
    judgements = [
        judged("a", Verdict.SUPPORTED, 0.2, statement="Two."),
        judged("b", Verdict.SUPPORTED, 0.9, statement="Nine."),
        judged("c", Verdict.SUPPORTED, 0.5, statement="Five."),
        judged("d", Verdict.SUPPORTED, 900.0, unit="count", statement="A count."),
        judged("e", Verdict.VIOLATED, 0.05, kind="requirement", statement="Required."),
        judged("f", Verdict.MET, 0.99, kind="requirement", statement="Fine."),
    ]
    text = job_summary(judgements)
    worst = [line for line in text.splitlines() if line[:2] in ("1.", "2.", "3.", "4.")]
    assert [line.split("**")[1] for line in worst] == ["Required.", "Nine.", "Five."]
    assert "limitation confirmed" in worst[1]
    assert "requirement violated" in worst[0]
    assert "| Limitation confirmed | 4 |" in text
    assert "### Requirements violated\n\n- mine\\|\\<b\\>: Required \\(5.0 %, 4.0 to 6.0\\)\n" in text
    assert "| Requirement met | 1 |" in text
    assert "Not a medical device" in text


def test_what_came_from_files_is_escaped_and_on_one_line():
    text = job_summary(
        [judged("a", Verdict.SUPPORTED, 0.2, statement="# *a* | <script>\n- [x](y)")],
        notes=["`note`\n# head"], problem="<b>\n|",
        gate=GateOutcome(changes=(), lost=["<i>|x"]),
    )  # fmt: skip
    assert not re.search(r"(?<!\\)[<`]", text)
    assert "mine\\|\\<b\\>" in text
    assert not [line for line in text.splitlines() if line.startswith(("# ", "- [", "- \\["))]
    assert "Release gate: FAILED" in text
    assert "\\<i\\>\\|x" in text


def test_the_worst_are_those_of_the_subjects_and_not_of_somebody_elses_page():
    page = replace(judged("a", Verdict.VIOLATED, 0.9, statement="A page."), subject="the published page")
    both = [page, replace(judged("b", Verdict.SUPPORTED, 0.2), subject="mine")]
    assert "\n| | mine | the published page |\n" in job_summary(both, subjects=["mine"])
    text = job_summary([page, judged("b", Verdict.SUPPORTED, 0.2, statement="Mine.")], subjects=["mine|<b>"])
    assert "Mine." in text
    assert "A page." not in text


def test_no_harm_is_not_called_safe_and_nothing_judged_is_said():
    assert "not the same as safe" in job_summary([judged("a", Verdict.NOT_SUPPORTED, 0.0)])
    assert "Nothing was judged" in job_summary([], problem="the run stopped")


def test_steps_of_a_job_share_its_file_and_an_unwritable_one_is_named(tmp_path):
    for append in (False, True, True):
        write_job_summary("x\n", tmp_path / "sum.md", append=append)
    assert (tmp_path / "sum.md").read_text() == "x\n" * 3
    write_job_summary("y\n", tmp_path / "sum.md", append=False)
    assert (tmp_path / "sum.md").read_text() == "y\n"
    with pytest.raises(UsageProblem, match=r"cannot write the summary .*name another file"):
        write_job_summary("x", tmp_path, append=True)
