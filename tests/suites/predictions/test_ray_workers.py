"""A Ray cluster: the bytes of one process, whoever dies; what goes wrong there is one line here."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from suites.harness.errors import CohortProblem, FilmUnreadable, UsageProblem
from suites.harness.predictions import ray_cluster
from suites.harness.predictions.answering import PredictionJob
from suites.harness.predictions.blocks import Receipt, cut
from suites.harness.predictions.dispatching import THIS_PROCESS, _check_unreadable, _task
from suites.harness.predictions.ray_workers import RayWorker, RayWorkers
from suites.harness.predictions.resolution import AS_STORED
from suites.harness.predictions.worker_process import Serving, code_of_project
from suites.harness.predictions.workers import checked
from suites.options import OPTIONS
from tests.suites.predictions.mortal import CONDITIONS, DOOM, arm, cohort_of, subject_of
from tests.suites.predictions.test_workers import (
    FILMS,
    MANY,
    ROOT,
    alike,
    answered,
    beyond_the_table,
    small_blocks,
    undisturbed,
)

__all__ = ["small_blocks", "undisturbed"]
with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (uv sync --extra ray)")


@pytest.fixture(scope="module")
def fatal(tmp_path_factory):
    os.environ[DOOM] = str(tmp_path_factory.mktemp("fatal") / "pass")
    yield Path(os.environ[DOOM])
    del os.environ[DOOM]


@pytest.fixture(scope="module")
def cluster(fatal):
    """Two nodes of one CPU each, on loopback; this process belongs to the first.

    Ray writes down in its folder which cluster is the latest: in a folder of its own this one is nobody else's, nor is
    another's taken for it, or its note removed. A short one: a socket's path has 107 characters at most.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray") as folder:
        patch.setenv("RAY_TMPDIR", folder)
        patch.delenv("RAY_ADDRESS", raising=False)
        for name, setting in ray_cluster.SETTINGS.items():
            patch.setenv(name, setting)
        ray = pytest.importorskip("ray")
        Cluster = pytest.importorskip("ray.cluster_utils").Cluster

        of_a_node = {"num_cpus": 1, "object_store_memory": ray_cluster.OBJECT_STORE, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args=of_a_node)
        assert ray_cluster.cluster_here() == nodes.address
        nodes.second = nodes.add_node(num_cpus=1, object_store_memory=ray_cluster.OBJECT_STORE)
        ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def pool(cluster):
    started = RayWorkers("ray", [subject_of()])
    yield started
    started.close()


@with_ray
def test_a_cluster_gives_the_bytes_of_one_process_though_a_worker_dies(tmp_path, pool, fatal, undisturbed):
    arm(fatal, 9)
    found, progress = answered(tmp_path, pool)
    assert not fatal.exists(), "whoever was to die is dead"
    assert alike(tmp_path, found, progress, undisturbed)
    assert 0 < found.computed <= (MANY - 1) * len(CONDITIONS)
    assert not list(tmp_path.glob("*.partial"))


@with_ray
def test_attacks_and_saliency_are_the_same_bytes_on_a_cluster(tmp_path, pool, fatal, undisturbed):
    one = beyond_the_table(tmp_path / "one", THIS_PROCESS, undisturbed)
    assert beyond_the_table(tmp_path / "two", pool, undisturbed, lambda: arm(fatal, 9)) == one
    assert not fatal.exists(), "whoever was to die is dead"


DRIVEN = """
import sys
from pathlib import Path
from suites.harness.predictions import blocks
from suites.harness.predictions.ray_workers import RayWorkers
from suites.harness.predictions.table import predict
from tests.suites.predictions import mortal
blocks.FILMS = {films}
subject = mortal.subject_of()
by = RayWorkers("ray", [subject])
predict({{"mortal": (subject, mortal.CONDITIONS)}}, mortal.cohort_of({many}), seed=0, cache=Path(sys.argv[1]),
        quiet=True, workers=by)
"""


@with_ray
def test_a_killed_run_leaves_no_worker_and_goes_on_to_the_same_bytes(tmp_path, cluster, pool, fatal, undisturbed):
    """SIGKILL while a worker is in the middle of a block."""
    pool.close()  # the nodes have one CPU each
    arm(fatal, 9, "wait")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": cluster.address}
    command = [sys.executable, "-c", DRIVEN.format(films=FILMS, many=MANY), str(tmp_path)]
    with subprocess.Popen(command, env=environment, cwd=ROOT) as run:
        worker = _who_waits(fatal, run)
        run.kill()
    while Path(f"/proc/{worker}").exists():
        time.sleep(0.05)
    found, progress = answered(tmp_path, pool)
    assert alike(tmp_path, found, progress, undisturbed)


