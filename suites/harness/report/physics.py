"""What does a perturbation of this run stand for? Its physics card, as `formatting.severities` reads it."""

from __future__ import annotations

from suites.harness.formatting.severities import card

__all__ = ["card"]
