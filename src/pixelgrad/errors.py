"""What can go wrong, as a tree. The message is one line: what was got, and what would do.

PixelgradError
├── NotFound       no model, layer, class, technique, objective or sample of that name
├── SettingError   a setting outside its range, or two that exclude each other
├── ImageError     a file that is no picture we read, or a picture that cannot be made
├── ModelError     weights that are missing or do not fit, outputs that are no logits
├── DataError      a folder of data that is incomplete or of another kind
├── OutputError    a result that cannot be written
├── EngineError    workers that are lost, a cluster that cannot be reached
└── Cancelled      raised by a progress callback that wants the work to stop
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PixelgradError(Exception):
    """Every error that pixelgrad raises on purpose."""


class NotFound(PixelgradError, LookupError):
    """A name that nothing has; the message offers the nearest ones."""

    def __init__(self, kind: str, name: object, known: Iterable[str], hint: str = "") -> None:
        message = f"no {kind} {str(name)!r}"
        near = nearest(str(name), known)
        if near:
            message += "; did you mean " + " or ".join(repr(n) for n in near) + "?"
        if hint:
            message += f" ({hint})"
        super().__init__(message)


class SettingError(PixelgradError, ValueError):
    """A setting outside its range, or two settings that exclude each other."""


class ImageError(PixelgradError, ValueError):
    """A file that is no picture we read, or a picture that cannot be made."""


class ModelError(PixelgradError, RuntimeError):
    """Weights that are missing or do not fit; outputs that are no logits."""


class DataError(PixelgradError, ValueError):
    """A folder of data that is incomplete or of another kind."""


class OutputError(PixelgradError, OSError):
    """A result that cannot be written."""


class EngineError(PixelgradError, RuntimeError):
    """Workers that are lost; a cluster that is not installed or cannot be reached."""


class Cancelled(PixelgradError):
    """Raised by a progress callback that wants the work to stop."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names of `known` most like `name`, best first: those that contain it, then the similar."""
    by_fold: dict[str, str] = {}
    for candidate in known:
        by_fold.setdefault(candidate.casefold(), candidate)
    wanted = name.casefold()
    inside = sorted((k for k in by_fold if wanted and wanted in k), key=len)
    similar = difflib.get_close_matches(wanted, by_fold, limit, 0.6)
    return [by_fold[k] for k in dict.fromkeys(similar + inside)][:limit]
