"""Adversarial attacks on a subject, film by film, kept in the cache as they finish."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from robustness.attacks import (
    BUDGETS,
    PROFILES,
    AtBudget,
    Attacked,
    AttackResult,
    ThreatModel,
    alone,
    attack_each,
    gather,
)
from robustness.attacks.profiles import Profile
from robustness.attacks.sanity import SanityCheck, sanity_checks
from suites.harness.cache import Shards
from suites.harness.errors import NotEvaluable
from suites.harness.evidence import Answers
from suites.harness.subject import Subject

FILMS = {"quick": 60, "standard": 200, "full": 1_000_000}
"""Films attacked by profile: whole patients, by class, the same for every subject."""
PLANS = {"quick": "quick", "standard": "standard", "full": "thorough"}
BATCH = 16


@dataclass(frozen=True)
class Attack:
    """A finished attack.

    Attributes:
        found: one record per film.
        threat: name of the threat model.
        index: (M,) position of each attacked film in the cohort.
        checks: whether the attack could be trusted.
    """

    found: Attacked
    threat: str
    index: npt.NDArray[np.int64]
    checks: tuple[SanityCheck, ...]

    def robust(self, budget: float) -> npt.NDArray[np.float64]:
        """Return (M,) 1 where no flip of at most this size was found and the clean film is right."""
        at = [next(item for item in result.at if np.isclose(item.budget, budget)) for result in self.found.results]
        return np.array([float(item.robust) for item in at])

    @property
    def distances(self) -> npt.NDArray[np.float64]:
        """Return (M,) the smallest flipping change found, in grey levels of 255; 0 where already wrong, else inf."""
        return np.array([result.distance * 255 for result in self.found.results])


def chosen_films(answers: Answers, profile: str) -> npt.NDArray[np.int64]:
    """Return the positions of the films to attack: labelled, whole patients, in proportion to the classes."""
    labelled = answers.cohort.select(pd.Series(answers.labels >= 0))
    ids = set(labelled.limited(FILMS[profile], answers.seed).table["id"].astype(str))
    return np.array([index for index, image in enumerate(answers.images) if image in ids], dtype=np.int64)


def attack(answers: Answers, profile: str, cache: Path, *, protocol: str = "", quiet: bool = True) -> Attack:
    """Attack a subject on the films of a profile, on the grey pixel of its input under L-inf.

    Args:
        answers: of the subject on the clean films.
        profile: of the run; decides films and effort.
        cache: root of the cache; films that are finished there are not attacked again.
        protocol: `noise` for the control of the same budgets, else the profile's ensemble.
        quiet: show no progress.

    Raises:
        NotEvaluable: no film carries a label, or the subject answers whole films only. A search without gradients would
            send such a service about a thousand films per film, and what it fails to find would pass for robustness.
    """
    if not answers.subject.differentiable:
        raise NotEvaluable(
            f"{answers.subject.name} answers whole films without gradients, and a search without them would overstate "
            "its robustness; attack the weights behind it"
        )
    index = chosen_films(answers, profile)
    if not len(index):
        raise NotEvaluable(f"no film of {answers.cohort.name} carries a label, so no call can be made wrong")
    plan = alone("random-sign") if protocol == "noise" else PROFILES[PLANS[profile]]
    job = _Job(answers, index, plan)
    found = job.run(cache, quiet=quiet)
    checks = () if protocol == "noise" else job.checks(cache, found)
    return Attack(found, job.threat.name, index, checks)


def finished(answers: Answers, profile: str, cache: Path) -> Attack | None:
    """Return the attack of a profile if all its films are in the cache, else `None`: nothing is attacked for it."""
    if not answers.subject.differentiable or not (answers.labels >= 0).any():
        return None
    job = _Job(answers, chosen_films(answers, profile), PROFILES[PLANS[profile]])
    known = Shards(cache, "attacks", job.key).read()
    done = set(known["image"].astype(str)) if len(known) else set()
    return attack(answers, profile, cache) if set(job.ids) <= done else None


@dataclass(frozen=True)
class _Job:
    """One attack on one subject: its films and its protocol."""

    answers: Answers
    index: npt.NDArray[np.int64]
    plan: Profile

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel(channels=self.answers.subject.preprocessing.channels)

    @cached_property
    def rows(self) -> list[dict[str, object]]:
        table = self.answers.cohort.table.iloc[self.index.tolist()]
        return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]

    @cached_property
    def ids(self) -> list[str]:
        return [str(row["id"]) for row in self.rows]

    @property
    def labels(self) -> list[int]:
        return [int(label) for label in self.answers.labels[self.index]]

    @cached_property
    def pixels(self) -> list[Tensor]:
        subject, decode = self.answers.subject, self.answers.cohort.decode
        films = (subject.preprocessing(torch.from_numpy(decode(row).pixels).unsqueeze(0)) for row in self.rows)
        return [film[0, :1].contiguous().clone().to(subject.device) for film in films]

    @cached_property
    def key(self) -> dict[str, object]:
        """Everything the results depend on."""
        subject, cohort = self.answers.subject, self.answers.cohort
        contents = [cohort.identify(row) if cohort.identify else cohort.decode(row).content for row in self.rows]
        return {
            "subject": subject.fingerprint,
            "preprocessing": subject.preprocessing.fingerprint(),
            "threat": self.threat.name,
            "plan": self.plan.identity,
            "budgets": BUDGETS,
            "seed": self.answers.seed,
            "batch": BATCH,
            "films": list(zip(self.ids, contents, self.labels, strict=True)),
            "torch": torch.__version__,
            "device": torch.device(subject.device).type,
            "version": 1,
        }

    def run(self, cache: Path, *, quiet: bool) -> Attacked:
        """Return the records of all films, attacking those that the cache lacks."""
        shards = Shards(cache, "attacks", self.key)
        known = shards.read()
        done = {str(row["image"]): _restored(row) for row in known.to_dict("records")} if len(known) else {}
        if missing := set(self.ids) - set(done):
            records = attack_each(
                _network(self.answers.subject),
                self.pixels,
                self.labels,
                self.ids,
                self.threat,
                budgets=BUDGETS,
                profile=self.plan,
                seed=self.answers.seed,
                batch_size=BATCH,
                done=set(done),
            )
            name = f"{self.plan.name} attacks on {self.answers.subject.name}"
            with tqdm(total=len(missing), unit="film", desc=name, disable=quiet or None, leave=False) as bar:
                for result in _each_kept(records, shards):
                    done[result.image_id] = result
                    bar.update()
        return gather(done[image] for image in self.ids)

    def checks(self, cache: Path, found: Attacked) -> tuple[SanityCheck, ...]:
        """Return whether the attack can be trusted, probed on a few films that are called right."""
        shards = Shards(cache, "attack-checks", self.key)
        known = shards.read()
        if len(known):
            fields = ["name", "passed", "detail", "blocking"]
            rows = known.drop_duplicates("name")[fields].itertuples(index=False, name=None)
            return tuple(
                SanityCheck(str(name), bool(passed), str(told), bool(hard)) for name, passed, told, hard in rows
            )
        right = [at for at, result in enumerate(found.results) if result.clean_prediction == result.label][:8]
        if not right:
            return ()
        checks = sanity_checks(
            _network(self.answers.subject),
            torch.stack([self.pixels[at] for at in right]),
            [self.labels[at] for at in right],
            [self.ids[at] for at in right],
            self.threat,
            attacked=found,
            seed=self.answers.seed,
            films=8,
            queries=50,
        )
        shards.add(pd.DataFrame([asdict(check) for check in checks]))
        return tuple(checks)


def _network(subject: Subject) -> nn.Module:
    assert subject.network is not None  # noqa: S101 - `attack` refused the others
    return subject.network


def _each_kept(records: Iterator[AttackResult], shards: Shards) -> Iterator[AttackResult]:
    """Yield records, storing every batch of them as it is complete."""
    batch: list[dict[str, object]] = []
    try:
        for result in records:
            batch.append(_stored(result))
            if len(batch) >= BATCH:
                shards.add(pd.DataFrame(batch))
                batch = []
            yield result
    finally:
        shards.add(pd.DataFrame(batch))


def _stored(result: AttackResult) -> dict[str, object]:
    """Return a record as one row: JSON for the numbers, PNG for the 8-bit example."""
    plain = {key: value for key, value in asdict(result).items() if key not in ("film", "adversarial", "stored")}
    return {
        "image": result.image_id,
        "record": json.dumps(plain),
        "film": _png(result.film),
        "example": _png(result.stored),
    }


def _restored(row: Mapping[Any, Any]) -> AttackResult:
    plain = json.loads(str(row["record"]))
    plain["at"] = tuple(AtBudget(**{**item, "logits": tuple(item["logits"])}) for item in plain["at"])
    for name in ("clean_logits", "logits", "not_evaluable", "stored_logits"):
        plain[name] = tuple(plain[name])
    plain["passes"] = {name: tuple(pair) for name, pair in plain["passes"].items()}
    film, example = _pixels(row["film"]), _pixels(row["example"])
    return AttackResult(
        **plain, film=None if film is None else (film / np.float32(255)).astype(np.float32), stored=example
    )


def _png(image: npt.NDArray[np.generic] | None) -> bytes | None:
    if image is None:
        return None
    grey = np.asarray(image)[0]
    buffer = io.BytesIO()
    Image.fromarray(grey if grey.dtype == np.uint8 else np.round(grey * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _pixels(data: object) -> npt.NDArray[np.uint8] | None:
    if not isinstance(data, bytes):
        return None
    return np.asarray(Image.open(io.BytesIO(data)), dtype=np.uint8)[None]
