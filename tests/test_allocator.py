"""Memory that was freed is there for the next tensor, without the system's help."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from pixelgrad.allocator import freed_memory_kept, keep_freed_memory
def faults(mb):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(mb << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def measured(mb=64):
    return sum([faults(mb) for _ in range(40)][20:]) / mb  # smaller blocks settle among the first
"""
PAGES = 20 * 2**20 / 4096  # of 20 tensors, for each of their MB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
def test_large_tensors_take_no_new_pages():
    """As the system counts them, for good."""
    assert counted("print(measured())")[0] > 0.9 * PAGES
    assert counted("assert keep_freed_memory(); print(measured())")[0] < 0.1 * PAGES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
def test_afterwards_they_are_given_back_as_before():
    both = """
with freed_memory_kept():
    with freed_memory_kept():
        pass
    print(measured())
print(measured(200))  # more than may be left free between others
with freed_memory_kept():
    print(measured())
"""
    inside, after, again = counted(both)
    assert after > 0.9 * PAGES
    assert max(inside, again) < 0.1 * PAGES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
def test_who_has_told_the_allocator_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert (
        counted("""
with freed_memory_kept():
    print(measured())
""")[0]
        > 0.9 * PAGES
    )


def counted(work):
    """The numbers that a new process prints."""
    found = subprocess.check_output([sys.executable, "-c", FAULTS + work], text=True)
    return [float(line) for line in found.split()]
