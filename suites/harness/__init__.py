"""What judges the claims of the suites? Subjects, cohorts, predictions, statistics, endpoints, verdicts, report.

    from suites.harness import evaluate
    evaluation = evaluate("bundled:fragile", "phantom", profile="quick")
    evaluation.to_pandas()
    evaluation.report("report")

Names are imported when they are first used, so that reading weights does not load what draws reports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from suites.harness.former_names import find_former_names
from suites.harness.process import settle
from suites.import_names import find_other_names

if TYPE_CHECKING:
    from suites.harness.api import evaluate as evaluate
    from suites.harness.claims import Claim as Claim
    from suites.harness.claims import Judgement as Judgement
    from suites.harness.claims import Measure as Measure
    from suites.harness.claims import Result as Result
    from suites.harness.claims import Verdict as Verdict
    from suites.harness.claims_table import load_claims as load_claims
    from suites.harness.cohorts.cohort import Cohort as Cohort
    from suites.harness.cohorts.cohort import Film as Film
    from suites.harness.cohorts.layouts import load_cohort as load_cohort
    from suites.harness.evaluation import Evaluation as Evaluation
    from suites.harness.subjects.formats import load_subject as load_subject
    from suites.harness.subjects.preprocessing import Preprocessing as Preprocessing
    from suites.harness.subjects.subject import Normalised as Normalised
    from suites.harness.subjects.subject import Provenance as Provenance
    from suites.harness.subjects.subject import Subject as Subject
    from suites.harness.subjects.temperature_file import FittedTemperature as FittedTemperature
    from suites.harness.subjects.temperature_file import read_temperature as read_temperature
    from suites.harness.subjects.temperature_scaling import with_temperature as with_temperature

settle()
find_former_names()
find_other_names()

_HOME = {
    "evaluate": "api",
    "Evaluation": "evaluation",
    "load_subject": "subjects.formats",
    "load_cohort": "cohorts.layouts",
    "Preprocessing": "subjects.preprocessing",
    **dict.fromkeys(("Claim", "Judgement", "Measure", "Result", "Verdict"), "claims"),
    "load_claims": "claims_table",
    **dict.fromkeys(("Cohort", "Film"), "cohorts.cohort"),
    **dict.fromkeys(("Normalised", "Provenance", "Subject"), "subjects.subject"),
    **dict.fromkeys(("FittedTemperature", "read_temperature"), "subjects.temperature_file"),
    "with_temperature": "subjects.temperature_scaling",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever lives there
    """Import a public name from its home."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOME)
