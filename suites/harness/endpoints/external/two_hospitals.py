"""What do the films of two hospitals say of one subject, read as the classes that both sets of labels can say?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from calibration import ood
from suites.harness import statistics
from suites.harness.claims import Measure, Unit
from suites.harness.cohorts.class_roles import healthy
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import TRUTH, CommonClasses, common_classes
from suites.harness.cohorts.quoting import listed
from suites.harness.endpoints.registry import measured
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Floats, Integers, Resamples, Sampled, difference
from suites.harness.statistics.resamples import applied

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hospital:
    """The labelled films of one hospital and what the subject says of them.

    Attributes:
        name: of its cohort.
        keep: (all films,) which of the cohort's films these n are.
        truth: (n,) index of the common class.
        called: (n,) that of the class called, -1 where the two sets of labels have none for it.
        logits: (n, G) of the common classes: the log of the summed exponentials of the classes read as one.
        illness: (n,) log odds of ill against healthy; None where the subject has no healthy class.
        ill: (n,) whether the truth is not the healthy class; None with `illness`.
        patients: (n,) whose the films are.
        resamples: of these patients, within the common classes.
    """

    name: str
    keep: Flags
    truth: Integers
    called: Integers
    logits: Floats
    illness: Floats | None
    ill: Flags | None
    patients: npt.NDArray[np.str_]
    resamples: Resamples

    @property
    def films(self) -> int:
        """Films that are counted."""
        return len(self.truth)

    @property
    def owners(self) -> int:
        """Their patients."""
        return self.resamples.patients

    @cached_property
    def sizes(self) -> list[int]:
        """Films of each common class."""
        return [int((self.truth == code).sum()) for code in range(self.logits.shape[1])]

    @property
    def smallest(self) -> int:
        """Films of the smallest common class."""
        return min(self.sizes)

    @property
    def right(self) -> Floats:
        """(n,) 1 where the call is the truth."""
        return np.asarray(self.called == self.truth, dtype=np.float64)

    @property
    def probabilities(self) -> Floats:
        """(n, G) of the common classes."""
        return np.asarray(softmax(self.logits, axis=1), dtype=np.float64)

    def owners_of(self, films: Flags) -> int:
        """Patients of some of the films."""
        return len(np.unique(self.patients[films]))

    def rate(self, values: npt.ArrayLike, among: Flags | None = None, bounds: tuple[float, float] = (0, 1)) -> Sampled:
        """Return the mean of (n,) values over some of the films."""
        keep = np.ones(self.films, dtype=bool) if among is None else among
        return statistics.rate(np.asarray(values, dtype=np.float64)[keep], self.resamples.subset(keep), bounds)

    def recalls(self, called: Integers | None = None) -> list[Sampled]:
        """Return the recall of each common class, of the subject's calls or of others (n,)."""
        right = self.right if called is None else (called == self.truth).astype(np.float64)
        return statistics.class_recalls(right, self.truth, self.logits.shape[1], self.resamples)

    def balanced(self, called: Integers | None = None) -> Sampled:
        """Return the balanced accuracy over the common classes."""
        return statistics.average(self.recalls(called), self.owners)

    def sampled(
        self, statistic: Callable[..., object], bounds: tuple[float, float] = (0, 1), *, averaged: bool = True
    ) -> Sampled:
        """Return a statistic of these films, called with `weights=`; `averaged` as in `Sampled`."""
        estimate = float(np.asarray(statistic(weights=None)))
        drawn, left_out = (applied(statistic, rows) for rows in (self.resamples.weights, self.resamples.left_out))
        strata = (min(self.owners_of(self.truth == code) for code in np.unique(self.truth)),)
        return Sampled(estimate, drawn, self.owners, bounds, strata=strata, left_out=left_out, averaged=averaged)

    def auroc(self) -> Sampled:
        """Return how well the log odds of ill tell ill films from healthy ones, whatever the threshold.

        Raises:
            NotEvaluable: the subject has no healthy class, or all films are of one kind.
        """
        if self.illness is None or self.ill is None:
            raise NotEvaluable("the subject has no class of healthy films, so ill and healthy cannot be told apart")
        if self.ill.all() or not self.ill.any():
            raise NotEvaluable(f"the films of {self.name} are all ill or all healthy, which has no AUROC")
        return self.sampled(partial(ood.auroc, self.illness, self.ill))


