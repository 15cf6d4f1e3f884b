"""Who answers the blocks of a cohort? What `--workers` says: this process, several local ones, a Ray cluster's."""

from __future__ import annotations

from collections.abc import Sequence

from suites.harness.errors import UsageProblem, one_line
from suites.harness.predictions.dispatching import THIS_PROCESS, Workers
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.predictions.ray_cluster import check_cluster
from suites.harness.predictions.ray_workers import RayWorkers
from suites.harness.subjects.subject import Subject

MOST_WORKERS = 256


def workers_of(workers: int | str, subjects: Sequence[Subject]) -> Workers:
    """Return whoever answers: this process alone, so many local ones, or a Ray cluster's.

    Args:
        workers: a number of processes, `ray` or `ray://HOST:PORT`.
        subjects: of the run.

    Raises:
        UsageProblem: it is none of these.
    """
    wanted = checked(workers)
    if isinstance(wanted, str):
        return RayWorkers(wanted, subjects)
    return THIS_PROCESS if wanted == 1 else LocalProcesses(wanted, subjects)


def checked(workers: int | str) -> int | str:
    """Return what somebody gave as workers, where it can be had.

    Raises:
        UsageProblem: it is no number of processes and no cluster, Ray is not installed, or nobody answers there.
    """
    if isinstance(workers, str) and (workers == "ray" or workers.startswith("ray://")):
        check_cluster(workers)
        return workers
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
        raise UsageProblem(
            f"workers is {one_line(repr(workers), 40)}; expected a number of processes, 1 to {MOST_WORKERS}, or ray, "
            "or ray://HOST:PORT"
        )
    return workers
