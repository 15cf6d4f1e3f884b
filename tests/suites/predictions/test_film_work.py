"""Attacks and saliency in blocks: a run that is killed in the middle repeats no block that was done."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from suites.harness.cache import Unfinished
from suites.harness.endpoints.adversarial.runs import attack
from suites.harness.endpoints.adversarial.runs.job import BATCH
from suites.harness.endpoints.explanations import saliency_work
from suites.harness.endpoints.explanations.attribution import attribute
from suites.harness.errors import CohortProblem, NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import cut
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.dispatching import THIS_PROCESS
from suites.harness.predictions.film_work import Asking, Named, rows_of
from suites.harness.predictions.table import predict
from suites.harness.subjects.finding import for_finding
from tests.suites.predictions.mortal import DOOM, arm, cohort_of, draw, subject_of

ROOT = Path(__file__).parents[3]
FILMS = 2 * BATCH[True] + 3
METHOD = "integrated gradients"


def answers_of(cache: Path, by=THIS_PROCESS, films: int = FILMS) -> Answers:
    subject = subject_of()
    found = predict({"mortal": (subject, expand(["clean"]))}, cohort_of(films), seed=0, cache=cache, quiet=True)
    return Answers.of(subject, cohort_of(films), found["mortal"], seed=0, cache=cache, workers=by)


def attacked(answers: Answers, cache: Path) -> str:
    """What an attack finds, as text, so that not-a-number equals itself."""
    found = attack(answers, "quick", cache, protocol="noise").found.results
    return str([asdict(replace(one, film=None, stored=None)) for one in found])


def mapped(answers: Answers, cache: Path) -> bytes:
    return attribute(answers, np.arange(len(answers.images)), METHOD, cache).maps.maps.tobytes()


WORK = {"attacks": attacked, "maps": mapped}
KILLED = """
import os, sys
from pathlib import Path
from tests.suites.predictions import mortal, test_film_work as here
folder = Path(sys.argv[1])
answers = here.answers_of(folder)
for kind, moment in zip(sys.argv[2::2], map(int, sys.argv[3::2])):
    if not (child := os.fork()):
        os.environ[mortal.DOOM] = str(folder / "pass")
        mortal.arm(folder / "pass", moment)
        here.WORK[kind](answers, folder / f"killed {kind}")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_blocks_that_are_done_are_not_done_again_after_a_kill(tmp_path, monkeypatch):
    """SIGKILL in the second block of an attack, and of maps: the second start makes the passes of the others only."""
    book, ends = tmp_path / "book", []
    monkeypatch.setenv(DOOM, str(book))
    answers = answers_of(tmp_path)

    def made() -> int:
        return book.with_suffix(".passes").stat().st_size if book.with_suffix(".passes").exists() else 0

    finished = Unfinished.finished
    monkeypatch.setattr(
        Unfinished, "finished", lambda self, films, identities: (finished(self, films, identities), ends.append(made()))
    )
    wanted, whole, first = {}, {}, {}
    for kind, work in WORK.items():
        ends.clear()
        arm(book, 10**9)
        wanted[kind], whole[kind], first[kind] = work(answers, tmp_path / "undisturbed"), made(), ends[0]
        assert len(ends) >= 3
        assert 0 < first[kind] < whole[kind]
    asked = [word for kind in WORK for word in (kind, str(first[kind] + 1))]
    told = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *asked],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.split() == [str(-signal.SIGKILL)] * len(WORK), told.stderr
    for kind, work in WORK.items():
        arm(book, 10**9)
        assert work(answers, tmp_path / f"killed {kind}") == wanted[kind]
        assert made() == whole[kind] - first[kind]
        arm(book, 10**9)
        assert work(answers, tmp_path / f"killed {kind}") == wanted[kind]
        assert made() == 0
        one, other = (
            {path.name: path.read_bytes() for path in (tmp_path / name / kind).rglob("*.parquet")}
            for name in ("undisturbed", f"killed {kind}")
        )
        assert one == other


def test_a_film_that_is_another_by_now_ends_the_run_with_one_line(tmp_path):
    answers = answers_of(tmp_path, films=4)
    saliency_work._REMEMBERED.clear()
    changed = replace(answers, cohort=replace(answers.cohort, decode=lambda row: draw({**row, "number": 77})))
    with pytest.raises(CohortProblem, match="the film film0 of drawn changed while it was read"):
        mapped(changed, tmp_path)


def test_what_cannot_be_had_of_one_question_is_told_and_the_others_are_answered(tmp_path):
    """The first reason in the order of the blocks, whoever was first: it must not depend on workers."""
    answers = answers_of(tmp_path, films=4)
    work = saliency_work.MapWork(seed=0, resolution=answers.resolution)
    blocks = cut(rows_of(answers, range(4), [0] * 4), 2, [METHOD, "guided grad-cam", "grad-cam"])
    nothing = replace(answers, subject=replace(answers.subject, attribution_layer="nowhere"))

    class Backwards:
        def receipts(self, here, blocks, told):
            return THIS_PROCESS.receipts(here, blocks[::-1], told)

    asking = Asking(replace(nothing, workers=Backwards()), work, tmp_path)
    found = [(block.asked, rows) for block, rows in asking.by_block(blocks)]
    assert [name for name, rows in found if not isinstance(rows, NotEvaluable)] == [METHOD, METHOD]
    with pytest.raises(NotEvaluable, match="nowhere") as first:
        list(asking.rows(blocks))
    assert str(first.value) == str(found[2][1])


def test_a_subject_of_one_finding_is_the_same_in_any_process():
    whole = replace(subject_of(), heads="sigmoid", thresholds=(0.3, 0.5, 0.5))
    one = for_finding(whole, "a", "Effusion")
    again = Named.of(one).among({whole.name: pickle.loads(pickle.dumps(whole))})
    assert (again.name, again.classes, again.cache_key) == (one.name, one.classes, one.cache_key)
    assert Named.of(whole).among({whole.name: whole}) is whole