WHOM = "[one.process.pid for one in ray._private.worker._global_node.all_processes[sys.argv[2]]]"
OUTLIVED = f"""
import os, signal, sys, threading, time
from pathlib import Path
from suites.harness.errors import UsageProblem
fatal = Path(os.environ["TEST_FATAL_PASS"])

def end() -> None:
    while not fatal.with_suffix(".waiting").exists():
        time.sleep(0.05)
    import ray
    for process in {WHOM}:
        os.kill(process, signal.SIGKILL)

threading.Thread(target=end, daemon=True).start()
try:
    exec(sys.argv[3])
except UsageProblem as problem:
    print(problem)
    sys.exit(4)
"""


@with_ray
@pytest.mark.parametrize(("whom", "what"), [("gcs_server", "its head"), ("raylet", "the node of this machine")])
def test_a_cluster_that_is_killed_ends_a_run_in_one_line_and_keeps_what_is_finished(tmp_path, undisturbed, whom, what):
    """SIGKILL of what a run has started itself; Ray would print its log, and end the run without a word of its own."""
    fatal, cache = tmp_path / "pass", tmp_path / "cache"
    arm(fatal, 12, "wait")  # of 19
    environment = os.environ | {DOOM: str(fatal), "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
    driven = DRIVEN.format(films=FILMS, many=MANY)
    command = [sys.executable, "-c", OUTLIVED, str(cache), whom, driven]
    ended = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True)
    _ended_in_one_line(ended, "ray", rf"{what} \(\S+:\d+\)", cache, undisturbed)


def _ended_in_one_line(
    ended: subprocess.CompletedProcess, cluster: str, gone: str, cache: Path, undisturbed: object
) -> None:
    """Look whether a run said which part of its cluster is gone, kept what was finished, and can go on with it."""
    assert re.fullmatch(
        rf"the Ray cluster {re.escape(cluster)} is gone: {gone} does not answer any more\. What is finished is kept; "
        r"run again, with a cluster that is up, to go on\n",
        ended.stdout,
    ), ended
    assert (ended.returncode, ended.stderr) == (4, "")
    assert list(cache.rglob("shard-*.parquet"))
    found, progress = answered(cache)
    assert alike(cache, found, progress, undisturbed)


def _who_waits(fatal: Path, run: subprocess.Popen | None = None) -> int:
    waiting = fatal.with_suffix(".waiting")
    while not (waiting.exists() and waiting.read_text()) and (run is None or run.poll() is None):
        time.sleep(0.05)
    worker = int(waiting.read_text())
    waiting.unlink()
    return worker


@with_ray
def test_a_node_that_leaves_has_its_block_done_again_elsewhere(tmp_path, cluster, pool, fatal, undisturbed):
    """The last of these tests: one node is left. Whichever worker waits, the second node goes."""
    arm(fatal, 9, "wait")

    def leave() -> None:
        worker = _who_waits(fatal)
        os.kill(cluster.second.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        time.sleep(0.5)
        if Path(f"/proc/{worker}").exists():  # it was the other one
            os.kill(worker, signal.SIGKILL)

    leaving = threading.Thread(target=leave)
    leaving.start()
    found, progress = answered(tmp_path, pool)
    leaving.join()
    assert alike(tmp_path, found, progress, undisturbed)
    assert len(pool._workers) <= 2


def test_what_is_no_cluster_is_refused_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)
    for address in ("ray://", "ray://host", "ray://:10001", "ray://host:port", "ray://host:99999999"):
        with pytest.raises(UsageProblem, match=r"expected ray://HOST:PORT"):
            checked(address)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        UsageProblem, match=f"ray://127.0.0.1:{port}: no cluster there .*refused.*start one with"
    ) as told:
        checked(f"ray://127.0.0.1:{port}")
    assert len(str(told.value)) < 300
    for given in ("rays", "ray:", "raytracer://host:1"):
        with pytest.raises(UsageProblem, match="expected a number of processes, 1 to 256, or ray"):
            checked(given)


def test_a_cluster_that_is_gone_is_not_waited_for(tmp_path, monkeypatch):
    """What `ray start` left word of, or RAY_ADDRESS names."""
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    left = tmp_path / "ray" / "ray_current_cluster"
    left.parent.mkdir()
    assert ray_cluster.cluster_here() == ""
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        left.write_text(address)
        assert ray_cluster.cluster_here() == address
        last = f"the Ray cluster {address}, the last started on this machine"
        assert ray_cluster.told_of_cluster("ray").startswith(last)
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert checked("ray") == "ray"
        assert ray_cluster.told_of_cluster("ray") == f"the Ray cluster {address}, which RAY_ADDRESS names"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageProblem, match=rf"--workers ray \(RAY_ADDRESS={address}\): no cluster there"):
        checked("ray")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert ray_cluster.cluster_here() == ""
    left.write_text("no address")
    assert ray_cluster.cluster_here() == ""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert (checked("ray"), ray_cluster.cluster_here()) == ("ray", "")
    assert ray_cluster.told_of_cluster("ray") == "a Ray cluster of its own on this machine"
    assert ray_cluster.told_of_cluster("ray://far:10001") == "the Ray cluster ray://far:10001"