@dataclass(frozen=True)
class TwoHospitals:
    """The home cohort and an external one, read as the same classes.

    Attributes:
        home: films of the cohort under test; `away` those of the other hospital.
        classes: what both sets of labels can say.
    """

    home: Hospital
    away: Hospital
    classes: CommonClasses

    @classmethod
    def of(cls, home: Answers, away: Answers) -> TwoHospitals:
        """Return both, under no condition.

        Raises:
            NotEvaluable: the labels have no two classes in common, or one hospital has no film of one of them.
        """
        names = home.subject.classes
        truths = truths_of(away.cohort)
        found = read_alike(names, [names[code] for code in np.unique(home.labels[home.labels >= 0])], away.cohort)
        codes = np.array([found.of_label.get(str(label), -1) for label in truths], dtype=np.int64)
        groups = np.asarray([*found.of_class, -1], dtype=np.int64)
        both = cls(
            _hospital(home, groups[home.labels], groups, home.resamples),
            _hospital(away, codes, groups, None),
            found,
        )
        for side in (both.home, both.away):
            if missing := [name for name, size in zip(found.names, side.sizes, strict=True) if not size]:
                raise NotEvaluable(f"{side.name} has no {missing[0]} film that was answered")
        return both

    @property
    def owners(self) -> int:
        """Patients of both: no patient is of both hospitals."""
        return self.home.owners + self.away.owners

    @property
    def smallest(self) -> int:
        """Films of the smallest common class of either."""
        return min(self.home.smallest, self.away.smallest)

    @property
    def films(self) -> int:
        """Films of both."""
        return self.home.films + self.away.films

    def drop(self, of: Callable[[Hospital], Sampled]) -> Sampled:
        """Return by how much a statistic is smaller there than at home; the two have no patient in common."""
        return difference(of(self.home), of(self.away), self.owners)

    def printed(self, name: str, of: Callable[[Hospital], Sampled], unit: Unit = "share") -> list[Measure]:
        """Return a statistic at home and there as measures."""
        sides = ((CLEAN, self.home), (self.away.name, self.away))
        return [measured(name, where, of(side), side.films, unit=unit, smallest=side.smallest) for where, side in sides]

    def fallen(self, name: str, dropped: Sampled, unit: Unit = "points") -> Measure:
        """Return a drop as a measure."""
        return measured(name, f"clean - {self.away.name}", dropped, self.films, unit=unit, smallest=self.smallest)


def read_alike(classes: Sequence[str], at_home: Sequence[str], away: Cohort) -> CommonClasses:
    """Return the classes that the labels of both hospitals can be read as.

    Args:
        classes: of the subject.
        at_home: those of them that the home cohort has films of.
        away: the other hospital's films.

    Raises:
        NotEvaluable: none of its films has a label, or the labels have no two classes in common.
    """
    truths = truths_of(away)
    labels, films = np.unique(truths[truths != ""], return_counts=True)
    if not len(labels) and away.findings:
        raise NotEvaluable(
            f"the films of {away.name} tell nothing of {classes[-1]}; they tell of {listed(away.findings, 60)}"
        )
    if not len(labels):
        raise NotEvaluable(
            f"no film of {away.name} has a label; give each its class in the column `label`, or its finding"
        )
    return common_classes(classes, at_home, dict(zip(map(str, labels), map(int, films), strict=True)))


def truths_of(cohort: Cohort) -> npt.NDArray[np.str_]:
    """Return (N,) labels as the hospital gave them; those of the subject's classes where nobody kept others."""
    return cohort.table[TRUTH if TRUTH in cohort.table else "label"].astype(str).to_numpy(str)


def _hospital(answers: Answers, truth: Integers, groups: Integers, resamples: Resamples | None) -> Hospital:
    """Return the films of one side; the other hospital's resamples are drawn for themselves."""
    logits = answers.logits(CLEAN)
    keep = np.asarray((truth >= 0) & np.isfinite(logits).all(axis=1), dtype=bool)
    if resamples is None:
        # Another seed: two hospitals of as many patients would otherwise be resampled alike, film for film.
        digest = hashlib.sha256(f"{answers.seed}\x1f{answers.cohort.name}".encode()).digest()
        codes = np.where(truth >= 0, truth, -1).astype(str)
        resamples = Resamples.draw(answers.patients, codes, seed=int.from_bytes(digest[:7], "little"))
    shown, names = logits[keep], answers.subject.classes
    well = healthy(names)
    illness = ill = None
    if well is not None:
        at = names.index(well)
        illness = logsumexp(np.delete(shown, at, axis=1), axis=1) - shown[:, at]
        ill = truth[keep] != groups[at] if groups[at] >= 0 else None
    return Hospital(
        name=answers.cohort.name,
        keep=keep,
        truth=truth[keep],
        called=groups[shown.argmax(axis=1)] if len(shown) else np.zeros(0, dtype=np.int64),
        logits=_grouped(shown, groups[:-1]),
        illness=None if ill is None else illness,
        ill=ill,
        patients=answers.patients[keep],
        resamples=resamples.subset(keep),
    )


def _grouped(logits: Floats, groups: Sequence[int] | Integers) -> Floats:
    """Return (n, G) logits of groups of classes, whose softmax is the sum of the classes' probabilities."""
    codes = np.asarray(groups)
    columns = [logsumexp(logits[:, codes == code], axis=1) for code in range(int(codes.max()) + 1)]
    return np.stack(columns, axis=1)
