"""An analytic three-dimensional chest that can be radiographed: every cause on its films is known.

>>> film = render(sample_patient("someone", 0, "child"), "lobar", "AP")
>>> film.film.shape, film.lesion.any()
"""

from .cohort import cohort_table, films, render_row
from .film import PhantomFilm, render
from .findings import FINDINGS, Finding, draw_finding
from .patient import AGE_GROUPS, Exposure, Patient, age_of, sample_patient
from .projection import VIEWS

__all__ = [
    "AGE_GROUPS", "FINDINGS", "VIEWS", "Exposure", "Finding", "Patient", "PhantomFilm", "age_of",
    "cohort_table", "draw_finding", "films", "render", "render_row", "sample_patient",
]  # fmt: skip
