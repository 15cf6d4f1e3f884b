"""From optical depth to a film: scatter, noise, blur, edge enhancement, display window, collimation, marker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .anatomy import SIDES, Change, airways, gas, trunk
from .findings import Effect, Finding, change_of, draw_finding, effect_of
from .geometry import ellipsoid, join
from .materials import bone
from .opacities import hilum
from .patient import Patient, stream
from .projection import Scene, cone_beam
from .skeleton import bones, ribs
from .texture import broad, draw, grain, smooth, tree

_SKIN = 0.12  # optical depth above which a ray counts as having met the patient
VISIBLE = 0.10  # a thing is on the mask where its path or optical depth exceeds this share of its largest value


@dataclass(frozen=True)
class PhantomFilm:
    """A simulated film with everything known about it.

    Attributes:
        film: (H, W) float32 in [0, 1], white is dense.
        lung: (H, W) bool, rays with over 10 % of the longest path in lung tissue (behind heart and dome too).
        heart: (H, W) bool, the same for the heart.
        lesion: (H, W) bool, where the finding changes optical depth by more than 10 % of its largest change.
        parameters: every number of patient, exposure and finding, by name.
    """

    film: Tensor
    lung: Tensor
    heart: Tensor
    lesion: Tensor
    parameters: dict[str, float | str]


@dataclass(frozen=True)
class Depth:
    """Optical depth (H, W) of a patient: total, what the finding changed in it; cm of lung and heart on each ray."""

    total: Tensor
    lesion: Tensor
    lung: Tensor
    heart: Tensor


Lesions = Callable[[Scene, Tensor], Tensor]


def render(
    patient: Patient, finding: str | Finding = "normal", view: str = "AP", size: int = 256,
    *, device: str | torch.device = "cpu",
) -> PhantomFilm:  # fmt: skip
    """Film a patient. The same arguments give the same film, alone or among others.

    Args:
        patient: from `sample_patient`.
        finding: a name from `FINDINGS` (side, extent and density are then drawn for this film) or a `Finding`.
        view: one of `VIEWS`.
        size: pixels along one side of the square film, 32 to 4096.
        device: where to compute; random numbers are drawn on the CPU, so films agree to rounding.

    Raises:
        ValueError: for an unknown finding or view (naming the known ones), or impossible numbers.
    """
    found = draw_finding(patient, finding) if isinstance(finding, str) else finding
    with torch.inference_mode():
        depth = optical_depth(patient, found, view, size, device=device)
        film = expose(depth.total, patient, view)
        change = depth.lesion.abs()
    numbers = patient.numbers() | {"view": view, "size": size}
    numbers |= {("finding" if k == "name" else f"finding_{k}"): v for k, v in asdict(found).items()}
    # Cloning outside inference mode gives ordinary tensors that attacks can differentiate through.
    return PhantomFilm(film.clone(), seen(depth.lung), seen(depth.heart), seen(change), numbers)


def seen(amount: Tensor) -> Tensor:
    """Return (H, W) bool where a path or an optical depth exceeds a tenth of its largest value, if it has any."""
    largest = float(amount.max())
    return (amount > VISIBLE * largest).clone() if largest > 1e-6 else torch.zeros_like(amount, dtype=torch.bool)


def optical_depth(
    patient: Patient, found: Finding, view: str, size: int, *, device: str | torch.device = "cpu",
    without: bool = False, change: Change | None = None, lesions: Lesions | None = None,
) -> Depth:  # fmt: skip
    """Integrate attenuation along every ray.

    Args:
        patient: who and how.
        found: the finding.
        view: one of `VIEWS`.
        size: pixels along one side.
        device: where to compute.
        without: leave the finding's own opacity out but keep the chest as the finding has moved it.
        change: how the chest is moved; none means as the finding does.
        lesions: what changes the optical depth in place of the finding, from the scene and the fine structure of its
            lungs (H, W).
    """
    beam = cone_beam(patient, view, size, device=device)
    scene = Scene(patient, beam, view, change_of(found) if change is None else change)
    mu, f = scene.tissue, scene.frame
    arms_up = view == "LATERAL"
    outer = trunk(f, patient, arms_up=arms_up)
    total = beam.union(outer).mul_(mu.soft)
    middle, reach = outer.centres[0], outer.reaches[0]
    enter, leave = beam.intervals(ellipsoid(np.stack([middle, middle]), np.stack([reach, reach - patient.fat])))
    chord = leave - enter
    total.add_((chord[0] - chord[1]).mul_(beam.oblique), alpha=mu.fat - mu.soft)

    lung = scene.lung_path()
    total.add_(lung, alpha=mu.lung - mu.soft)
    heart = scene.heart_path()
    total.add_(heart, alpha=mu.blood - mu.soft)
    mineral = bone(patient.mineral, patient.exposure.energy_kev) - mu.soft
    total.add_(ribs(beam, f, patient), alpha=1.9 * mineral)
    hard, shares = bones(f, patient, arms_up=arms_up)
    tubes, bubbles = airways(f, patient), gas(f, patient)
    hollow = tubes if bubbles is None else join(tubes, bubbles)
    weights = np.concatenate([shares * mineral, np.full(len(hollow), mu.air - mu.soft)])
    total += beam.accumulate(join(hard, hollow), weights)
    fine = _vessels(scene) * (mu.blood - mu.lung) + _parenchyma(scene, lung)

    if lesions is not None:
        lesion = lesions(scene, fine)
    else:
        lesion = changed_depth(Effect(scene.blank()) if without else effect_of(scene, found), fine)
    total += fine
    total += lesion
    return Depth(total.clamp_(min=0.0), lesion, lung, heart)


def changed_depth(effect: Effect, fine: Tensor) -> Tensor:
    """Return (H, W) what an effect changes in optical depth, with the fine structure (H, W) of the lungs it hides."""
    return effect.depth if effect.vessels is None else effect.depth + fine * (effect.vessels - 1.0)


def _vessels(scene: Scene) -> Tensor:
    """Return cm of blood vessel within lung on every ray (H, W)."""
    f, p = scene.frame, scene.patient
    rng = stream(p.identity, p.seed, "vessels")
    angle = np.linspace(-1.9, 1.35, 13) + rng.normal(0.0, 0.12, (2, 13))
    heading = np.stack([np.cos(angle), rng.normal(0.0, 0.55, (2, 13)), np.sin(angle)], 2)
    # The two pulmonary arteries leave the hilum as thick stems, downwards and upwards.
    stems = np.array([[0.5, 0.1, -1.0], [1.0, 0.1, 0.5]])
    headings = np.concatenate(
        [np.concatenate([heading[i], stems]) * [s, 1.0, 1.0] for i, s in enumerate(SIDES.values())]
    )
    roots = np.repeat(np.stack([hilum(f, side) for side in SIDES]), 15, axis=0)
    radius = 0.022 * p.vascularity**0.5 * f.width * np.tile([1.0] * 13 + [1.7] * 2, 2)
    lines = tree(
        rng,
        roots,
        headings,
        length=0.26 * f.width,
        radius=radius,
        step=0.9 * scene.beam.pixel,
        generations=5,
        spread=0.55,
    )
    inside = scene.lungs["right"].holds(lines.places) | scene.lungs["left"].holds(lines.places)
    return draw(scene.beam, lines.keep(inside))


def _parenchyma(scene: Scene, lung: Tensor) -> Tensor:
    """Return the unevenness of lung tissue in optical depth (H, W)."""
    p, beam = scene.patient, scene.beam
    fine = grain(stream(p.identity, p.seed, "grain", scene.view), beam.size, beam.device, (12, 28, 64, 128), 0.35)
    return fine * lung * (0.035 * scene.tissue.lung)


def detect(depth: Tensor, patient: Patient, view: str) -> Tensor:
    """Return the detector's signal (H, W), 1 where nothing is in the beam, for an optical depth (H, W).

    Scatter follows what was taken out of the beam, primary times depth (Ohnesorge 1999), spread over a sixth of the
    field. Noise has the variance of counting photons: `exposure.photons` per pixel (at 256 px) where the signal is the
    patient's median.
    """
    e, size = patient.exposure, depth.shape[0]
    per_pixel = size / 256.0
    primary = torch.exp(-depth)
    signal = primary + e.scatter * broad(primary * depth, 0.16 * size)
    few = (slice(None, None, 4), slice(None, None, 4))
    inside = depth[few] > _SKIN
    usual = signal[few][inside].median() if bool(inside.any()) else signal.median()
    rng = stream(patient.identity, patient.seed, patient.film, view, "noise")
    chance = torch.from_numpy(rng.standard_normal((size, size), np.float32)).to(depth.device)
    signal = signal + torch.sqrt(signal * usual / (e.photons / per_pixel**2)) * chance
    return smooth(signal.clamp_(min=1e-7), e.blur * per_pixel)


def expose(depth: Tensor, patient: Patient, view: str) -> Tensor:
    """Turn optical depth (H, W) into a displayed film in [0, 1]."""
    return _display(-torch.log(detect(depth, patient, view)), depth > _SKIN, patient, view)


def _display(t: Tensor, inside: Tensor, patient: Patient, view: str) -> Tensor:
    """Enhance edges, window between percentiles of the patient, collimate, and lay the side marker on."""
    e, size = patient.exposure, t.shape[0]
    t = t + e.detail * (t - smooth(t, 1.1 * size / 256)) + 0.25 * e.detail * (t - broad(t, 6.0 * size / 256))
    open_field = _collimator(size, patient, t.device)
    step = max(1, size // 96)
    sample = t[::step, ::step][(inside & (open_field > 0.5))[::step, ::step]]
    if sample.numel() < 16:
        sample = t.flatten()
    low, high = torch.quantile(sample, torch.tensor([e.window_low / 100, e.window_high / 100], device=t.device))
    low = torch.clamp(low, min=0.25)  # edge enhancement drives the skin line below zero
    span = torch.clamp(high - low, min=1e-3)
    level = ((t - low) / span).clamp_(-0.5, 1.0)
    level = torch.sign(level) * level.abs() ** e.gamma
    level = torch.minimum(level, 6.0 * level)  # the toe: what is thinner than the patient's edge soon turns black
    film = (e.black + (e.white - e.black) * level).clamp_(0.0, 1.0)
    _mark(film, patient, view)
    return film.mul_(open_field).clamp_(0.0, 1.0)


def _collimator(size: int, patient: Patient, device: str | torch.device) -> Tensor:
    e = patient.exposure
    place = (torch.arange(size, device=device) + 0.5) / size
    soft = 0.006
    across = torch.sigmoid((place - e.collimation_left) / soft * 2) * torch.sigmoid(
        (1 - e.collimation_right - place) / soft * 2
    )
    down = torch.sigmoid((place - e.collimation_top) / soft * 2) * torch.sigmoid(
        (1 - e.collimation_bottom - place) / soft * 2
    )
    across = across if e.collimation_left or e.collimation_right else torch.ones_like(across)
    down = down if e.collimation_top or e.collimation_bottom else torch.ones_like(down)
    return down[:, None] * across[None, :]


_LETTERS = {
    "L": ("X....", "X....", "X....", "X....", "X....", "X....", "XXXXX"),
    "R": ("XXXX.", "X...X", "X...X", "XXXX.", "X.X..", "X..X.", "X...X"),
}


def _mark(film: Tensor, patient: Patient, view: str) -> None:
    """Write the lead marker at the patient's side onto the film, in place."""
    e, size = patient.exposure, film.shape[0]
    if not e.marker:
        return
    tall = max(5, round(e.marker_size * size))
    wide = max(4, round(tall * 0.72))
    glyph = torch.tensor([[float(c == "X") for c in line] for line in _LETTERS[e.marker]], device=film.device)
    glyph = F.interpolate(glyph[None, None], size=(tall, wide), mode="bilinear", align_corners=False)[0, 0]
    margin = 0.025
    left_edge, right_edge = e.collimation_left + margin, 1 - e.collimation_right - margin
    on_left = e.marker == "R" or view == "LATERAL"
    column = round(left_edge * size) if on_left else round(right_edge * size) - wide
    row = round((1 - e.marker_up) * size)
    patch = film[row : row + tall, column : column + wide]
    patch.add_(glyph[: patch.shape[0], : patch.shape[1]] * (0.97 - patch).clamp(min=0.0))
