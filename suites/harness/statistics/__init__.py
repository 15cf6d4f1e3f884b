"""How sure is a number, given the patients it rests on?

Resamples of patients (`resamples`, some rows at a time `by_blocks`, of large cohorts `streamed`), intervals and
differences on them (`bootstrap`), the largest of several (`largest`), bounds where events are rare (`exact_bounds`),
and tests with their correction for many (`hypothesis_tests`).
"""

from suites.harness.statistics.bootstrap import (
    BOOTSTRAP,
    EVENTS,
    EXACT,
    LEVEL,
    OF_ONE,
    THIN,
    WIDENED,
    Interval,
    Sampled,
    average,
    class_recalls,
    combined,
    difference,
    rate,
    wilson,
)
from suites.harness.statistics.hypothesis_tests import (
    detectable_effect,
    films_needed,
    holm,
    mcnemar_test,
    page_trend,
    sign_flip_test,
)
from suites.harness.statistics.keys import keyed
from suites.harness.statistics.largest import Largest
from suites.harness.statistics.poisson_draws import Floats, Integers
from suites.harness.statistics.resamples import DENSE, RESAMPLES, Resamples, applied, forget, products, ranked
from suites.harness.statistics.streamed import Rows, of_films

__all__ = [
    "BOOTSTRAP",
    "DENSE",
    "EVENTS",
    "EXACT",
    "LEVEL",
    "OF_ONE",
    "RESAMPLES",
    "THIN",
    "WIDENED",
    "Floats",
    "Integers",
    "Interval",
    "Largest",
    "Resamples",
    "Rows",
    "Sampled",
    "applied",
    "average",
    "class_recalls",
    "combined",
    "detectable_effect",
    "difference",
    "films_needed",
    "forget",
    "holm",
    "keyed",
    "mcnemar_test",
    "of_films",
    "page_trend",
    "products",
    "ranked",
    "rate",
    "sign_flip_test",
    "wilson",
]
