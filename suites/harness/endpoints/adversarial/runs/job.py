"""What is left to do of one attack on one subject? Resumed from the cache film by film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from robustness.attacks import BUDGETS, Attacked, AttackError, AttackResult, Protocol, ThreatModel, attack_each, gather
from robustness.attacks.masking_checks import SanityCheck, sanity_checks
from suites.harness.cache import Keeping, Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.cohorts.cohort import Row
from suites.harness.endpoints.adversarial.runs.access import INPUT, network_of, threat_of
from suites.harness.endpoints.adversarial.runs.decoded import film_of
from suites.harness.endpoints.adversarial.runs.effort import share
from suites.harness.endpoints.adversarial.runs.stored import COLUMNS, from_row, to_row
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers

BATCH = {True: 16, False: 4}
"""Films per batch, by whether the subject has a network: a batch in flight is lost when a run is killed."""
PROBED = 8
"""Films that the sanity checks probe."""
CHECKS = {"name": "text", "passed": "flag", "detail": "text", "blocking": "flag"}


@dataclass(frozen=True)
class Job:
    """One attack on one subject.

    Attributes:
        answers: of the subject on the clean films.
        index: (M,) positions of the films in the cohort.
        plan: attacks in their order.
        threat: name of the threat model (see `access.threat_of`).
        budgets: ascending.
        passes: that are expected of a film.
    """

    answers: Answers
    index: npt.NDArray[np.int64]
    plan: Protocol
    threat: str = INPUT
    budgets: tuple[float, ...] = BUDGETS
    passes: float = 1.0

    @cached_property
    def model(self) -> ThreatModel:
        """The threat model itself."""
        return threat_of(self.answers.subject, self.threat)

    @cached_property
    def rows(self) -> list[Row]:
        """The films' rows of the cohort."""
        return self.answers.cohort.rows(self.index)

    @cached_property
    def ids(self) -> list[str]:
        """Film ids."""
        return [str(row["id"]) for row in self.rows]

    @property
    def labels(self) -> list[int]:
        """True classes."""
        return [int(label) for label in self.answers.labels[self.index]]

    @cached_property
    def pixels(self) -> Pixels:
        """What the adversary moves."""
        return Pixels(self.answers, self.rows, whole=self.model.space == "film")

    @cached_property
    def key(self) -> dict[str, object]:
        """Everything the results depend on."""
        subject = self.answers.subject
        return {
            **subject.cache_key,
            "threat": self.model.name,
            "plan": self.plan.identity,
            "budgets": self.budgets,
            "seed": self.answers.seed,
            "batch": BATCH[subject.differentiable],
            "films": list(zip(self.ids, self.pixels.contents, self.labels, strict=True)),
            "decoding": decoding(),
            "version": 5,
        }

    def kept(self, cache: Path) -> dict[str, AttackResult]:
        """Return the records that the cache has, by film."""
        known = Shards(cache, "attacks", self.key, COLUMNS).read()
        return {str(row["image"]): from_row(row) for row in known.to_dict("records")} if len(known) else {}

    def run(self, cache: Path) -> Attacked:
        """Return the records of all films, attacking those that the cache lacks.

        Raises:
            NotEvaluable: the subject answers in a way that cannot be attacked (not finite, another shape).
        """
        done, progress = self.kept(cache), self.answers.progress
        subject = self.answers.subject
        with progress.doing("attacking", f"{subject.name}, {self.plan.name} ({self.threat})", each=self.passes):
            progress.found(len(set(self.ids) & set(done)), once=f"{subject.cache_key} {self.key}")
            if set(self.ids) <= set(done):
                return gather(done[image] for image in self.ids)
            batch, made = min(BATCH[subject.differentiable], len(self.ids)), 0

            def watch(passes: int) -> None:
                nonlocal made
                made += passes
                progress.under_way(batch * share(made, batch * self.passes))

            records = attack_each(
                network_of(subject), self.pixels, self.labels, self.ids, self.model, budgets=self.budgets,
                profile=self.plan, seed=self.answers.seed, batch_size=BATCH[subject.differentiable], done=set(done),
                watch=watch,
            )  # fmt: skip
            try:
                for result in self._each_kept(records, Shards(cache, "attacks", self.key, COLUMNS)):
                    done[result.image_id] = result
                    progress.done()
                    made = 0  # the next pass is of another batch
            except AttackError as problem:
                raise NotEvaluable(f"{subject.name} cannot be attacked: {problem}") from problem
        return gather(done[image] for image in self.ids)

    def _each_kept(self, records: Iterator[AttackResult], shards: Shards) -> Iterator[AttackResult]:
        """Yield records as the cache will give them back, storing every batch of them as it is complete."""
        whole = self.model.space == "film"
        with Keeping(shards, every=BATCH[self.answers.subject.differentiable]) as keeping:
            for result in records:
                # The point between grey levels is shown nowhere, and a whole film can be decoded again.
                kept = replace(result, adversarial=None, film=None if whole else result.film)
                keeping.keep(to_row(kept))
                yield kept

    def checks(self, cache: Path, found: Attacked) -> tuple[SanityCheck, ...]:
        """Return whether the attack can be trusted, probed on a few films that are called right."""
        shards = Shards(cache, "attack-checks", self.key, CHECKS)
        fields = list(CHECKS)
        known = shards.once(lambda: pd.DataFrame([asdict(one) for one in self._checked(found)], columns=fields))
        rows = known.drop_duplicates("name")[fields].itertuples(index=False, name=None)
        return tuple(SanityCheck(str(name), bool(passed), str(told), bool(hard)) for name, passed, told, hard in rows)

    def _checked(self, found: Attacked) -> Sequence[SanityCheck]:
        right = [at for at, result in enumerate(found.results) if result.clean_prediction == result.label][:PROBED]
        if not right:
            return ()
        return sanity_checks(
            network_of(self.answers.subject),
            torch.stack([self.pixels[at] for at in right]),
            [self.labels[at] for at in right],
            [self.ids[at] for at in right],
            self.model,
            attacked=found,
            seed=self.answers.seed,
            films=PROBED,
            queries=50,
        )


class Pixels(Sequence[Tensor]):
    """What an adversary moves, film by film, decoded when asked for: whole films are too many to hold at once.

    Args:
        answers: of the subject.
        rows: of the films in the cohort's table.
        whole: (1, H, W) the film as it came, in 8 bits for a subject that is sent 8-bit films; else (1, S, S) the
            network's input, both in [0, 1].
    """

    def __init__(self, answers: Answers, rows: Sequence[Row], *, whole: bool) -> None:
        self.subject, self.cohort, self.rows, self.whole = answers.subject, answers.cohort, rows, whole

    @cached_property
    def contents(self) -> list[str]:
        """Identity of each film's pixels."""
        return [self.cohort.content(row) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Tensor: ...
    @overload
    def __getitem__(self, at: slice) -> list[Tensor]: ...
    def __getitem__(self, at: int | slice) -> Tensor | list[Tensor]:
        """Return one film, or several."""
        return [self._one(number) for number in range(len(self))[at]] if isinstance(at, slice) else self._one(at)

    def _one(self, at: int) -> Tensor:
        film = film_of(self.cohort, self.rows[at], self.contents[at])
        if not self.whole or not self.subject.differentiable:
            film = self.subject.preprocessing(film)[0, :1]
        return film.contiguous().clone().to(self.subject.device)
