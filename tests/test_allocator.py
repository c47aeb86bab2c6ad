"""Memory that was freed is there for the next tensor, without the system's help."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from pixelgrad.allocator import freed_memory_kept, keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def measured():
    return sum([faults() for _ in range(40)][20:])  # smaller blocks settle among the first
"""
PAGES = 20 * 2**26 / 4096  # of 20 such tensors


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
print(measured())
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
    return [int(line) for line in found.split()]
