"""How is a whole command line run without the seconds that its imports take? In a fork of a process that has them.

That process is none of the tests': theirs have threads, which no fork survives. It is started by the first command
line that is asked for, imports what every run imports, and forks for each. The fork is then what a fresh
`python -m pytest` is: its working folder, environment, module path, standard streams and exit. Where it matters how a
process begins (test_foreign_files, test_installation, test_termination), a new one is started all the same.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from _pytest.assertion.rewrite import AssertionRewritingHook

ROOT = Path(__file__).parents[1]
SECONDS = 300
IMPORTED = ("pytest", "suites.harness.evaluation", "suites.harness.report", "suites.harness.report.card")


def pytest_run(
    words: Sequence[str | bytes], *, cwd: Path, environment: Mapping[str, str], seconds: int = SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run `python -m pytest WORDS` from a folder and return its exit code and what it printed.

    Beyond `seconds` it is ended, and its exit code is that of SIGALRM.
    """
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder) / name for name in ("stdout", "stderr")]
        asked = {
            "words": [os.fsdecode(word) for word in words], "cwd": str(cwd), "environment": dict(environment),
            "printed": [str(file) for file in printed], "seconds": seconds,
        }  # fmt: skip
        parent = _parent()
        print(json.dumps(asked), file=parent.stdin, flush=True)
        told = parent.stdout.readline()
        assert told, f"the process that is forked for command lines has ended: {parent.wait()}"
        out, err = (file.read_text("utf-8", errors="backslashreplace") for file in printed)
    return subprocess.CompletedProcess(asked["words"], int(told), out, err)


@cache
def _parent() -> subprocess.Popen[str]:
    """Start the process that is forked; it ends with this one, whose pipe it reads."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.forked"], cwd=ROOT, env=outside | {"OMP_NUM_THREADS": "1"}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip

    def end() -> None:
        parent.communicate()

    atexit.register(end)
    return parent


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "no fork has the threads of what it is forked from"
    # pytest would warn of each plugin of the environment that is imported already; nobody's plugin asserts here.
    AssertionRewritingHook._warn_already_imported = lambda *_: None
    gc.freeze()  # else the first round of the collector copies every page
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(asked: dict[str, object]) -> None:
    """Let this fork be the command line; ends as a process ends."""
    signal.alarm(asked["seconds"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [asked["cwd"], *filter(None, paths), *sys.path[1:]]
    sys.argv = ["pytest", *asked["words"]]
    silence = os.open(os.devnull, os.O_RDONLY)
    os.dup2(silence, 0)
    for number, file in enumerate(asked["printed"], start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    code = importlib.import_module("pytest").main(asked["words"])
    gc.unfreeze()  # else torch's bindings speak of leaks
    sys.exit(code)


if __name__ == "__main__":
    _serve()
