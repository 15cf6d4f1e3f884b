"""How does a finished report become a model card? Nothing is predicted or judged again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suites.commands.registry import parser, register


@register("card")
def card(arguments: Sequence[str]) -> int:
    """Write a Hugging Face model card with the measured limitations from a finished report.

    The card is the one that `run --model-card` writes. Of several subjects each gets a file of its own, FILE-NAME.

    Examples:
      chest-xray-reliability card report
          writes report/README.md
      chest-xray-reliability card report --to weights/README.md
          beside the weights, as the Hub shows it
    """
    shown = parser("card")
    shown.add_argument("report", type=Path, metavar="REPORT", help="folder of a finished report")
    shown.add_argument("--to", type=Path, metavar="FILE", help="where to write it (default REPORT/README.md)")
    shown.add_argument("--force", action="store_true", help="let part of the claims replace a card of more of them")
    given = shown.parse_args(arguments)

    from suites.harness.report.card import card_files, write_model_cards  # noqa: PLC0415 - takes seconds, --help should not
    from suites.harness.report.folder import belongs  # noqa: PLC0415
    from suites.harness.report.part import refuse_to_replace  # noqa: PLC0415
    from suites.harness.report.stored_record import record_of  # noqa: PLC0415

    record = record_of(given.report.expanduser())
    target = given.to.expanduser() if given.to else given.report.expanduser() / "README.md"
    if record.part is not None and not given.force:
        refuse_to_replace(record.part, None, card_files(record.subjects, target))
    written = write_model_cards(record, target)
    belongs(written)
    for path in written:
        print(f"model card: {path}")
    return 0
