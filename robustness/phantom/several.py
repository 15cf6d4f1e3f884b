"""Several findings in one chest, as films come: composed in attenuation, and each with a mask of its own.

The first finding of `ORDER` acts on the whole lung, each further one on the air that those before it have left: what
drowned in fluid cannot be consolidated as well, and a lung that has collapsed holds less of everything. So no ray is
denser than solid lung, however many findings meet on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .anatomy import SIDES, Change
from .film import PhantomFilm, changed_depth, expose, optical_depth, seen
from .findings import Effect, Finding, change_of, draw_finding, effect_of
from .patient import Patient, stream
from .projection import Scene

SEVERAL = ("consolidation", "interstitial", "effusion", "pneumothorax", "mass")
"""The findings that one chest can show together, by the names that labels have."""
ORDER = ("pneumothorax", "effusion", "mass", "consolidation", "interstitial")
"""Which acts before which: what takes the room of the lung, then what lies in it, then what fills its air."""
_KINDS = {name: "lobar" if name == "consolidation" else name for name in SEVERAL}
_PLEURAL = ("effusion", "pneumothorax")
_COUNTS = (0.25, 0.25, 0.30, 0.20)  # shares of chests with no finding, one, two and three


@dataclass(frozen=True)
class SeveralFindings:
    """A film with what each finding does on it.

    Attributes:
        film: the film; its `lesion` is where any of the findings is.
        lesions: finding -> (H, W) bool, where its own change exceeds 10 % of its largest.
    """

    film: PhantomFilm
    lesions: dict[str, Tensor]


def drawn_names(*key: object) -> tuple[str, ...]:
    """Return none to three findings for a chest, in the order of `SEVERAL`, always the same for the same key."""
    rng = stream("several", *key)
    chosen = set(rng.choice(SEVERAL, int(rng.choice(len(_COUNTS), p=_COUNTS)), replace=False).tolist())
    return tuple(name for name in SEVERAL if name in chosen)


def draw_several(patient: Patient, names: Iterable[str]) -> tuple[Finding, ...]:
    """Draw the numbers of some findings for one film of a patient, in the order in which they act.

    Alone a finding is drawn as ever. Among others a pleural one takes at most half of its range, so that there is lung
    left to show the others, two pleural ones lie on both sides, and others on the side with more lung.

    Raises:
        ValueError: a name is none of `SEVERAL`, or is given twice.
    """
    given = list(names)
    if (unknown := [name for name in given if name not in SEVERAL]) or len(set(given)) < len(given):
        raise ValueError(f"{(unknown or given)[0]!r} is unknown or given twice; known: {', '.join(SEVERAL)}")
    found = {name: draw_finding(patient, _KINDS[name]) for name in ORDER if name in given}
    if len(found) > 1:
        found = {name: _smaller(one) if name in _PLEURAL else one for name, one in found.items()}
        pleural = [one.side for name, one in found.items() if name in _PLEURAL]
        free = next((side for side in SIDES if pleural and side != pleural[0]), "")
        for name in ("effusion",) * (len(pleural) == 2) or ("mass", "consolidation"):
            if free and name in found:
                found[name] = _moved(found[name], free)
    return tuple(found.values())


def render_several(
    patient: Patient, names: Sequence[str], view: str = "AP", size: int = 256, *, device: str | torch.device = "cpu"
) -> SeveralFindings:
    """Film a patient who has several findings, or none; one alone gives the film that `render` gives.

    Args:
        patient: from `sample_patient`.
        names: of `SEVERAL`, each once.
        view: one of `VIEWS`.
        size: pixels along one side of the square film.
        device: where to compute.

    Raises:
        ValueError: for an unknown finding or view, or impossible numbers.
    """
    found = draw_several(patient, names)
    parts: dict[str, Tensor] = {}

    def lesions(scene: Scene, fine: Tensor) -> Tensor:
        parts.update(changes(scene, found, fine))
        return sum(parts.values(), scene.blank())

    with torch.inference_mode():
        healthy = draw_finding(patient, "normal")
        depth = optical_depth(patient, healthy, view, size, device=device, change=_together(found), lesions=lesions)
        pixels = expose(depth.total, patient, view)
    masks = {name: seen(parts[_KINDS[name]].abs()) for name in SEVERAL if _KINDS[name] in parts}
    anywhere = torch.stack(list(masks.values())).any(0) if masks else torch.zeros_like(pixels, dtype=torch.bool)
    numbers = patient.numbers() | {"view": view, "size": size, "finding": "+".join(masks) or "normal"}
    whole = PhantomFilm(pixels.clone(), seen(depth.lung), seen(depth.heart), anywhere.clone(), numbers)
    return SeveralFindings(whole, masks)


def changes(scene: Scene, found: Iterable[Finding], fine: Tensor) -> dict[str, Tensor]:
    """Return kind -> (H, W) what each finding changes in optical depth, one acting on what those before it left.

    Args:
        scene: the chest, moved as all of them move it.
        found: each of another kind, in the order in which they act.
        fine: (H, W) optical depth of the fine structure of the lungs.
    """
    parts: dict[str, Tensor] = {}
    left = torch.ones_like(scene.blank())
    for one in found:
        effect = effect_of(scene, one)
        parts[one.name] = changed_depth(Effect(effect.depth * left, effect.vessels), fine * left)
        left = left if effect.vessels is None else left * effect.vessels
    return parts


def _smaller(found: Finding) -> Finding:
    return replace(found, extent=0.5 * found.extent)


def _moved(found: Finding, side: str) -> Finding:
    lobe = {"middle": "lingula", "lingula": "middle"}.get(found.lobe, found.lobe) if side != found.side else found.lobe
    return replace(found, side=side, lobe=lobe)


def _together(found: Iterable[Finding]) -> Change:
    """Return the sum of how findings move the chest."""
    changes = [change_of(one) for one in found]
    return Change(
        mediastinum=sum(one.mediastinum for one in changes),
        dome={side: sum(one.dome.get(side, 0.0) for one in changes) for side in SIDES},
        crowding={side: sum(one.crowding.get(side, 0.0) for one in changes) for side in SIDES},
    )
