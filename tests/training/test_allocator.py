from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PEAK = """
import numpy as np, torch
from hyperspec.training import allocator as memory
cpu = torch.device("cpu")
if not memory.reset_peak():
    raise SystemExit("skip")
before = memory.peak_mb(cpu)
block = np.ones(30_000_000)  # 240 MB
del block
seen = memory.peak_mb(cpu)
memory.reset_peak()
print(seen - before, memory.peak_mb(cpu) - before)
"""


def test_peak_sees_memory_that_was_freed_and_forgets_it_after_a_reset() -> None:
    # In a process of its own: pages of a large one may be reclaimed between two looks.
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True)
    if done.stderr.strip() == "skip":
        pytest.skip("this system does not let a process reset its own peak")
    assert done.returncode == 0, done.stderr
    seen, after = map(float, done.stdout.split())
    assert seen > 200
    assert after < 100


# What a process holds, also where a system that takes idle pages has put some aside.
HOLDS = """
import psutil, torch
def holds():
    now = psutil.Process().memory_full_info()
    return now.rss + now.swap
"""

LEFT = """
from hyperspec.training.allocator import freed_at_once
def left():
    before = holds()
    large, small = [], []
    for _ in range(40):
        large.append(torch.ones(2_000_000))
        small.append(torch.ones(100_000))  # more than what is free between older ones
    large.clear()
    return (holds() - before) / 1e6
with freed_at_once():
    pass  # glibc's own threshold is as after large blocks from here on
outside = left()
with freed_at_once():
    print(left(), outside)
"""


glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told")


@glibc
def test_freed_tensors_between_small_ones_are_the_systems_again() -> None:
    # In a process of its own: what others have freed before would be used again.
    done = subprocess.run([sys.executable, "-c", HOLDS + LEFT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inside, outside = map(float, done.stdout.split())
    assert inside < 40  # of 320 MB
    assert outside > 280  # as glibc would have it, or the above means nothing


KEPT = """
import resource
from hyperspec.training.allocator import freed_at_once, freed_kept
def faults():
    def once():
        torch.ones(12_000_000)
        return [torch.ones(100_000) for _ in range(100)]
    once()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    once()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
outside, started = faults(), holds()
with freed_kept():
    inside, held = faults(), holds() - started
left = holds() - started
with freed_at_once():
    small = faults()
print(outside, inside, held // 10**6, left // 10**6, small, faults())
"""


@glibc
def test_tensors_of_a_step_take_the_pages_of_the_step_before() -> None:
    done = subprocess.run([sys.executable, "-c", HOLDS + KEPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outside, inside, held, left, small, after = map(int, done.stdout.split())
    assert outside > 10_000  # 48 MB in pages of 4 kB: what glibc does, or the next means nothing
    assert inside < 500
    assert held > 40  # MB
    assert left < 30  # the system's again
    assert small > 10_000  # neither habit outlives its block
    assert after > 10_000
