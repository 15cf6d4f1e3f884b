"""What a person types in a shell: every command teaches, and what it cannot read is one line with exit code 4."""

from __future__ import annotations

import argparse
from importlib.metadata import version

import pytest

from suites import commands
from suites.commands import registry
from suites.harness.errors import UsageProblem
from suites.options import OPTIONS, default_data


def test_the_commands_are_listed_with_what_they_do_and_the_exit_codes(capsys):
    assert commands.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in registry.names():
        assert f"  {name}" in text
        assert registry.get(name).summary in text
    assert {"run", "plan", "card", "compare", "films"} <= set(registry.names())
    assert all(f"{code} " in text for code in range(6))


@pytest.mark.parametrize("name", registry.names())
def test_every_command_teaches_with_examples(name, capsys):
    assert commands.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"{registry.PROGRAM} {name} " in text.split("Examples:")[1]


@pytest.mark.parametrize("name", registry.names())
def test_every_help_ends_with_the_exit_codes_of_its_command(name, capsys):
    commands.main([name, "--help"])
    last = " ".join(capsys.readouterr().out.rpartition("\n\n")[2].split())
    assert last.startswith("Exit codes: 0 ")
    assert "4 something in what was given" in last
    assert ("1 a verdict" in last) == (name == "run")


@pytest.mark.parametrize(("name", "left_out"), [("run", set()), ("plan", {"--plan"})])
def test_run_and_plan_list_every_option_of_the_suites(name, left_out, capsys):
    commands.main([name, "--help"])
    text = capsys.readouterr().out
    assert {option for option in OPTIONS if f"  {option}" not in text} == left_out


def test_the_version_is_printed(capsys):
    assert commands.main(["--version"]) == 0
    assert capsys.readouterr().out == f"chest-xray-reliability {version('chest-xray-reliability')}\n"


@pytest.mark.parametrize("name", registry.names())
def test_whoever_reads_the_help_learns_every_default(name, monkeypatch, capsys):
    seen = []
    add = argparse.ArgumentParser.add_argument

    def noted(self, *words, **described):
        seen.append((words[-1], described))
        return add(self, *words, **described)

    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", noted)
    commands.main([name, "--help"])
    capsys.readouterr()
    given = {word: one for word, one in seen if one.get("default") not in (None, False, [], argparse.SUPPRESS)}
    assert {word for word, one in given.items() if f"(default {one['default']}" not in one["help"]} == set()
    chosen = [word for word, one in seen if "choices" in one]
    assert set(chosen) <= set(given)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "no command 'rnu'; there are card, "),
        (["x" * 5000], "no command 'xxx"),
        (["card"], "the following arguments are required: REPORT"),
        (["card", "nowhere"], "nowhere: no results.json there"),
        (["card", "a", "b"], "unrecognized arguments: b"),
        (["compare"], "the following arguments are required: REPORT"),
        (["compare", "nowhere"], "nowhere: no results.json there"),
        (["films", "nowhere"], "nowhere: no film-answers.parquet there"),
        (["films", "nowhere", "--most", "0"], "--most is 0; expected a number of rows"),
    ],
)
def test_what_cannot_be_read_is_one_line(words, told, capsys):
    assert commands.main(words) == 4
    text = capsys.readouterr().err
    assert told in text
    assert (text.count("\n"), len(text) < 310) == (1, True)


def test_a_name_is_registered_once():
    with pytest.raises(UsageProblem, match=r"'card' is registered twice, by suites\.commands\.card"):
        registry.register("card")(lambda arguments: 0)


@pytest.mark.parametrize(
    ("heads", "films"),
    [(["softmax"], "phantom"), (["sigmoid"], "phantom:findings=several"), (["sigmoid", "softmax"], "phantom")],
)
def test_where_no_films_are_given_they_can_tell_what_the_subjects_answer(heads, films):
    assert default_data(heads) == films
