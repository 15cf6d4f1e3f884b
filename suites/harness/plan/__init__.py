"""What will a run do and cost, and what can its films not tell? Known before anything is predicted."""

from suites.harness.plan.plan import Plan, plan, planned
from suites.harness.plan.stored import Stored, note_judged, stored

__all__ = ["Plan", "Stored", "note_judged", "plan", "planned", "stored"]
