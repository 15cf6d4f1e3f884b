"""What a second run costs when nothing has changed: it reads answers, results and pictures, and writes the page.

    uv run pytest tests/benchmarks/test_warm_run.py -s

No test here asserts a time; the first run, the second, and a process that only imports stand side by side.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def seconds(*command: str) -> float:
    """Wall time of a process; exit code 1 is a verdict, not a failure."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return time.perf_counter() - began


def test_second_run_of_the_main_job(benchmark, tmp_path):
    job = [
        "-m", "pytest", "suites/", "--data", "phantom:n=90",
        "--report", str(tmp_path / "report"), "--cache", str(tmp_path / "cache"),
    ]  # fmt: skip
    first = seconds(*job)
    bare = seconds("-m", "pytest", "suites/", "--collect-only", "-q", "--data", "phantom:n=90")
    second = benchmark.pedantic(lambda: seconds(*job), rounds=3)
    print(
        f"\nmain job on 90 simulated films: first run {first:.1f} s, second {second:.1f} s, "
        f"of these {bare:.1f} s to start Python, load the libraries and the subject"
    )
    assert second < first, "the second run should find what the first one kept"
