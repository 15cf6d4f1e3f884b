"""Views, and what every ray of a view meets in the chest: the scene that findings and films are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .anatomy import DOME, SIDES, Change, Frame, carvers, frame, heart, lung
from .beam import ConeBeam, Window
from .composition import Cover, Interval, meet
from .geometry import Array, Bodies, join, positive, turn
from .materials import attenuation
from .patient import Patient

VIEWS = ("PA", "AP", "LATERAL")

# Distance from source to detector (cm), and the rows "film's right, beam, film's up" in the patient's coordinates.
# Frontal films are shown facing the viewer, laterals facing left.
_DISTANCE = {"PA": 180.0, "AP": 100.0, "LATERAL": 180.0}
_AXES = {
    "PA": np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]),
    "AP": np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "LATERAL": np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
}


def magnification(distance: float, object_to_detector: float) -> float:
    """Return SID / (SID - OID), how much larger the shadow is than the thing.

    Raises:
        ValueError: if the object does not lie between source and detector.
    """
    positive(distance=distance)
    if not 0.0 <= object_to_detector < distance:
        raise ValueError(
            f"object_to_detector={object_to_detector!r} must lie between 0 and the source distance {distance:g} cm"
        )
    return distance / (distance - object_to_detector)


def cone_beam(
    patient: Patient, view: str, size: int, *, distance: float | None = None, device: str | torch.device = "cpu"
) -> ConeBeam:
    """Return the rays of one view of a patient.

    Args:
        patient: who and how.
        view: one of `VIEWS`.
        size: pixels along one side.
        distance: from source to detector in cm; none means 100 (AP) or 180 (PA, LATERAL).
        device: where to compute.

    Raises:
        ValueError: for an unknown view, a size below 32 px, or a source inside or touching the patient.
    """
    if view not in VIEWS:
        raise ValueError(f"unknown view {view!r}; known: {', '.join(VIEWS)}")
    if isinstance(size, bool) or not isinstance(size, int) or not 32 <= size <= 4096:
        raise ValueError(f"size={size!r} must be a whole number of pixels between 32 and 4096")
    sid = _DISTANCE[view] if distance is None else float(distance)
    half = patient.half_width if view == "LATERAL" else patient.half_depth
    middle = sid - (half + 1.0)
    nearest = 1.6 * max(patient.half_width, patient.half_depth)
    if not (np.isfinite(sid) and middle > nearest):
        raise ValueError(
            f"distance={sid!r} puts the source inside the body or against it; "
            f"it must be above {nearest + half + 1.0:.1f} cm"
        )
    e = patient.exposure
    across = 2.5 * patient.half_depth if view == "LATERAL" else 2.04 * patient.half_width
    field = e.zoom * max(across, 1.40 * patient.lung_height)
    rotated = turn("y", e.roll) @ turn("x", e.tilt) @ turn("z", e.rotation)
    up = 0.02 * patient.lung_height
    return ConeBeam(
        size, field, middle, _AXES[view] @ rotated, (e.shift_right * field, up + e.shift_up * field), device
    )


@dataclass(frozen=True)
class Tissue:
    """Attenuation (1/cm) of the tissues at the film's energy."""

    soft: float
    fat: float
    blood: float
    lung: float
    consolidated: float
    water: float
    air: float
    cortical: float

    @classmethod
    def at(cls, energy_kev: float) -> Tissue:
        """Return all coefficients at an effective energy in keV."""
        names = {"fat": "adipose"}
        return cls(**{n: attenuation(names.get(n, n), energy_kev) for n in cls.__dataclass_fields__})


Field = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From x, y, z (cm) to a length (cm) that grows by about 1 cm for each cm across its level surfaces."""
Border = tuple[Field, float, float]
"""A level surface of a field: field, level (what is below is inside), and the width (cm) over which it fades."""
Region = Sequence[Border]
"""The common part of what lies inside borders."""
_NO_LUNG = 1e-3  # cm
_RAYS_AT_ONCE = 8192  # keeps what is in work within a processor's cache


def ramp(place: Tensor) -> Tensor:
    """Return 0 below -1/2, 1 above 1/2, and a smooth rise between; changes `place`."""
    t = place.add_(0.5).clamp_(0.0, 1.0)
    return t.square().mul_(3.0 - 2.0 * t)


def _with_steps(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (n, ...) along rays, and by how much they change from one to the next."""
    steps = torch.empty_like(values)
    torch.sub(values[2:], values[:-2], out=steps[1:-1]).mul_(0.5)
    torch.sub(values[1], values[0], out=steps[0])
    torch.sub(values[-1], values[-2], out=steps[-1])
    return values, steps.abs_()


