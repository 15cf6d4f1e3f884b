"""What is left to do of one attack on one subject? Resumed from the cache film by film."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from robustness.attacks import (
    BUDGETS,
    Attacked,
    AttackError,
    AttackResult,
    Known,
    Protocol,
    ThreatModel,
    attack_each,
    gather,
)
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
from suites.harness.process import mapping

BATCH = {True: 16, False: 4}
"""Films per batch, by whether the subject has a network: a batch in flight is lost when a run is killed."""
LARGE = 16 * 1024**2
"""Bytes of a film from which on its images are handed back as soon as they are done with."""
EXAMPLES = 4
"""Films whose changed version is shown."""
MOST_EXAMPLES = 64 * 1024**2
"""Bytes of the changed versions of all films; where they would have more, only those that are shown are kept."""
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
        sides: (M, F) where the subject answers F findings and any of them may be turned, see `attack_each`.
        known: film -> what the attack on all findings of its whole found out; `after`: the identity of that attack.
    """

    answers: Answers
    index: npt.NDArray[np.int64]
    plan: Protocol
    threat: str = INPUT
    budgets: tuple[float, ...] = BUDGETS
    passes: float = 1.0
    sides: Tensor | None = None
    known: Mapping[str, Known] = field(default_factory=dict)
    after: str = ""

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
        if self.sides is not None:
            return [0] * len(self.index)
        return [int(label) for label in self.answers.labels[self.index]]

    @cached_property
    def pixels(self) -> Pixels:
        """What the adversary moves."""
        return Pixels(self.answers, self.rows, whole=self.whole)

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
            **({} if self.sides is None else {"sides": self.sides.tolist()}),
            **({"after": self.after} if self.after else {}),
        }

    def kept(self, cache: Path) -> dict[str, AttackResult]:
        """Return the records that the cache has, by film."""
        known = Shards(cache, "attacks", self.key, COLUMNS).read()
        done: dict[str, AttackResult] = {}
        for row in known.to_dict("records") if len(known) else ():
            self._note(done, from_row(row))
        return done

    @property
    def whole(self) -> bool:
        """Whether the film itself is changed."""
        return self.model.space == "film"

    def _note(self, done: dict[str, AttackResult], result: AttackResult) -> AttackResult:
        """Add a record to those that are done, and return what is kept of it.

        Of large films only the examples that are shown are, those that flip most easily: a hundred would be as large as
        everything else. The point between grey levels is shown nowhere, and a film can be decoded again.
        """
        done[result.image_id] = replace(result, adversarial=None, film=None if self.whole else result.film)
        if self.whole:
            shown = {one.image_id for one in easiest(done.values())}
            for image, one in list(done.items()):
                large = one.stored is not None and one.stored.nbytes * len(self.ids) > MOST_EXAMPLES
                if large and image not in shown:
                    done[image] = replace(one, stored=None)
        return done[result.image_id]

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
                watch=watch, sides=self.sides, known=self.known,
            )  # fmt: skip
            shards = Shards(cache, "attacks", self.key, COLUMNS)
            try:
                with (
                    Keeping(shards, every=BATCH[subject.differentiable]) as keeping,
                    mapping(LARGE) if self.whole else nullcontext(),
                ):
                    for result in records:
                        keeping.keep(to_row(self._note(done, result)))
                        progress.done()
                        made = 0  # the next pass is of another batch
            except AttackError as problem:
                raise NotEvaluable(f"{subject.name} cannot be attacked: {problem}") from problem
        return gather(done[image] for image in self.ids)

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


def easiest(results: Iterable[AttackResult]) -> list[AttackResult]:
    """Return the films with an example that flip most easily, `EXAMPLES` of them.

    A stored distance of 0: rounding the film itself to 8 bits flips it, and there is no change to show.
    """
    able = [one for one in results if one.stored is not None and min(one.distance, one.stored_distance) > 0]
    return sorted(able, key=lambda one: (one.stored_distance, one.image_id))[:EXAMPLES]


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
