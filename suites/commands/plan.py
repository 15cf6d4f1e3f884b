"""What would a run cost, and what could these films settle? Told before anything is predicted."""

from __future__ import annotations

from collections.abc import Sequence

from suites.commands.registry import get, parser, register


@register("plan")
def plan(arguments: Sequence[str]) -> int:
    """Say what a run would do, how long it would take, and which claims these films cannot settle; judges nothing.

    It takes what `run` takes.

    Examples:
      chest-xray-reliability plan --weights my_model:load --data films.csv
      chest-xray-reliability plan --data films.csv --profile full --preset standard
    """
    if any(word in ("-h", "--help") for word in arguments):
        parser("plan").print_help()
        return 0
    return get("run").run(["--plan", *arguments])
