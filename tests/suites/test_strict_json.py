"""A key written twice is refused, wherever it stands; a document without one is read as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.errors import UsageProblem
from suites.harness.strict_json import check, parse_json, parse_toml
from suites.harness.subjects.temperature_file import read_temperature


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 0, "a": 1}}]'])
def test_a_repeated_key_is_refused(text):
    with pytest.raises(ValueError, match="key 'a' occurs more than once"):
        parse_json(text)


def test_other_documents_are_read():
    assert parse_json('{"a": [{"b": 1}, {"b": 2}], "b": null}') == {"a": [{"b": 1}, {"b": 2}], "b": None}


def test_a_temperature_written_twice_is_one_line_about_the_file(tmp_path):
    path = tmp_path / "temperature-x.json"
    path.write_text('{"schema": "temperature/1", "temperature": 1.5, "temperature": 2.5}')
    with pytest.raises(UsageProblem, match=r"temperature-x\.json: the key 'temperature' occurs more than once"):
        read_temperature(path)


UNUSABLE = {
    "digits": ("9" * 5000, "digits; the largest is"),
    "beyond a float": (str(2**63), "digits; the largest is"),
    "infinite": ("1e999", "infinite"),
    "surrogate": (r'"\ud800"', "surrogate"),
    "nested": ("[" * 100 + "]" * 100, "nested"),
    "nested beyond the reader": ("[" * 200_000 + "]" * 200_000, "nested"),
}


@pytest.mark.parametrize(("value", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_value_that_nothing_can_use_is_named(value, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(f'{{"a": {{"b": [1, {value}]}}}}')


@pytest.mark.parametrize("value", ["9" * 5000, str(2**70), "1e999", "inf", "[" * 5000 + "]" * 5000])
def test_the_same_in_toml(value):
    with pytest.raises(ValueError, match=r"the largest is|infinite|nested"):
        parse_toml(f"a = {value}")


SCHEMA = {
    "type": "object",
    "required": ["depths"],
    "properties": {
        "depths": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 99, "description": "a number of blocks"},
        },
        "name": {"type": "string"},
    },
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"depths": ANYTHING | st.lists(st.integers(1, 99)), "name": ANYTHING}))
def test_what_passes_a_schema_has_its_types_and_the_rest_is_one_line(document):
    message = refusal(document)
    assert "\n" not in message
    assert len(message) < 300
    if not message:
        assert all(type(depth) is int and 1 <= depth <= 99 for depth in document["depths"])
        assert isinstance(document.get("name", ""), str)


def refusal(document):
    try:
        check(document, SCHEMA)
    except ValueError as problem:
        return str(problem)
    return ""


def test_the_place_and_what_is_expected_there_are_named():
    with pytest.raises(ValueError, match=r"^`depths\[1\]` is true, expected a number of blocks$"):
        check(json.loads('{"depths": [1, true]}'), SCHEMA)
    with pytest.raises(ValueError, match=r"^it has no `depths`$"):
        check({}, SCHEMA)


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        ({"type": ["number", "null"]}, "a", "a number or null"),
        ({"type": "object"}, 1, "an object"),
        ({"enum": ["met", "violated"]}, 1, 'one of "met", "violated"'),
        ({"minimum": 1}, 0, "at least 1"),
        ({"additionalProperties": False}, {"a": 1}, "no further keys"),
    ],
)
def test_what_is_expected_is_said_in_words(rule, value, words):
    with pytest.raises(ValueError, match=f"expected {words}$"):
        check({"x": value}, {"properties": {"x": rule}})


@pytest.mark.parametrize(("schema", "value"), [("integer", 2.0), ("integer", True), ("number", float("nan"))])
def test_a_type_is_what_python_computes_with(schema, value):
    with pytest.raises(ValueError, match="the document is"):
        check(value, {"type": schema})
    check(2, {"type": schema})
