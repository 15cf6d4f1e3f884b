"""The claims table: what it may hold, and that a mistake in it is one clear line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.claims_table import load_claims, table_ids
from suites.harness.cohorts.class_roles import for_findings
from suites.harness.endpoints import get
from suites.harness.errors import UsageProblem, one_line
from suites.harness.predictions.conditions import CLEAN, expand, parse

ENTRY = """
[[claim]]
id = "contrast.mine"
section = "S"
statement = "s"
kind = "limitation"
endpoint = "stress"
margin = 0.1
condition = "gamma_low@3"
"""


def test_the_projects_own_table_is_sound():
    claims = load_claims()
    for claim in claims:
        get(claim.endpoint)
        expand([str(text) for text in claim.parameters.get("conditions", [])])
        assert claim.statement.endswith("."), claim.id
    assert len({claim.statement for claim in claims}) == len(claims)


def test_extends_overrides_by_id_and_adds(tmp_path):
    own = tmp_path / "mine.toml"
    changed = ENTRY.replace("contrast.mine", "contrast.window")
    own.write_text("extends = true\n" + ENTRY + changed)
    claims = {claim.id: claim for claim in load_claims(own)}
    assert claims["contrast.window"].margin == 0.1
    assert claims["contrast.mine"].parameters["condition"] == "gamma_low@3"
    assert len(claims) == len(load_claims()) + 1
    own.write_text(ENTRY)
    assert [claim.id for claim in load_claims(own)] == ["contrast.mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no"),
        (ENTRY + "documented = '0.2'", 'contrast.mine: `documented` is "0.2", expected a number'),
        (ENTRY + "documented = [0.2]", "expected a number"),
        (ENTRY + "documented = true", "expected a number"),
        (ENTRY + f"documented = {'9' * 400}", "digits; the largest is"),
        (ENTRY + f"documented = {'9' * 5000}", "digits; the largest is"),
        (ENTRY + "remedy = 3", "`remedy` is 3, expected text on one line"),
        (ENTRY + "remedy = {a = 1}", "expected text on one line"),
        (ENTRY + 'remedy = "a\\nb"', "expected text on one line"),
        (ENTRY.replace("contrast.mine", "contrast.my mine"), "expected text, dotted"),
        ("claim = 3", "holds no"),
        ("[[claim]]\nid = 3", "`id` is 3, expected text"),
        (ENTRY.replace("margin = 0.1", ""), "contrast.mine: it has no `margin`"),
        (ENTRY.replace("margin = 0.1", "margin = nan"), "`margin` is NaN, expected a number"),
        (ENTRY.replace("limitation", "wish"), "kind must be 'limitation' or 'requirement', not 'wish'"),
        (ENTRY.replace("contrast.mine", "mine"), "expected text, dotted"),
        (ENTRY + ENTRY, "more than once"),
        (ENTRY.replace("id =", "id"), "not valid TOML"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, text, message):
    table = tmp_path / "claims.toml"
    table.write_text(text)
    with pytest.raises(UsageProblem, match=message):
        load_claims(table)


FIELDS = {
    "id": st.just("contrast.mine"), "section": st.just("S"), "statement": st.just("s"),
    "kind": st.sampled_from(["limitation", "requirement"]), "endpoint": st.just("stress"),
    "margin": st.floats(-9, 9) | st.integers(-9, 9), "condition": st.just("gamma_low@3"),
}  # fmt: skip
OPTIONAL = {"direction": st.sampled_from(["above", "below"]), "documented": FIELDS["margin"], "remedy": st.just("r")}
ANYTHING = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries(FIELDS, optional=OPTIONAL), st.sampled_from([*FIELDS, *OPTIONAL, "conditions"]), ANYTHING)
def test_an_entry_with_any_other_value_is_a_claim_of_the_right_types_or_one_line(tmp_path_factory, entry, key, value):
    table = tmp_path_factory.mktemp("claims") / "claims.toml"
    table.write_text("[[claim]]\n" + "".join(f"{name} = {toml(one)}\n" for name, one in (entry | {key: value}).items()))
    claim = claim_or_line(table)
    if isinstance(claim, str):
        assert claim == one_line(claim)
        return
    numbers = [claim.margin, *([] if claim.documented is None else [claim.documented])]
    assert all(type(number) in {int, float} and math.isfinite(number) for number in numbers)
    assert all(isinstance(text, str) for text in (claim.remedy, claim.statement, claim.section, claim.id))
    assert "\n" not in claim.remedy + claim.statement + claim.section + claim.id


def claim_or_line(table):
    try:
        return load_claims(table)[0]
    except UsageProblem as problem:
        return str(problem)


def toml(value):
    """Write a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key or 0} = {toml(one)}' for key, one in value.items())}}}"
    return json.dumps(value).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)


def test_missing_table_is_named(tmp_path):
    with pytest.raises(UsageProblem, match="cannot read the claims table"):
        load_claims(tmp_path / "none.toml")


def test_unknown_endpoint_names_the_nearest():
    with pytest.raises(UsageProblem, match="no endpoint is called 'stres'; did you mean stress"):
        get("stres")


def test_conditions_read_and_write_themselves():
    assert parse("clean").text == CLEAN
    chain = parse("preprocessing:hub")
    assert (chain.text, chain.preprocessing) == ("preprocessing:hub", "hub")
    assert [item.text for item in expand(["gamma_low@1-5", "clean"], (1, 3, 5))] == [
        "gamma_low@1",
        "gamma_low@3",
        "gamma_low@5",
        "clean",
    ]
    assert parse("gamma_low@3").identity != parse("gamma_low@4").identity


def test_a_device_is_no_table():
    with pytest.raises(UsageProblem, match="cannot read the claims table /dev/zero: it is no regular file"):
        load_claims(Path("/dev/zero"))


@pytest.mark.parametrize("text", ["gama_low@3", "gamma_low@6", "gamma_low@", "Gamma_low@3", "nothing"])
def test_misspelt_conditions_are_refused(text):
    with pytest.raises(UsageProblem, match="condition"):
        parse(text)


def test_a_claim_has_a_name_of_its_own_where_findings_are_asked_and_is_overridden_by_its_id(tmp_path):
    names = table_ids()
    assert names["classes.finding_recall"] == "classes.viral_recall"
    asked = {claim.id for claim in for_findings(load_claims())}
    assert asked >= names.keys()
    assert not asked & set(names.values())
    assert not any(
        word in name for name in asked if not name.startswith("published.") for word in ("viral", "bacterial")
    )
    file = tmp_path / "claims.toml"
    file.write_text("extends = true\n" + ENTRY.replace("contrast.mine", "classes.finding_recall"))
    with pytest.raises(UsageProblem, match=r"classes\.finding_recall is what classes\.viral_recall is called"):
        load_claims(file)
