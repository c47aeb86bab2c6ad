"""Kill a survey in the midst of its search, a worker or its leader, and see that what comes out stays the same.

    python -m benchmarks.kill DATA [--times 20] [--model tinynet] [--workers 2] [--seed 0]

Prints a hash of what find/patches found in each, and which of its parts were done before and not touched again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = ("units.json", "patches.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--model", default="tinynet")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as root:
        first, last = search(begin(options, Path(root, "undisturbed")), Path(root, "undisturbed"))
        right = digest(Path(root, "undisturbed"))
        print(f"undisturbed   {right}   first part after {first:.1f} s, last after {last:.1f} s")
        for i in range(options.times):
            out, whom = Path(root, str(i)), ("worker", "leader")[i % 2]
            program = begin(options, out)
            after = generator.uniform(first / 2, last)
            time.sleep(after)
            workers = children(program.pid)
            killed = generator.choice(workers) if whom == "worker" and workers else program.pid
            if program.poll() is None:
                os.kill(killed, signal.SIGKILL)
            program.wait()
            parts = {path: path.stat().st_mtime_ns for path in out.glob("parts/part-*")}
            begin(options, out).wait()
            same = all(path.exists() and path.stat().st_mtime_ns == at for path, at in parts.items())
            found = digest(out)
            what = "worker" if killed != program.pid else "leader"
            verdict = "same" if found == right and same else "DIFFERENT"
            print(
                f"{i:2}  {what} killed after {after:4.1f} s   {found}   {len(parts)} parts kept   {verdict}"
            )
            if verdict != "same":
                sys.exit(1)


def begin(options: argparse.Namespace, out: Path) -> subprocess.Popen[bytes]:
    """The command, in the background."""
    words = ["find", "patches", options.data, "--out", str(out), "--model", options.model]
    code = "from pixelgrad.cli import main; main()"
    command = [sys.executable, "-c", code, *words, "--workers", options.workers]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def search(program: subprocess.Popen[bytes], out: Path) -> tuple[float, float]:
    """When the first and the last part of a run were there, in seconds."""
    start, seen = time.monotonic(), [0.0]
    count = 0
    while program.poll() is None:
        if (now := len([*out.glob("parts/part-*")])) > count:
            count = now
            seen.append(time.monotonic() - start)
        time.sleep(0.05)
    return seen[min(1, len(seen) - 1)], seen[-1]


def children(pid: int) -> list[int]:
    """The workers of a process."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(p) for p in found if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    except OSError:
        return []


def digest(out: Path) -> str:
    """Of what was found."""
    found = hashlib.sha256()
    for name in FILES:
        found.update((out / name).read_bytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    main()
