"""What does a run cost? Passes of every network times what one takes here, bytes on disk and in memory.

What the cache has is left out of the seconds, and of the units but for predictions, which are all counted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from suites.harness.claims import Claim
from suites.harness.endpoints import get
from suites.harness.endpoints.adversarial.runs import protocols
from suites.harness.endpoints.adversarial.runs.access import FILM
from suites.harness.endpoints.adversarial.runs.effort import CHECKS, CONTROL, ENSEMBLE, TABLE, TABLE_LINES, Passes
from suites.harness.endpoints.adversarial.runs.job import BATCH
from suites.harness.endpoints.adversarial.runs.universal import EPOCHS, LEVELS
from suites.harness.endpoints.explanations import attribution, saliency_work
from suites.harness.endpoints.explanations.method_comparison import CONTROLS, methods
from suites.harness.endpoints.explanations.method_comparison import FILMS as FEW
from suites.harness.evaluation import Evaluation
from suites.harness.plan.speed import Speed, cores
from suites.harness.plan.stored import Stored
from suites.harness.predictions.ahead import AT_WORK, WAITING
from suites.harness.predictions.blocks import FILMS
from suites.harness.predictions.opened import HELD
from suites.harness.predictions.per_finding import whole_of
from suites.harness.predictions.pieces import needed
from suites.harness.predictions.ray_cluster import told_of_cluster
from suites.harness.progress import STAGES, Stage, duration

MAPS: Mapping[str, Passes] = {"quick": (9, 9), "standard": (30, 30), "full": (60, 60)}
"""Of a film attributed by all methods of a profile, measured and checked together, by film attributed once."""
ROW_BYTES = 60
"""Bytes of an answer in the cache, compressed; of a map `4 * side ** 2`."""
LOOKED_AT = 64
"""Films that galleries and maps decode again, and that are kept where that is slow."""
PICTURE_SECONDS = 0.04
PICTURES: Mapping[str, int] = {"quick": 140, "standard": 260, "full": 500}
CURVES = 15
"""Seconds of drawing a picture, and pictures of a report for each subject; without its galleries, curves only."""
MEASURING = 0.05
"""Seconds of resampling that a claim takes where its result is not kept."""
PAGE_SECONDS = 2.5
"""Seconds of writing a report whose pictures are all there."""
WORKERS = 1, 8, 64
WORTH_SPREADING = 3600
"""Seconds of work for workers from which the plan says what several would make of it."""
RUNTIME = 900 * 1024**2
"""Bytes of Python with torch and its libraries."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run will take.

    Attributes:
        film_conditions: films x conditions to predict, of all subjects; exact.
        films: that are decoded for it.
        film: film-conditions that take as long as one film takes to be decoded.
        passes: of the attacks: one film costs more than another, by what it is attacked with.
        units: stage -> units as `Progress` counts them, as far as they are known.
        seconds: stage -> about how long.
        timed: whether every network was timed; a service is not.
        stored: of the film-conditions, those that the cache has already.
        disk: bytes that the cache will grow by at most; `memory`: bytes at the peak, beside the networks' own work.
        blocks: of films that are predicted together; `shards`: bytes of the files that all of them are kept in.
        spread: stage -> seconds of everything that workers share, and the blocks it is cut in.
        workers: processes of this machine that the run has, 0 where a cluster answers; `gpus` that they have among
            them, 0 on a CPU; `cores` that they share; `cluster`: which it is, empty where none answers.
    """

    film_conditions: int
    films: int
    film: float
    passes: float
    units: Mapping[Stage, int]
    seconds: Mapping[Stage, float]
    timed: bool
    stored: int
    disk: int
    memory: int
    blocks: int = 0
    shards: int = 0
    spread: Mapping[Stage, Sequence[tuple[float, int]]] = field(default_factory=dict)
    workers: int = 1
    gpus: int = 0
    cores: int = 1
    cluster: str = ""

    def with_workers(self, workers: int) -> float:
        """Return the seconds of all stages with so many workers, each with a GPU or machine like this.

        A worker has whole blocks, so the last round may leave some idle; what is not cut in blocks is not spread.
        """
        return sum(self._spread(stage, workers, workers, 1.0) for stage in self.seconds)

    @property
    def taking(self) -> Mapping[Stage, float]:
        """Seconds of every stage with the workers of this run.

        Workers that share the cores are at most as fast together as one process that uses all of them well.
        """
        count = max(1, self.workers)
        own = max(1, self.cores // count)
        slower = 1.0 if self.gpus else self.cores / own
        return {stage: self._spread(stage, count, max(1, self.gpus), slower) for stage in self.seconds}

    def _spread(self, stage: Stage, workers: int, places: int, slower: float) -> float:
        """Return the seconds of a stage.

        Args:
            stage: of the run.
            workers: that take its blocks.
            places: GPUs or machines that they share.
            slower: how many times as long a block takes of one of them alone as of a process that has one of these.
        """
        jobs = self.spread.get(stage, ())
        alone = self.seconds[stage] - sum(seconds for seconds, _ in jobs)
        return alone + sum(
            seconds * -(-blocks // workers) / blocks * max(slower, min(workers, blocks) / places)
            for seconds, blocks in jobs
        )

    @property
    def whole(self) -> float:
        """Seconds of all stages, of one process."""
        return sum(self.seconds.values())

    def lines(self) -> Iterator[str]:
        """Yield what is done and how long it will take, then disk and memory."""
        done = f"work: {self.film_conditions:,} films x conditions ({self.films:,} films)"
        if self.stored:
            done += f", {self.stored:,} of {self.film_conditions:,} predictions are already stored"
        taking = self.taking
        parts = ", ".join(f"{stage} {duration(took)}" for stage, took in taking.items() if took >= 1)
        whole = f"about {duration(sum(taking.values()))}" if self.timed else "as long as the service takes to answer"
        yield f"{done}, {whole} on this machine{self._told_of_workers()}{f' ({parts})' if parts and self.timed else ''}"
        spread = sum(seconds for jobs in self.spread.values() for seconds, _ in jobs)
        if self.timed and (spread >= WORTH_SPREADING or not self.workers):
            several = ", ".join(f"{duration(self.with_workers(count))} on {count}" for count in WORKERS)
            shards = f"{self.blocks:,} blocks, {_size(self.shards)} of shards"
            by = f"; by {self.cluster}" if self.cluster else ""
            yield f"spread: {shards}; about {several} GPUs or machines like this{by}"
        yield f"room: about {_size(self.disk)} of cache, {_size(self.memory)} of memory beside the network's own work"

    def _told_of_workers(self) -> str:
        """Return who does it, where that is not one process."""
        if not self.workers:
            return " alone"
        if self.workers == 1 or not self.timed:
            return ""
        on = _several(self.gpus, "GPU") if self.gpus else _several(self.cores, "core")
        return f" with {self.workers} workers on {on}"


def cost(evaluation: Evaluation, speed: Speed, stored: Stored, *, report: bool) -> Cost:
    """Return what a run costs on a machine of this speed, with a cache that has that much of it."""
    subjects, profile = evaluation.subjects, evaluation.profile
    cohorts = {"main": evaluation.cohort, **evaluation.probes}
    rows = {
        (subject.name, role): len(cohorts[role]) * len(evaluation.available(subject, conditions))
        for subject in evaluation.wholes
        for role, conditions in evaluation.plan.items()
    }
    films = sum(len(cohorts[role]) for role in evaluation.plan)
    asked = [claim for claim in evaluation.running if get(claim.endpoint).about == "subject"]
    old = [claim for claim in asked if claim.id in stored.worked]
    new = [claim for claim in asked if claim.id not in stored.worked]
    units, passes = dict[Stage, int].fromkeys(STAGES, 0), 0.0
    seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
    jobs: dict[Stage, list[tuple[float, int]]] = {"attacking": [], "explaining": []}
    decoded = sum(number * speed.decoding.get(role, 0.0) for role, number in stored.films.items()) / cores()
    seconds["predicting"] = decoded + stored.changes * speed.changing / cores()
    units["predicting"] = sum(rows.values())
    measuring = [claim for claim in asked if get(claim.endpoint).stage == "measuring"]
    units["measuring"] = len(subjects) * len(measuring)
    seconds["measuring"] = len(subjects) * MEASURING * sum(claim.id not in stored.measured for claim in asked)
    for whole in evaluation.wholes:
        forward = speed.forward.get(whole.name, 0.0)
        seconds["predicting"] += forward * stored.left[whole.name]
        if "checks" not in vars(evaluation):
            units["checking"] += len(evaluation.cohort)
            seconds["checking"] += len(evaluation.cohort) * (2 * forward + speed.decoding.get("main", 0.0))
    for subject in subjects:
        name = whole_of(subject).name
        forward, backward = speed.forward.get(name, 0.0), speed.backward.get(name, 0.0)
        if subject.network is None:
            continue
        made, known = (dict(_attacks(claims, len(evaluation.cohort), profile)) for claims in (asked, old))
        for what in made.keys() - known.keys():
            number, (once, again) = made[what]
            units["attacking"] += number
            passes += number * (once + again)
            parts = len(LEVELS) if what == "pattern" else -(-number // BATCH[subject.differentiable])
            jobs["attacking"].append((number * (once * forward + again * backward), parts))
        once, again = MAPS[profile]
        for number, parts in _maps(new, evaluation):
            units["explaining"] += number
            jobs["explaining"].append((number * (once * forward + again * backward), parts))
        if report:
            pictured = [one for one in asked if evaluation.is_selected(one) and one.id not in stored.drawn]
            galleries = any(claim.endpoint == "map_goes_with_the_weights" for claim in pictured)
            pictures = PICTURES[profile] if galleries else min(CURVES, len(pictured))
            seconds["drawing"] += pictures * PICTURE_SECONDS
    seconds |= {stage: sum(took for took, _ in own) for stage, own in jobs.items()}
    seconds["drawing"] += PAGE_SECONDS if report else 0.0
    each = (seconds["predicting"] - decoded) / max(1, sum(stored.left.values()))
    film = decoded / max(1, sum(stored.films.values())) / each if each > 0 else 0.0
    side = max((subject.preprocessing.size for subject in subjects), default=0)
    disk = sum(stored.left.values()) * ROW_BYTES + units["explaining"] * 4 * side**2
    disk += min(sum(stored.films.values()), LOOKED_AT) * speed.film
    one = needed(speed.shape, evaluation.working) if speed.shape else 0
    # Of attacks on the whole film about as much, of one film or a few small ones.
    peak = max(one, min(AT_WORK, cores() * one)) + WAITING + min(HELD, len(evaluation.cohort) * speed.film)
    blocks = sum(-(-len(cohorts[role]) // FILMS) for role in evaluation.plan)
    return Cost(
        film_conditions=sum(rows.values()),
        films=films,
        film=film,
        passes=passes,
        units=units,
        seconds=seconds,
        timed=all(subject.name in speed.forward for subject in evaluation.wholes if stored.left[subject.name]),
        stored=stored.predictions,
        disk=disk,
        memory=RUNTIME + peak,
        blocks=blocks,
        shards=sum(rows.values()) * ROW_BYTES,
        spread={"predicting": [(seconds["predicting"], blocks)] if blocks else [], **jobs},
        workers=evaluation.workers if isinstance(evaluation.workers, int) else 0,
        gpus=_gpus(evaluation),
        cores=cores(),
        cluster=told_of_cluster(evaluation.workers) if isinstance(evaluation.workers, str) else "",
    )


def _attacks(claims: Sequence[Claim], films: int, profile: str) -> Iterator[tuple[Hashable, tuple[int, Passes]]]:
    """Yield every attack that these claims run: what tells it from others, its films, and passes of each film.

    The whole ensemble on whole films may come twice, of two claims; it is kept and counted once.
    """
    wanted = [get(claim.endpoint).asked(claim) for claim in claims if claim.endpoint == "robust_accuracy"]
    patterned = any(claim.endpoint == "universal_pattern" for claim in claims)
    whole = min(films, protocols.WHOLE_FILMS[profile])
    if wanted or patterned:
        number = min(films, protocols.FILMS[profile])
        once, again = ENSEMBLE[profile]
        yield "ensemble", (number, (once + CHECKS / max(1, number), again))
    for threat in sorted({str(asked["threat"]) for asked in wanted}):
        number = whole if threat == FILM else min(films, protocols.FILMS[profile])
        yield ("control", threat), (number, CONTROL)
        if threat == FILM:
            yield "whole films", (whole, ENSEMBLE[profile])
    if any(asked["side_by_side"] for asked in wanted):
        once, again = TABLE[profile]
        number = TABLE_LINES * min(films, protocols.COMPARED_FILMS[profile])
        yield "side by side", (number, (once / TABLE_LINES, again / TABLE_LINES))
        yield "whole films", (whole, ENSEMBLE[profile])
    if patterned:
        number = len(LEVELS) * min(films, protocols.PATTERN_FILMS[profile])
        yield "pattern", (number, (EPOCHS[profile] + 2.0, float(EPOCHS[profile])))


def _maps(claims: Sequence[Claim], evaluation: Evaluation) -> Iterator[tuple[int, int]]:
    """Yield about how many maps each of one subject's claims asks for, checks of methods among them, and the blocks."""
    profile, main = evaluation.profile, len(evaluation.cohort)
    films, checks = min(main, attribution.FILMS[profile]), min(main, attribution.CHECKED) * (saliency_work.STAGES + 1)
    cut = -(-films // saliency_work.FILMS)
    for claim in claims:
        if claim.endpoint == "map_goes_with_the_weights":
            asked = len({*methods(profile), *CONTROLS})  # of each method all films together
            yield asked * (checks + min(main, FEW[profile])), asked
        elif claim.endpoint == "looks_at_lesion":
            yield films // 2 + checks, -(-cut // 2)  # of the ill films called right
        elif claim.endpoint == "looks_off_the_lung":
            yield films + checks, cut
        elif get(claim.endpoint).stage == "explaining" and claim.endpoint != "border_flips":
            yield films, cut


def _gpus(evaluation: Evaluation) -> int:
    """Return the GPUs that the workers of a run have among them."""
    on_gpus = any(torch.device(subject.device).type == "cuda" for subject in evaluation.wholes)
    return torch.cuda.device_count() if on_gpus else 0


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _size(count: float) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{max(1, round(count / 1024**2))} MiB"