class LungRays:
    """One lung as the rays see it: where they run in it, and what carves it."""

    def __init__(self, beam: ConeBeam, bodies: Bodies, carving: Bodies, floor: float) -> None:
        top, bottom, left, right = beam.windows(bodies[:1], 2, floor)[0].tolist()
        if top >= bottom or left >= right:
            top, bottom, left, right = 0, 1, 0, 1
        self.beam = beam
        self.bodies = bodies
        self.carving = carving
        self.window: Window = (slice(top, bottom), slice(left, right))
        self.oblique = beam.oblique[self.window]
        enter, leave = beam.intervals(bodies, self.window)
        first = enter.amax(0)
        self.interval: Interval = (first, torch.maximum(leave.amin(0), first))
        self.cover = Cover(*beam.intervals(carving, self.window))
        self.free = self.cover.free(self.interval) * self.oblique

    def within(self, bodies: Bodies) -> Tensor:
        """Return (h, w): cm of lung inside a body, the mean over bodies, computed only where they can be seen."""
        boxes = self.beam.windows(bodies, 2)
        (top, _, left, _), (_, bottom, _, right) = boxes.min(0).tolist(), boxes.max(0).tolist()
        rows, columns = self.window
        here = (
            slice(max(top, rows.start), min(bottom, rows.stop)),
            slice(max(left, columns.start), min(right, columns.stop)),
        )
        total = torch.zeros_like(self.free)
        if here[0].start >= here[0].stop or here[1].start >= here[1].stop:
            return total
        part = (slice(here[0].start - rows.start, here[0].stop - rows.start),
                slice(here[1].start - columns.start, here[1].stop - columns.start))  # fmt: skip
        inside = meet(self.beam.intervals(bodies, here), (self.interval[0][part], self.interval[1][part]))
        total[part] = self.cover.part(part).free(inside).mean(0) * self.oblique[part]
        return total

    def filled(self, bodies: Bodies) -> Tensor:
        """Return (h, w): cm of lung inside the union of convex bodies."""
        both = Cover()
        both.enter, both.leave = list(self.cover.enter), list(self.cover.leave)
        enter, leave = self.beam.intervals(bodies, self.window)
        for first, last in zip(enter, leave, strict=True):
            both.add(*meet((first, last), self.interval))
        return (self.free - both.free(self.interval) * self.oblique).clamp_(min=0.0)

    def share(self, *regions: Region, samples: int = 9) -> Tensor:
        """Return (h, w): which share of the lung on every ray lies in disjoint regions; 0 where there is no lung.

        A region is the common part of half-spaces with curved borders. Each border is softened by its own width and by
        the length of a step along the ray, so that the sum over a few steps is the integral and shows no stairs.
        """
        axes = [[part[self.window] for part in self.beam.plane(axis)] for axis in np.eye(3)]
        total = torch.zeros_like(self.free)
        for part in self._strips():
            depth = self.cover.part(part).gaps((self.interval[0][part], self.interval[1][part]), samples)
            x, y, z = (torch.addcmul(start[part], depth, rate[part]) for start, rate in axes)
            fields = {field: _with_steps(field(x, y, z)) for region in regions for field, _, _ in region}
            for region in regions:
                inside = torch.ones_like(depth)
                for field, level, width in region:
                    value, step = fields[field]
                    inside *= ramp((level - value).div_(step + width))
                total[part] += inside.mean(0)
        # Rays of a strip that meet no lung have no place to look at, and whatever comes of that is left out.
        return total.clamp_(max=1.0).masked_fill_(self.free <= _NO_LUNG, 0.0)

    def _strips(self) -> Iterator[Window]:
        """Yield upright strips of the window, from the first to the last row that meets lung, as wide as work fits."""
        seen = (self.free > _NO_LUNG).cpu().numpy()
        columns = np.flatnonzero(seen.any(0))
        wide = max(1, _RAYS_AT_ONCE // len(seen))
        for left in range(int(columns[0]), int(columns[-1]) + 1, wide) if len(columns) else ():
            rows = np.flatnonzero(seen[:, left : left + wide].any(1))
            if len(rows):
                yield slice(int(rows[0]), int(rows[-1]) + 1), slice(left, min(left + wide, int(columns[-1]) + 1))

    def holds(self, points: Array) -> NDArray[np.bool_]:
        """Return for points (n, 3) whether each lies in lung tissue."""
        inside: NDArray[np.bool_] = np.asarray(self.bodies.hold(points).all(0))
        inside[inside] = ~self.carving.hold(points[inside]).any(0)
        return inside

    def paste(self, values: Tensor, into: Tensor) -> None:
        """Add a window's values (h, w) to a whole film (H, W)."""
        into[self.window].add_(values)


class Scene:
    """A patient, changed by a finding, in front of one beam."""

    def __init__(self, patient: Patient, beam: ConeBeam, view: str, change: Change) -> None:
        self.patient = patient
        self.beam = beam
        self.view = view
        self.change = change
        self.frame: Frame = frame(patient, change)
        self.tissue = Tissue.at(patient.exposure.energy_kev)
        self.heart = heart(self.frame, patient)
        self.lungs = {
            side: LungRays(
                beam,
                lung(self.frame, patient, side),
                join(self.heart, carvers(self.frame, patient, side)),
                self.frame.dome[side] - DOME * self.frame.height,
            )
            for side in SIDES
        }

    def blank(self) -> Tensor:
        """Return a film (H, W) of zeros."""
        return self.beam.blank()

    def lung_path(self) -> Tensor:
        """Return (H, W): cm of lung on every ray."""
        total = self.blank()
        for rays in self.lungs.values():
            rays.paste(rays.free, total)
        return total

    def heart_path(self) -> Tensor:
        """Return (H, W): cm of heart on every ray."""
        return self.beam.union(self.heart, tiles=1)
