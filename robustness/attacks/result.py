"""What did an attack find? One record per film, and the frames they make together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Pixels = npt.NDArray[np.float32]
Stored = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class AtBudget:
    """One film at one budget.

    Attributes:
        budget: fraction of the grey scale.
        robust: no flip of at most this size was found (False also where the clean film is already wrong).
        robust_8bit: no 8-bit image inside the budget was found wrong. Where no 8-bit image other than the film itself
            fits into the budget this is True, and says nothing about the subject.
        prediction: class at the budget; the label where robust.
        logits: at that point; not a number where robust.
    """

    budget: float
    robust: bool
    robust_8bit: bool
    prediction: int
    logits: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class AttackResult:
    """One film under one protocol.

    Attributes:
        image_id: identity of the film.
        label: true class.
        threat: name of the threat model, for example "linf/grey".
        profile: name of the protocol.
        seed: seed of the run.
        clean_prediction: class of the film itself.
        clean_logits: (K,).
        distance: size of the smallest flipping change found; 0 where the clean film is wrong, inf where none was found.
            An upper bound of the true one.
        attack: what found it; "clean", or "" where nothing did.
        prediction: class at that change (the clean prediction where none was found).
        logits: (K,) there.
        forward: forward passes spent on the film.
        backward: backward passes.
        passes: the same by attack: name -> (forward, backward).
        fault: "nan gradient", "nan logits", "zero gradient" (every gradient asked was exactly 0), or "".
        not_evaluable: attacks of the protocol that the subject does not allow (no gradients).
        at: one entry per budget, ascending.
        film: (c, H, W) what the adversary moved, or None where examples were not asked for.
        adversarial: (c, H, W) the film at the smallest flip, or None.
        stored: (c, H, W) uint8 image that flips at the smallest budget of the grid where one does, or None.
        stored_distance: its measured size; inf where there is none.
        stored_logits: (K,) at the stored image, empty where there is none.
    """

    image_id: str
    label: int
    threat: str
    profile: str
    seed: int
    clean_prediction: int
    clean_logits: tuple[float, ...]
    distance: float
    attack: str
    prediction: int
    logits: tuple[float, ...]
    forward: int
    backward: int
    passes: Mapping[str, tuple[int, int]]
    fault: str
    not_evaluable: tuple[str, ...]
    at: tuple[AtBudget, ...]
    film: Pixels | None = field(default=None, repr=False)
    adversarial: Pixels | None = field(default=None, repr=False)
    stored: Stored | None = field(default=None, repr=False)
    stored_distance: float = float("inf")
    stored_logits: tuple[float, ...] = ()

    @property
    def perturbation(self) -> Pixels | None:
        """(c, H, W) the smallest flipping change, in [-1, 1], or None."""
        return None if self.film is None or self.adversarial is None else self.adversarial - self.film

    @property
    def conclusive(self) -> bool:
        """Whether a film that was not flipped may be called robust: nothing broke and every attack could run."""
        return not self.fault and not self.not_evaluable

    def summary(self) -> dict[str, Any]:
        """The film's row in `Attacked.films`; `passes` as text "attack:forward+backward", joined by spaces."""
        row: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("image_id", "label", "threat", "profile", "seed", "clean_prediction", "distance", "attack",
                         "prediction", "forward", "backward", "fault", "stored_distance")
        }  # fmt: skip
        row["not_evaluable"] = " ".join(self.not_evaluable)
        row["passes"] = " ".join(f"{name}:{f}+{b}" for name, (f, b) in self.passes.items())
        row |= {f"clean_logit_{k}": value for k, value in enumerate(self.clean_logits)}
        return row | {f"logit_{k}": value for k, value in enumerate(self.logits)}

    def rows(self) -> list[dict[str, Any]]:
        """The film's rows in `Attacked.rows`, one per budget."""
        same = {
            name: getattr(self, name)
            for name in ("image_id", "label", "threat", "profile", "seed", "forward", "backward")
        }
        return [
            same
            | {"budget": at.budget, "robust": at.robust, "robust_8bit": at.robust_8bit, "prediction": at.prediction}
            | {"attack": "" if at.robust else self.attack, "fault": self.fault}
            | {f"logit_{k}": value for k, value in enumerate(at.logits)}
            for at in self.at
        ]


@dataclass(frozen=True)
class Attacked:
    """All films of a run.

    Attributes:
        results: one record per film, in the order of the films.
    """

    results: tuple[AttackResult, ...]

    @property
    def rows(self) -> pd.DataFrame:
        """One row per film and budget: image_id, label, budget, robust, robust_8bit, prediction, attack, logit_k."""
        return pd.DataFrame([row for result in self.results for row in result.rows()])

    @property
    def films(self) -> pd.DataFrame:
        """One row per film: smallest flipping distance, what found it, which class it went to, passes, faults."""
        return pd.DataFrame([result.summary() for result in self.results])

    @property
    def curve(self) -> pd.Series[float]:
        """Robust accuracy by budget: a plain fraction; intervals are the caller's."""
        rows = self.rows
        return rows.groupby("budget")["robust"].mean() if len(rows) else pd.Series(dtype=float)

    def __len__(self) -> int:
        return len(self.results)


def gather(results: Iterable[AttackResult]) -> Attacked:
    """Records, from this run or from a cache, as one."""
    return Attacked(tuple(results))