class Quiet:
    """Stands for Ray; counts how often it was shut down."""

    shut = 0

    def is_initialized(self) -> bool:
        return not self.shut

    def shutdown(self) -> None:
        self.shut += 1


@pytest.mark.parametrize(("lost", "what"), [("head", "its head"), ("node", "the node of this machine")])
def test_a_cluster_that_goes_while_nobody_asks_is_let_go_before_ray_ends_the_run(monkeypatch, lost, what):
    monkeypatch.setattr(ray_cluster, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(ray_cluster, "AWAY_SECONDS", 0.1)
    doors = {name: socket.create_server(("127.0.0.1", 0)) for name in ("head", "node")}
    cluster = ray_cluster.RayCluster(
        ray=Quiet(), address="ray", ours=True, **{name: door.getsockname() for name, door in doors.items()}
    )
    cluster.watch()
    with cluster.asked():
        time.sleep(0.1)
    assert not cluster.gone
    doors.pop(lost).close()
    while not cluster.ray.shut:
        time.sleep(0.01)
    gone = pytest.raises(UsageProblem, match=rf"the Ray cluster ray is gone: {what} \(127.0.0.1:\d+\) does not answer")
    with gone, cluster.asked():
        raise AssertionError("nothing is asked of a cluster that is gone")
    cluster.leave()
    assert cluster.ray.shut == 1
    doors.popitem()[1].close()


def test_a_head_that_goes_while_it_is_asked_is_not_waited_for(monkeypatch):
    """Ray's own call would wait for it without end."""
    monkeypatch.setattr(ray_cluster, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(ray_cluster, "AWAY_SECONDS", 0.1)
    head = socket.create_server(("127.0.0.1", 0))
    cluster = ray_cluster.RayCluster(ray=Quiet(), address="ray", ours=True, head=head.getsockname(), node=None)
    assert cluster.told(lambda: {"CPU": 2.0}) == {"CPU": 2.0}
    with pytest.raises(UsageProblem, match=r"the Ray cluster ray failed this run \(KeyError"):
        cluster.told(lambda: {}["CPU"])
    never = threading.Event()
    threading.Timer(0.2, head.close).start()
    with pytest.raises(UsageProblem, match="the Ray cluster ray is gone: its head"):
        cluster.told(never.wait)
    never.set()


@pytest.mark.parametrize("failing", [2, 3])
def test_a_head_that_cannot_start_what_answers_a_client_is_asked_again(monkeypatch, failing):
    tries: list[str] = []

    def init(address: str, **_: object) -> None:
        tries.append(address)
        if len(tries) <= failing:
            raise ConnectionAbortedError("Initialization failure from server")

    monkeypatch.setattr(ray_cluster, "_hush", lambda: None)
    ray = SimpleNamespace(init=init)
    with nullcontext() if failing < ray_cluster.CLIENT_STARTS else pytest.raises(ConnectionAbortedError):
        ray_cluster._connect(ray, "ray://head:10001")
    assert tries == ["ray://head:10001"] * ray_cluster.CLIENT_STARTS


def test_what_ray_raises_is_one_line(monkeypatch):
    monkeypatch.setattr(ray_cluster, "AWAY_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as head:
        cluster = ray_cluster.RayCluster(ray=Quiet(), address="ray://x", ours=True, head=head.getsockname(), node=None)
        with (
            pytest.raises(
                UsageProblem, match=r"the Ray cluster ray://x failed this run \(ConnectionError: lost\); look"
            ),
            cluster.asked(),
        ):
            raise ConnectionError("lost")
        with pytest.raises(KeyboardInterrupt), cluster.asked():
            raise KeyboardInterrupt
        with pytest.raises(SystemExit), cluster.asked():
            sys.exit(1)
    with pytest.raises(UsageProblem, match="ray://x is gone: its head"), cluster.asked():
        pass


@pytest.mark.parametrize("address", ["ray", "ray://127.0.0.1:10001", "ray://" + "x" * 5000])
def test_without_ray_one_line_says_how_to_install_it(monkeypatch, address):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: None)
    with pytest.raises(
        UsageProblem, match=r"Ray is not installed; install the extra `ray` \(uv run --extra ray"
    ) as told:
        checked(address)
    assert len(str(told.value)) < 300


def test_nothing_of_ray_or_of_an_object_store_is_imported_where_nobody_asks_for_it():
    for path in (ROOT / "suites").rglob("*.py"):
        text = path.read_text("utf-8")
        assert not re.search(r"^\s*(import|from) (ray|s3fs)\b", text, re.MULTILINE), path
        assert not re.search(r"^(import|from) fsspec\b", text, re.MULTILINE), path


def test_a_number_or_a_cluster_may_be_given_on_the_command_line():
    read = OPTIONS["--workers"]["type"]
    assert (read("3"), read("ray"), read("ray://host:1")) == (3, "ray", "ray://host:1")
    with pytest.raises(pytest.UsageError, match="--workers: expected a whole number"):
        read("many")


def test_a_worker_of_another_version_of_this_project_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (said,) = RayWorker(0, str(ROOT), "0.0.9 0123456789abcdef").take(b"whatever it is sent")
    assert isinstance(said, UsageProblem)
    assert "has another version of this project: 0.1.0 " in str(said)
    assert "0.0.9 0123456789abcdef here; install the same on every node" in str(said)
    assert code_of_project().startswith("0.1.0 ")


def test_a_worker_that_sees_another_cache_or_other_films_says_so(tmp_path):
    subject, cohort = subject_of(), cohort_of(3)
    job = PredictionJob.of({"mortal": (subject, CONDITIONS)}, cohort, seed=0, cache=tmp_path, resolution=AS_STORED)
    said: list[object] = []
    assert not Serving(0, said.append).take(_task(job, ".workers-of-another-machine"))
    assert isinstance(said[0], UsageProblem)
    assert f"the cache {tmp_path} of a worker on {socket.gethostname()} is not that of the process" in str(said[0])

    def gone(row):
        raise FilmUnreadable("No such file or directory", file=str(row["file"]))

    (block,) = cut(cohort.rows())
    receipt = Receipt(number=0, films=[], filed={}, unreadable=[("film1.png", "No such file or directory")])
    with pytest.raises(CohortProblem, match=r"film film1 can be read by this process and not by a worker \(No such"):
        _check_unreadable(job, block, receipt)
    unreadable = PredictionJob.of({}, cohort_of(3, gone), seed=0, cache=tmp_path, resolution=AS_STORED)
    _check_unreadable(unreadable, block, receipt)


CLIENT = OUTLIVED.replace(WHOM, "map(int, sys.argv[2].split(','))")


def _end_those_of(folder: str) -> None:
    """End what a cluster has started that keeps its files in a folder: a killed one leaves the servers of its clients.

    They would keep their port from the next cluster.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if folder.encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


@with_ray
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_whose_cluster_is_killed_ends_in_one_line_and_keeps_what_is_finished(
    tmp_path, monkeypatch, undisturbed
):
    """SIGKILL of everything at the head; what is connected by `ray://` belongs to no node."""
    pytest.importorskip("ray.util.client", exc_type=ImportError)
    Cluster = pytest.importorskip("ray.cluster_utils").Cluster

    fatal, cache = tmp_path / "pass", tmp_path / "cache"
    arm(fatal, 12, "wait")  # of 19
    for name, setting in (ray_cluster.SETTINGS | {DOOM: str(fatal), "PYTHONPATH": str(ROOT)}).items():
        monkeypatch.setenv(name, setting)
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        nodes = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1, "object_store_memory": ray_cluster.OBJECT_STORE, "include_dashboard": False,
                "ray_client_server_port": port,
            },
        )  # fmt: skip
        try:
            head = [process.process.pid for kind in nodes.head_node.all_processes.values() for process in kind]
            driven = DRIVEN.format(films=FILMS, many=MANY).replace('"ray"', f'"ray://127.0.0.1:{port}"')
            command = [sys.executable, "-c", CLIENT, str(cache), ",".join(map(str, head)), driven]
            ended = subprocess.run(
                command, check=False, env=os.environ, cwd=ROOT, capture_output=True, text=True, timeout=300
            )
            for log in Path(folder).rglob("ray_client_server*"):  # where it fails: they go with their folder
                print(log.name, log.read_text("utf-8", errors="replace"), sep="\n")
        finally:
            nodes.shutdown()
            _end_those_of(folder)
            del nodes
            with warnings.catch_warnings():  # Ray leaves the logs of its client's server open
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
    address = f"127.0.0.1:{port}"
    _ended_in_one_line(ended, f"ray://{address}", rf"its head \({re.escape(address)}\)", cache, undisturbed)
