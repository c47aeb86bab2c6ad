"""How fast pixelgrad is beside what people would use instead, and how near the limit of the machine.

    python -m benchmarks [NAME…] [--rounds 5] [--images 16] [--photos FOLDER] [--squeezenet WEIGHTS] [--out docs]

Without names all of them run, and what they measured is written into docs/: benchmarks.json, benchmarks.md and
benchmarks.png, all or none. Some of them alone only print, unless --out is given. A peer that is not installed is left
out, and so said.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from benchmarks import page
from benchmarks.frame import Curve, Row
from benchmarks.setting import ROOT, Setting, machine

NAMES = (
    *("limit", "attribution", "fooling", "class_visualization"),
    *("shallow", "patches", "startup", "growth"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="at most; the medians count")
    parser.add_argument("--images", type=int, default=16, help="in a batch")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs; default: the samples")
    parser.add_argument("--squeezenet", metavar="WEIGHTS", help="weights of torchvision's squeezenet1_0")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the page goes")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    if min(options.rounds, options.images) < 1:
        parser.error("--rounds and --images are at least 1")
    out = options.out or (None if options.names else ROOT / "docs")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    left_out: dict[str, None] = {}

    def say(line: str) -> None:
        if line not in left_out:
            left_out[line] = None
            print(line, flush=True)

    setting = Setting(options.images, options.rounds, options.photos, options.squeezenet, say)
    found, failed = run(options.names or NAMES, setting)
    minutes = (time.monotonic() - begin) / 60
    print(f"\n{minutes:.1f} minutes")
    if out is not None:
        asked = {"images": options.images, "rounds": options.rounds, "minutes": round(minutes, 1)}
        page.write(out, machine(), asked, found, [*left_out])
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(names: tuple[str, ...], setting: Setting) -> tuple[list[Row | Curve], list[str]]:
    """What was measured, as it is measured also printed, and the benchmarks that failed."""
    found: list[Row | Curve] = []
    failed: list[str] = []
    for name in names:
        print(f"\n{name}", flush=True)
        try:
            for one in importlib.import_module(f"benchmarks.speed.{name}").rows(setting):
                print(one, flush=True)
                found.append(one)
        except Exception as error:
            setting.say(f"{name} has failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            failed.append(name)
    return found, failed


if __name__ == "__main__":
    main()
