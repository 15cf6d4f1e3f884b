"""What would a run cost, and what could these films settle? Told before anything is predicted."""

from __future__ import annotations

from collections.abc import Sequence

from suites.commands.registry import get, register
from suites.commands.run import teach

CODES = """Exit codes: 0 planned; 2 interrupted (Ctrl-C, SIGTERM); 3 an internal error; 4 something in what was given,
so that a run would be refused, too; 5 nothing to judge."""


@register("plan")
def plan(arguments: Sequence[str]) -> int:
    """Say what a run would do, how long it would take, and what to expect of these films; judges nothing.

    It takes what `run` takes, so that one word of a command line makes a plan of a run.

    Examples:
      chest-xray-reliability plan --weights my_model:load --data films.csv
      chest-xray-reliability plan --data films.csv --profile full --preset standard
    """
    if any(word in ("-h", "--help") for word in arguments):
        return teach("plan", CODES, "--plan")
    return get("run").run(["--plan", *arguments])
