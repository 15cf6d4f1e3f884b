"""How often is each patient of a large cohort drawn? As a Poisson number says, a function of the patient alone.

In a cohort of more films than `resamples.DENSE` a patient counts as often as a Poisson number with mean 1 says, which
is what the multinomial bootstrap draws for one patient of many (Hanley & MacGibbon 2006, Comput. Methods Programs
Biomed. 83:57). The number is a function of seed, patient and replicate alone, so that any shard of a cohort draws it
for itself. Within each class the numbers are then scaled to its size, which keeps the classes as they are in every
resample.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import factorial

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Counts: TypeAlias = npt.NDArray[np.uint8]

KEPT = 2**28
"""Numbers that are kept once drawn, half a byte each: those of 134,000 patients."""
FEW = 1000
"""Patients of a class up to which it is drawn by the multinomial: a Poisson total would be too uneven."""


def _poisson() -> Counts:
    """Return the Poisson number, mean 1, that stands for each 16 bits: mean and variance are 1 to the last digit."""
    number = np.arange(9)
    counts = np.rint(2**16 * np.exp(-1.0) / factorial(number)).astype(np.int64)
    counts[2] = (2**16 - (number * (number - 1) * counts)[3:].sum()) // 2
    counts[1] = 2**16 - (number * counts)[2:].sum()
    counts[0] = 2**16 - counts[1:].sum()
    return np.repeat(number.astype(np.uint8), counts)


POISSON = _poisson()


@dataclass(frozen=True)
class Draws:
    """How often each patient of a cohort counts in each resample, as whole numbers before they are scaled by class.

    Attributes:
        seed: of the run.
        patients: (G,) keys, sorted.
        stratum: (G,) the class of each patient.
        count: number of resamples B.
    """

    seed: int
    patients: npt.NDArray[np.str_]
    stratum: Integers
    count: int

    def numbers(self, patients: Integers, start: int = 0, stop: int | None = None) -> Counts:
        """Return (P, stop - start) of the patients at these places, in these resamples."""
        stop = self.count if stop is None else stop
        if len(self.patients) * self.count > KEPT:
            return self._with_few(self._drawn(patients, start, stop), patients, start, stop)
        half = self._kept.shape[1]
        low, high = (slice(max(start - first, 0), max(min(stop - first, half), 0)) for first in (0, half))
        numbers = np.empty((len(patients), stop - start), dtype=np.uint8)
        split = max(low.stop - low.start, 0)
        np.bitwise_and(self._kept[patients, low], 15, out=numbers[:, :split])
        np.right_shift(self._kept[patients, high], 4, out=numbers[:, split:])
        return self._with_few(numbers, patients, start, stop)

    @cached_property
    def scale(self) -> Floats:
        """(S, B) what each class is scaled by in each resample: its patients by their numbers."""
        strata = np.unique(self.stratum)
        scale = np.ones((int(strata[-1]) + 1, self.count))
        for stratum in strata:
            members = np.flatnonzero(self.stratum == stratum)
            totals = sum(
                self.numbers(members[at : at + FEW]).sum(axis=0, dtype=np.int64) for at in range(0, len(members), FEW)
            )
            scale[stratum] = len(members) / np.asarray(totals, dtype=np.float64)
        return scale

    @cached_property
    def _kept(self) -> Counts:
        """(G, B / 2) the numbers, two in a byte: that of a resample of the first half, above it one of the second."""
        half = (self.count + 1) // 2
        kept = np.empty((len(self.patients), half), dtype=np.uint8)
        for at in range(0, len(kept), FEW):
            part = np.arange(at, min(at + FEW, len(kept)))
            numbers = self._drawn(part, 0, 2 * half)  # none is more than 8
            kept[part] = numbers[:, :half] | numbers[:, half:] << 4
        return kept

    @cached_property
    def _few(self) -> dict[int, Counts]:
        """Patient -> (B,) numbers, for the patients of classes that have few."""
        found: dict[int, Counts] = {}
        for stratum in np.unique(self.stratum):
            members = np.flatnonzero(self.stratum == stratum)
            if len(members) <= FEW:
                key = _digest(f"resamples\x1f{self.seed}\x1f", "\x1f".join(self.patients[members]))
                generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
                size = len(members)
                drawn = generator.multinomial(size - 1, np.full(size, 1 / size), self.count) if size > 1 else [[1]]
                numbers = np.broadcast_to(np.asarray(drawn, dtype=np.uint8), (self.count, size))
                found |= dict(zip(members.tolist(), numbers.T, strict=True))
        return found

    def _drawn(self, patients: Integers, start: int, stop: int) -> Counts:
        """Return (P, stop - start) from the generator itself: Philox, keyed by seed and patient, 16 numbers a block."""
        block = start // 16
        words = np.empty((len(patients), 4 * (-(-stop // 16) - block)), dtype="<u8")
        generator = np.random.Philox(key=0)
        state = generator.state
        state["state"]["counter"] = np.array([block, 0, 0, 0], dtype=np.uint64)
        for row, patient in zip(words, patients.tolist(), strict=True):
            key = _digest(f"resamples\x1f{self.seed}\x1f", self.patients[patient])
            state["state"]["key"] = np.frombuffer(key, dtype="<u8")
            generator.state = state
            row[:] = generator.random_raw(len(row))
        numbers: Counts = POISSON[words.view("<u2")][:, start - 16 * block : stop - 16 * block]
        return numbers

    @cached_property
    def _is_few(self) -> npt.NDArray[np.bool_]:
        """(G,) whether a patient is of a class that has few."""
        return np.isin(np.arange(len(self.patients)), list(self._few))

    def _with_few(self, numbers: Counts, patients: Integers, start: int, stop: int) -> Counts:
        """Return numbers with those of classes that have few, which are others and may be larger, in their places."""
        for place in np.flatnonzero(self._is_few[patients]).tolist():
            numbers[place] = self._few[int(patients[place])][start:stop]
        return numbers


def _digest(start: str, rest: str) -> bytes:
    return hashlib.sha256(f"{start}{rest}".encode()).digest()[:16]
