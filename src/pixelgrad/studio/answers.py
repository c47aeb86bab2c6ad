"""The runs of surveys that are done: each is a folder of the store, with its result's id and what it is of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import unit_table
from .store import Store

ANSWER = "answer.json"  # in the folder of a run that is done


def answer(store: Store, run: str) -> dict[str, Any] | None:
    """What a run came to; None where it is not done, or its result is gone."""
    data = store.read("runs", run, ANSWER)
    found: dict[str, Any] | None = None if data is None else json.loads(data)
    there = found is not None and store.about("results", found["result"]) is not None
    return found if there else None


def answer_of(store: Store, result: str) -> tuple[Path, dict[str, Any]] | None:
    """The folder of the run that gave a result, and what it is of; None where there is none (any more)."""
    run = (store.about("results", result) or {}).get("run", "")
    found = answer(store, run)
    return None if found is None or found["result"] != result else (store.folder / "runs" / run, found)


def with_units(store: Store, model: str, weights: str | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The runs with a network that are done and have tables of units, the latest first."""
    done = (store.folder / "runs").glob(f"*/{ANSWER}")
    for file in sorted(done, key=lambda file: file.stat().st_mtime, reverse=True):
        found = answer(store, file.parent.name)
        mine = found is not None and (found["model"], found["weights"]) == (model, weights)
        if found is not None and mine and (file.parent / unit_table.FILE).is_file():
            yield file.parent, found
