"""How uncertain is every set of films of a run? Every score, larger = less sure, none fitted on what it scores.

Scores of logits come from the prediction table. Scores of features are fitted on one half of the cohort's patients and
score the other half; films of other cohorts get the mean of both fits.

A score is in tables, CSV and figures by being registered: those of logits and of passes in `calibration.scores`, those
that are fitted on features here, from a file of `endpoints/`::

    import numpy as np
    import numpy.typing as npt
    from calibration.validation import FloatArray
    from suites.harness.endpoints.uncertainty.scores import Scorer, register
    from suites.harness.predictions.answers import Answers

    @register("distance to the mean")
    def distance_to_the_mean(main: Answers, features: FloatArray, among: npt.NDArray[np.bool_]) -> Scorer:
        mean = features[among].mean(axis=0)
        return lambda rows, logits: np.linalg.norm(rows - mean, axis=1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from calibration import crossfit, scores
from calibration.registration import taken, unknown_name
from calibration.validation import CalibrationError, FloatArray, softmax
from suites.harness.errors import NotEvaluable
from suites.harness.foreign_code import defined_in, foreign
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.predictions.feature_and_dropout_passes import dropout_passes, features_under

NEIGHBOUR = 10
HALVES = (0, 1)
Scorer = Callable[[FloatArray, FloatArray], FloatArray]
"""From features (n, D) and logits (n, K) to uncertainty (n,)."""
Fit = Callable[[Answers, FloatArray, npt.NDArray[np.bool_]], Scorer]
"""From answers on clean films, their (N, D) features and which of the films may be seen, to a score."""
ENSEMBLE, DROPOUT, AUGMENTED = "ensemble", "MC dropout", "test-time augmentation"
DISAGREEMENT = "mutual-information"
"""The score of passes that goes by the name of the passes alone; any other is named beside it."""
NEED_LOGITS = ("max-logit", "energy")
"""Scores of logits that say nothing about logarithms of probabilities."""
_REGISTRY: dict[str, Fit] = {}


def register(name: str) -> Callable[[Fit], Fit]:
    """Register a score that is fitted on features; it raises `CalibrationError` where it cannot be.

    Raises:
        CalibrationError: the name is taken.
    """

    def enter(fit: Fit) -> Fit:
        if name in all_names():
            raise CalibrationError(taken("uncertainty score", name, _REGISTRY.get(name, all_names), fit))
        _REGISTRY[name] = fit
        return fit

    return enter


def get(name: str) -> Fit:
    """Return the fit of that name.

    Raises:
        CalibrationError: unknown name; the message lists the nearest ones.
    """
    if name not in _REGISTRY:
        raise CalibrationError(unknown_name("uncertainty score", name, names()))
    return _REGISTRY[name]


def names() -> list[str]:
    """Names of the scores that are fitted on features, in the order they were registered in."""
    return list(_REGISTRY)


def all_names() -> list[str]:
    """Names of all scores, of whatever kind, in the order of tables."""
    return [*scores.names("logits"), *names(), *of_passes(ENSEMBLE), *of_passes(DROPOUT), AUGMENTED]


def of_passes(source: str) -> dict[str, str]:
    """Return name -> which of `calibration.scores` it is, for all scores of the passes of one source."""
    ordered = sorted(scores.names("passes"), key=lambda name: name != DISAGREEMENT)
    return {source if name == DISAGREEMENT else f"{source}, {name}": name for name in ordered}


def _passes_scored(source: str, stack: FloatArray) -> dict[str, FloatArray]:
    """Return name -> (n,) uncertainty of (S, n, K) probabilities by every score of passes."""
    return {name: scores.get(score)(stack) for name, score in of_passes(source).items()}


def logit_scores(*logits: FloatArray) -> dict[str, scores.ScoreFunction]:
    """Return the scores that mean something for these (n, K) logits.

    A service answers with probabilities. Of their logarithms the energy is 0 on every film, so that its AUROC would be
    made of rounding errors, and the largest one is max-softmax over again.
    """
    normalised = all(np.abs(logsumexp(rows, axis=1)).max(initial=0.0) < 1e-4 for rows in logits)
    return {name: scores.get(name) for name in scores.names("logits") if not (normalised and name in NEED_LOGITS)}


@dataclass(frozen=True)
class FeatureScores:
    """The registered scores of features, each fitted twice, on either half of the patients.

    Attributes:
        fold: (N,) the half of each film; `fitted[name][h]` never saw a patient of half h.
        problems: name -> why a score could not be fitted.
    """

    fold: npt.NDArray[np.int64]
    fitted: Mapping[str, Sequence[Scorer]]
    problems: Mapping[str, str]

    @classmethod
    def fit(cls, main: Answers) -> FeatureScores:
        """Fit on the clean films of the cohort under test.

        Raises:
            NotEvaluable: the subject shows no features, a film has no label, or the patients cannot be halved.
        """
        features = main.predictions.features
        if features is None:
            raise NotEvaluable("the subject shows no features")
        if not main.shared(CLEAN).all():
            raise NotEvaluable("a score of features is fitted on labelled films, and some here have no label")
        try:
            fold = crossfit.patient_folds(main.labels, main.patients, folds=2)
        except CalibrationError as problem:
            raise NotEvaluable(str(problem)) from problem
        fitted: dict[str, list[Scorer]] = {}
        problems: dict[str, str] = {}
        for name, fit in _REGISTRY.items():
            try:
                with foreign(CalibrationError, "its fit failed", only_theirs=True):
                    models = [fit(main, features.astype(np.float64), fold != half) for half in HALVES]
                if unfit := [model for model in models if not callable(model)]:
                    problems[name] = f"its fit returned {type(unfit[0]).__name__}, not a function ({defined_in(fit)})"
                    continue
                fitted[name] = models
            except CalibrationError as problem:
                problems[name] = str(problem)
        return cls(fold, fitted, problems)

    def same_films(
        self, features: npt.ArrayLike, logits: FloatArray, keep: npt.NDArray[np.bool_]
    ) -> dict[str, FloatArray]:
        """Return name -> (n,) uncertainty for features (n, D), logits (n, K) of the films that are kept."""
        rows, half = np.asarray(features, dtype=np.float64), self.fold[keep]
        found = {}
        for name, models in self.fitted.items():
            found[name] = np.zeros(len(rows))
            for held in HALVES:
                among = half == held
                found[name][among] = _one_each(name, models[held], int(among.sum()), rows[among], logits[among])
        return found

    def other_films(self, features: npt.ArrayLike, logits: FloatArray) -> dict[str, FloatArray]:
        """Return name -> (n,) uncertainty for films of another cohort, the mean of both fits."""
        rows = np.asarray(features, dtype=np.float64)
        return {
            name: np.mean([_one_each(name, model, len(rows), rows, logits) for model in models], axis=0)
            for name, models in self.fitted.items()
        }


@register("mahalanobis")
def _mahalanobis(main: Answers, features: FloatArray, among: npt.NDArray[np.bool_]) -> Scorer:
    model = scores.Mahalanobis.fit(features[among], main.labels[among])
    return lambda rows, _: model.score(rows)


@register("vim")
def _vim(main: Answers, features: FloatArray, among: npt.NDArray[np.bool_]) -> Scorer:
    if "energy" not in logit_scores(main.logits()):
        raise CalibrationError("it adds the energy of the logits, which is 0 for logarithms of probabilities")
    layer, head = main.subject.head, None
    if layer is not None and layer.bias is not None and layer.in_features == features.shape[1]:
        head = layer.weight.cpu().numpy(), layer.bias.cpu().numpy()
    model = scores.Residual.fit(features[among], main.logits()[among], head=head)
    return model.score


@register("nearest-neighbours")
def _neighbours(_main: Answers, features: FloatArray, among: npt.NDArray[np.bool_]) -> Scorer:
    model = scores.Neighbours.fit(features[among], k=NEIGHBOUR)
    return lambda rows, _: model.score(rows)


@dataclass
class FilmSet:
    """Some films under one condition, with every uncertainty score on them.

    Attributes:
        answers: of the subject on the cohort the films belong to; `role` names that cohort within the run.
        condition: what was done to them.
        keep: (N,) the films of the cohort that were answered under it; scores are vectors over these.
        scores: name -> (n,).
    """

    answers: Answers
    role: str
    condition: str
    keep: npt.NDArray[np.bool_]
    scores: dict[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, answers: Answers, role: str, condition: str = CLEAN) -> FilmSet:
        """Return the films answered under a condition, without scores yet."""
        return cls(answers, role, condition, np.asarray(np.isfinite(answers.logits(condition)).all(axis=1), dtype=bool))

    @property
    def logits(self) -> FloatArray:
        """(n, K) logits of the kept films."""
        return self.answers.logits(self.condition)[self.keep]


def add_logit_scores(sets: Sequence[FilmSet]) -> None:
    """Score all sets by their logits."""
    usable = logit_scores(*(films.logits for films in sets))
    for films in sets:
        films.scores |= {
            name: _one_each(name, score, len(films.logits), films.logits) for name, score in usable.items()
        }


def _one_each(name: str, score: Callable[..., object], films: int, *given: FloatArray) -> FloatArray:
    """Return what a score gives for some films.

    Raises:
        NotEvaluable: it fails, or gives anything but one finite number for each film.
    """
    with foreign(NotEvaluable, f"uncertainty score {name!r} failed", at=score, only_theirs=True):
        values = score(*given)
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as problem:
        raise NotEvaluable(f"uncertainty score {name!r} gave no numbers ({defined_in(score)})") from problem
    if found.shape != (films,) or not np.isfinite(found).all():
        raise NotEvaluable(
            f"uncertainty score {name!r} gave an array of shape {found.shape} for {films} films"
            f"{'' if np.isfinite(found).all() else ', not all finite'}; it must give one finite number for each "
            f"({defined_in(score)})"
        )
    return found


def add_feature_scores(sets: Sequence[FilmSet], cache: Path | None = None) -> dict[str, str]:
    """Score the sets by their features; return name -> why a score is missing.

    Args:
        sets: the first holds the clean films of the cohort under test, on which the scores are fitted.
        cache: where features of changed films are kept; without one such sets are left without these scores.
    """
    try:
        model = FeatureScores.fit(sets[0].answers)
    except NotEvaluable as reason:
        return dict.fromkeys(_REGISTRY, str(reason))
    for films in sets:
        if films.condition != CLEAN and cache is None:
            continue
        features = features_under(films.answers, films.condition, cache or Path())
        if features is None:
            continue
        rows = features[films.keep]
        if films.role == "main":
            found = model.same_films(rows, films.logits, films.keep)
        else:
            found = model.other_films(rows, films.logits)
        films.scores |= found
    return dict(model.problems)


def add_ensemble(sets: Sequence[FilmSet], evidence: Evidence) -> str:
    """Score the sets by how far the subjects of the run disagree; return why that is missing, or ''."""
    for films in sets:
        others = evidence.peers.get(films.role, ())
        if not others:
            return "needs two subjects with the same classes"
        stack = np.stack([softmax(one.logits(films.condition)[films.keep]) for one in (films.answers, *others)])
        films.scores |= _passes_scored(ENSEMBLE, stack)
    return ""


def add_augmented(sets: Sequence[FilmSet], remedy: str) -> None:
    """Score the sets by the entropy of the mean answer over shifted views of each film."""
    for films in sets:
        condition = remedy if films.condition == CLEAN else f"{films.condition} | {remedy}"
        logits = films.answers.logits(condition)[films.keep]
        films.scores[AUGMENTED] = scores.get("entropy")(logits)


def add_dropout(sets: Sequence[FilmSet], cache: Path) -> str:
    """Score the sets by how far passes with dropout disagree; return why that is missing, or ''."""
    for films in sets:
        passes = dropout_passes(films.answers, films.condition, cache)
        if passes is None:
            return "the subject has no dropout"
        films.scores |= _passes_scored(DROPOUT, passes[:, films.keep].astype(np.float64))
    return ""
