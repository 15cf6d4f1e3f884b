"""The claims table: what it may hold, and that a mistake in it is one clear line."""

from __future__ import annotations

import pytest

from suites.harness.claims import load_claims
from suites.harness.endpoints import get
from suites.harness.errors import UsageProblem
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
        ("claim = 3", "holds no"),
        ("[[claim]]\nid = 3", "`id` is 3, expected text"),
        (ENTRY.replace("margin = 0.1", ""), "contrast.mine has no `margin`"),
        (ENTRY.replace("margin = 0.1", "margin = nan"), "margin must be a finite number"),
        (ENTRY.replace("limitation", "wish"), "kind must be 'limitation' or 'requirement', not 'wish'"),
        (ENTRY.replace("contrast.mine", "mine"), "must be dotted"),
        (ENTRY + ENTRY, "more than once"),
        (ENTRY.replace("id =", "id"), "not valid TOML"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, text, message):
    table = tmp_path / "claims.toml"
    table.write_text(text)
    with pytest.raises(UsageProblem, match=message):
        load_claims(table)


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


@pytest.mark.parametrize("text", ["gama_low@3", "gamma_low@6", "gamma_low@", "Gamma_low@3", "nothing"])
def test_misspelt_conditions_are_refused(text):
    with pytest.raises(UsageProblem, match="condition"):
        parse(text)
