"""The stress grid: every perturbation at every severity of a run, as numbers, pictures and a section of the report."""

from suites.harness.grid.gallery import Strip
from suites.harness.grid.measuring import Cell, Row, SubjectGrid
from suites.harness.grid.relative import RelativeScore
from suites.harness.grid.whole import StressGrid, stress_grid

__all__ = ["Cell", "RelativeScore", "Row", "StressGrid", "Strip", "SubjectGrid", "stress_grid"]
