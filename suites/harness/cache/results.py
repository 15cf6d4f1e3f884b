"""Was this claim measured before? What an endpoint found is found again while nothing that decides it has changed.

What decides a result is all answers of the run, the claim, the seed and profile, our own code and the versions of the
libraries. Pictures are not part of it: a kept result measures again when somebody wants one that was never drawn.
Results that would not come back exactly as they were are not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from suites.harness.cache import Shards
from suites.harness.claims import Claim, Draw, Drawn, GalleryItem, Headroom, Help, Measure, Result, Tiles

Measured = Callable[[], Result]


class KeptResults:
    """The results of one subject.

    Args:
        cache: root of the cache.
        key: everything that decides a result besides its claim.
    """

    def __init__(self, cache: Path, key: Mapping[str, object]) -> None:
        self._shards = Shards(cache, "results", key, {"claim": "text", "result": "text"})
        self._known = {str(row["claim"]): str(row["result"]) for row in self._shards.read().to_dict("records")}
        self._fresh: list[dict[str, str]] = []

    def once(self, claim: Claim, measure: Measured) -> Result:
        """Return the result of a claim, measuring it if nobody has."""
        name = hashlib.sha256(json.dumps(asdict(claim), sort_keys=True, default=str).encode()).hexdigest()
        if name in self._known:
            return _restored(json.loads(self._known[name]), measure)
        result = measure()
        text = _text(result)
        if text is not None:
            self._known[name] = text
            self._fresh.append({"claim": name, "result": text})
        return result

    def flush(self) -> None:
        """Move new results into the cache."""
        self._shards.add(pd.DataFrame(self._fresh))
        self._fresh = []


def _text(result: Result) -> str | None:
    """Return a result as JSON, or `None` if it is not settled or would not come back as it is."""
    if not result.settled:
        return None
    try:
        text = json.dumps(_plain(result))
    except (TypeError, ValueError):
        return None
    again = _restored(json.loads(text), lambda: result)
    alike = all(table.equals(again.tables[title]) for title, table in result.tables.items())
    return text if alike and json.dumps(_plain(again)) == text else None


def _plain(result: Result) -> dict[str, Any]:
    return {
        "measures": [dict(vars(measure)) for measure in (result.effect, *result.measures)],
        "p": [result.p_beyond, result.p_within],
        "headroom": [asdict(room) for room in result.headroom],
        "only_beyond": result.only_beyond,
        "only_within": result.only_within,
        "unproven": result.unproven,
        "caveat": result.caveat,
        "films": result.films,
        "summary": result.summary,
        "finding": result.finding,
        "helps": [asdict(one) for one in result.helps],
        "needed": result.needed,
        "tables": {title: table.to_dict("split") for title, table in result.tables.items()},
        "files": {name: list(pair) for name, pair in result.files.items()},
        "figures": list(result.figures),
        "galleries": {
            title: [[item.caption, dict(item.facts), item.details is not None] for item in items]
            for title, items in result.galleries.items()
        },
    }


def _restored(plain: Mapping[str, Any], measure: Measured) -> Result:
    again = cache(measure)
    effect, *measures = (Measure(**fields) for fields in plain["measures"])
    return Result(
        effect=effect,
        p_beyond=plain["p"][0],
        p_within=plain["p"][1],
        headroom=[Headroom(**{**room, "measure": Measure(**room["measure"])}) for room in plain["headroom"]],
        only_beyond=plain["only_beyond"],
        only_within=plain["only_within"],
        unproven=plain["unproven"],
        caveat=plain["caveat"],
        films=plain["films"],
        measures=measures,
        summary=plain["summary"],
        finding=plain["finding"],
        helps=[Help(sentence=one["sentence"], gain=Measure(**one["gain"])) for one in plain["helps"]],
        needed=plain["needed"],
        tables={title: pd.DataFrame(**table) for title, table in plain["tables"].items()},
        files={name: (text, told) for name, (text, told) in plain["files"].items()},
        figures={name: _figure(again, name) for name in plain["figures"]},
        galleries={
            title: [_item(partial(_nth, again, title, number), item) for number, item in enumerate(items)]
            for title, items in plain["galleries"].items()
        },
    )


def _figure(again: Measured, name: str) -> Draw:
    return partial(_redrawn, again, name)


def _redrawn(again: Measured, name: str) -> Figure | Image.Image | Tiles | Drawn:
    return again().figures[name]()


def _nth(again: Measured, title: str, number: int) -> GalleryItem:
    return again().galleries[title][number]


def _item(original: Callable[[], GalleryItem], plain: Sequence[Any]) -> GalleryItem:
    caption, facts, detailed = plain

    def details() -> Mapping[str, object]:
        found = original().details
        return found() if found else {}

    draw = partial(_drawn, original)
    return GalleryItem(caption=caption, draw=draw, facts=facts, details=details if detailed else None)


def _drawn(original: Callable[[], GalleryItem]) -> Figure | Image.Image | Tiles | Drawn:
    return original().draw()
