"""What does a run cost? Passes of every network times what one takes here, bytes on disk and in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from suites.harness.claims import Claim
from suites.harness.endpoints import get
from suites.harness.endpoints.adversarial.runs import protocols
from suites.harness.endpoints.adversarial.runs.access import FILM
from suites.harness.endpoints.adversarial.runs.side_by_side import CLAIMED
from suites.harness.endpoints.adversarial.runs.side_by_side import LINES as ALL_LINES
from suites.harness.endpoints.adversarial.runs.universal import EPOCHS, LEVELS
from suites.harness.endpoints.explanations import attribution
from suites.harness.endpoints.explanations.method_comparison import CONTROLS, methods
from suites.harness.endpoints.explanations.method_comparison import FILMS as FEW
from suites.harness.evaluation import Evaluation
from suites.harness.plan.speed import Speed, cores
from suites.harness.predictions.ahead import AT_WORK, WAITING
from suites.harness.predictions.pieces import STORED_IMAGES, WORKING_IMAGES
from suites.harness.progress import STAGES, Stage, duration

Passes = tuple[float, float]
"""Forward passes, and backward passes, of one film."""
ENSEMBLE: Mapping[str, Passes] = {"quick": (82, 50), "standard": (870, 190), "full": (5000, 1000)}
COMPARED: Mapping[str, Passes] = {"quick": (200, 70), "standard": (900, 330), "full": (3900, 1000)}
"""Of the ensemble that verdicts rest on, and of the further lines of the side-by-side table together. Counted on the
demonstration subject (quick; the ensemble of standard); those of full from the steps of its attacks. A subject that
falls sooner takes fewer, one that stands takes more."""
LINES = sum(line not in CLAIMED for line in ALL_LINES)
"""Further lines of that table."""
CONTROL: Passes = (6, 0)
CHECKS = 8 * 60
"""Forward passes in which the trust in an attack is checked."""
MAPS: Mapping[str, Passes] = {"quick": (9, 9), "standard": (30, 30), "full": (60, 60)}
"""Of a film attributed by all methods of a profile, measured and checked together, by film attributed once."""
ROW_BYTES = 60
"""Bytes of an answer in the cache, compressed; of a map `4 * side ** 2`."""
LOOKED_AT = 64
"""Films that galleries and maps decode again, and that are kept where that is slow."""
PICTURE_SECONDS = 0.12
PICTURES: Mapping[str, int] = {"quick": 140, "standard": 260, "full": 500}
CURVES = 15
"""Seconds of drawing a picture, and pictures of a report for each subject; without its galleries, curves only."""
RUNTIME = 600 * 1024**2
"""Bytes of Python with torch and its libraries."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run will take.

    Attributes:
        film_conditions: films x conditions to predict, of all subjects; exact.
        films: that are decoded for it.
        film: film-conditions that take as long as one film takes to be decoded.
        units: stage -> units as `Progress` counts them, as far as they are known.
        seconds: stage -> about how long.
        timed: whether every network was timed; a service is not.
        kept: whether this very run has been finished before, so that the cache has all of it.
        disk: bytes that the cache will grow by at most; `memory`: bytes at the peak, beside the networks' own work.
    """

    film_conditions: int
    films: int
    film: float
    units: Mapping[Stage, int]
    seconds: Mapping[Stage, float]
    timed: bool
    kept: bool
    disk: int
    memory: int

    @property
    def whole(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    def lines(self) -> Iterator[str]:
        """Yield what is done and how long it will take, then disk and memory."""
        done = f"work: {self.film_conditions:,} films x conditions ({self.films:,} films)"
        if self.kept:
            yield f"{done}, all of it is in the cache: some seconds"
            return
        parts = ", ".join(f"{stage} {duration(took)}" for stage, took in self.seconds.items() if took >= 1)
        whole = f"about {duration(self.whole)}" if self.timed else "as long as the service takes to answer"
        yield (
            f"{done}, {whole} on this machine"
            f"{f' ({parts})' if parts and self.timed else ''}; less of what the cache has"
        )
        yield f"room: about {_size(self.disk)} of cache, {_size(self.memory)} of memory beside the network's own work"


def cost(evaluation: Evaluation, speed: Speed, *, report: bool, kept: bool = False) -> Cost:
    """Return what a run costs on a machine of this speed."""
    subjects, profile = evaluation.subjects, evaluation.profile
    cohorts = {"main": evaluation.cohort, **evaluation.probes}
    rows = {
        (subject.name, role): len(cohorts[role]) * len(evaluation.available(subject, conditions))
        for subject in subjects
        for role, conditions in evaluation.plan.items()
    }
    films = sum(len(cohorts[role]) for role in evaluation.plan)
    asked = [claim for claim in evaluation.running if get(claim.endpoint).about == "subject"]
    units: dict[Stage, int] = dict.fromkeys(STAGES, 0)
    seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
    changed = max((sum(rows[one.name, role] for role in evaluation.plan) for one in subjects), default=0)
    seconds["predicting"] = (films * speed.decoding + changed * speed.changing) / cores()
    units["predicting"] = sum(rows.values())
    units["measuring"] = len(subjects) * sum(get(claim.endpoint).stage == "measuring" for claim in asked)
    for subject in subjects:
        forward, backward = speed.forward.get(subject.name, 0.0), speed.backward.get(subject.name, 0.0)
        seconds["predicting"] += forward * sum(rows[subject.name, role] for role in evaluation.plan)
        if "checks" not in vars(evaluation):
            units["checking"] += len(evaluation.cohort)
            seconds["checking"] += len(evaluation.cohort) * (2 * forward + speed.decoding / cores())
        if subject.network is None:
            continue
        for number, (once, again) in _attacks(asked, len(evaluation.cohort), profile):
            units["attacking"] += number
            seconds["attacking"] += number * (once * forward + again * backward)
        number = _maps(asked, evaluation)
        once, again = MAPS[profile]
        units["explaining"] += number
        seconds["explaining"] += number * (once * forward + again * backward)
        if report:
            galleries = any(claim.endpoint == "map_goes_with_the_weights" for claim in asked)
            seconds["drawing"] += (PICTURES[profile] if galleries else CURVES) * PICTURE_SECONDS
    film = films * speed.decoding / cores()
    each = (seconds["predicting"] - film) / max(1, sum(rows.values()))
    film = film / max(1, films) / each if each > 0 else 0.0
    side = max((subject.preprocessing.size for subject in subjects), default=0)
    disk = sum(rows.values()) * ROW_BYTES + units["explaining"] * 4 * side**2 + min(films, LOOKED_AT) * speed.film
    peak = min(AT_WORK, cores() * speed.film * (STORED_IMAGES + WORKING_IMAGES))
    return Cost(
        film_conditions=sum(rows.values()),
        films=films,
        film=film,
        units=units,
        seconds=dict.fromkeys(STAGES, 0.0) if kept else seconds,
        timed=not any(rows.values()) or all(subject.name in speed.forward for subject in subjects),
        kept=kept,
        disk=disk,
        memory=RUNTIME + max(peak, speed.film * (STORED_IMAGES + WORKING_IMAGES)) + WAITING,
    )


def _attacks(claims: list[Claim], films: int, profile: str) -> Iterator[tuple[int, Passes]]:
    """Yield the films of every attack that these claims run, and passes of each film."""
    wanted = [get(claim.endpoint).asked(claim) for claim in claims if claim.endpoint == "robust_accuracy"]
    patterned = any(claim.endpoint == "universal_pattern" for claim in claims)
    whole = min(films, protocols.WHOLE_FILMS[profile])
    if wanted or patterned:
        number = min(films, protocols.FILMS[profile])
        once, again = ENSEMBLE[profile]
        yield number, (once + CHECKS / max(1, number), again)
    for threat in sorted({str(asked["threat"]) for asked in wanted}):
        number = whole if threat == FILM else min(films, protocols.FILMS[profile])
        yield number, CONTROL
        if threat == FILM:
            yield whole, ENSEMBLE[profile]
    if any(asked["side_by_side"] for asked in wanted):
        once, again = COMPARED[profile]
        yield LINES * min(films, protocols.COMPARED_FILMS[profile]), (once / LINES, again / LINES)
        if not any(asked["threat"] == FILM for asked in wanted):
            yield whole, ENSEMBLE[profile]
    if patterned:
        number = len(LEVELS) * min(films, protocols.PATTERN_FILMS[profile])
        yield number, (EPOCHS[profile] + 2.0, float(EPOCHS[profile]))


def _maps(claims: list[Claim], evaluation: Evaluation) -> int:
    """Return about how many maps one subject's claims ask for; the checks of every method among them."""
    profile, main = evaluation.profile, len(evaluation.cohort)
    films, checks = min(main, attribution.FILMS[profile]), min(main, attribution.CHECKED) * (attribution.STAGES + 1)
    number = 0
    for claim in claims:
        if claim.endpoint == "map_goes_with_the_weights":
            number += len({*methods(profile), *CONTROLS}) * (checks + min(main, FEW[profile]))
        elif claim.endpoint == "looks_at_lesion":
            number += films // 2 + checks  # of the ill films called right
        elif claim.endpoint == "looks_off_the_lung":
            number += films + checks
        elif get(claim.endpoint).stage == "explaining" and claim.endpoint != "border_flips":
            number += films
    return number


def _size(count: float) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{max(1, round(count / 1024**2))} MiB"
