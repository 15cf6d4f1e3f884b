"""How do the subjects of several finished reports stand beside each other? A page over their results.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suites.commands.registry import parser, register


@register("compare")
def compare(arguments: Sequence[str]) -> int:
    """Write a leaderboard over finished reports: subjects side by side where films and settings are the same.

    Ranks order estimates. Whether a difference is real shows in one run of both: run --weights A --weights B.

    Examples:
      chest-xray-reliability compare reports/v1 reports/v2
          leaderboard/index.html, and the same as CSV and JSON
      chest-xray-reliability compare reports/*/results.json --out board
    """
    given = parser("compare")
    given.add_argument(
        "reports", nargs="+", type=Path, metavar="REPORT", help="folder of a report, or its results.json"
    )
    given.add_argument(
        "--out", type=Path, default=Path("leaderboard"), metavar="DIR", help="folder (default leaderboard/)"
    )
    words = given.parse_args(arguments)

    from suites.harness.report.leaderboard import leaderboard, write_leaderboard  # noqa: PLC0415 - heavy

    boards = leaderboard(words.reports)
    page = write_leaderboard(boards, words.out.expanduser())
    for board in boards:
        print(f"{board.title} ({len(board.shared)} shared claims)")
        if board.unranked:
            print(f"  no rank: {board.unranked}")
        for entry, rank in zip(board.entries, board.ranks, strict=True):
            print(f"  {rank:.2f}  {entry.name}" if not board.unranked else f"        {entry.name}")
    print(f"leaderboard: {page}")
    return 0
