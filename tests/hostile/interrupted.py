"""Does a run that was killed end as if nothing had been, byte for byte, once it is started again?

    uv run python -m tests.hostile.interrupted --points 50

Each run is a fork that ends itself with SIGKILL at one of the moments at which it is about to touch a file of its cache
or report: before it is opened for writing, renamed, made or removed. So every point is hit on purpose, none by luck.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from suites.harness.cache import shards
from tests.hostile import material
from tests.hostile.command import become

Run = Callable[[Path], object]
_TOUCHES = ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove")
_TIMES = re.compile(r"<dt>(?:Run|Duration)</dt><dd>.*?</dd>|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+\-\d:.]*")


def by_python(place: Path) -> object:
    """Run `evaluate` and write the report."""
    return material.judged(place / "cache").report(place / "report")


def by_command(data: str) -> Run:
    """Return the run of `pytest suites/` on some films."""

    def run(place: Path) -> object:
        words = ["--weights=bundled:fragile", f"--data={data}", f"--claims={material.claims_file()}"]
        become(place, place / "printed.txt", [*words, "--cache=cache", "--report=report"], {})

    return run


def killed(run: Run, place: Path, at: int | None) -> int:
    """Run in a fork that is killed at a touch of a file, or at none; return how many touches there were."""
    place.mkdir(exist_ok=True)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _run(run, place, at, writer)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as told:
        touches = len(told.read())
    expected = (0, 1) if at is None else (-signal.SIGKILL,)  # 1: a claim that failed
    ended = os.waitstatus_to_exitcode(status)
    assert ended in expected, f"the run ended with {ended}, none of {expected}, after {touches} touches"
    return touches


def _run(run: Run, place: Path, at: int | None, writer: int) -> None:
    shards.FLUSH_SECONDS = 0.0  # so that a short run writes as many shards as a long one
    os.set_inheritable(writer, True)  # noqa: FBT003 - os names it by its place
    count, parent = 0, str(place)

    def watch(event: str, given: tuple[object, ...]) -> None:
        nonlocal count
        if event not in _TOUCHES or not str(given[0]).startswith((parent, "cache", "report")):
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        count += 1
        os.write(writer, b".")
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 99
    try:
        sys.addaudithook(watch)
        run(place)
        code = 0
    finally:
        os._exit(code)


def written(place: Path) -> dict[str, bytes]:
    """Return what a run left in its report, without the times at which it ran."""
    found = {}
    for path in sorted((place / "report").rglob("*")):
        if path.is_file() and path.name != ".report.lock":
            found[str(path.relative_to(place))] = path.read_bytes()
    results = json.loads(found["report/results.json"])
    results["run"].update(started="", seconds=0)
    found["report/results.json"] = json.dumps(results).encode()
    found["report/index.html"] = _TIMES.sub("", found["report/index.html"].decode()).encode()
    return found


def interrupted(run: Run, points: int) -> Iterator[tuple[int, list[str]]]:
    """Kill a run at points spread over all its touches, each on a cache of its own; give the files that differ."""
    with tempfile.TemporaryDirectory(prefix="i") as folder:
        root = Path(folder)
        # In folders of one length and in the same order, so that nothing but the kill tells the runs apart.
        touches = killed(run, root / "000", None)
        whole = written(root / "000")
        for number in range(points):
            at, place = 1 + number * touches // points, root / f"{number + 1:03}"
            killed(run, place, at)
            killed(run, place, None)
            again = written(place)
            yield at, sorted(name for name in whole.keys() | again.keys() if whole.get(name) != again.get(name))


def main() -> int:
    """Print every point and what differed after it; return 1 where anything did."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.interrupted", description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument(
        "--data", help="films of a run of `pytest suites/`, such as phantom:n=24 (default: `evaluate` on drawn ones)"
    )
    options = parser.parse_args()
    material.claims_file()
    wrong = 0
    for at, differing in interrupted(by_command(options.data) if options.data else by_python, options.points):
        wrong += bool(differing)
        print(f"killed at touch {at}: {', '.join(differing) or 'the same'}", flush=True)
    print(f"{options.points} runs killed and resumed, {wrong} of them ended otherwise than an undisturbed one")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
