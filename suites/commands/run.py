"""How are the claims judged from any folder? pytest on the suites, with whatever words follow."""

from __future__ import annotations

from collections.abc import Sequence

from suites.command_line import know_the_options
from suites.commands.registry import parser, register

SUITES = ("--pyargs", "suites")
"""How pytest is told to run the suites, wherever they are installed."""

CODES = """Exit codes: 0 all as documented; 1 a verdict (a requirement violated, a limitation beyond its documented
size, a worsening against --baseline); 2 interrupted (Ctrl-C, SIGTERM); 3 an internal error; 4 something in what was
given; 5 nothing to judge."""


@register("run")
def run(arguments: Sequence[str]) -> int:
    """Judge the claims on a subject and films; everything pytest knows can follow (-k, -x, --junitxml FILE ...).

    Examples:
      chest-xray-reliability run --report
          bundled weights on simulated films, the report in report/index.html
      chest-xray-reliability run --report --weights my_model:load --data films.csv
          a function of your own in my_model.py that returns a network, and a table of films
      chest-xray-reliability run --weights published --data kaggle --profile standard --report
          the public weights on the public data set, all severities
      chest-xray-reliability run -k "scatter or grid" --data films --limit 100
          some claims only, on about 100 of the films
      chest-xray-reliability run --report new --weights v2/ --data films --baseline old --summary summary.md
          the gate of a release: exit code 1 on a significant worsening
      chest-xray-reliability run --collect-only -q
          the names of all claims
    """
    if any(word in ("-h", "--help") for word in arguments):
        return teach("run", CODES)
    know_the_options()  # where Python did not read our file at its start (`pip install --target`)
    import pytest  # noqa: PLC0415 - not before

    return int(pytest.main([*SUITES, *arguments]))


def teach(name: str, codes: str, *without: str) -> int:
    """Print the help of a command that takes the options of the suites, and return its exit code.

    Args:
        name: of the command.
        codes: its exit codes.
        without: options that it does not take.
    """
    from suites.options import OPTIONS  # noqa: PLC0415 - which needs pytest

    shown = parser(name, codes)
    shown.usage = "%(prog)s [options of the suites] [options of pytest]"
    for option, described in OPTIONS.items():
        if option not in without:
            shown.add_argument(option, **described)
    shown.print_help()
    return 0
