"""Memory of large tensors is kept for the next ones.

glibc gives every block over 32 MB back to the system when it is freed, and what is free at the end of its heap beyond
64 MB, and gets it anew, page by page: on a virtual machine that is a tenth to a quarter of the time of a gradient.
While pixelgrad works it keeps up to 1 GB. The command line does so for good, since its process is its own; in
anybody else's, large blocks are given back as before when a technique is done, and of its heap up to 512 MB wait for
the next one. Where somebody has told glibc what to do (mallopt(3): MALLOC_… in the environment), that counts.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # malloc.h
# bytes, beyond which what is free at the end of the heap is given back; a gradient of 8 pictures takes 300 MB
KEPT, KEPT_AFTERWARDS = 2**30, 2**29
LARGEST = 2**25  # bytes: as far as glibc's threshold for blocks rises by itself

_lock = threading.Lock()
_at_work = 0


def keep_freed_memory() -> bool:
    """For good. Whether it could be arranged: with glibc it can."""
    global _at_work
    with _lock:
        _at_work += 1
        return _told(MMAP_MAX, 0) and _told(TRIM_THRESHOLD, KEPT)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside."""
    global _at_work
    with _lock:
        _at_work += 1
        if _at_work == 1:
            _told(MMAP_MAX, 0)
            _told(TRIM_THRESHOLD, KEPT)
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            if not _at_work:
                _told(MMAP_MAX, 65536)  # glibc's own number
                _told(MMAP_THRESHOLD, LARGEST)
                _told(TRIM_THRESHOLD, KEPT_AFTERWARDS)


def _told(what: int, value: int) -> bool:
    return (tell := _mallopt()) is not None and bool(tell(what, value))


@cache
def _mallopt() -> Any:
    """glibc's function; None without it, or where somebody has used it."""
    theirs = any(name.startswith("MALLOC_") for name in os.environ)
    theirs = theirs or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] != "glibc" or theirs:
        return None
    return ctypes.CDLL(None).mallopt
