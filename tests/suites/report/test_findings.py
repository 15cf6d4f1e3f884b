"""What the first screen says: the harms that lead, on one scale, what was measured to help, and nothing untrue."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from suites.harness.cache import results
from suites.harness.claims import Help, Judgement, Result, Verdict
from suites.harness.endpoints.toll import CALLED_ILL, MISSED, MISSED_MORE, SAID_MORE
from suites.harness.formatting import wording
from suites.harness.record import PAGE
from suites.harness.report import findings
from suites.harness.verdicts import needed
from tests.suites.report.conftest import measure


@pytest.fixture(scope="module")
def record(make_record):
    return make_record(films=30, plain=True, subjects=1)


@pytest.fixture(scope="module")
def judged(record):
    """Return a maker of judgements, each of a section of its own."""
    old = next(one for one in record.judgements if one.claim.id == "failure_modes.underexposed")

    def make(
        name: str, verdict: Verdict, missed: float | None = None, half: float = 0.02, called_ill: float | None = None,
        **more: object,
    ) -> Judgement:  # fmt: skip
        tolls = [
            measure(kind, value, half, "x@3 - clean", unit="points")
            for kind, value in ((MISSED, missed), (CALLED_ILL, called_ill))
            if value is not None
        ]
        claim = replace(old.claim, id=f"a.{name}", section=str(more.pop("section", name)), documented=None,
                        remedy=str(more.pop("remedy", "")))  # fmt: skip
        effect = replace(old.result.effect, condition=str(more.pop("condition", f"{name}@3 - clean")))
        more = {"effect": effect} | more
        result = replace(old.result, measures=tolls, summary="", finding=f"{name} was found.", **more)
        return replace(old, claim=claim, verdict=verdict, result=result, beyond_documented=False)

    return make


def names(found) -> list[str]:
    return [one.judgement.claim.id.removeprefix("a.") for one in found]


def test_harms_lead_by_the_lower_end_of_their_interval_on_the_one_scale(judged):
    made = [
        judged("uncertain", Verdict.SUPPORTED, missed=0.30, half=0.29),
        judged("small", Verdict.SUPPORTED, missed=0.05),
        judged("alarms", Verdict.VIOLATED, missed=0.01, called_ill=0.20),
        judged("large", Verdict.SUPPORTED, missed=0.12),
    ]
    assert names(findings.harms(made, most=4)) == ["alarms", "large", "small", "uncertain"]
    assert len(findings.harms(made)) == 3


def test_a_harm_off_the_scale_stands_behind_those_on_it_and_the_graver_first(judged):
    made = [
        judged("off", Verdict.SUPPORTED),
        judged("violated", Verdict.VIOLATED),
        judged("on", Verdict.SUPPORTED, missed=0.04),
        judged("none_missed", Verdict.SUPPORTED, missed=0.0),
    ]
    assert names(findings.harms(made, most=4))[:2] == ["on", "violated"]


def test_what_is_settled_leads_and_what_is_open_says_so(judged):
    made = [
        judged("open", Verdict.INCONCLUSIVE, missed=0.40),
        judged("harmless", Verdict.INCONCLUSIVE, missed=0.01),
        judged("settled", Verdict.SUPPORTED, missed=0.04),
        judged("absent", Verdict.NOT_SUPPORTED, missed=0.03, half=0.0),
    ]
    found = findings.harms(made)
    assert names(found) == ["settled", "open"], "an interval that holds zero is no harm, nor is what was not found"
    assert [one.settled for one in found] == [True, False]


def test_one_section_gives_one_harm(judged):
    made = [judged(f"one{index}", Verdict.SUPPORTED, missed=0.1 + index / 100, section="S") for index in range(3)]
    assert names(findings.harms([*made, judged("other", Verdict.SUPPORTED, missed=0.05)])) == ["one2", "other"]


def test_one_stress_gives_one_harm_and_of_two_claims_the_graver_tells_it(judged):
    def of_several(name: str, missed: float) -> Judgement:
        one = judged(name, Verdict.SUPPORTED, missed=missed, condition="mean over conditions")
        return replace(one, claim=replace(one.claim, parameters={"conditions": ["scatter@3", "roll@3"]}))

    scatter = judged("scatter", Verdict.SUPPORTED, missed=0.2)
    other = judged("jpeg", Verdict.SUPPORTED, missed=0.05)
    assert names(findings.harms([scatter, of_several("calls", 0.1), other])) == ["scatter", "jpeg"]
    assert names(findings.harms([scatter, of_several("calls", 0.3), other])) == ["calls", "jpeg"]
    clean = [judged(name, Verdict.SUPPORTED, missed=0.1, condition="clean") for name in ("a", "b")]
    assert len(findings.harms(clean)) == 2, "two findings on clean films are two"
    views = [judged(name, Verdict.SUPPORTED, missed=0.1, condition=f"lateral, {name}") for name in ("a", "b")]
    views = [replace(one, claim=replace(one.claim, parameters={"role": "lateral"})) for one in views]
    assert len(findings.harms(views)) == 1


def test_the_one_scale_counts_people(judged):
    told = findings.per_hundred(judged("x", Verdict.SUPPORTED, missed=0.123, called_ill=-0.014), "children")
    assert told == (
        "Of 100 ill children, 12 more are missed (10 to 14); of 100 healthy children, 1 fewer is called ill "
        "(from 1 more to 3 fewer)."
    )
    assert findings.per_hundred(judged("x", Verdict.SUPPORTED)) == ""
    one = judged("x", Verdict.SUPPORTED)
    sizes = {MISSED_MORE: 0.123, SAID_MORE: 0.05}
    tolls = [measure(name, value, 0.02, "x@3 - clean", unit="points") for name, value in sizes.items()]
    assert findings.per_hundred(replace(one, result=replace(one.result, measures=tolls)), "children") == (
        "Of 100 children with the finding, 12 more are missed (10 to 14); of 100 children without the finding, 5 more "
        "are said to show it (3 to 7)."
    )


@pytest.mark.parametrize(
    ("missed", "half", "told"),
    [
        (-0.125, 0.265, "13 fewer are missed (from 14 more to 39 fewer)"),
        (0.875, 0.02, "88 more are missed (86 to 90)"),
        (0.10, 0.14, "10 more are missed (from 4 fewer to 24 more)"),
        (-0.10, 0.04, "10 fewer are missed (6 to 14)"),
        (0.04, 0.04, "4 more are missed (0 to 8)"),
    ],
)
def test_people_are_rounded_as_people_do_and_intervals_say_more_or_fewer(judged, missed, half, told):
    one = judged("x", Verdict.SUPPORTED, missed=missed, half=half)
    assert findings.per_hundred(one) == f"Of 100 ill patients, {told}."


def test_white_outs_and_their_controls_are_one_harm_and_no_class_is_said_to_be_right(judged):
    made = [
        judged("white", Verdict.SUPPORTED, missed=0.9, condition="whiteout_mass@4 - clean"),
        judged("veil", Verdict.SUPPORTED, missed=0.8, condition="diffuse_dose_matched@4 - clean"),
        judged("sham", Verdict.VIOLATED, missed=0.7, condition="sham_opacity@4 - clean"),
        judged("other", Verdict.SUPPORTED, missed=0.1, condition="scatter@3 - clean"),
    ]
    found = findings.harms(made)
    assert names(found) == ["white", "other"]
    assert found[0].scale.endswith(", although no class is right for a film made white.")
    assert not findings.made_white(made[1]), "outside the lungs, or as a veil, nothing is made white"
    assert "white" not in found[1].scale
    several = replace(
        made[0], claim=replace(made[0].claim, parameters={"conditions": ["scatter@3", "whiteout_mass@4"]})
    )
    mean = replace(several.result, effect=replace(several.result.effect, condition="mean over conditions"))
    assert not findings.made_white(replace(several, result=mean)), "only some of its films are white"


def test_attacks_are_one_harm_however_they_are_made(judged):
    made = [
        judged("grey", Verdict.SUPPORTED, missed=0.9, condition="linf/grey 1/255"),
        judged("pattern", Verdict.SUPPORTED, missed=0.8, condition="pattern 4/255"),
        judged("other", Verdict.SUPPORTED, missed=0.1, condition="scatter@3 - clean"),
    ]
    for at in (0, 1):
        effect = replace(made[at].result.effect, name=findings.ATTACKED)
        made[at] = replace(made[at], result=replace(made[at].result, effect=effect))
    assert names(findings.harms(made)) == ["grey", "other"]


def test_every_violated_requirement_is_named_with_its_size(judged):
    made = [
        judged("white", Verdict.SUPPORTED, missed=0.9, condition="whiteout_mass@4 - clean"),
        judged("sham", Verdict.VIOLATED, missed=0.7, condition="sham_opacity@4 - clean"),
    ]
    (violated,) = findings.findings(made, made[0].subject).violated
    assert violated is made[1]
    assert wording.sized(violated) == "sham was found (+21.0 pp, +17.4 to +24.6)"
    for said, sized in (("+21.0 pp lost", "+21.0 pp lost (+17.4 to"), ("1+21.0 pp", "1+21.0 pp (+21.0 pp, +17.4 to")):
        told = replace(violated, result=replace(violated.result, finding=f"{said}."))
        assert wording.sized(told).startswith(sized)
    whole = replace(violated, result=replace(violated.result, finding="+21.0 pp (+17.4 to +24.6) on 9 films."))
    assert wording.sized(whole) == "+21.0 pp (+17.4 to +24.6) on 9 films", "once is enough"
    few = replace(violated.result, effect=replace(violated.result.effect, exploratory=True))
    assert wording.sized(replace(violated, result=few)).endswith(", exploratory)")


def test_nothing_untrue_is_said_of_a_violated_requirement(judged):
    violated = judged("covering", Verdict.VIOLATED, missed=0.1)
    (harm,) = findings.harms([violated])
    assert harm.sentence == "covering was found."
    assert violated.claim.statement not in harm.sentence


def test_what_helps_most_comes_first_and_advice_only_where_little_was_measured(judged):
    def helped(name: str, gain: float) -> Judgement:
        one = Help(sentence=f"{name} helps", gain=measure("gain", gain, unit="points"))
        return judged(name, Verdict.NOT_SUPPORTED, helps=[one])

    harm = judged("harm", Verdict.SUPPORTED, missed=0.2, remedy="Crop.")
    few = findings.findings([harm, helped("little", 0.02), helped("much", 0.2)], harm.subject)
    assert [one.sentence for _, one in few.helps] == ["much helps", "little helps"]
    assert [text for _, text in few.advice] == ["Crop."]
    many = [helped(f"h{index}", 0.1) for index in range(3)]
    assert findings.findings([harm, *many], harm.subject).advice == ()


def test_a_subject_is_told_its_own_findings_only(judged, record):
    other = replace(judged("other", Verdict.VIOLATED, missed=0.5), subject=PAGE)
    found = findings.findings([other], record.subjects[0].name)
    assert not found.harms
    assert not found.strengths


def test_strengths_rest_on_many_films_first(judged):
    few = measure("balanced_accuracy", 0.9, exploratory=True)
    made = [
        judged("few", Verdict.MET, effect=few),
        judged("absent", Verdict.NOT_SUPPORTED),
        judged("met", Verdict.MET),
        judged("violated", Verdict.VIOLATED),
    ]
    assert [one.claim.id for one, _, _ in findings.strengths(made)] == ["a.met", "a.absent", "a.few"]


def test_the_films_are_told_with_what_they_settle_and_leave_open(record):
    name = record.subjects[0].name
    assert findings.shown(record, name).endswith("settle 5 of 8 questions.")
    assert "30 films of" in findings.shown(record, name)
    told = findings.unsettled(record, name)
    assert told.startswith(
        "They leave 2 inconclusive and 1 not evaluable: half of what is inconclusive would take about"
    )
    settled = [one for one in record.judgements if one.verdict is Verdict.MET]
    assert findings.unsettled(replace(record, judgements=settled), name) == ""


def test_what_it_would_take_counts_all_films_and_holms_correction(record, judged):
    """Of 6 of the 30 films an open effect wants five times as many of all; among several claims more than alone."""
    margin = judged("open", Verdict.INCONCLUSIVE).claim.margin
    effect = measure("recall_x", margin + 0.02, half=0.1, n=6)
    one = replace(judged("open", Verdict.INCONCLUSIVE, effect=effect, section="s"), subject=record.subjects[0].name)
    another = replace(judged("met", Verdict.MET, section="s"), subject=one.subject)

    def asked(*judgements) -> int:
        told = findings.unsettled(replace(record, judgements=list(judgements)), one.subject)
        return int(re.search(r"about ([\d,]+) films", told)[1].replace(",", ""))

    alone = needed(effect, one.claim.margin)
    assert asked(one) >= len(record.cohort) / effect.n * alone
    assert asked(one, another) > asked(one)


def test_children_are_called_children_only_where_all_films_say_so(record):
    assert findings.whose(record.cohort) == "patients"
    table = record.cohort.table.assign(age_group="child")
    assert findings.whose(replace(record.cohort, table=table)) == "children"
    table.loc[0, "age_group"] = "adult"
    assert findings.whose(replace(record.cohort, table=table)) == "patients"


@pytest.mark.parametrize(
    ("summary", "headline"),
    [
        ("It falls to 3.5 %. Then more.", "It falls to 3.5 %."),
        ("Off by 0.25 (0.1 to 0.3) points.", "Off by 0.25 (0.1 to 0.3) points."),
        ("One sentence without an end", "One sentence without an end."),
    ],
)
def test_a_headline_is_the_first_sentence_where_an_endpoint_states_none(judged, summary: str, headline: str):
    one = judged("x", Verdict.SUPPORTED)
    assert wording.headline(replace(one, result=replace(one.result, finding="", summary=summary))) == headline
    assert wording.headline(one) == "x was found."
    assert wording.headline(replace(one, result=None, reason="no gradients")) == "no gradients."


def test_one_word_for_a_verdict_wherever_it_is_read(judged):
    assert {verdict: words.word for verdict, words in wording.VERDICTS.items()} == {
        Verdict.VIOLATED: "Requirement violated",
        Verdict.SUPPORTED: "Limitation confirmed",
        Verdict.INCONCLUSIVE: "Inconclusive",
        Verdict.NOT_SUPPORTED: "Limitation not found",
        Verdict.MET: "Requirement met",
        Verdict.NOT_EVALUABLE: "Not evaluable",
    }
    assert wording.VERDICTS[Verdict.SUPPORTED].counted(14) == "14 limitations confirmed"
    assert wording.VERDICTS[Verdict.SUPPORTED].counted(1) == "1 limitation confirmed"
    beyond = replace(judged("x", Verdict.SUPPORTED), beyond_documented=True)
    assert wording.settled_by(beyond) == "Limitation confirmed, beyond the documented size"


def test_results_are_kept_with_their_finding_and_what_helps(judged):
    one = judged("x", Verdict.SUPPORTED, helps=[Help(sentence="s", gain=measure("gain", 0.1))]).result
    again = results._restored(results._plain(one), lambda: Result(effect=one.effect))
    assert (again.finding, again.helps) == (one.finding, one.helps)


def test_what_costs_one_side_more_than_five_of_a_hundred_is_no_strength(judged):
    kept = [judged("little", Verdict.NOT_SUPPORTED, missed=0.04), judged("much", Verdict.NOT_SUPPORTED, missed=0.12)]
    assert [one.claim.id for one, *_ in findings.strengths(kept)] == [kept[0].claim.id]
