"""Whatever is fed to it is accepted with the right result, or refused in one line; a killed run ends like another."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suites.harness.errors import UsageProblem
from tests.hostile import runner
from tests.hostile.case import GENERATORS, Case, Generator, accepted, either, named, names, refused

ROOT = Path(__file__).parents[2]


def run(module, *words):
    """Run a module of this folder in a process without the threads that no fork survives."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment = outside | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", f"tests.hostile{module}", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.slow
def test_every_hostile_input_ends_in_the_right_result_or_in_one_line():
    done = run("", "--cases", "2000")
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_a_run_that_was_killed_ends_byte_for_byte_like_an_undisturbed_one():
    done = run(".interrupted", "--points", "10")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "10 runs killed and resumed, 0 of them" in done.stdout


def raises(error):
    def act():
        raise error

    return act


def grow():
    kept = bytearray(0)
    while True:
        kept += bytes(2**26)


class Unfolded(UsageProblem):
    """A problem whose message nobody made into one line."""

    def __init__(self, message):
        Exception.__init__(self, message)


def die():
    faulthandler.disable()  # which would print where
    os.kill(os.getpid(), signal.SIGSEGV)


CONTROLS = {
    "accepted": accepted(lambda: 3, lambda found: found == 3, what=""),
    "refused": refused(raises(UsageProblem("films.csv: row 3 names no film; name one")), what="", where="films.csv"),
    "also refused": either(raises(UsageProblem("no")), lambda found: found == 3, what=""),
    "traceback": refused(raises(ValueError("deep inside")), what=""),
    "traceback of an exit": refused(raises(SystemExit(3)), what=""),
    "traceback of a death": refused(die, what=""),
    "hang": refused(lambda: time.sleep(99), what=""),
    "memory": refused(grow, what=""),
    "wrong value": accepted(lambda: 4, lambda found: found == 3, what=""),
    "wrong shape": accepted(lambda: None, lambda found: found.size == 3, what=""),
    "wrong: accepted": refused(lambda: 3, what=""),
    "wrong: refused": accepted(raises(UsageProblem("no")), lambda found: found == 3, what=""),
    "message of two lines": refused(raises(Unfolded("a\nb")), what=""),
    "message that is long": refused(raises(Unfolded("x" * 301)), what=""),
    "message without a place": refused(raises(UsageProblem("something is wrong")), what="", where="films.csv"),
    "message that is empty": refused(raises(UsageProblem("")), what=""),
}
"""A fault of each sort under the name of what has to be said of it: the runner sees what it is there to see."""


def test_faults_of_every_sort_are_seen(monkeypatch):
    monkeypatch.setattr(runner, "MOST_MEMORY", runner._held(os.getpid()) + 2**28)
    monkeypatch.setattr(runner, "named", lambda name, place: CONTROLS[name])
    found = {outcome.name: outcome for outcome in runner.run(CONTROLS, deadline=2.0)}
    assert set(found) == set(CONTROLS)
    for name, outcome in found.items():
        assert name.removeprefix("also ").startswith(outcome.verdict), outcome


def test_a_name_gives_the_same_case_again(tmp_path):
    def drawn(rng, place) -> Case:
        return refused(lambda: None, what=f"{rng.random()}", where=str(place))

    GENERATORS["test.drawn"] = Generator("test", drawn, 40)
    try:
        mine = [name for name in names() if name.startswith("test.")]
        assert len(mine) == len(set(mine)) == 40
        first, again = named(mine[3], tmp_path), named(mine[3], tmp_path)
        assert first.what == again.what != named(mine[4], tmp_path).what
    finally:
        del GENERATORS["test.drawn"]
