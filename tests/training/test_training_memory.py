from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PEAK = """
import numpy as np, torch
from hyperspec.training import memory
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


LEFT = """
import psutil, torch
from hyperspec.training.memory import freed_at_once
process = psutil.Process()
def left():
    before = process.memory_info().rss
    large, small = [], []
    for _ in range(40):
        large.append(torch.ones(2_000_000))
        small.append(torch.ones(1000))
    large.clear()
    return (process.memory_info().rss - before) / 1e6
with freed_at_once():
    inside = left()
print(inside, left())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told")
def test_freed_tensors_between_small_ones_are_the_systems_again() -> None:
    # In a process of its own: what others have freed before would be used again.
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inside, outside = map(float, done.stdout.split())
    assert inside < 40  # of 320 MB
    assert outside > 280  # as glibc would have it, or the above means nothing
