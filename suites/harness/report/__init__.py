"""What do people keep of a run? The page, its machine-readable results, the release gate, the model card."""

from suites.harness.report.card import model_card, write_model_cards
from suites.harness.report.gate import Change, GateOutcome, compare_with_baseline
from suites.harness.report.picture_cache import drawing_once
from suites.harness.report.results import load_results, results_document
from suites.harness.report.write import write_report

__all__ = [
    "Change",
    "GateOutcome",
    "compare_with_baseline",
    "drawing_once",
    "load_results",
    "model_card",
    "results_document",
    "write_model_cards",
    "write_report",
]
