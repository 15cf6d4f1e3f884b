"""Galleries on disk: one PNG, one thumbnail and one JSON sidecar per panel, and an index to filter by.

The same panels give the same bytes. File names are made of safe characters and end in a digest of what the picture
shows, so two panels never overwrite each other.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from explain.attribution import AttributionMap
from explain.panel import DISPLAY_BLUR, Panel, Sanity, View, draw_panel
from explain.regions import Mask
from explain.selection import Pick

THUMBNAIL_WIDTH = 480


@dataclass(frozen=True)
class Conditioned:
    """One batch of films under one condition with what the network said and one method's maps.

    Attributes:
        films: grey (B, S, S) in [0, 1], as the network saw them.
        probabilities: (B, K).
        maps: attributions of the same films in the same order.
    """

    films: npt.NDArray[np.floating]
    probabilities: npt.NDArray[np.floating]
    maps: AttributionMap


def build_panels(
    picks: Sequence[Pick],
    class_names: Sequence[str],
    before: Conditioned,
    after: Conditioned | None = None,
    *,
    topic: str,
    condition: str = "clean",
    truth: Mapping[str, str] | None = None,
    sanity: Mapping[str, Sanity] | None = None,
    lesions: Mapping[str, Mask] | None = None,
    lungs: Mapping[str, Mask] | None = None,
    lung_label: str = "lung",
) -> list[Panel]:
    """Make one panel per pick; films are matched by image id, which both batches must hold.

    Args:
        picks: films chosen by a rule of `explain.selection`.
        class_names: K names, in the order of the logits.
        before: clean films.
        after: the same films under the condition, if there is one.
        topic: the failure mode.
        condition: what was done.
        truth: image id to class name.
        sanity: method name to outcome; methods not named count as not checked.
        lesions: image id to mask.
        lungs: image id to mask.
        lung_label: what those masks are, if they are not exact.
    """
    outcome = (sanity or {}).get(before.maps.method, "not checked")
    return [
        Panel(
            image_id=pick.image_id,
            truth=(truth or {}).get(pick.image_id),
            topic=topic,
            condition=condition,
            rule=pick.rule,
            method=before.maps.method,
            signed=before.maps.signed,
            sanity=outcome,
            before=_view(before, pick.image_id, class_names),
            after=_view(after, pick.image_id, class_names) if after is not None else None,
            lesion=(lesions or {}).get(pick.image_id),
            lung=(lungs or {}).get(pick.image_id),
            lung_label=lung_label,
            class_specific=before.maps.class_specific,
        )
        for pick in picks
    ]


def _view(batch: Conditioned, image_id: str, class_names: Sequence[str]) -> View:
    if image_id not in batch.maps.image_ids:
        raise ValueError(f"film {image_id!r} was picked but has no map of {batch.maps.method}")
    row = batch.maps.image_ids.index(image_id)
    probabilities = dict(zip(class_names, map(float, batch.probabilities[row]), strict=True))
    return View(batch.films[row], probabilities, batch.maps.maps[row], class_names[batch.maps.targets[row]])


def safe_name(*parts: str) -> str:
    """Return a file name stem of letters, digits, '-' and '.', at most 90 characters, unique by a digest."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(parts)).strip("-").lower()
    return f"{words[:80].rstrip('-')}.{digest}"


def sidecar(panel: Panel) -> dict[str, object]:
    """Return what a panel shows, as plain JSON values."""
    return {
        "image_id": panel.image_id,
        "truth": panel.truth,
        "topic": panel.topic,
        "condition": panel.condition,
        "rule": panel.rule,
        "method": panel.method,
        "signed": panel.signed,
        "sanity": panel.sanity,
        "comparable": panel.comparable,
        "display_blur": DISPLAY_BLUR if panel.signed else 0.0,
        "before": _described(panel.before),
        "after": _described(panel.after) if panel.after is not None else None,
    }


def _described(view: View) -> dict[str, object]:
    saliency = view.saliency
    finite = saliency is not None and bool(np.isfinite(saliency).all())
    status = (
        "none" if saliency is None else "not finite" if not finite else "flat" if float(np.ptp(saliency)) == 0 else "ok"
    )
    probabilities = {
        name: round(value, 6) if math.isfinite(value) else None for name, value in view.probabilities.items()
    }
    return {
        "predicted": view.predicted,
        "confidence": round(view.confidence, 6),
        "probabilities": probabilities,
        "explains": view.target,
        "map": status,
    }


def save_panel(panel: Panel, folder: Path) -> dict[str, object]:
    """Write `<stem>.png`, `<stem>.thumb.png` and `<stem>.json`; return the sidecar, which names the files."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = safe_name(panel.topic, panel.condition, panel.method, panel.image_id, panel.before.target, panel.rule)
    full = draw_panel(panel)
    full.save(folder / f"{stem}.png")
    small = full.resize(
        (THUMBNAIL_WIDTH, max(1, round(full.height * THUMBNAIL_WIDTH / full.width))), Image.Resampling.LANCZOS
    )
    small.save(folder / f"{stem}.thumb.png")
    entry = {**sidecar(panel), "file": f"{stem}.png", "thumbnail": f"{stem}.thumb.png"}
    _write(folder / f"{stem}.json", entry)
    return entry


def save_gallery(panels: Iterable[Panel], folder: Path) -> list[dict[str, object]]:
    """Write every panel and `index.json`, the list of all sidecars in the order given; return that list."""
    entries = [save_panel(panel, folder) for panel in panels]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "index.json", entries)
    return entries


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
