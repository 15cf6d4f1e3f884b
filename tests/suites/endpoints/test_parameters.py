"""What a claim asks of its endpoint is checked when the run is built, in one line; conditions follow from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.claims import Claim
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get, names
from suites.harness.endpoints.__main__ import main
from suites.harness.endpoints.parameters import Parameter
from suites.harness.errors import UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.predicted_run import SEVERITIES
from tests.controls.films import cohort_of
from tests.controls.subjects import Calm, subject_of


def claim_of(endpoint: str, **parameters) -> Claim:
    return Claim(
        id="classes.mine", section="S", statement="s.", kind="limitation", endpoint=endpoint, margin=0.1,
        parameters=parameters,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (claim_of("confusion_rate", **{"from": "normal"}), "needs `towards`, the name of a class; it takes: from, tow"),
        (claim_of("confusion_rate", **{"from": "a", "toward": "b"}), "no parameter `toward`; the nearest is 'towards'"),
        (claim_of("recall_gap", better="a", worse=3), "`worse` is 3: expected the name of a class"),
        (claim_of("selective", risk="high"), "`risk` is 'high': expected a number from 0 to 1"),
        (claim_of("selective", risk=10**400), "expected a number from 0 to 1"),
        (claim_of("selective", risk=True), "`risk` is True"),
        (claim_of("score", measure="acuracy"), "the nearest is 'accuracy'"),
        (claim_of("score", measure="recall_"), "recall_<class>"),
        (claim_of("score", documentd=0.1), "no parameter `documentd`; the nearest is 'documented'"),
        (claim_of("disagreement"), "needs `second`, a condition"),
        (claim_of("stress", condition="gama_low@3"), "`condition` is 'gama_low@3': condition 'gama_low@3'"),
        (claim_of("stress", condition="gamma_low@3", conditions="gamma_low@1-5"), "expected a list of conditions"),
        (claim_of("stress", condition="gamma_low@3", conditions=0), "expected a list of conditions"),
        (claim_of("stress", condition="gamma_low@3", remedies=["clae"]), "the nearest is 'clahe'"),
        (claim_of("stress", condition="scatter"), "scatter needs a severity, scatter@1 to scatter@5"),
        (claim_of("confident_on_probe", role="laterl"), "the nearest is 'lateral'"),
        (claim_of("confident_on_probe", role=["lateral"]), "the role of a probe"),
        (claim_of("robust_accuracy", levels=3.3), "expected 0.25, 0.5"),
        (claim_of("robust_accuracy", transfer="yes"), "expected true or false"),
        (claim_of("robust_accuracy", threat="linf/gray"), "the nearest is 'linf/grey'"),
        (claim_of("map_moves", condition="clean", method="gradcam"), "the nearest is 'grad-cam'"),
        (claim_of("published_recall", classes=["a", "b"], confusion=[[1, 2], [3]], **{"class": "a"}), "square table"),
        (claim_of("published_recall", classes=["a", "a"], confusion=[[1, 2], [3, 4]], **{"class": "a"}), "each class"),
    ],
)
def test_a_mistake_ends_the_run_before_it_begins(claim, told):
    with pytest.raises(UsageProblem) as refused:
        Evaluation(subjects=[subject_of(Calm(), "calm")], cohort=cohort_of(6), claims=[claim], quiet=True)
    line = str(refused.value)
    assert told in line
    assert line.startswith(f"claim classes.mine: endpoint {claim.endpoint!r}")
    assert "\n" not in line
    assert len(line) < 400


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from(sorted(names())), data=st.data())
def test_no_value_of_any_type_is_anything_but_read_or_refused(name, data):
    endpoint = get(name)
    keys = st.sampled_from(sorted(endpoint.parameters)) if endpoint.parameters else st.text(max_size=4)
    claim = claim_of(name, **data.draw(st.dictionaries(keys, ANYTHING, max_size=4)))
    try:
        asked = endpoint.asked(claim)
    except UsageProblem as problem:
        assert "\n" not in str(problem)  # noqa: PT017 - either outcome is right
    else:
        assert list(asked) == list(endpoint.parameters)
        endpoint.conditions(claim, (1, 3, 5), thorough=True)


def test_every_claim_of_the_table_reads_and_every_parameter_says_what_it_takes():
    for claim in load_claims():
        get(claim.endpoint).asked(claim)
    for name in names():
        for parameter in get(name).parameters.values():
            assert isinstance(parameter, Parameter)
            assert parameter.expected
            if not parameter.required and parameter.default not in ("", (), False):
                assert parameter.read(parameter.default) == parameter.default


def test_conditions_come_from_the_declarations_with_their_remedies_views_and_severities():
    stressed = claim_of(
        "stress", condition="gamma_low@3", control="resave@3", conditions=["scatter@1-5"], remedies=["clahe"]
    )
    found = [one.text for one in get("stress").conditions(stressed, SEVERITIES["quick"], thorough=False)]
    assert found == [
        "gamma_low@3", "resave@3", "scatter@1", "scatter@3", "scatter@5", "clahe", "gamma_low@3 | clahe",
    ]  # fmt: skip
    sorted_out = claim_of("selective", whiteout="whiteout_lobar@4", views="shifts")
    endpoint = get("selective")
    assert [one.text for one in endpoint.conditions(sorted_out, (3,), thorough=False)] == ["whiteout_lobar@4"]
    assert not endpoint.probe_conditions(sorted_out, thorough=False)
    thorough = [one.text for one in endpoint.conditions(sorted_out, (3,), thorough=True)]
    assert thorough == ["whiteout_lobar@4", "shifts", "whiteout_lobar@4 | shifts"]
    assert [one.text for one in endpoint.probe_conditions(sorted_out, thorough=True)] == ["shifts"]


def test_an_endpoint_finds_defaults_filled_in(tmp_path):
    seen = {}
    plain = get("score")
    watched = replace(plain, measure=lambda _, claim: seen.update(claim.parameters))
    watched(None, claim_of("score", measure="accuracy"))
    assert seen == {"measure": "accuracy", "condition": "clean"}


def test_the_list_of_endpoints_names_every_parameter_and_refuses_what_there_is_not(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    for name in names():
        assert f"\n{name}" in f"\n{printed}"
        for parameter in get(name).parameters:
            assert f"    {parameter}: " in printed
    assert main(["stres"]) == 2
    assert "did you mean stress" in capsys.readouterr().err


def test_a_class_spelt_almost_like_one_of_the_subjects_is_refused_and_the_projects_own_table_is_not():
    def built(claim):
        return Evaluation(subjects=[subject_of(Calm(), "calm")], cohort=cohort_of(6), claims=[claim], quiet=True)

    with pytest.raises(UsageProblem, match=r"`truth` is 'nomal', a class .* did you mean normal\?"):
        built(claim_of("stress", condition="gamma_low@3", truth="nomal"))
    built(claim_of("stress", condition="gamma_low@3", truth="edema"))
    named = next(claim for claim in load_claims() if claim.endpoint == "confusion_rate")
    other = replace(subject_of(Calm(), "calm"), classes=("Normal", "bacterial-pneumonia", "viral-pneumonia"))
    Evaluation(subjects=[other], cohort=cohort_of(6), claims=[named], quiet=True)


def test_an_unknown_endpoint_is_named_with_its_claim():
    with pytest.raises(UsageProblem, match=r"claim classes\.mine: no endpoint is called 'stres'; did you mean stress"):
        Evaluation(subjects=[subject_of(Calm(), "calm")], cohort=cohort_of(6), claims=[claim_of("stres")], quiet=True)
