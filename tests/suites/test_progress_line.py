"""What a person sees while a run goes on: a line that moves on a terminal, a few plain ones in a log."""

from __future__ import annotations

import os
import pty
import re
import sys
import time
from types import SimpleNamespace

import pytest

from suites.harness.progress import Progress
from suites.progress_line import ProgressLine, Run, fitted
from tests.suites.test_suites_run import ROOT, place, run  # noqa: F401 - a fixture

SLOW = """

import time

def slow():
    class Slow(Brightness):
        def forward(self, pixels):
            time.sleep(.06)
            return super().forward(pixels)
    return make(Slow(), "slow")
"""


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield lambda: os.read(reading, 65536).decode(), writing
    os.close(reading)
    os.close(writing)


@pytest.fixture
def working():
    progress = Progress()
    progress.expect("attacking", units=10)
    with progress.doing("attacking", "reader"):
        yield progress


def test_a_log_gets_a_line_every_thirty_seconds_and_never_more_often(pipe, working):
    read, writing = pipe
    clock = [0.0]
    line = ProgressLine(working, writing, width=None, clock=lambda: clock[0])
    for second in range(100):
        clock[0] = float(second)
        line.draw()
    assert read() == 3 * "attacking reader: 0 of 10 films x attacks\n"


def test_a_line_of_a_log_does_not_run_on_from_what_pytest_has_written(pipe, working):
    read, writing = pipe
    line = ProgressLine(working, writing, width=None, column=lambda: 28, every=0.0)
    line.draw()
    assert read().startswith("\nattacking")


def test_on_a_terminal_it_fits_is_drawn_over_itself_and_leaves_the_cursor_where_pytest_was(pipe, working):
    read, writing = pipe
    line = ProgressLine(working, writing, width=lambda: 20, column=lambda: 7, every=0.0)
    line.draw()
    line.draw()
    line.wipe()
    line.wipe()
    assert read() == "\nattacking …: 0 of 1\r\x1b[2Kattacking …: 0 of 1\r\x1b[2K\x1b[A\x1b[8G"


def test_names_of_films_neither_move_the_cursor_nor_break_the_line():
    assert fitted("predicting \x1b[2J\r\n名前", 20) == "predicting ?[2J??名"
    assert fitted("名" * 9, 9) == "名" * 4
    assert fitted("a\nb") == "a?b"


def test_it_moves_while_nobody_reports_anything(pipe, working):
    read, writing = pipe
    with ProgressLine(working, writing, width=lambda: 80, every=0.01).showing():
        until, seen = time.monotonic() + 20, ""
        while seen.count("attacking") < 3 and time.monotonic() < until:
            time.sleep(0.01)
            seen += _or_nothing(read)
    assert seen.count("attacking") >= 3


def test_a_terminal_that_is_gone_does_not_end_the_run(working):
    reading, writing = os.pipe()
    os.close(reading)
    ProgressLine(working, writing, width=lambda: 80, every=0.0).draw()
    os.close(writing)


def _or_nothing(read):
    try:
        return read()
    except BlockingIOError:
        return ""


@pytest.fixture(scope="module")
def on_a_terminal(place):  # noqa: F811
    """All that a run writes to a terminal, and its exit code."""
    toys = (place / "toys.py").read_text()
    (place / "toys.py").write_text(toys + SLOW)
    words = [
        sys.executable, "-m", "pytest", str(ROOT / "suites"), "-p", "no:cacheprovider", "--weights=toys:slow",
        f"--data={place / 'films'}", f"--cache={place / 'slow'}", f"--claims={place / 'claims.toml'}",
        f"--rootdir={ROOT}", "-k", "found or absent or bad", "-rx",
    ]  # fmt: skip
    pid, descriptor = pty.fork()
    if not pid:
        os.chdir(place)
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            del os.environ[name]
        os.environ |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{place}", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
        os.execv(sys.executable, words)
    seen = b""
    try:
        while part := os.read(descriptor, 65536):
            seen += part
    except OSError:  # how a terminal ends whose other side is gone
        pass
    os.close(descriptor)
    return seen.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_run_on_a_terminal_shows_it_past_the_capture(on_a_terminal):
    text, _ = on_a_terminal
    lines = re.findall(r"predicting [^:\r\n]*: (\d+) of (\d+) films x conditions[^\r\n\x1b]*", text)
    counts = [int(done) for done, _ in lines]
    assert len(set(counts)) >= 2, text  # how often it is drawn is up to the machine
    assert counts == sorted(counts)
    assert {int(planned) for _, planned in lines} == {73 * 2}
    assert max(counts) <= 73 * 2
    last = text.rpartition("\x1b[2K")[2]
    assert "predicting" not in last, "it is wiped before the verdicts are printed"
    assert "limitation confirmed" in last.lower()


def test_a_violation_on_few_films_fails_only_where_that_is_asked_for(on_a_terminal):
    text, code = on_a_terminal
    assert code == 0, "test_suites_run asks for it, and has 1"
    assert "few films: fails with --strict-verdicts only" in text
    assert "REQUIREMENT VIOLATED" in text, "the verdict itself stays"


def test_the_plan_alone_predicts_nothing_and_says_first_which_films_there_are_then_that_they_are_few(place):  # noqa: F811
    done = run(place, "--plan", "--report", "none", f"--cache={place / 'planned'}", claims=None)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("plan: "))
    assert lines[first] == "plan: films: 24 bacterial pneumonia, 24 normal, 24 viral pneumonia; 1 unreadable"
    assert "1 of 73 films cannot be read and is left out: damaged.png" in lines[first + 1]
    assert re.search(r"\d+ of \d+ claims can be settled by these films only where", lines[first + 2]), done.stdout
    assert "no lateral films were given, pass --probe-lateral SPEC" in done.stdout
    assert "passed" not in done.stdout
    assert not (place / "none").exists()
    kept = {path.relative_to(place / "planned").parts[0] for path in (place / "planned").rglob("shard-*")}
    assert kept <= {"headers"}, "nothing was predicted, attacked or explained"


@pytest.mark.parametrize("only_plan", [True, False])
def test_what_would_be_refused_has_the_exit_code_of_a_refusal_planned_or_run(only_plan):
    with pytest.raises(pytest.UsageError, match="why"):  # which pytest gives exit code 4, and prints last
        Run.pytest_runtestloop(SimpleNamespace(refused="why", only_plan=only_plan))


def test_films_that_lack_a_class_are_counted_before_the_run_is_refused(place):  # noqa: F811
    done = run(place, "--report", "refused", data="films?label=normal", claims=None)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "plan: films: 0 bacterial pneumonia, 24 normal, 0 viral pneumonia; 1 unreadable" in done.stdout
    refusals = [line for line in (done.stdout + done.stderr).splitlines() if "no film of class" in line]
    assert len(refusals) == 1
    assert done.stderr.strip() == refusals[0]
    assert refusals[0].startswith("ERROR: cohort films")
    assert "planned: " not in done.stdout
    assert not (place / "refused").exists()


def test_where_there_is_little_room_the_name_goes_before_what_is_left():
    progress = Progress()
    progress.expect("attacking", units=1000)
    with progress.doing("attacking", "a subject of a very long name, pgd (linf/grey), at four budgets"):
        progress.done(10)
        whole, short = progress.line(), progress.line(80)
    assert len(whole) > 80 >= len(short)
    assert "…" in short
    assert "10 of 1,000 films x attacks" in short
    assert short.endswith("/s")
