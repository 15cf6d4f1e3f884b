"""How well does a score tell a probe from the cohort, and on whose films does that rest?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from calibration import ood
from calibration.validation import FloatArray
from suites.harness.formatting.wording import number
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Sampled
from suites.harness.statistics.resamples import Resamples, ranked


@dataclass(frozen=True)
class TwoCohorts:
    """Films of the cohort, then films of the probe.

    Attributes:
        outside: (n,) true for the films of the probe.
        resamples: of the patients of either.
        patients: of both together.
        fewest: patients of the cohort or of the probe, whichever has fewer: a comparison of two groups is no surer than
            the smaller one, so that is the bound where nothing varies.
        smallest: films of the rarest kind of film in the probe.
    """

    outside: npt.NDArray[np.bool_]
    resamples: Resamples
    patients: int
    fewest: int
    smallest: int

    @classmethod
    def of(
        cls,
        main: Answers,
        probe: Answers,
        usual: npt.NDArray[np.bool_] | None = None,
        strange: npt.NDArray[np.bool_] | None = None,
    ) -> TwoCohorts:
        """Return the films of both; `usual` and `strange` (N,) choose among them."""
        near = np.ones(len(main.cohort), dtype=bool) if usual is None else usual
        far = np.ones(len(probe.cohort), dtype=bool) if strange is None else strange
        owners = set(main.patients[near]), set(probe.patients[far])
        return cls(
            np.repeat([False, True], [int(near.sum()), int(far.sum())]),
            main.resamples.subset(near).beside(probe.resamples.subset(far)),
            len(owners[0] | owners[1]),
            min(map(len, owners)),
            smallest_kind(probe, far),
        )

    @property
    def films(self) -> int:
        """Films of both."""
        return len(self.outside)

    def sampled(self, statistic: Callable[..., object]) -> Sampled:
        """Return a rank statistic in [0, 1] of both groups, called with `weights=` (see `ranked`)."""
        estimate = float(np.asarray(statistic(weights=None)))
        drawn, left_out, coarse = ranked(statistic, self.resamples)
        return Sampled(estimate, drawn, self.patients, strata=(self.fewest,), left_out=left_out, coarse=float(coarse))

    def auroc(self, values: FloatArray) -> Sampled:
        """Return how well (n,) values, larger for the probe, tell the two apart."""
        return self.sampled(partial(ood.auroc, values, self.outside))


def smallest_kind(probe: Answers, among: npt.NDArray[np.bool_] | None = None) -> int:
    """Return the films of the rarest finding that has no class; all films where every one has a class."""
    keep = np.ones(len(probe.cohort), dtype=bool) if among is None else among
    unseen = keep & (probe.labels < 0)
    if not unseen.any():
        return int(keep.sum())
    return int(probe.cohort.table["finding"].astype(str)[unseen].value_counts().min())


def against_chance(auroc: Sampled) -> str:
    """Return an AUROC of uncertainty in words, beside chance: one that is surely below it tells the wrong way round."""
    ends = auroc.interval()
    if ends.high < 0.5:
        return f"{number(ends.estimate)}, below chance (0.5): it is surer on these films"
    return f"{number(ends.estimate)} (0.5 is chance)"
