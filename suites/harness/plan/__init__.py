"""What will a run do and cost, and what can its films not tell? Known before anything is predicted."""

from suites.harness.plan.plan import Plan, note_finished, plan, planned, was_finished

__all__ = ["Plan", "note_finished", "plan", "planned", "was_finished"]
