"""Was this claim measured before? What an endpoint found is found again while nothing that decides it has changed.

What decides a result is all answers of the run, the claim, the seed and profile, our own code and the versions of the
libraries. Pictures are not part of it: a kept result measures again when somebody wants one that was never drawn.
Results that would not come back exactly as they were are not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from suites.harness.cache import Shards
from suites.harness.claims import Claim, Drawn, GalleryItem, Headroom, Help, Measure, Result, Tiles

Measured = Callable[[], Result]


class KeptResults:
    """The results of one subject.

    Args:
        cache: root of the cache.
        key: everything that decides a result besides its claim.

    Attributes:
        earlier: whether any was kept before.
    """

    def __init__(self, cache: Path, key: Mapping[str, object]) -> None:
        self._shards = Shards(cache, "results", key, {"claim": "text", "result": "text"})
        self._known = {str(row["claim"]): str(row["result"]) for row in self._shards.read().to_dict("records")}
        self.earlier = bool(self._known)
        self._fresh: list[dict[str, str]] = []

    def once(self, claim: Claim, measure: Measured) -> Result:
        """Return the result of a claim, measuring it if nobody has."""
        name = _name(claim)
        if name in self._known:
            return _restored(json.loads(self._known[name]), measure)
        result = measure()
        text = _text(result)
        if text is not None:
            self._known[name] = text
            self._fresh.append({"claim": name, "result": text})
        return result

    def knows(self, claim: Claim) -> bool:
        """Return whether somebody has measured a claim."""
        return _name(claim) in self._known

    def flush(self) -> None:
        """Move new results into the cache."""
        self._shards.add(pd.DataFrame(self._fresh))
        self._fresh = []


def _name(claim: Claim) -> str:
    return hashlib.sha256(json.dumps(asdict(claim), sort_keys=True, default=str).encode()).hexdigest()


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
    result = Result(
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
        figures=dict.fromkeys(plain["figures"], undrawn),
        galleries={
            title: [
                GalleryItem(caption=caption, draw=undrawn, facts=facts, details=undetailed if detailed else None)
                for caption, facts, detailed in items
            ]
            for title, items in plain["galleries"].items()
        },
    )
    return with_pictures(result, lambda place: picture(again(), place))


Place = tuple[str, str, int]
"""Where something that is drawn stands in a result: `figure`, its stem and 0; or `gallery` (the picture) or `details`
of one, the title of the gallery and its number in it."""


def undrawn() -> Drawn:
    """Stand where a function was that draws.

    Raises:
        LookupError: always.
    """
    raise LookupError("this result came without its pictures")


def undetailed() -> Mapping[str, object]:
    """Stand where a function was that gives a picture's details; as `undrawn`."""
    return vars(undrawn())


def without_pictures(result: Result) -> Result:
    """Return a result with nothing in it that draws, only where something did: it can be pickled and comes back so."""
    return replace(
        result,
        figures=dict.fromkeys(result.figures, undrawn),
        galleries={
            title: [replace(one, draw=undrawn, details=undetailed if one.details else None) for one in items]
            for title, items in result.galleries.items()
        },
    )


def with_pictures(result: Result, give: Callable[[Place], Any]) -> Result:
    """Return a result whose pictures are given by a function, asked when somebody looks at one."""

    def item(one: GalleryItem, title: str, number: int) -> GalleryItem:
        details = partial(give, ("details", title, number)) if one.details else None
        return replace(one, draw=partial(give, ("gallery", title, number)), details=details)

    return replace(
        result,
        figures={name: partial(give, ("figure", name, 0)) for name in result.figures},
        galleries={
            title: [item(one, title, number) for number, one in enumerate(items)]
            for title, items in result.galleries.items()
        },
    )


def picture(result: Result, place: Place) -> Figure | Image.Image | Tiles | Drawn | Mapping[str, object]:
    """Return what stands at a place of a result: the picture drawn, or its details."""
    kind, name, number = place
    if kind == "figure":
        return result.figures[name]()
    one = result.galleries[name][number]
    if kind == "gallery":
        return one.draw()
    return one.details() if one.details else {}
