"""Memory that was freed is there for the next tensor, without the system's help."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from pixelgrad.allocator import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum([faults() for _ in range(40)][20:]))  # smaller blocks settle among the first
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
def test_large_tensors_take_no_new_pages():
    """As the system counts them: 20 of 64 MB are 327,680 pages."""
    found = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(kept=kept)], text=True))
        for kept in (False, True)
    ]
    assert found[0] > 300_000
    assert found[1] < 40_000
