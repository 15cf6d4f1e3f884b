"""Were these numbers found before? What is slow to resample is found again while all that decides it is as it was.

A claim's result belongs to one claim of one run; these belong to nothing but what they are computed from, whatever run,
report or model card asks for them. Our own code and the versions of the libraries decide them, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from suites.harness.cache.code_digest import OUR_PACKAGES, digest_of
from suites.harness.cache.shards import Shards
from suites.harness.claims import Measure


@dataclass(frozen=True)
class KeptMeasures:
    """The measures in a cache.

    Attributes:
        cache: its root.
        versions: of the libraries, see `library_versions`.
    """

    cache: Path
    versions: Mapping[str, str]

    def once(
        self, decided_by: Mapping[str, object], compute: Callable[[], Mapping[str, Sequence[Measure]]]
    ) -> dict[str, list[Measure]]:
        """Return measures by what they are of, computing them if nobody has.

        Args:
            decided_by: everything that decides them besides our code and the libraries, JSON-serialisable.
            compute: them; called where the cache lacks them.

        Raises:
            UsageProblem: the cache cannot be written.
        """
        code = [digest_of(package, "**/*.py") for package in OUR_PACKAGES]
        shards = Shards(
            self.cache, "measures", {**decided_by, "code": code, "versions": self.versions}, {"measures": "text"}
        )
        rows = shards.once(lambda: pd.DataFrame({"measures": [_text(compute())]}))
        found = json.loads(rows["measures"].iloc[0])
        return {name: [Measure(**fields) for fields in measures] for name, measures in found.items()}


def _text(found: Mapping[str, Sequence[Measure]]) -> str:
    return json.dumps({name: [asdict(measure) for measure in measures] for name, measures in found.items()})
