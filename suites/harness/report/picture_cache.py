"""Was this picture drawn before? What was drawn of a claim's numbers is kept, apart from the numbers.

A picture is found again under everything that decides it: all answers of the run, the claim with its measures, our own
code and the versions of the libraries. Whoever changes any of it gets new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pandas as pd

from suites.harness.cache import Shards
from suites.harness.claims import Draw, Drawn, GalleryItem, Judgement, Label, Result
from suites.harness.progress import Progress
from suites.harness.record import Record
from suites.harness.report.pictures import encoded

COLUMNS = {"name": "text", "content": "bytes", "suffix": "text", "width": "whole", "height": "whole", "labels": "text"}


@contextmanager
def drawing_once(
    record: Record, cache: Path, key: Mapping[str, object], progress: Progress | None = None
) -> Iterator[Record]:
    """Give the record with functions that draw only what the cache lacks; what was drawn is kept at the end.

    Args:
        record: of the run.
        cache: root of the cache.
        key: everything that decides a picture besides the judgement it belongs to.
        progress: told how many pictures there are, and of each that is done.
    """
    kept = _Kept(cache, key, progress or Progress())
    results = [judgement.result for judgement in record.judgements if judgement.result is not None]
    pictures = sum(len(one.figures) + sum(map(len, one.galleries.values())) for one in results)
    kept.progress.expect("drawing", units=pictures)
    yield replace(record, judgements=[_judgement_once(judgement, kept) for judgement in record.judgements])
    kept.shards.add(pd.DataFrame(kept.fresh))


class _Kept:
    """What was drawn in earlier runs with this key, and what in this one."""

    def __init__(self, cache: Path, key: Mapping[str, object], progress: Progress) -> None:
        self.progress = progress
        self.shards = Shards(cache, "pictures", key, COLUMNS)
        self.fresh: list[dict[str, object]] = []
        self._known = {
            str(row["name"]): Drawn(
                row["content"],
                row["suffix"],
                (row["width"], row["height"]),
                tuple(Label(*label) for label in json.loads(row["labels"])),
            )
            for row in self.shards.read().to_dict("records")
        }

    def once(self, name: str, draw: Draw) -> Drawn:
        """Return a picture, drawing it if nobody has."""
        if name not in self._known:
            drawn = self._known[name] = encoded(draw())
            row = {"name": name, "content": drawn.content, "suffix": drawn.suffix}
            labels = json.dumps([[label.title, label.note, label.tone] for label in drawn.labels])
            self.fresh.append(row | {"width": drawn.size[0], "height": drawn.size[1], "labels": labels})
        return self._known[name]

    def picture(self, name: str, draw: Draw) -> Drawn:
        """Return a picture as `once` does, and say whether it was drawn now."""
        new = name not in self._known
        drawn = self.once(name, draw)
        if new:
            self.progress.done()
        else:
            self.progress.found(1)
        return drawn


def _judgement_once(judgement: Judgement, kept: _Kept) -> Judgement:
    result = judgement.result
    if result is None:
        return judgement
    stem = f"{judgement.claim.id} {judgement.subject} {_digest(judgement, result)}"
    figures: dict[str, Draw] = {
        name: partial(kept.picture, f"{stem} figure {name}", draw) for name, draw in result.figures.items()
    }
    galleries = {
        title: [_item(f"{stem} gallery {title} {number}", item, kept) for number, item in enumerate(items)]
        for title, items in result.galleries.items()
    }
    return replace(judgement, result=replace(result, figures=figures, galleries=galleries))


def _item(stem: str, item: GalleryItem, kept: _Kept) -> GalleryItem:
    name = f"{stem} {hashlib.sha256(repr((item.caption, dict(item.facts))).encode()).hexdigest()}"
    draw = partial(kept.picture, name, item.draw)
    return replace(item, draw=draw, details=partial(_details, name, item.details, kept) if item.details else None)


def _details(name: str, details: Callable[[], Mapping[str, object]], kept: _Kept) -> Mapping[str, object]:
    text = kept.once(f"{name} details", lambda: Drawn(json.dumps(details()).encode(), "json", (0, 0))).content
    found: Mapping[str, object] = json.loads(text)
    return found


def _digest(judgement: Judgement, result: Result) -> str:
    plain = {
        "claim": asdict(judgement.claim),
        "measures": [asdict(measure) for measure in (result.effect, *result.measures)],
        "p": [result.p_beyond, result.p_within],
        "summary": result.summary,
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()
