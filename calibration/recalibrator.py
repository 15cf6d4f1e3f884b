"""What is a recalibration? The contract, the registry of all of them, and the JSON they are written to.

To add one, write a class in a file of this folder; it only fits and maps::

    from dataclasses import dataclass
    from typing import Any
    import numpy as np
    from calibration.recalibrator import Recalibrator, register
    from calibration.validation import FloatArray, IntArray, softmax

    @register("offset")
    @dataclass(frozen=True, kw_only=True)
    class Offset(Recalibrator):
        '''One offset for each logit, so that the mean probabilities are the shares of the classes.'''

        offset: list[float]

        @classmethod
        def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
            shares = np.bincount(labels, minlength=logits.shape[1]) / labels.size
            return {"offset": (np.log(shares) - np.log(softmax(logits).mean(axis=0))).tolist()}

        def _apply(self, logits: FloatArray) -> FloatArray:
            return logits + np.asarray(self.offset)

`Recalibrator` validates, refuses a fit that helps nothing, and writes and reads the json.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike

from calibration.registration import defined_in, import_every_file, taken, unknown_name
from calibration.scoring import nll
from calibration.validation import (
    CalibrationError,
    FitError,
    FloatArray,
    IntArray,
    TooFewFilmsError,
    checked_groups,
    checked_labels,
    checked_logits,
)

FORMAT = "recalibration/1"
FEWEST = 30  # films to fit on

R = TypeVar("R", bound="type[Recalibrator]")
_REGISTRY: dict[str, tuple[int, type[Recalibrator]]] = {}


def register(name: str, *, rank: int = 1) -> Callable[[R], R]:
    """Class decorator: make a recalibration known by a name, for `get` and the json.

    Args:
        name: as printed and written.
        rank: place in tables; equals stand in the order they are registered in.

    Raises:
        CalibrationError: the name is taken.
    """

    def enter(kind: R) -> R:
        if name in _REGISTRY:
            raise CalibrationError(taken("recalibration", name, _REGISTRY[name][1], kind))
        kind.method = name
        _REGISTRY[name] = rank, kind
        return kind

    return enter


def get(name: str) -> type[Recalibrator]:
    """Return the recalibration of that name.

    Raises:
        CalibrationError: unknown name; the message lists the nearest ones.
    """
    if name not in names():
        raise CalibrationError(unknown_name("recalibration", name, names()))
    return _REGISTRY[name][1]


def names() -> list[str]:
    """Names of the registered recalibrations, in the order of tables; every file of this folder has been asked."""
    import_every_file()
    return sorted(_REGISTRY, key=lambda name: _REGISTRY[name][0])


@dataclass(frozen=True, kw_only=True)
class Recalibrator(ABC):
    """A fitted map from logits to logits. Authors write `_fit` and `_apply`; checks and bookkeeping are here.

    Attributes:
        classes: number of classes K.
        fitted_on: films, log loss before and after on the very films of the fit, and what the caller noted.
    """

    method: ClassVar[str]
    classes: int
    fitted_on: dict[str, Any] = field(default_factory=dict)

    @final
    @classmethod
    def fit(cls, logits: ArrayLike, labels: ArrayLike, *, groups: ArrayLike | None = None, **note: str | float) -> Self:
        """Fit to logits (n, K) and labels (n,); `note` (cohort, subject, ...) travels in the json.

        `groups` (n,) are patient keys, which cross-validation within the fit keeps whole; None: each film its own.

        Raises:
            ClassAbsentError: a class does not occur.
            TooFewFilmsError: fewer than 30 films.
            FitError: no finite optimum, or the log loss of these films was not lowered.
        """
        z = checked_logits(logits)
        y = checked_labels(labels, *z.shape, all_classes=True)
        if y.size < FEWEST:
            raise TooFewFilmsError(f"{cls.method}: {y.size} films are too few to fit on, {FEWEST} are the least")
        fitted = cls(classes=z.shape[1], **cls._fit_patients(z, y, checked_groups(groups, y.size)))
        before, after = nll(z, y), nll(fitted.transform(z), y)
        if not after < before:
            raise FitError(
                f"{cls.method}: the fit did not lower the log loss of its own {y.size} films "
                f"({before:.6f} to {after:.6f}); "
                "do not use it"
            )
        fitted.fitted_on.update(films=int(y.size), nll_before=float(before), nll_after=float(after), **note)
        return fitted

    @final
    def transform(self, logits: ArrayLike) -> FloatArray:
        """Return recalibrated logits (n, K); their softmax are the recalibrated probabilities.

        Raises:
            CalibrationError: another number of classes than it was fitted on, or bad logits in or out.
        """
        z = checked_logits(logits)
        if z.shape[1] != self.classes:
            raise CalibrationError(
                f"{self.method} was fitted on {self.classes} classes, these logits have {z.shape[1]}"
            )
        mapped = np.asarray(self._apply(z), dtype=np.float64)
        if mapped.shape != z.shape or not np.isfinite(mapped).all():
            what = "are not all finite" if mapped.shape == z.shape else f"have shape {mapped.shape}, not {z.shape}"
            raise FitError(f"{self.method}: its logits {what} ({defined_in(type(self))})")
        return mapped

    @final
    def to_json(self) -> str:
        """Return everything needed to apply this map elsewhere, floats to the last bit."""
        parameters = asdict(self)
        fitted_on, classes = parameters.pop("fitted_on"), parameters.pop("classes")
        document = {
            "format": FORMAT,
            "method": self.method,
            "classes": classes,
            "parameters": parameters,
            "fitted_on": fitted_on,
        }
        return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Recalibrator:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: not such a document, or an unknown method.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise CalibrationError(f"this is {document['format']!r}, not {FORMAT!r}")
            kind = get(document["method"])
            return kind(classes=document["classes"], fitted_on=document["fitted_on"], **document["parameters"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise CalibrationError(f"not a recalibration file ({FORMAT}): {error!r}") from error

    @classmethod
    def _fit_patients(cls, logits: FloatArray, labels: IntArray, patients: IntArray) -> dict[str, Any]:  # noqa: ARG003
        """Return the parameters; overridden where the fit itself is cross-validated over patients (n,)."""
        return cls._fit(logits, labels)

    @classmethod
    @abstractmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        """Return the parameters as plain floats and lists."""

    @abstractmethod
    def _apply(self, logits: FloatArray) -> FloatArray:
        """Return the mapped logits."""
