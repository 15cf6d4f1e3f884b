"""The plan against the run it was made for, and what of a run is never done because no claim asks for it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import with_truth
from suites.harness.endpoints.subgroups.foreseen import BETWEEN_GROUPS
from suites.harness.errors import CohortProblem, FilmUnreadable
from suites.harness.evaluation import Evaluation
from suites.harness.plan import note_judged, plan, stored
from suites.harness.plan import planned as planned_with
from suites.harness.plan.readable import tried
from suites.harness.plan.speed import Speed, _each, cores
from suites.harness.progress import duration
from tests.controls.films import cohort_of, draw, inverted
from tests.controls.subjects import Calm, Reader, subject_of

CLAIMS = [claim for claim in load_claims() if claim.per != "finding"]
HOSPITAL = {claim.id for claim in CLAIMS if claim.id.startswith("external.")}
GROUPS = {claim.id for claim in CLAIMS if claim.endpoint in BETWEEN_GROUPS}
PROBES = {"lateral": 9, "adult": 6}
DECODING = {"main": 0.1, "lateral": 0.2, "adult": 0.1}
SPEED = Speed(
    {"reader": 0.01, "calm": 0.02}, {"reader": 0.02, "calm": 0.04}, DECODING, 0.002, frozenset({"lung"}), (64, 64)
)


def planned(run, speed, **given):
    return planned_with(run, speed, stored(run), **given)


@pytest.fixture
def evaluation(tmp_path):
    def make(*selected: str, films: int = 24, decode=inverted, several: bool = False) -> Evaluation:
        subjects = [subject_of(Reader(), "reader"), *([subject_of(Calm(), "calm")] if several else [])]
        made = Evaluation(
            subjects=subjects, cohort=cohort_of(films), claims=CLAIMS, cache=tmp_path,
            probes={role: cohort_of(films, name=f"{role}s", decode=decode) for role, films in PROBES.items()},
        )  # fmt: skip
        made.select(selected or [claim.id for claim in CLAIMS])
        return made

    return make


def untouchable(row):
    raise AssertionError(f"nobody asked for {row['id']}")


def test_films_and_conditions_are_counted_to_the_last_one(evaluation):
    run = evaluation("grid.stripes", "classes.recall_gap", several=True)
    made = planned(run, SPEED)
    made.announce(run.progress)
    run.run()
    rows = len(run.record().predictions)
    assert made.cost.film_conditions == rows > 24 * 2 * 4
    work = run.progress.work["predicting"]
    assert (work.units, work.done, work.films, work.decoded) == (rows, rows, 24, 24)
    assert run.progress.work["measuring"].done == run.progress.work["measuring"].units > 0
    assert run.progress.left() == 0


def test_a_run_that_finds_everything_in_the_cache_counts_it_as_done(evaluation):
    evaluation("grid.stripes").run()
    again = evaluation("grid.stripes")
    planned(again, SPEED).announce(again.progress)
    again.run()
    work = again.progress.work["predicting"]
    assert work.done == work.found == work.units > 0


def test_no_lateral_is_predicted_for_a_claim_about_scatter(evaluation):
    run = evaluation("contrast.scatter", decode=untouchable).run()
    assert set(run.plan) == {"main"}
    assert not any(condition.text.startswith("grid") for condition in run.plan["main"])
    assert set(run.record().predictions["cohort"]) == {run.cohort.name}


def test_a_claim_about_laterals_asks_for_them_and_not_for_adults(evaluation):
    claims = [claim for claim in CLAIMS if claim.id == "probes.lateral"]
    run = evaluation("probes.lateral")
    run.claims = claims
    run.run()
    assert set(run.plan) == {"main", "lateral"}
    assert set(run.record().predictions["cohort"]) == {run.cohort.name, "laterals"}


def test_cheap_claims_come_first_attacks_late_and_explanations_last(evaluation):
    run = evaluation()
    order = [claim.id.partition(".")[0] for claim in sorted(run.claims, key=run.cost)]
    assert order.index("published") < order.index("classes") < order.index("adversarial") < order.index("explanations")
    assert order[-1] == "explanations"


def test_the_films_are_the_first_thing_said_then_what_a_small_split_leaves_open_and_the_lines_are_few(evaluation):
    run = evaluation()
    made = planned(run, SPEED)
    lines = made.lines()
    assert len(lines) <= 12
    assert lines[0].startswith("plan: films: 8 bacterial pneumonia, 8 normal, 8 viral pneumonia; 9 lateral probe")
    told = "claims can be settled by these films only where the effect is more than twice its margin (only 8 "
    assert f"{len(made.open)} of {len(CLAIMS)} {told}" in lines[1]
    opened = {one.claim for one in made.open}
    assert {"contrast.scatter", "classes.recall_gap"} <= opened
    assert not {name for name in opened if name.startswith(("published.", "dataset."))}
    whole = made.lines(every_claim=True)
    assert whole[0] == lines[0]
    assert all(any(name in line for line in whole) for name in opened)
    scatter = next(line for line in whole if "contrast.scatter:" in line)
    assert re.search(r"24 patients; for an effect of twice its margin about \d+$", scatter)


def test_films_that_lack_a_class_are_counted_before_it_is_said_that_a_run_is_refused(evaluation):
    run = evaluation()
    run.cohort = run.cohort.select(run.cohort.table["label"] != "viral_pneumonia")
    made = planned(run, SPEED)
    first, second, *_, last = made.lines(every_claim=True)
    assert first == "plan: films: 8 bacterial pneumonia, 8 normal, 0 viral pneumonia; 9 lateral probe, 6 adult probe"
    assert "a run on these films is refused: " in last
    assert "no film of class 'viral_pneumonia'" in last
    assert "8 bacterial_pneumonia, 8 normal" in last
    assert f"{len(made.open)} of {len(CLAIMS)} claims can be settled" in second
    assert len(made.lines(every_claim=True)) <= 12, "a person who is refused looks for the reason"
    assert made.lines(refusal=False) == made.lines()[:-1]
    assert {"classes.balanced_accuracy", "classes.viral_recall"} <= {one.claim for one in made.open}
    assert not any("room:" in line for line in made.lines())
    assert json.loads(json.dumps(made.document()))["refused"] == made.refused
    with pytest.raises(CohortProblem, match="no film of class") as caught:
        run.run()
    assert str(caught.value) == made.refused


def junk(row):
    if int(row["number"]) % 3 == 2:
        raise FilmUnreadable("is no picture", file=str(row["file"]))
    return draw(row)


def test_films_that_cannot_be_read_are_named_left_out_of_the_counts_and_refused_as_the_run_would(evaluation):
    run = evaluation("contrast.scatter", films=9)
    run.cohort = replace(run.cohort, decode=junk)
    made = plan(run, seconds=0.01)
    assert sum(films for films, _ in made.classes.values()) == 6
    assert made.lines()[0].endswith("; 3 unreadable")
    assert made.refused.startswith("3 of 9 films cannot be read")
    with pytest.raises(CohortProblem) as caught:
        run.run()
    assert made.refused == str(caught.value)


def test_a_few_films_that_cannot_be_read_are_named_and_refuse_nothing(evaluation):
    run = evaluation("contrast.scatter", films=30)
    run.cohort = replace(run.cohort, decode=lambda row: (junk if int(row["number"]) == 8 else draw)(row))
    made = plan(run, seconds=0.01)
    assert made.refused == ""
    assert sum(films for films, _ in made.classes.values()) == 29
    assert "1 of 30 films cannot be read and is left out: " in made.lines()[1]
    assert "is no picture" in made.lines()[1]
    assert len(made.document()["unreadable"]["main"]) == 1


def test_of_many_films_those_are_tried_that_the_time_allows_and_it_is_said_how_many():
    clock = iter(range(0, 1000, 2))
    cohort = replace(cohort_of(96), decode=draw)
    found = tried([("main", cohort)], lambda: next(clock))["main"]
    assert (found.films, found.tried, found.line()) == (96, 32, "")
    clock = iter(range(0, 1000, 2))
    found = tried([("main", replace(cohort, decode=junk))], lambda: next(clock))["main"]
    assert found.tried == 96, "one that cannot be read says that there may be more"
    assert len(found.unreadable) == 32
    assert "; ..." in found.line()


def test_labels_that_a_subject_does_not_know_are_counted_too(evaluation):
    run = evaluation()
    table = run.cohort.table
    run.cohort = replace(run.cohort, table=table.assign(label=table["label"].replace("viral_pneumonia", "TB")))
    made = planned(run, SPEED)
    assert "0 viral pneumonia, 8 of no such class" in made.lines()[0]
    assert "label 'TB'" in made.refused


def test_a_run_that_asks_no_subject_is_not_refused_for_a_class(evaluation):
    run = evaluation("published.accuracy_interval")
    run.claims = [claim for claim in CLAIMS if claim.id == "published.accuracy_interval"]
    run.cohort = run.cohort.select(run.cohort.table["label"] != "viral_pneumonia")
    assert planned(run, SPEED).refused == ""


def test_what_is_missing_is_named_with_the_claims_it_costs(evaluation):
    missing = planned(evaluation(), SPEED).missing
    unseen = next(ids for reason, ids in missing.items() if "--probe-unseen" in reason)
    assert set(unseen) == {"probes.unseen", "doubt.unseen"}
    assert not any("--probe-lateral" in reason for reason in missing)
    assert missing["the films carry no lesion masks"] == ["explanations.lesion"]


def test_more_work_takes_longer_and_a_slow_network_takes_its_time(evaluation):
    few, all_of_it = (planned(evaluation(*names), SPEED).cost for names in (("classes.recall_gap",), ()))
    assert 0 < few.seconds["predicting"] < all_of_it.seconds["predicting"]
    assert few.seconds["attacking"] == 0 < all_of_it.seconds["attacking"]
    slow = Speed({"reader": 0.1}, {"reader": 0.2}, DECODING, 0.002, frozenset(), (64, 64))
    assert planned(evaluation(), slow).cost.seconds["attacking"] == pytest.approx(10 * all_of_it.seconds["attacking"])


def test_it_can_be_written_as_json(evaluation):
    document = json.loads(json.dumps(planned(evaluation(), SPEED).document()))
    assert document["cost"]["film_conditions"] > 0
    assert document["open"][0]["wanted_patients"] is None or document["open"][0]["wanted_patients"] > 0


def test_what_is_stored_is_left_out_of_the_time_and_said(evaluation):
    first = evaluation("grid.stripes")
    cold = planned(first, SPEED, report=True).cost
    assert cold.stored == 0
    assert "stored" not in "\n".join(cold.lines())
    first.run()
    again = evaluation("grid.stripes")
    predicted = planned(again, SPEED, report=True).cost
    assert predicted.stored == predicted.film_conditions == cold.film_conditions
    decoded = 24 * DECODING["main"] / cores()  # such films are known by their pixels only
    assert predicted.seconds["predicting"] == pytest.approx(decoded)
    assert predicted.seconds["predicting"] < cold.seconds["predicting"]
    told = f"{cold.film_conditions:,} of {cold.film_conditions:,} predictions are already stored, about "
    assert told in "\n".join(predicted.lines())
    assert predicted.seconds["measuring"] > 0, "nobody noted that it was measured"
    noted = note_judged(first, drawn=False)
    assert noted == {claim.id for claim in first.running}
    assert note_judged(first, drawn=False, besides=noted) == frozenset()
    warm = planned(again, SPEED, report=True).cost
    assert warm.seconds["measuring"] == 0 < warm.seconds["drawing"]
    note_judged(first, drawn=True)
    assert planned(again, SPEED, report=True).cost.seconds["drawing"] < warm.seconds["drawing"]
    again.subjects[0].network.register_forward_hook(lambda *_: untouchable({"id": "a pass"}))
    assert "on this machine" in "\n".join(plan(again, report=True).lines()), "nothing is to be timed"


def test_an_attack_and_maps_that_are_kept_are_not_planned_again(evaluation):
    run = evaluation()
    some = {claim.id for claim in CLAIMS if claim.endpoint in ("robust_accuracy", "looks_off_the_lung")}
    cold, there = planned(run, SPEED).cost, stored(run)
    warm = planned_with(run, SPEED, replace(there, worked=frozenset(some))).cost
    assert 0 < warm.seconds["attacking"] < cold.seconds["attacking"], "the common pattern is left"
    assert 0 < warm.seconds["explaining"] < cold.seconds["explaining"]
    everything = frozenset(claim.id for claim in CLAIMS)
    nothing = planned_with(run, SPEED, replace(there, worked=everything)).cost
    assert nothing.seconds["attacking"] == nothing.seconds["explaining"] == 0


def test_of_a_run_that_asks_for_more_only_that_counts(evaluation):
    first = evaluation("grid.stripes").run()
    note_judged(first, drawn=True)
    more = evaluation("grid.stripes", "contrast.gamma")
    there, made = stored(more), planned(more, SPEED).cost
    assert 0 < there.predictions == made.stored < made.film_conditions
    assert there.left == {"reader": made.film_conditions - made.stored}
    assert there.changes == made.film_conditions - made.stored
    assert there.films == {"main": 24}
    assert "grid.stripes" in there.worked
    assert "contrast.gamma" not in there.worked
    assert not there.measured, "of other answers results are measured anew"
    margin = [replace(claim, margin=claim.margin / 2) for claim in first.claims]
    other = evaluation("grid.stripes")
    other.claims = margin
    assert "grid.stripes" in stored(other).worked - stored(other).measured


def test_a_probe_counts_with_what_one_of_its_own_films_takes(evaluation):
    run = evaluation("probes.lateral")
    slow = replace(SPEED, decoding=DECODING | {"lateral": 10.0})
    more = planned(run, slow).cost.seconds["predicting"] - planned(run, SPEED).cost.seconds["predicting"]
    assert more == pytest.approx(PROBES["lateral"] * 9.8 / cores())


def test_a_run_without_subjects_asks_no_network_and_no_film(evaluation):
    run = evaluation("published.accuracy_interval", decode=untouchable)
    run.claims = [claim for claim in CLAIMS if claim.id == "published.accuracy_interval"]
    run.subjects[0].network.register_forward_hook(lambda *_: untouchable({"id": "a pass"}))
    made = plan(run)
    assert made.cost.film_conditions == 0
    assert "0 films x conditions (0 films), about 1 s" in "\n".join(made.lines())


def test_an_attack_that_several_claims_ask_for_is_planned_and_counted_once(evaluation):
    run = evaluation("adversarial.two_levels", films=6)
    one = next(claim for claim in CLAIMS if claim.id == "adversarial.two_levels")
    run.claims = [one, replace(one, id="adversarial.three", parameters={"levels": 1.0})]
    planned(run, SPEED).announce(run.progress)
    run.run()
    work = run.progress.work["attacking"]
    assert (work.units, work.done, work.found) == (2 * 6, 2 * 6, 0)


def elsewhere(labels: list[str]) -> Cohort:
    films = cohort_of(len(labels), name="elsewhere", decode=inverted)
    patients = [f"there{number}" for number in range(len(labels))]
    return with_truth(replace(films, table=films.table.assign(label=labels, finding="", patient=patients)))


@pytest.mark.parametrize(
    ("labels", "barred", "why"),
    [
        (["normal"] * 30, HOSPITAL, "of one class alone nothing can be told apart"),
        (["fracture", "hernia"] * 15, HOSPITAL, "have no two classes in common"),
        ([""] * 30, HOSPITAL, "no film of elsewhere has a label"),
        (["normal", "pneumonia"] * 20, {"external.threshold"}, "40 films in 2 folds leave fewer than 30 in one"),
        (["normal", "pneumonia"] * 40, set(), ""),
    ],
)
def test_what_films_of_another_hospital_cannot_settle_is_known_from_their_labels(evaluation, labels, barred, why):
    run = evaluation(*HOSPITAL)
    run.probes = {"external": elsewhere(labels)}
    missing = planned(run, SPEED).missing
    assert {name for ids in missing.values() for name in ids} == barred
    assert all(reason.startswith("elsewhere: ") and why in reason for reason in missing)
    told = {judgement.claim.id: judgement.reason for judgement in run.run().judgements}
    assert all(why in told[name] for name in barred)


@pytest.mark.parametrize(
    ("women", "barred", "why"),
    [
        (0, GROUPS, "nothing tells groups of these films apart: no "),
        (4, GROUPS, "no group by sex has "),
        (30, set(), ""),
    ],
)
def test_groups_that_are_too_small_are_known_from_what_is_recorded(evaluation, women, barred, why):
    run = evaluation(*GROUPS, films=60)
    sex = ["F"] * women + ["M"] * (60 - women)
    run.cohort = replace(run.cohort, table=run.cohort.table.assign(view="PA", age_group="child", sex=sex))
    missing = {reason: ids for reason, ids in planned(run, SPEED).missing.items() if not reason.startswith("the clas")}
    assert {name for ids in missing.values() for name in ids} == barred
    assert all(reason.startswith(why) for reason in missing)
    told = {judgement.claim.id: judgement.reason for judgement in run.run().judgements}
    assert {name for name in GROUPS if why and why in told[name]} == barred


def test_a_long_run_is_told_in_blocks_and_for_several_workers(evaluation):
    slow = replace(SPEED, forward={"reader": 100.0, "calm": 200.0})
    for several in (False, True):
        run = evaluation("grid.stripes", films=130, several=several)
        made = planned(run, slow)
        cost, predicting = made.cost, made.cost.seconds["predicting"]
        assert cost.blocks == 3 + len(run.plan) - 1  # 130 films are three blocks, a probe is one
        assert cost.shards == 60 * cost.film_conditions
        assert cost.with_workers(1) == pytest.approx(cost.whole)
        assert cost.with_workers(2) == pytest.approx(cost.whole - predicting * (1 - -(-cost.blocks // 2) / cost.blocks))
        assert cost.with_workers(64) == pytest.approx(cost.whole - predicting * (1 - 1 / cost.blocks)), (
            "no block is cut"
        )
        (told,) = [line for line in made.lines() if "spread:" in line]
        assert re.search(
            rf"spread: {cost.blocks} blocks, \d+ MiB of shards; about .* on 1, .* on 8, .* on 64 GPUs", told
        )
        known = made.document()["cost"]["seconds_with_workers"]
        assert [known[str(count)] for count in (1, 8, 64)] == [cost.with_workers(count) for count in (1, 8, 64)]
    assert not any("spread:" in line for line in planned(run, SPEED).lines()), (
        "a run of minutes needs no second machine"
    )


def test_the_hours_of_a_run_are_those_of_its_workers(evaluation, monkeypatch):
    """Attacks and maps are cut in blocks, too; workers that share the cores are no faster than all of these."""
    slow = replace(SPEED, forward={"reader": 20.0}, backward={"reader": 40.0})

    def cost_of(workers, gpus=0, cores=4):
        monkeypatch.setattr("suites.harness.plan.cost.cores", lambda: cores)
        monkeypatch.setattr("suites.harness.plan.cost._gpus", lambda _: gpus)
        run = evaluation(films=256)
        run.workers = workers
        return planned(run, slow)

    one = cost_of(1).cost
    assert one.taking == pytest.approx(one.seconds)
    for stage in ("predicting", "attacking", "explaining"):
        assert sum(seconds for seconds, _ in one.spread[stage]) == pytest.approx(one.seconds[stage]) != 0
    four = cost_of(4, gpus=4)
    for stage, took in four.cost.taking.items():
        jobs = one.spread.get(stage, ())
        shared = sum(seconds * (1 - -(-blocks // 4) / blocks) for seconds, blocks in jobs)
        assert took == pytest.approx(one.seconds[stage] - shared), "every block whole, by one worker after another"
    assert sum(four.cost.taking.values()) == pytest.approx(one.with_workers(4))
    assert one.with_workers(4) < 0.6 * one.whole
    (told,) = [line for line in four.lines() if "work:" in line]
    assert f"about {duration(one.with_workers(4))} on this machine with 4 workers on 4 GPUs (" in told
    assert four.document()["cost"]["seconds_of_this_run"] == pytest.approx(one.with_workers(4))
    four.announce(run_of := evaluation(films=256).progress)
    assert run_of.expected == pytest.approx(one.with_workers(4))
    two = cost_of(4, gpus=2).cost.taking
    assert sum(four.cost.taking.values()) < sum(two.values()) < one.whole, "two of them to a GPU"
    for stage, took in cost_of(4, cores=4).cost.taking.items():
        assert took >= one.seconds[stage] * (1 - 1e-9)
    assert "with 4 workers on 4 cores (" in "\n".join(cost_of(4, cores=4).lines())


def test_of_a_cluster_the_plan_says_which_it_is_and_what_some_workers_would_make_of_it(evaluation, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    run = evaluation("grid.stripes")
    run.workers = "ray"
    told = "\n".join(planned(run, SPEED).lines())
    assert "on this machine alone" in told
    assert "GPUs or machines like this; by a Ray cluster of its own on this machine" in told
    run.workers = "ray://far:10001"
    assert "like this; by the Ray cluster ray://far:10001" in "\n".join(planned(run, SPEED).lines())


@given(st.floats(0.001, 1.0), st.integers(5, 60), st.floats(0.0, 60.0), st.integers(0, 60))
def test_what_a_first_call_sets_up_is_not_counted_for_every_view(each, views, once, at):
    took = [each] * views
    took[0] += once
    took[min(at, views - 1)] += once
    after = [0.0, *accumulate(took)]
    assert _each(after) == pytest.approx(each, rel=1e-6)
    assert _each([0.0]) == 0.0
    assert _each([0.0, 3.0, 5.0]) == 2.5
