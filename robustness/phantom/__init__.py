"""An analytic three-dimensional chest that can be radiographed: every cause on its films is known.

>>> film = render(sample_patient("someone", 0, "child"), "lobar", "AP")
>>> film.film.shape, film.lesion.any()
"""

from .cohort import cohort_table, films, names_in, render_row, render_several_row
from .film import PhantomFilm, render
from .findings import FINDINGS, Finding, draw_finding
from .patient import AGE_GROUPS, Exposure, Patient, sample_patient
from .projection import VIEWS
from .several import SEVERAL, SeveralFindings, render_several

__all__ = [
    "AGE_GROUPS", "FINDINGS", "SEVERAL", "VIEWS", "Exposure", "Finding", "Patient", "PhantomFilm", "SeveralFindings",
    "cohort_table", "draw_finding", "films", "names_in", "render", "render_row", "render_several", "render_several_row",
    "sample_patient",
]  # fmt: skip
