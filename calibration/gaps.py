"""Of which gaps is a calibration error the sum? The candidate truths beside it, and samples drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.binning import CELLS, view_of
from calibration.simulated_outcomes import Luck, Outcomes
from calibration.smooth import smoothing_of
from calibration.validation import CalibrationError, FloatArray, IntArray

ROUNDING = 1e-9  # an error no larger is 0


@dataclass(frozen=True)
class Gaps:
    """A sample as gaps: C views of n films, each with rows that sum residuals (outcome - confidence) to gaps.

    Attributes:
        confidence: (C, n).
        outcome: (C, n), 0.0 or 1.0.
        shape: (C, n) gap at each film (the mean residual of its bin, or around it); for an error of 0 the same
            everywhere, or what makes all classes alike.
        rows: C arrays (m, n).
        cells: C arrays (n,), where the rows count films in bins the bin of each; else none.
        share: of one film and view; share x sum |rows @ residual| over all views is the error.
        error: the calibration error.
    """

    confidence: FloatArray
    outcome: FloatArray
    shape: FloatArray
    rows: list[npt.NDArray[np.floating[Any]]]
    share: float
    error: float
    cells: tuple[IntArray, ...] = ()

    @classmethod
    def of(cls, p: FloatArray, y: IntArray, view: str, bins: int, binning: str) -> Gaps:
        """Take (n, K) probabilities and (n,) labels; see `calibration.inversion.inverted_interval`.

        Raises:
            CalibrationError: an unknown view or binning, or fewer than 1 bin.
        """
        if binning != "smooth" and binning not in CELLS:
            raise CalibrationError(f"unknown binning {binning!r}: use one of {', '.join(CELLS)} or 'smooth'")
        if bins < 1:
            raise CalibrationError(f"at least 1 bin is needed, not {bins}")
        pairs = view_of(p, y, view)
        share, error = 1 / (y.size * len(pairs)), 0.0
        rows: list[npt.NDArray[np.floating[Any]]] = []
        shape = np.zeros((len(pairs), y.size))
        cells: list[IntArray] = []
        for at, (confidence, outcome) in enumerate(pairs):
            if binning == "smooth":
                weighing, shape[at] = smoothing_of(confidence, outcome)
                rows.append(weighing)
            else:
                _, cell = np.unique(CELLS[binning](confidence, bins), return_inverse=True)
                member = np.arange(cell.max() + 1)[:, None] == cell
                shape[at] = (member @ (outcome - confidence) / member.sum(axis=1))[cell]
                rows.append(member.astype(np.float64))
                cells.append(cell)
            error += share * float(np.abs(rows[-1] @ (outcome - confidence)).sum())
        confidences, outcomes = (np.array(values) for values in zip(*pairs, strict=True))
        if error <= ROUNDING:
            error, shape = 0.0, np.ones_like(shape) if len(pairs) == 1 else 1 / len(pairs) - confidences
        return cls(confidences, outcomes, shape, rows, share, error, tuple(cells))

    def gaps_of(self, residuals: FloatArray) -> FloatArray:
        """Return (m in all,) gaps of (C, n) residuals."""
        return self.share * np.concatenate([rows @ part for rows, part in zip(self.rows, residuals, strict=True)])

    @property
    def by_film(self) -> FloatArray:
        """(m in all, n) what each film adds to each gap."""
        residuals = self.outcome - self.confidence
        return self.share * np.concatenate([rows * part for rows, part in zip(self.rows, residuals, strict=True)])

    def shape_beyond(self, noise: FloatArray) -> FloatArray:
        """Return (C, n) the shape, 0 where the gap lies within (m in all,) noise; as it is where every gap does."""
        beyond = np.abs(self.gaps_of(self.outcome - self.confidence)) > noise
        parts = np.split(beyond, np.cumsum([len(rows) for rows in self.rows])[:-1])
        kept = [part[rows.argmax(axis=0)] for part, rows in zip(parts, self.rows, strict=True)]
        return np.where(kept, self.shape, 0.0) if beyond.any() else self.shape


@dataclass(frozen=True)
class Samples:
    """Samples of a candidate: their gaps (m, draws), and the true ones (m, 1); errors `tie` apart are equal."""

    gaps: FloatArray
    true: FloatArray
    tie: float

    @cached_property
    def errors(self) -> FloatArray:
        """(draws,)."""
        return np.asarray(np.abs(self.gaps).sum(axis=0))

    @cached_property
    def signed(self) -> FloatArray:
        """(draws,) sums of the gaps by the sign of the true ones; looked at for few candidates."""
        return np.asarray((np.sign(self.true) * self.gaps).sum(axis=0))

    def at_most(self, error: float) -> float:
        """Share of samples with no more than this error."""
        return float((self.errors <= error + self.tie).mean())

    def at_least(self, error: float) -> float:
        """Share of samples with this error or more."""
        return float((self.errors >= error - self.tie).mean())

    def signed_at_most(self, error: float) -> float:
        """Share of samples whose signed sum of gaps is no more than this."""
        return float((self.signed <= error + self.tie).mean())


@dataclass(frozen=True)
class Candidates:
    """True gaps of one shape and every size: the chance of an outcome is confidence + e x shape, for an error of e.

    Attributes:
        seen: the sample.
        luck: what decides the outcomes of every candidate.
        shape: (C, n), of any size.
        wider: factor of the noise.
        calibrated: the outcomes where every chance is the confidence; made where it is not given.
    """

    seen: Gaps
    luck: Luck
    shape: FloatArray
    wider: float = 1.0
    calibrated: Outcomes | None = None

    def __post_init__(self) -> None:
        """Scale the shape to an error of 1."""
        # The chances of all classes stay 1 in all.
        shape = self.shape - self.shape.mean(axis=0) if len(self.shape) > 1 else self.shape
        size = float(np.abs(self.seen.gaps_of(shape)).sum())
        object.__setattr__(self, "shape", shape / size if size > ROUNDING else shape)
        if self.calibrated is None:
            calibrated = Outcomes(self.luck, self.seen.rows, self.seen.cells)
            calibrated.under(np.cumsum(self._chances(0.0), axis=0))
            object.__setattr__(self, "calibrated", calibrated)

    def reshaped(self, shape: FloatArray) -> Candidates:
        """Return the candidates of another shape, with the same numbers and noise."""
        return replace(self, shape=shape)

    def truth(self, e: float) -> float:
        """Return the true error of a candidate: e, or less where chances end at 0 or 1."""
        return float(np.abs(self.seen.gaps_of(self._chances(e) - self.seen.confidence)).sum())

    def drawn(self, e: float) -> Samples:
        """Return the samples of a candidate."""
        gaps = self.seen.gaps_of(self._chances(e) - self.seen.confidence)[:, None]
        samples = self.noise(e)
        samples *= self.wider
        samples += gaps
        # Errors lie on a lattice that `wider` moves: half a film decides what is as extreme as the one seen.
        tie = 0.501 * self.wider * self.seen.share
        return Samples(samples, gaps, tie)

    def noise(self, e: float) -> FloatArray:
        """Return (m in all, draws) gaps of samples minus the true gaps."""
        chances = self._chances(e)
        sums = self._outcomes.under(np.cumsum(chances, axis=0))
        parts = [
            found - (rows @ chance)[:, None] for rows, chance, found in zip(self.seen.rows, chances, sums, strict=True)
        ]
        return self.seen.share * np.concatenate(parts)

    @cached_property
    def _outcomes(self) -> Outcomes:
        """The outcomes of the candidate looked at last."""
        assert self.calibrated is not None  # noqa: S101 - made when this was
        return self.calibrated.copy()

    def _chances(self, e: float) -> FloatArray:
        """(C, n) chances of the outcomes."""
        chance = np.clip(self.seen.confidence + e * self.shape, 0.0, 1.0)
        return chance / chance.sum(axis=0) if len(chance) > 1 else chance
