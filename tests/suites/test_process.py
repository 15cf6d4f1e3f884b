"""Settings of the process are in place before torch reads them, and the user's own come first."""

from __future__ import annotations

import ctypes
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


MAPPED = """
import ctypes, suites.harness, torch
from suites.harness.process import mapping
class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ord small maps mapped usmall fsmall used free top".split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo2
def mapped():
    return libc.mallinfo2().mapped >> 20
torch.rand(1)
kept = torch.empty(8 << 18)
before = mapped()
with mapping(4 << 20):
    image = torch.empty(8 << 18)
    inside = mapped() - before
    del image
    after = mapped() - before
kept = torch.empty(8 << 18)
print(inside, after, mapped() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc tells where its blocks come from")
def test_large_blocks_go_back_at_once_while_that_is_asked_for():
    told = subprocess.run([sys.executable, "-c", MAPPED], check=True, capture_output=True, text=True).stdout.split()
    assert told == ["8", "0", "0"]


TWICE = MAPPED.replace(
    "with mapping(4 << 20):",
    """with mapping(4 << 20):
    with mapping(16 << 20):
        pass""",
)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc tells where its blocks come from")
def test_who_is_done_first_does_not_end_it_for_another():
    told = subprocess.run([sys.executable, "-c", TWICE], check=True, capture_output=True, text=True).stdout.split()
    assert told == ["8", "0", "0"]
