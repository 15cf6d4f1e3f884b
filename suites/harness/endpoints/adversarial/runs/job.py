"""What is left to do of one attack on one subject? Resumed from the cache batch by batch, in any process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
from robustness.attacks.network import Subject as Subjected
from suites.harness.cache import Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.cohorts.rows import Row
from suites.harness.endpoints.adversarial.runs.access import INPUT, FromOperatingPoints, network_of, threat_of
from suites.harness.endpoints.adversarial.runs.decoded import pixels_of
from suites.harness.endpoints.adversarial.runs.effort import share
from suites.harness.endpoints.adversarial.runs.stored import COLUMNS, from_row, to_row
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Block, Told, cut
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.film_work import Asking, Values, class_of, known_by_row, rows_of, together
from suites.harness.predictions.opened import Opened, opened
from suites.harness.process import LARGE, give_back, mapping
from suites.harness.subjects.subject import Subject

BATCH = {True: 16, False: 4}
"""Films per batch, by whether the subject has a network: a batch in flight is lost when a run is killed."""
EXAMPLES = 4
"""Films whose changed version is shown."""
MOST_EXAMPLES = 64 * 1024**2
"""Bytes of the changed versions of all films; where they would have more, only those that are shown are kept."""
PROBED = 8
"""Films that the sanity checks probe."""
Findings = tuple[tuple[int, float], ...]
"""Place of a logit among those of the network, and the log-odds of its operating point."""
SIDES = "sides of findings"
"""Under what a row says on which side of its operating point each finding should be, see `attack_each`."""
CHECKS = {"name": "text", "passed": "flag", "detail": "text", "blocking": "flag"}


@dataclass(frozen=True, kw_only=True)
class AttackWork:
    """One attack, as any process does it. A block is a batch, so that its films share passes wherever it runs.

    Attributes:
        plan: attacks in their order.
        threat: name of the threat model (see `access.threat_of`).
        budgets: ascending.
        seed: of the run.
        passes: that are expected of a film.
        findings: where any of several findings may be turned, which logits, and from what each is counted.
    """

    plan: Protocol
    threat: str
    budgets: tuple[float, ...]
    seed: int
    passes: float
    findings: Findings = ()
    kind: str = "attacks"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return COLUMNS

    def conditions(self) -> Iterable[Condition]:
        """Yield no condition: films are attacked as they came."""
        return ()

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:  # noqa: ARG002 - one question
        """Return everything that decides a record besides the films of its block."""
        (subject,) = subjects
        return {
            **subject.cache_key,
            "threat": threat_of(subject, self.threat).name,
            "plan": self.plan.identity,
            "budgets": self.budgets,
            "seed": self.seed,
            "batch": BATCH[subject.differentiable],
            "decoding": decoding(),
            "version": 6,
            **({"findings": self.findings} if self.findings else {}),
        }

    def identity(self, asked: str, films: Sequence[Opened]) -> str:  # noqa: ARG002 - one question
        """Return which films are attacked together."""
        return together(films, *([SIDES] if self.findings else []))

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of a film and its record, batch by batch.

        Raises:
            NotEvaluable: the subject answers in a way that cannot be attacked (not finite, another shape).
        """
        del asked
        (subject,) = subjects
        model, size = threat_of(subject, self.threat), min(BATCH[subject.differentiable], len(films))
        whole, ids, missing = model.space == "film", [film.key[0] for film in films], set(lacking)
        pixels = Pixels(subject, films, whole=whole)
        sides = torch.tensor([film.row[SIDES] for film in films]) if self.findings else None
        made = said = 0.0

        def watch(passes: int) -> None:
            nonlocal made, said
            made += passes
            now = size * share(made, size * self.passes)
            told.under_way(now - said)
            said = now
            if pixels.largest > LARGE:
                give_back()  # between two passes least is in use; the pieces of a hundred would add up

        try:
            records = attack_each(
                self._network(subject), pixels, [class_of(film) for film in films],
                ids, model, budgets=self.budgets, profile=self.plan, seed=self.seed,
                batch_size=BATCH[subject.differentiable],
                done={image for at, image in enumerate(ids) if at not in missing}, watch=watch, sides=sides,
            )  # fmt: skip
            with images_at_once() if whole else nullcontext():
                for result in records:
                    at, row = ids.index(result.image_id), to_row(replace(result, film=None) if whole else result)
                    del result  # two images as large as the film, while the next is attacked
                    yield at, row
                    made, said = 0.0, max(0.0, said - 1.0)  # the next pass is of another batch
        except AttackError as problem:
            raise NotEvaluable(f"{subject.name} cannot be attacked: {problem}") from problem

    def _network(self, subject: Subject) -> Subjected:
        if not self.findings:
            return network_of(subject)
        assert subject.network is not None  # noqa: S101 - see `set_of_findings`
        return FromOperatingPoints(subject.network, dict(self.findings)).to(subject.device).eval()


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
        findings: where any of several findings may be turned, which logits, and from what each is counted.
        sides: (M, F) of these, see `attack_each`.
    """

    answers: Answers
    index: npt.NDArray[np.int64]
    plan: Protocol
    threat: str = INPUT
    budgets: tuple[float, ...] = BUDGETS
    passes: float = 1.0
    findings: Findings = ()
    sides: npt.NDArray[np.float64] | None = None

    @cached_property
    def model(self) -> ThreatModel:
        """The threat model itself."""
        return threat_of(self.answers.subject, self.threat)

    @cached_property
    def ids(self) -> list[str]:
        """Film ids."""
        return [self.answers.images[at] for at in self.index]

    @property
    def labels(self) -> list[int]:
        """True classes; 0 where several findings are meant (see `any_side_left`)."""
        if self.sides is not None:
            return [0] * len(self.index)
        return [int(label) for label in self.answers.labels[self.index]]

    @cached_property
    def rows(self) -> list[Row]:
        """The films' rows as jobs take them."""
        rows = rows_of(self.answers, self.index, self.labels)
        if self.sides is None:
            return rows
        return [{**row, SIDES: tuple(sides)} for row, sides in zip(rows, self.sides.tolist(), strict=True)]

    @cached_property
    def films(self) -> list[Opened]:
        """The films, decoded when somebody asks for their pixels."""
        return opened(replace(self.answers.cohort, remembered=known_by_row), self.rows)[0]

    @cached_property
    def pixels(self) -> Pixels:
        """What the adversary moves."""
        return Pixels(self.answers.subject, self.films, whole=self.whole)

    @cached_property
    def work(self) -> AttackWork:
        """What any process is asked for."""
        return AttackWork(
            plan=self.plan,
            threat=self.threat,
            budgets=self.budgets,
            seed=self.answers.seed,
            passes=self.passes,
            findings=self.findings,
        )

    @property
    def blocks(self) -> list[Block]:
        """The films, cut where batches are."""
        return cut(self.rows, BATCH[self.answers.subject.differentiable])

    @cached_property
    def key(self) -> dict[str, object]:
        """Everything the results depend on."""
        contents = [film.key[1] for film in self.films]
        return {
            **self.work.key([self.answers.subject], ""),
            "films": list(zip(self.ids, contents, self.labels, strict=True)),
        }

    @property
    def whole(self) -> bool:
        """Whether the film itself is changed."""
        return self.model.space == "film"

    def finished(self, cache: Path) -> bool:
        """Return whether the cache has the records of all films."""
        return Asking(self.answers, self.work, cache).finished(self.blocks)

    def _note(self, done: dict[str, AttackResult], result: AttackResult) -> None:
        """Add a record to those that are done.

        Of large films only the examples that are shown are kept, those that flip most easily: a hundred would be as
        large as everything else. The point between grey levels is shown nowhere, and a film can be decoded again.
        """
        done[result.image_id] = replace(result, film=None if self.whole else result.film)
        if self.whole:
            shown = {one.image_id for one in easiest(done.values())}
            for image, one in list(done.items()):
                large = one.stored is not None and one.stored.nbytes * len(self.ids) > MOST_EXAMPLES
                if large and image not in shown:
                    done[image] = replace(one, stored=None)

    def run(self, cache: Path) -> Attacked:
        """Return the records of all films, attacking those that the cache lacks.

        Raises:
            NotEvaluable: the subject answers in a way that cannot be attacked (not finite, another shape).
        """
        done: dict[str, AttackResult] = {}
        what = f"{self.answers.subject.name}, {self.plan.name} ({self.threat})"
        with self.answers.progress.doing("attacking", what, each=self.passes):
            for row in Asking(self.answers, self.work, cache, found=True).rows(self.blocks):
                self._note(done, from_row(row))
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


