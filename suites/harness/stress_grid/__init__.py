"""What does every perturbation do at every severity of a run? As numbers, pictures and a section of the report."""

from suites.harness.stress_grid.gallery import Strip
from suites.harness.stress_grid.measuring import Cell, Row, SubjectGrid
from suites.harness.stress_grid.relative import RelativeScore
from suites.harness.stress_grid.whole import StressGrid, stress_grid

__all__ = ["Cell", "RelativeScore", "Row", "StressGrid", "Strip", "SubjectGrid", "stress_grid"]
