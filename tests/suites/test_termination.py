"""A run that is told to end writes what it has judged, as after Ctrl-C, and nothing ends the writing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from suites import outputs
from suites.termination import UNHEARD, Termination
from tests.suites.test_suites_run import ROOT, place  # noqa: F401 - a fixture

WAITING = """

import os
import time
from pathlib import Path

def waiting():
    '''Answers until a claim of the second section is judged; says so, and then does not answer.'''
    class Waiting(Brightness):
        def forward(self, pixels):
            if "contrast" in os.environ.get("PYTEST_CURRENT_TEST", ""):
                Path("reached").touch()
                time.sleep(200)
            return super().forward(pixels)
    return make(Waiting(), "waiting")
"""
FIRST = '[[claim]]\nid = "dataset.first"\nsection = "P"\nstatement = "s."\nendpoint = "published_half_width"\n'
FIRST += 'kind = "limitation"\nmargin = 0.01\nclasses = ["a", "b"]\nconfusion = [[20, 1], [2, 30]]\n'
SECOND = '[[claim]]\nid = "contrast.later"\nsection = "S"\nstatement = "s."\nendpoint = "stress"\n'
SECOND += 'kind = "limitation"\ncondition = "gamma_high@5"\nmargin = 0.05\n'
LAST = '[[claim]]\nid = "adversarial.last"\nsection = "A"\nstatement = "s."\nendpoint = "robust_accuracy"\n'
LAST += 'kind = "limitation"\nlevels = 1.0\ndirection = "below"\nmargin = 0.5\n'
"""Its file comes first, and it is judged last."""


def test_a_run_that_is_terminated_writes_what_it_judged_and_has_the_exit_code_of_an_interrupted_one(place):  # noqa: F811
    (place / "toys.py").write_text((place / "toys.py").read_text() + WAITING)
    (place / "ended.toml").write_text(FIRST + SECOND + LAST)
    words = [
        sys.executable, "-m", "pytest", str(ROOT / "suites"), "-p", "no:cacheprovider", "--weights=toys:waiting",
        f"--data={place / 'films'}", f"--cache={place / 'ended'}", f"--claims={place / 'ended.toml'}",
        f"--rootdir={ROOT}", "--report=ended-report", "--junitxml=ended.xml",
    ]  # fmt: skip
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment = outside | {"PYTHONPATH": f"{ROOT}{os.pathsep}{place}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        words, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as started:
        until = time.monotonic() + 150
        while not (place / "reached").exists() and started.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        started.send_signal(signal.SIGTERM)
        text, _ = started.communicate(timeout=100)
    assert started.returncode == 2, text
    told = "incomplete: 1 of 3 claims (terminated before contrast.later)"
    assert told in text
    assert "terminated (SIGTERM)" in text
    assert "ended after " in text
    assert not re.search(r"KeyboardInterrupt|--full-trace|termination\.py|planned: ", text), "of a whole run, or of us"
    results = json.loads((place / "ended-report" / "results.json").read_text())
    assert [claim["id"] for claim in results["claims"]] == ["dataset.first"]
    assert results["incomplete"]["why"] == "terminated before contrast.later"
    assert "1 of 3 claims (terminated before contrast.later)" in (place / "ended.xml").read_text()


@pytest.fixture
def listening():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Termination()
    yield made
    made.pytest_unconfigure()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, ctrl_c)


def test_it_interrupts_once_and_never_the_writing(listening):
    assert listening.how == "interrupted"
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert (listening.received, listening.how) == (True, "terminated")


def test_after_ctrl_c_it_leaves_the_report_to_be_written(listening):
    listening.pytest_sessionfinish()
    signal.raise_signal(signal.SIGTERM)
    assert listening.how == "interrupted"


def test_a_handler_of_somebody_elses_stays_and_no_other_thread_asks_for_signals():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        Termination().pytest_unconfigure()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        thread = threading.Thread(target=Termination)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_that_comes_twice_is_heard_once_until_pytest_has_said_how_the_run_ended(listening):
    with pytest.raises(KeyboardInterrupt) as first:
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # whoever started the process sends it, too
    saying = listening.pytest_keyboard_interrupt(first)
    next(saying)
    signal.raise_signal(signal.SIGINT)
    assert next(saying, "over") == "over"
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_is_heard_again_where_nobody_said_how_the_run_ended(listening, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + UNHEARD + 1)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_a_report_is_written_is_one_line_and_nothing_else_is_written(monkeypatch):
    written = []

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "_compared", lambda *_: written.append("gate"))
    monkeypatch.setattr(outputs, "_reported", interrupted)
    monkeypatch.setattr(outputs, "_carded", lambda *_: written.append("card"))
    monkeypatch.setattr(outputs, "_summarised", lambda *_: written.append("summary"))
    found = outputs.write(None, None)
    assert found.interrupted
    assert written == ["gate"]
    assert found.problems == ["interrupted while it was written down; what was judged is kept, so run it again"]