@contextmanager
def images_at_once() -> Iterator[None]:
    """Hand large images back as soon as they are done with; before and after, whatever else lies idle."""
    give_back()
    try:
        with mapping(LARGE):
            yield
    finally:
        give_back()


class Pixels(Sequence[Tensor]):
    """What an adversary moves, film by film, decoded when asked for: whole films are too many to hold at once.

    Args:
        subject: that is attacked.
        films: of its cohort.
        whole: (1, H, W) the film as it came, in 8 bits for a subject that is sent 8-bit films; else (1, S, S) the
            network's input, both in [0, 1].

    Attributes:
        largest: bytes of the largest that was asked for.
    """

    def __init__(self, subject: Subject, films: Sequence[Opened], *, whole: bool) -> None:
        self.subject, self.films, self.whole = subject, films, whole
        self.largest = 0

    def __len__(self) -> int:
        return len(self.films)

    @overload
    def __getitem__(self, at: int) -> Tensor: ...
    @overload
    def __getitem__(self, at: slice) -> list[Tensor]: ...
    def __getitem__(self, at: int | slice) -> Tensor | list[Tensor]:
        """Return one film, or several."""
        return [self._one(number) for number in range(len(self))[at]] if isinstance(at, slice) else self._one(at)

    def _one(self, at: int) -> Tensor:
        film = pixels_of(self.films[at])
        if not self.whole or not self.subject.differentiable:
            film = self.subject.preprocessing(film)[0, :1]
        self.largest = max(self.largest, film.nbytes)
        return film.contiguous().clone().to(self.subject.device)
