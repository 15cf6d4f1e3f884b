"""Does the stress of finished reports predict what their subjects lose at other hospitals?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suites.commands.registry import parser, register


@register("validity")
def validity(arguments: Sequence[str]) -> int:
    """Hold what subjects lose under each perturbation against what they lose on films of other hospitals.

    Over the subjects of one report or of several: rank correlation and calibration of predicted against measured drop.
    The reports come from runs with --external SPEC, and with --preset quick or standard for all perturbations.

    Examples:
      chest-xray-reliability validity report
          validity/index.html, its figures, and the same as CSV
      chest-xray-reliability validity reports/* --out study
    """
    given = parser("validity")
    given.add_argument("reports", nargs="+", type=Path, metavar="REPORT", help="folder of a report")
    given.add_argument("--out", type=Path, default=Path("validity"), metavar="DIR", help="folder (default validity/)")
    words = given.parse_args(arguments)

    from suites.harness.validity.drops import drops_of  # noqa: PLC0415 - heavy
    from suites.harness.validity.predictive import no_stress, validities  # noqa: PLC0415
    from suites.harness.validity.write import sentence, write_validity  # noqa: PLC0415

    drops = drops_of([path.expanduser() for path in words.reports])
    page = write_validity(drops, words.out.expanduser())
    for hospital, rows in drops.table.groupby("hospital", sort=False):
        print(f"{hospital}: {sentence(validities(rows), no_stress(rows))}")
    for told in drops.left_out:
        print(f"  left out: {told}")
    print(f"validity: {page}")
    return 0
