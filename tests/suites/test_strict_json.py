"""A key written twice is refused, wherever it stands; a document without one is read as it is."""

from __future__ import annotations

import pytest

from suites.harness.errors import UsageProblem
from suites.harness.strict_json import parse_json
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
