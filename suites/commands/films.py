"""Which films stand behind a number of a finished report? Listed in the terminal, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suites.commands.registry import parser, register
from suites.harness.errors import UsageProblem

WHICH = ("changed", "lost", "wrong", "all")


@register("films")
def films(arguments: Sequence[str]) -> int:
    """List the films of a finished report by what was said of them, the surest wrong calls first.

    Examples:
      chest-xray-reliability films report
          films that some condition turns from right to wrong
      chest-xray-reliability films report --condition scatter@3 --which wrong --most 50
      chest-xray-reliability films report --film IM-0115-0001
          one film under every condition
    """
    given = parser("films")
    given.add_argument("report", type=Path, metavar="REPORT", help="folder of a report")
    given.add_argument("--condition", metavar="TEXT", help="under this condition only, as `scatter@3` (default any)")
    given.add_argument(
        "--which",
        choices=WHICH,
        default="lost",
        help="changed: called otherwise than when clean; lost: right when clean, wrong under the condition; wrong: "
        "called wrong; all (default lost)",
    )
    given.add_argument("--subject", metavar="NAME", help="of several subjects, this one (default all)")
    given.add_argument("--film", metavar="ID", help="one film, under every condition")
    given.add_argument("--most", type=int, default=20, metavar="N", help="rows printed (default 20)")
    words = given.parse_args(arguments)

    from suites.harness.report.stored_films import as_text, listed  # noqa: PLC0415 - heavy

    if words.most < 1:
        raise UsageProblem(f"--most is {words.most}; expected a number of rows")
    table = listed(
        words.report.expanduser(), which=words.which, condition=words.condition, subject=words.subject, film=words.film
    )
    shown = table.head(words.most)
    told = as_text(shown).to_string(index=False)
    print(told if len(shown) else "no such films")
    if len(table) > len(shown):
        print(f"... {len(table) - len(shown)} more rows; film-answers.parquet has all")
    return 0
