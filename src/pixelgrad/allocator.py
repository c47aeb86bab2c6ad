"""Memory of large tensors is kept for the next ones, in a process of our own.

glibc gives every block over 32 MB back to the system when it is freed and gets the next one anew, page by page: on a
picture of 1200×900 that is a tenth to a fifth of a gradient's time. Only the command line does so: somebody else's
process is theirs to tune (mallopt(3); MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1073741824 in the environment do the
same).
"""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h
KEPT = 2**30  # bytes at most, beyond which free memory is given back


def keep_freed_memory() -> bool:
    """Whether it could be arranged: with glibc it can."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, KEPT))
