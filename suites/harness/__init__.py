"""The machinery of the suites: subject, cohort, prediction table, statistics, claims, report.

from suites.harness import evaluate
evaluation = evaluate("bundled:fragile", "phantom", profile="quick")
evaluation.to_pandas()
evaluation.report("report")
"""

from suites.harness.api import evaluate
from suites.harness.claims import Claim, Judgement, Measure, Result, Verdict, load_claims
from suites.harness.cohort import Cohort, Film
from suites.harness.evaluation import Evaluation
from suites.harness.formats import load_subject
from suites.harness.layouts import load_cohort
from suites.harness.preprocessing import Preprocessing
from suites.harness.subject import Normalised, Provenance, Subject

__all__ = [
    "Claim",
    "Cohort",
    "Evaluation",
    "Film",
    "Judgement",
    "Measure",
    "Normalised",
    "Preprocessing",
    "Provenance",
    "Result",
    "Subject",
    "Verdict",
    "evaluate",
    "load_claims",
    "load_cohort",
    "load_subject",
]
