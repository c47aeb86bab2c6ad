"""Pictures and results on disk: each a folder that is there whole or not at all, the oldest removed over a quota.

    FOLDER/pictures/ID/about.json picture.png        FOLDER/results/ID/about.json picture.png …
    FOLDER/runs/ID/                                  what surveys go on in, which grows

What is announced is on disk already, so whoever kills the server loses only what was being made.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import OutputError

QUOTA = 2**30  # bytes
KINDS = ("pictures", "results", "runs")
ABOUT = "about.json"
STALE = 3600.0  # seconds after which what is half-written was left by a server that is gone

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_NAME = re.compile(r"[a-z0-9-]{1,40}\.[a-z0-9]{1,12}")


def new_id() -> str:
    """A name that nobody guesses."""
    return secrets.token_urlsafe(16)


class Store:
    """What visitors brought and what was made for them, in one folder."""

    def __init__(self, folder: Path, quota: int = QUOTA) -> None:
        self.folder, self.quota = folder, quota
        self._lock = threading.Lock()
        self._sizes: dict[tuple[str, str], tuple[float, int]] = {}  # when it was last used, bytes
        try:
            for part in ("new", *KINDS):
                (folder / part).mkdir(parents=True, exist_ok=True)
            for left in (folder / "new").iterdir():
                if time.time() - left.stat().st_mtime > STALE:
                    shutil.rmtree(left, ignore_errors=True)
            for kind in KINDS:
                for made in (folder / kind).iterdir():
                    self._sizes[kind, made.name] = (made.stat().st_mtime, _bytes(made))
        except OSError as error:
            raise OutputError(f"{folder} cannot be used: {(error.strerror or '').lower()}") from error
        self._sweep()

    def add(self, kind: str, made: str, about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Keep files under an id, with what is said about them: all or nothing. Raises OutputError: disk full."""
        temporary = self.folder / "new" / made
        try:
            temporary.mkdir()
            for name, data in {**files, ABOUT: json.dumps(about).encode()}.items():
                (temporary / name).write_bytes(data)
            os.replace(temporary, self.folder / kind / made)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise OutputError(f"this cannot be kept: {(error.strerror or str(error)).lower()}") from error
        with self._lock:
            self._sizes[kind, made] = (time.time(), _bytes(self.folder / kind / made))
        self._sweep()

    def room(self, kind: str, made: str) -> Path:
        """The folder of an id, for work that goes on there; what is in it now counts. Raises OutputError."""
        folder = self.folder / kind / made
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"this cannot be kept: {(error.strerror or str(error)).lower()}") from error
        with self._lock:
            self._sizes[kind, made] = (time.time(), _bytes(folder))
        self.use(kind, made)
        self._sweep()
        return folder

    def remove(self, kind: str, made: str) -> None:
        """Remove what is under an id."""
        with self._lock:
            self._sizes.pop((kind, made), None)
        shutil.rmtree(self.folder / kind / made, ignore_errors=True)

    def about(self, kind: str, made: str) -> dict[str, Any] | None:
        """What is said about an id; None where there is none (any more)."""
        data = self.read(kind, made, ABOUT)
        return None if data is None else json.loads(data)

    def path(self, kind: str, made: str, name: str) -> Path | None:
        """Where a file is; None where there can be none of that name."""
        good = kind in KINDS and _ID.fullmatch(made) and _NAME.fullmatch(name)
        return self.folder / kind / made / name if good else None

    def read(self, kind: str, made: str, name: str) -> bytes | None:
        """A file; None where there is none (any more)."""
        path = self.path(kind, made, name)
        try:
            return None if path is None else path.read_bytes()
        except OSError:
            return None

    def use(self, kind: str, made: str) -> None:
        """Note that it was used now, so that others are removed before it."""
        with self._lock:
            if (kind, made) in self._sizes:
                self._sizes[kind, made] = (time.time(), self._sizes[kind, made][1])
        with suppress(OSError):  # it is gone; whoever asks for it is told
            os.utime(self.folder / kind / made)

    def _sweep(self) -> None:
        """Remove the oldest until the quota is kept; the latest stays in any case."""
        with self._lock:
            total = sum(size for _, size in self._sizes.values())
            for key in sorted(self._sizes, key=lambda key: self._sizes[key][0])[:-1]:
                if total <= self.quota:
                    break
                total -= self._sizes.pop(key)[1]
                shutil.rmtree(self.folder / key[0] / key[1], ignore_errors=True)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*"))
