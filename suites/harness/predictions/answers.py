"""What did a subject predict? Its predictions on each cohort as plain arrays, aligned film by film.

What an endpoint's parameters name has been predicted before it runs. Anything costlier (attacks, attributions,
stochastic passes) an endpoint runs itself, on the network in `subject`, when its claim is judged, and keeps in the
cache whose root is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from scipy.special import softmax
from torch import Tensor

from robustness.content_cache import forget
from suites.harness import statistics
from suites.harness.cache.places import Root
from suites.harness.cohorts.class_roles import own_name
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.cohorts.film_disk_cache import remembering
from suites.harness.cohorts.quoting import listed
from suites.harness.cohorts.texts import among, texts_of
from suites.harness.errors import NotEvaluable, one_line
from suites.harness.latest import Latest
from suites.harness.predictions.conditions import CLEAN, Condition, shown
from suites.harness.predictions.dispatching import THIS_PROCESS, Workers
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.predictions.table import Predictions
from suites.harness.process import LARGE, give_back
from suites.harness.progress import Progress
from suites.harness.statistics import Floats, Integers, Resamples, Sampled
from suites.harness.subjects.subject import Subject

SCORES = ("accuracy", "balanced_accuracy", "false_positive_rate", "confident_share", "mean_confidence")
"""Names of scores that are no class's own."""
CONFIDENT = 0.9
CALLS_BYTES = 2**21
"""Of calls that are remembered, and as many of whether they are right: of 2,000 films under 128 conditions."""
RISING = ("called_", "false_positive_rate", "confident_share", "mean_confidence")
"""Measures whose rise is the harm; of all others the fall is."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one subject answered on one cohort.

    Attributes:
        subject: the classifier.
        cohort: the readable films, in the order of every array here.
        predictions: the prediction table of exactly these films.
        seed: of the run; decides the resamples.
        cache: root of the cache, where films that are costly to make are kept once somebody has looked at them.
        resolution: at which films were perturbed.
        progress: told of what is computed from them.
        workers: who passes these films through the subject once more, where somebody asks for that.
        blocks_at: where such passes are kept, where that is not the cache.
        offset: of one finding, the log-odds of its operating point, which stand for its absence.
        siblings: gives the answers about all findings of its whole, itself among them; none for any other subject.
    """

    subject: Subject
    cohort: Cohort
    predictions: Predictions
    seed: int
    cache: Path | None = None
    resolution: Resolution = AS_STORED
    progress: Progress = field(default_factory=Progress, compare=False, repr=False)
    workers: Workers = field(default=THIS_PROCESS, compare=False, repr=False)
    blocks_at: Root | None = None
    offset: float = 0.0
    siblings: Callable[[], Sequence[Answers]] = field(default=tuple, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        subject: Subject,
        cohort: Cohort,
        predictions: Predictions,
        *,
        seed: int,
        cache: Path | None = None,
        resolution: Resolution = AS_STORED,
        progress: Progress | None = None,
        workers: Workers = THIS_PROCESS,
        blocks_at: Root | None = None,
        offset: float = 0.0,
    ) -> Answers:
        """Return the answers on the films of a cohort that could be read and are still in it with aligned labels."""
        ids = texts_of(cohort.table["id"])
        predicted = pd.Categorical(predictions.table["image"])
        images = texts_of(pd.Series(predicted.categories))
        inside = among(images, ids)[predicted.codes]  # each film is looked up once
        clean = (predictions.table["condition"] == CLEAN).to_numpy()
        features = predictions.features
        if features is not None:
            features = features[inside[clean]]
        kept = predictions
        if not inside.all():
            kept = replace(predictions, table=predictions.table[inside].reset_index(drop=True), features=features)
        asked = np.zeros(len(images), dtype=bool)
        asked[predicted.codes] = True
        return cls(
            subject=subject,
            cohort=cohort.select(pd.Series(among(ids, images.filter(pa.array(asked))))),
            predictions=kept,
            seed=seed,
            cache=cache,
            resolution=resolution,
            progress=progress or Progress(),
            workers=workers,
            blocks_at=blocks_at,
            offset=offset,
        )

    @property
    def stated(self) -> Answers:
        """The same answers with the logits whose softmax are the probabilities that the subject itself states.

        Of one finding these need not call it where its operating point does; of any other subject they are the answers.
        """
        if not self.offset:
            return self
        absent = self.predictions.table["logit_0"]
        table = self.predictions.table.assign(logit_0=absent.where(absent.isna(), np.float32(0)))
        return replace(self, predictions=replace(self.predictions, table=table), offset=0.0)

    @cached_property
    def images(self) -> list[str]:
        """(N,) film ids."""
        return self.cohort.table["id"].astype(str).tolist()

    def content(self, image: str) -> str:
        """Return what identifies the pixels of a film: two of the same name and label may differ in them."""
        return self.predictions.contents.get(image) or self.film(image).content

    @cached_property
    def labels(self) -> Integers:
        """(N,) class indices, -1 where the label is unknown."""
        index = {name: position for position, name in enumerate(self.subject.classes)}
        return np.asarray(self.cohort.table["label"].map(index).fillna(-1), dtype=np.int64)

    @cached_property
    def patients(self) -> npt.NDArray[np.str_]:
        """(N,) cluster keys of the bootstrap."""
        return self.cohort.table["patient"].astype(str).to_numpy(str)

    @cached_property
    def resamples(self) -> Resamples:
        """The same resamples for every measure, condition and subject on these films."""
        table = self.cohort.table
        return Resamples.draw(table["patient"].astype(str), table["label"].astype(str), seed=self.seed)

    @cached_property
    def _rows_of(self) -> Mapping[str, slice | Integers]:
        """Condition -> the places of its rows in the table: of a run one film after the other, at equal distances."""
        told = pd.Categorical(self.predictions.table["condition"])
        found: dict[str, slice | Integers] = {}
        for code, name in enumerate(told.categories):
            places = np.flatnonzero(told.codes == code)
            if len(places):
                first, step = int(places[0]), int(places[1] - places[0]) if len(places) > 1 else 1
                after = first + step * len(places)
                even = np.array_equal(places, np.arange(first, after, step))
                found[str(name)] = slice(first, after, step) if even else places
        return found

    def logits(self, condition: str = CLEAN) -> Floats:
        """Return (N, K) logits; NaN rows where the condition is undefined for a film.

        Raises:
            NotEvaluable: the condition was not run, or its code failed.
        """
        self._was_run(condition)
        rows = self._rows_of[condition]
        return np.stack([column[rows].astype(np.float64) for column in self._columns]).T

    def _was_run(self, condition: str) -> None:
        if condition in self.predictions.failed:
            raise NotEvaluable(self.predictions.failed[condition])
        if condition not in self._rows_of:
            raise NotEvaluable(f"condition {condition!r} was not run on {self.cohort.name}")

    @cached_property
    def _columns(self) -> list[npt.NDArray[np.floating[Any]]]:
        """Of each class the logits of all films and conditions, in the order of the table."""
        table = self.predictions.table
        return [table[f"logit_{index}"].to_numpy() for index in range(len(self.subject.classes))]

    def probabilities(self, condition: str = CLEAN) -> Floats:
        """Return (N, K) softmax probabilities in float64."""
        return np.asarray(softmax(self.logits(condition), axis=1), dtype=np.float64)

    def called(self, condition: str = CLEAN) -> Floats:
        """Return (N,) index of the class called, NaN where undefined; not to be written to."""
        return self._calls.once(condition, lambda: self._called(condition))

    def _called(self, condition: str) -> Floats:
        logits = self.logits(condition)
        missing = np.isnan(logits)
        calls: Floats = np.where(missing, -np.inf, logits).argmax(axis=1).astype(np.float64)
        calls[missing.any(axis=1)] = np.nan
        calls.flags.writeable = False
        return calls

    @cached_property
    def _calls(self) -> Latest[Floats]:
        return Latest(CALLS_BYTES // (8 * max(len(self.cohort), 1)))

    def undefined(self, condition: str) -> npt.NDArray[np.str_]:
        """Return (N,) why a condition is undefined for a film, empty where it is not.

        Raises:
            NotEvaluable: the condition was not run, or its code failed.
        """
        missing = np.isnan(self.logits(condition)).any(axis=1)
        table = self.predictions.table
        reasons = table.loc[table["condition"] == condition, "undefined"].astype(object).fillna("").to_numpy(str)
        return np.where(missing, np.where(reasons == "", "no answer", reasons), "")

    def correct(self, condition: str = CLEAN) -> Floats:
        """Return (N,) 1 where the call is the label, 0 where not, NaN where undefined or unlabelled; as `called`."""
        return self._right.once(condition, lambda: self._correct(condition))

    def _correct(self, condition: str) -> Floats:
        calls = self.called(condition)
        right: Floats = (calls == self.labels).astype(np.float64)
        right[np.isnan(calls) | (self.labels < 0)] = np.nan
        right.flags.writeable = False
        return right

    @cached_property
    def _right(self) -> Latest[Floats]:
        return Latest(CALLS_BYTES // (8 * max(len(self.cohort), 1)))

    def class_index(self, name: str) -> int:
        """Return the index of a class, by its name in any spelling; `normal` is whichever class is the healthy one.

        Raises:
            NotEvaluable: the subject has no such class.
        """
        own = own_name(name, self.subject.classes)
        if own not in self.subject.classes:
            raise NotEvaluable(f"{self.subject.name} has no class {name!r} (it has {listed(self.subject.classes)})")
        return self.subject.classes.index(own)

    def film(self, image: str) -> Film:
        """Decode one film of the cohort again, to look at it: under many conditions in turn it is decoded once."""
        found = self._last_film(image)
        return replace(found, pixels=found.pixels.copy())

    @cached_property
    def _last_film(self) -> Callable[[str], Film]:
        decode = remembering(self.cohort, self.cache) if self.cache else self.cohort.decode

        def decoded(image: str) -> Film:
            forget()  # what was found out about the film before
            film = decode(self.cohort.rows([self.images.index(image)])[0])
            if film.pixels.nbytes > LARGE:
                give_back()
            return film

        return lru_cache(maxsize=1)(decoded)

    def under(self, image: str, condition: Condition) -> Tensor:
        """Return (V, H, W) views of a film as the subject was shown it under a condition.

        Raises:
            PerturbationUndefined: the film does not allow it.
        """
        return shown(self._last_film(image), condition, image, seed=self.seed, resolution=self.resolution)

    def smallest_class(self, index: Integers) -> int:
        """Return how many of the (M,) labelled films at `index` the smallest class has that has any."""
        counts = np.bincount(self.labels[index])
        return int(counts[counts > 0].min())

    def shared(self, *conditions: str) -> npt.NDArray[np.bool_]:
        """Return (N,) whether a film is labelled and has an answer under every one of the conditions."""
        defined = [~np.isnan(self.correct(condition)) for condition in conditions]
        return np.asarray(np.logical_and.reduce(defined), dtype=bool)

    def rate(
        self, values: npt.ArrayLike, among: npt.NDArray[np.bool_], bounds: tuple[float, float] = (0.0, 1.0)
    ) -> Sampled:
        """Return the mean of (N,) values over some of the films, resampled by patient.

        Raises:
            NotEvaluable: no film is among them.
        """
        if not among.any():
            raise NotEvaluable(f"no film of {self.cohort.name} qualifies")
        return statistics.rate(np.asarray(values, dtype=np.float64)[among], self.resamples.subset(among), bounds)

    def recalls(self, condition: str, among: npt.NDArray[np.bool_] | None = None) -> dict[str, Sampled]:
        """Return the recall of every class that has films."""
        keep = self.shared(condition) if among is None else among & self.shared(condition)
        parts = statistics.class_recalls(
            self.correct(condition)[keep], self.labels[keep], len(self.subject.classes), self.resamples.subset(keep)
        )
        return {name: part for name, part in zip(self.subject.classes, parts, strict=True) if part.patients}

    def score(self, measure: str, condition: str, among: npt.NDArray[np.bool_] | None = None) -> Sampled:
        """Return a named score with its resamples.

        Args:
            measure: `accuracy`, `balanced_accuracy`, `recall_<class>`, `called_<class>` (share called so),
                `false_positive_rate` (truth `normal`, called anything else), `confident_share` (softmax above .9)
                or `mean_confidence`.
            condition: under which films were answered.
            among: (N,) the films to count.

        Raises:
            NotEvaluable: no such measure, or no films for it.
        """
        answered = np.asarray(np.isfinite(self.logits(condition)).all(axis=1), dtype=bool)
        everyone: npt.NDArray[np.bool_] = answered if among is None else np.logical_and(among, answered)
        if measure.startswith("called_"):
            return self.rate(self.called(condition) == self.class_index(measure.removeprefix("called_")), everyone)
        if measure == "false_positive_rate":
            negative = self.class_index("normal")
            return self.rate(self.called(condition) != negative, everyone & (self.labels == negative))
        if measure == "confident_share":
            return self.rate(self.probabilities(condition).max(axis=1) > CONFIDENT, everyone)
        if measure == "mean_confidence":
            return self.rate(self.probabilities(condition).max(axis=1), everyone)
        keep = everyone & (self.labels >= 0)
        if measure == "accuracy":
            return self.rate(self.correct(condition), keep)
        recalls = self.recalls(condition, keep)
        if measure == "balanced_accuracy" and recalls:
            return statistics.average(list(recalls.values()), self.resamples.subset(keep).patients)
        name = own_name(measure.removeprefix("recall_"), self.subject.classes)
        if name in recalls:
            return recalls[name]
        if measure == "balanced_accuracy":
            raise NotEvaluable(f"{measure}: none of the films of {self.cohort.name} that count has a label")
        if measure.startswith("recall_") and name in self.subject.classes:
            raise NotEvaluable(f"{measure}: none of the films of {self.cohort.name} that count is labelled {name}")
        raise NotEvaluable(
            f"{self.subject.name} has no measure {one_line(measure, 60)!r}; there are {', '.join(SCORES)}, and recall_ "
            f"and called_ before one of its classes ({listed(self.subject.classes)})"
        )
