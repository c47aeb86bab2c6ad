"""The studio under many visitors, against loopback: nothing lost, memory flat; and how long a person waits.

    python -m benchmarks.studio [--seconds 120] [--visitors 50] [--model efficientnet_lite0]

First, alone: from the command to the page, and to one that can be used (its techniques, a picture's best guesses), the
first saliency, and how long a cancelled job goes on. Then every visitor, again and again, brings a picture, asks for
something, and follows it; some cancel, some leave. What they were told is there must be there in the end.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

MIXED: list[dict[str, Any]] = [
    {"technique": "show/saliency"},
    {"technique": "show/grad-cam"},
    {"technique": "show/guided-backprop"},
    {"technique": "show/activations"},
    {"technique": "show/smoothgrad", "settings": {"samples": 4}},
    {"technique": "follow/fooling", "settings": {"target": 1, "steps": 5}},
    {"technique": "follow/class-visualization", "settings": {"target": 2, "steps": 10}},
    {"compare": ["show/saliency", "show/input-x-gradient"]},
]
CANCELLED: list[dict[str, Any]] = [
    {"technique": "follow/class-visualization", "settings": {"target": 1}},
    {"technique": "follow/deepdream", "settings": {"steps": 1000}},
    {"technique": "follow/inversion"},
    {"technique": "show/occlusion", "settings": {"stride": 4}},
    {"technique": "show/integrated-gradients", "settings": {"tolerance": 0}},
    {"technique": "show/smoothgrad", "settings": {"samples": 1000}},
    {"technique": "show/deconvnet", "settings": {"top": 64}},
    {"technique": "measure/deletion-insertion", "settings": {"points": 500}},
]


class Visitor:
    """A browser, as far as the server can tell."""

    def __init__(self, address: str, model: str) -> None:
        self.model = model
        self.client = httpx.Client(base_url=address, headers={"origin": address}, timeout=120)
        self.client.get("/")  # a cookie

    def bring(self, data: bytes | None = None) -> str:
        if data is None:
            answer = self.client.post("/api/pictures", json={"sample": "sample:cat"})
        else:
            answer = self.client.post("/api/pictures", content=data, headers={"x-name": "noise.jpg"})
        answer.raise_for_status()
        return str(answer.json()["id"])

    def submit(self, picture: str, job: dict[str, Any]) -> httpx.Response:
        pictures = [] if job.get("technique") == "follow/class-visualization" else [picture]
        return self.client.post("/api/jobs", json={**job, "model": self.model, "pictures": pictures})

    def follow(self, job: str, until: int = 10**9) -> dict[str, Any]:
        """The last state of a job, or that after so many events."""
        state: dict[str, Any] = {}
        with self.client.stream("GET", f"/api/jobs/{job}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    state = json.loads(line.removeprefix("data: "))
                    until -= 1
                    if state["state"] in ("done", "failed", "cancelled") or until == 0:
                        return state
        return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--model", default="efficientnet_lite0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-c", "from pixelgrad.cli import main; main()"]
        command += ["studio", "--port", "0", "--model", options.model]
        env = {**os.environ, "XDG_CACHE_HOME": folder}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().split()[-1].rstrip("/")
                alone(address, options.model, start)
                crowd(address, options.model, options.visitors, options.seconds, server.pid)
            finally:
                server.terminate()


def alone(address: str, model: str, start: float) -> None:
    visitor = Visitor(address, model)
    for path in ("/page/main.js", "/api/about", "/api/samples/sample:cat.jpg"):
        visitor.client.get(path).raise_for_status()
    print(f"from the command to the page, with its samples {time.perf_counter() - start:6.2f} s")
    visitor.client.get("/api/techniques").raise_for_status()
    print(f"… and with its techniques                      {time.perf_counter() - start:6.2f} s")
    picture = visitor.bring()
    visitor.client.get(f"/api/pictures/{picture}/top").raise_for_status()
    print(f"… and with the best guesses for a picture      {time.perf_counter() - start:6.2f} s")
    for which in ("first", "second"):
        start = time.perf_counter()
        state = visitor.follow(visitor.submit(picture, {"technique": "show/saliency"}).json()["id"])
        found = visitor.client.get(f"/api/results/{state['result']}").json()
        visitor.client.get(found["panels"][1]["url"]).raise_for_status()
        print(f"{which:6} saliency, from the click to its picture {time.perf_counter() - start:6.2f} s")
    for job in CANCELLED:
        waits = []
        for wait in (0.3, 0.6, 1.0, 1.4, 1.8):
            made = visitor.submit(picture, job).json()["id"]
            time.sleep(wait)
            before = time.perf_counter()
            visitor.client.delete(f"/api/jobs/{made}")
            state = visitor.follow(made)
            if state["state"] == "cancelled":  # a small network may have been faster
                waits.append(time.perf_counter() - before)
        print(
            f"cancelling {job['technique']:28} median {median(waits)} s, longest {max(waits, default=0):.3f} s"
        )


def crowd(address: str, model: str, count: int, seconds: float, pid: int) -> None:
    said: Counter[str] = Counter()
    results: list[str] = []
    waits: list[float] = []
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=one, args=(address, model, i, end, said, results, waits))
        for i in range(count)
    ]
    memory = [(0.0, rss(pid))]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(10.0, seconds / 4))
        memory.append((time.monotonic() - begin, rss(pid)))
    visitor = Visitor(address, model)
    lost = [made for made in results if visitor.client.get(f"/api/results/{made}").status_code != 200]
    print(f"\n{count} visitors for {seconds:g} s: {dict(said)}")
    print(f"results {len(results)}, lost {len(lost)}; from the click to the result, median {median(waits)} s")
    print("memory  " + "  ".join(f"{at:.0f} s: {size} MB" for at, size in memory))


def one(
    address: str,
    model: str,
    seed: int,
    end: float,
    said: Counter[str],
    results: list[str],
    waits: list[float],
) -> None:
    """A visitor's stay."""
    chance, visitor = random.Random(seed), Visitor(address, model)
    noise = np.random.default_rng(seed).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "JPEG")
    while time.monotonic() < end:
        try:
            picture = visitor.bring(data.getvalue() if chance.random() < 0.3 else None)
            visitor.client.get(f"/api/pictures/{picture}/top?model={model}").raise_for_status()
            start = time.perf_counter()
            answer = visitor.submit(picture, chance.choice(MIXED))
            if answer.status_code == 429:
                said["queue full"] += 1
                time.sleep(chance.uniform(0.5, 2))
                continue
            answer.raise_for_status()
            made = answer.json()["id"]
            what = chance.random()
            if what < 0.1:  # leaves
                visitor.follow(made, until=1)
                said["left"] += 1
                continue
            if what < 0.2:
                visitor.client.delete(f"/api/jobs/{made}").raise_for_status()
            state = visitor.follow(made)
            said[state["state"]] += 1
            if state["state"] == "done":
                waits.append(time.perf_counter() - start)
                found = visitor.client.get(f"/api/results/{state['result']}")
                found.raise_for_status()
                for panel in found.json()["panels"][:3]:
                    visitor.client.get(panel["url"]).raise_for_status()
                results.append(state["result"])
            elif state["state"] == "failed":
                said[f"failed: {state['error']}"] += 1
        except httpx.HTTPError as error:
            said[f"{type(error).__name__}: {error}"] += 1


def median(values: list[float]) -> str:
    return f"{statistics.median(values):.3f}" if values else "–"


def rss(pid: int) -> int:
    """Memory of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()
