"""Lucent in an environment of its own: a process that is asked for so many steps, and says how long each took.

    .venv-lucent/bin/python -m benchmarks.speed.lucent      asked on its standard input, a line of JSON each time

pixelgrad is there as well, but only to load the networks, which Lucent gets as their own library makes them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch

from benchmarks.setting import LUCENT, ROOT


class Missing(Exception):
    """Lucent cannot be had; the message says why."""


class Lucent:
    """The process, and how it is spoken to."""

    def __init__(self, networks: Sequence[tuple[str, str | None]]) -> None:
        python = LUCENT / "bin" / "python"
        if not python.exists():
            raise Missing(f"there is no {LUCENT.name}; `make bench` makes it")
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-m", "benchmarks.speed.lucent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._ask({"networks": list(networks), "threads": torch.get_num_threads()})

    def steps(
        self, network: str, target: Sequence[int], steps: int, side: int, shown: int | None
    ) -> list[float]:
        """Seconds of all steps but the first. shown: the size that the network sees; None: whatever comes out."""
        asked = {"network": network, "target": list(target), "steps": steps, "side": side, "shown": shown}
        seconds: list[float] = self._ask(asked)
        return seconds

    def _ask(self, question: dict[str, Any]) -> Any:
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        try:
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # what it said last tells why
        answer = stdout.readline()
        if not answer:
            said = stderr.read().strip().splitlines()
            raise Missing(said[-1] if said else "its process ended")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """The other end."""
    import pixelgrad as pg
    from benchmarks.setting import plain

    first = json.loads(sys.stdin.readline())
    torch.set_num_threads(first["threads"])
    models = [pg.load(name, weights=weights) for name, weights in first["networks"]]
    modules = {model.name: (model, plain(model)) for model in models}
    import lucent  # noqa: F401 - missing here, it is said here

    print("true", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        model, module = modules[asked.pop("network")]
        print(json.dumps(render(model, module, **asked)), flush=True)


def render(
    model: Any, module: torch.nn.Module, target: list[int], steps: int, side: int, shown: int | None
) -> list[float]:
    """Lucent's own loop, parameters, optimizer and transforms; the objective notes the time."""
    from lucent.optvis import objectives, param, transform
    from lucent.optvis import render as renders

    ticks: list[float] = []
    goal = objectives.Objective.sum([objectives.channel("labels", y, batch=i) for i, y in enumerate(target)])

    def noted(layers: Any) -> Any:
        ticks.append(time.perf_counter())
        return goal(layers)

    renders.render_vis(
        module,
        objectives.Objective(noted),
        param_f=lambda: param.image(side, batch=len(target)),
        transforms=[*transform.standard_transforms, model.normalise],
        thresholds=(steps,),
        preprocess=False,
        progress=False,
        show_image=False,
        fixed_image_size=shown,
    )
    return [after - before for before, after in itertools.pairwise(ticks)]


if __name__ == "__main__":
    main()
