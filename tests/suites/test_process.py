"""Settings of the process are in place before torch reads them, and the user's own come first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COUNT = """
import suites.harness, os, resource, torch
layers = [torch.rand(1 << 20) for _ in range(3)]  # 4 MB each, as the layers of a small network
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    layers = [layer + 1 for layer in layers]
print(os.environ["OMP_WAIT_POLICY"], resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def started(**environment: str) -> tuple[str, int]:
    own = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", COUNT]
    told = subprocess.run(command, env=own | environment, check=True, capture_output=True, text=True).stdout.split()
    return told[0], int(told[1])


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_threads_sleep_and_memory_is_kept():
    policy, faults = started()
    assert policy == "PASSIVE"
    assert faults < 20_000, "150 layers of 1,024 pages were faulted in anew"


def test_the_users_own_policy_is_kept():
    assert started(OMP_WAIT_POLICY="ACTIVE")[0] == "ACTIVE"
