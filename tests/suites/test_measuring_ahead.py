"""Findings that worker processes measure: the results of one process, whoever dies; the rest stays where it was."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from suites.harness import measured_run, measuring_ahead
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import registry
from suites.harness.endpoints.registry import get
from suites.harness.evaluation import Evaluation
from suites.harness.measured_run import MeasuredRun
from suites.harness.measuring_ahead import Asked, Circumstances, Lacking
from suites.harness.predictions.dispatching import THIS_PROCESS
from suites.harness.predictions.errands import Desk, packed, unpacked
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.report.pictures import encoded
from tests.benchmarks.judging_findings import FINDINGS, evaluation, shown

FILMS, SOME = 80, FINDINGS[:3]
ASKED = ("classes.", "contrast.gamma", "calibration.temperature", "subgroup.auroc")
SECTIONS = 4


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two processes, started once; every run here is of the same subject."""
    run = evaluation(FILMS, tmp_path_factory.mktemp("pool"), ASKED, workers=2, findings=SOME)
    started = LocalProcesses(2, run.wholes)
    yield started
    started.close()


@pytest.fixture
def workers(pool, monkeypatch):
    """Have runs use the two, for everything and at once."""
    monkeypatch.setattr("suites.harness.predicted_run.workers_of", lambda count, _: pool if count > 1 else THIS_PROCESS)
    monkeypatch.setattr(measured_run, "all_is_ours", lambda: True)  # whatever other tests have registered
    monkeypatch.setattr(MeasuredRun, "_that_pays", lambda _self, asked, _measure: list(asked))
    return pool


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run = evaluation(FILMS, folder / "cache", ASKED, findings=SOME).run()
    run.report(folder / "report")
    return run, folder / "report"


def ready(pool) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


