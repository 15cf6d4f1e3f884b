"""What does each picture of a gallery show? Panels of picked films under a condition, and the same in plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from explain.attribution import AttributionMap
from explain.panel import DISPLAY_BLUR, Panel, Sanity, View
from explain.regions import Mask
from explain.selection import Pick


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
