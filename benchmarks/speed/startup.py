"""How long a command and an import take, in new processes that take turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.frame import Curve, Row, Way, turns
from benchmarks.setting import Setting

TORCH = 1.1  # goal, of the time of `import torch`
HELP = 0.3  # goal, seconds
COMMANDS = {
    "torch": "import torch",
    "pixelgrad": "import pixelgrad",
    "its functions": "import pixelgrad; pixelgrad.load, pixelgrad.make",
    "help": "import sys; sys.argv = ['pixelgrad', '--help']; from pixelgrad.cli import main; main()",
    "captum": "import captum.attr",
    "nothing": "",
}


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """Against torch alone, and Captum."""
    left_out = {"captum"} if setting.peer("captum.attr") is None else set()
    ways = {name: command(code) for name, code in COMMANDS.items() if name not in left_out}
    times = turns(ways, setting.rounds)
    own = times["pixelgrad"]
    note = f"Python alone takes {sorted(times['nothing'])[len(times['nothing']) // 2]:.2f} s"
    yield Row("startup", "import pixelgrad", "", "import torch", own, times["torch"], TORCH, note)
    functions = times["its functions"]
    yield Row(
        "startup", "import pixelgrad, and its functions", "", "import torch", functions, times["torch"], TORCH
    )
    if "captum" in times:
        yield Row(
            "startup",
            "import pixelgrad, and its functions",
            "",
            "import captum.attr",
            functions,
            times["captum"],
        )
    yield Row("startup", "pixelgrad --help", "", "", times["help"], (), HELP, note)


def command(code: str) -> Way:
    """Run it in a new process."""
    words = [sys.executable, "-c", code]
    return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
