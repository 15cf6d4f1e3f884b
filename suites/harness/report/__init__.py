"""The report people keep: the page, its machine-readable results, the release gate and the model card."""

from suites.harness.report.write import write_report

__all__ = ["write_report"]