def pages(folder: Path) -> dict[str, bytes]:
    """Every file of a report, but for when it was and how long it took."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: re.sub(rb'"(started|seconds)": [^,]+,', b"", data) for name, data in found.items()}


def here_only_for(monkeypatch, allowed) -> list[tuple[str, str]]:
    """Refuse what this process measures besides; return what it was asked."""
    measured, asked = measured_run.measured_on, []

    def watched(evidence, claim, looked, roles):
        asked.append((claim.id, evidence.subject.name))
        assert asked[-1] in allowed, asked[-1]
        return measured(evidence, claim, looked, roles)

    monkeypatch.setattr(measured_run, "measured_on", watched)
    return asked


def test_results_and_the_report_are_those_of_one_process(tmp_path, workers, alone, monkeypatch):
    """Tables and pictures among them; this process measures nothing, not even for a picture."""
    one, report = alone
    asked = here_only_for(monkeypatch, ())
    run = evaluation(FILMS, tmp_path / "cache", ASKED, workers=2, findings=SOME).run()
    assert shown(run) == shown(one)
    assert sum(judgement.result is not None for judgement in run.judgements) > len(SOME) * SECTIONS
    run.report(tmp_path / "report")
    assert asked == []
    assert sum(name.startswith("figures/") for name in pages(report)) > len(SOME)
    there, here = pages(report), pages(tmp_path / "report")
    assert {name for name in there.keys() | here.keys() if there.get(name) != here.get(name)} <= {"index.html"}
    clock = re.compile(rb"\d\d:\d\d(:\d\d)?|\d+(\.\d+)? (s|min)\b")
    assert clock.sub(b"", there["index.html"]) == clock.sub(b"", here["index.html"])


def test_a_later_section_goes_to_the_same_workers_and_no_answers_are_sent_twice(tmp_path, workers, monkeypatch):
    sent = []

    def noting(errand):
        sent.extend(errand.sent)
        return packed(errand)

    monkeypatch.setattr(measuring_ahead, "packed", noting)
    run = evaluation(FILMS, tmp_path, ASKED, workers=2, findings=SOME)
    first, *later = run.claims
    run.judgement(first, run.subjects[0].name)
    pids, owners = ready(workers), dict(run._ahead.owners)
    assert len(set(owners.values())) == 2
    assert sorted(sent) == sorted((one.name, "main") for one in run.subjects)
    for claim in later:
        run.judgement(claim, run.subjects[0].name)
    assert ready(workers) == pids
    # A finding that another worker had time for, and those that the temperature of all findings asked for.
    assert len(sent) <= 2 * len(SOME)


def test_what_the_cache_has_is_not_measured_again_nor_sent(tmp_path, workers, monkeypatch):
    evaluation(FILMS, tmp_path, ("classes.",), workers=2, findings=SOME).run()
    again = evaluation(FILMS, tmp_path, ("classes.",), workers=2, findings=SOME)
    asked = list(again._new({one.name: again.running for one in again.subjects}))
    again.run()
    unknown = {(judgement.claim.id, judgement.subject) for judgement in again.judgements if judgement.result is None}
    assert {one.key for one in asked} <= unknown, "reasons are not kept"
    assert len(unknown) < len(again.judgements)


@pytest.mark.parametrize("at", [1, 5])
def test_what_a_worker_died_over_is_measured_elsewhere(tmp_path, workers, alone, monkeypatch, at):
    following, killed = measuring_ahead._Course.next, []

    def fatal(course, worker):
        data = following(course, worker)
        if data is not None:
            killed.append(worker)
            if len(killed) == at:
                os.kill(worker.process.pid, signal.SIGKILL)
        return data

    monkeypatch.setattr(measuring_ahead._Course, "next", fatal)
    run = evaluation(FILMS, tmp_path / "cache", ASKED, workers=2, findings=SOME).run()
    assert run._ahead.deaths == 1
    assert len(set(killed)) >= 2, "another did the rest"
    assert shown(run) == shown(alone[0])
    run.report(tmp_path / "report")
    here = {name: data for name, data in pages(tmp_path / "report").items() if name.startswith("figures/")}
    assert here == {name: data for name, data in pages(alone[1]).items() if name.startswith("figures/")}


def test_pictures_of_workers_that_are_gone_are_drawn_here(tmp_path, alone):
    """The result of a worker that has ended draws what it drew."""
    run, _ = alone
    result = next(one.result for one in run.judgements if one.result is not None and one.result.figures)
    found = measuring_ahead.Found(said=measuring_ahead.without_pictures(result), draw=lambda _: None)
    again, times = found.result(lambda: times.append(1) or result), []
    for name, draw in again.figures.items():
        assert encoded(draw()) == encoded(result.figures[name]())
    assert times == [1]


def test_an_endpoint_of_a_users_own_stays_in_this_process(tmp_path, workers):
    known = dict(registry._REGISTRY)
    try:
        registry.endpoint("where_it_runs")(
            lambda evidence, claim: replace(
                get("score")(evidence, replace(claim, parameters={})), summary=str(os.getpid())
            )
        )
        run = evaluation(FILMS, tmp_path, ("classes.",), workers=2, findings=SOME)
        own = Claim(id="own.a", section="Own", statement="s", kind="limitation", endpoint="where_it_runs", margin=0.1)
        run = Evaluation(subjects=run.wholes, cohort=run.cohort, claims=[own], cache=tmp_path, quiet=True, workers=2)
        run.__dict__["checks"] = {subject.name: () for subject in run.subjects}
        made = evaluation(FILMS, tmp_path, ("classes.",), findings=SOME)
        run._answers |= made._answers
        run.run()
        assert {one.result.summary for one in run.judgements} == {str(os.getpid())}
        assert run._ahead.sent == {}
    finally:
        registry._REGISTRY.clear()
        registry._REGISTRY.update(known)


def test_a_short_run_starts_no_workers_and_one_process_asks_for_none(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_run, "STARTING", float("inf"))
    run = evaluation(FILMS, tmp_path / "a", ("classes.",), workers=2, findings=SOME).run()
    assert run._ahead.workers.standing == 0
    assert evaluation(FILMS, tmp_path / "b", ("classes.",), findings=SOME).run()._ahead is None
    monkeypatch.setattr(measured_run, "STARTING", 0.0)
    monkeypatch.setattr(measured_run, "all_is_ours", lambda: False)
    run = evaluation(FILMS, tmp_path / "c", ("classes.",), workers=2, findings=SOME).run()
    assert run._ahead.workers.standing == 0


def test_progress_counts_each_claim_once(tmp_path, workers):
    one = evaluation(FILMS, tmp_path / "one", ("classes.",), findings=SOME).run()
    two = evaluation(FILMS, tmp_path / "two", ("classes.",), workers=2, findings=SOME).run()
    assert two.progress.work["measuring"].done == one.progress.work["measuring"].done > 0


def errand(run: Evaluation, endpoint, **changes):
    """An errand that measures one claim on the first finding, by an endpoint that is given."""
    registry.endpoint("for_an_errand")(endpoint)
    claim = Claim(id="own.a", section="Own", statement="s", kind="limitation", endpoint="for_an_errand", margin=0.1)
    name = run.subjects[0].name
    circumstances = Circumstances(
        roles=["lateral"], profile="quick", seed=0, cache=run.cache, severities=(1,),
        siblings={one.name: [other.name for other in run.subjects] for one in run.subjects},
        peers={one.name: [] for one in run.subjects},
    )  # fmt: skip
    main = replace(run._answers[name, "main"], siblings=tuple)
    return measuring_ahead._Measuring(
        asked=Asked(claim=claim, subject=name, roles=[], without=frozenset()), circumstances=circumstances,
        **{"sent": {(name, "main"): main}, **changes},
    )  # fmt: skip


def test_a_worker_says_what_it_lacks_whatever_the_endpoint_makes_of_that(tmp_path):
    run = evaluation(FILMS, tmp_path, ("classes.",), findings=SOME)
    known, desk = dict(registry._REGISTRY), Desk({"fourteen": run.wholes[0]})
    first, second, third = (one.name for one in run.subjects)

    def swallowing(evidence, claim) -> Result:
        try:
            evidence.probes["lateral"]
        except Exception:  # noqa: BLE001 - as code does that means well
            return get("score")(evidence, replace(claim, parameters={}))
        raise AssertionError

    try:
        asking = {
            lambda evidence, _: evidence.main.siblings(): {(second, "main"), (third, "main")},
            swallowing: {(first, "lateral")},
        }
        for endpoint, lacking in asking.items():
            registry._REGISTRY.pop("for_an_errand", None)
            said = unpacked(packed(errand(run, endpoint)), desk).run(desk)
            assert said == Lacking(answers=frozenset(lacking))
    finally:
        registry._REGISTRY.clear()
        registry._REGISTRY.update(known)
    kept = desk.left[measuring_ahead._Bench].answers[first, "main"]
    assert kept.subject.whole is desk.subjects["fourteen"], "the worker's own"
