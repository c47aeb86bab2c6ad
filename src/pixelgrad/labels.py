"""A class by its name or its index."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from .errors import NotFound


def index_of(target: str | int, labels: Sequence[str] | None, model: str) -> int:
    """The index of a class: by its name (capitals do not matter), or by its index, also written as text.

    Raises NotFound, with the nearest names, the range, or the indices that share a name.
    """
    known = list(labels or ())
    if isinstance(target, str):
        for wanted, among in ((target, known), (target.casefold(), [name.casefold() for name in known])):
            places = [i for i, name in enumerate(among) if name == wanted]
            if len(places) == 1:
                return places[0]
            if places:
                raise NotFound("single class", target, (), f"say {' or '.join(map(str, places))}")
        if not re.fullmatch(r"\s*-?[0-9]{1,99}\s*", target):
            raise NotFound("class", target, known, "" if known else f"the classes of {model} have no names")
        target = int(target)
    try:
        if isinstance(target, bool):
            raise TypeError
        index = operator.index(target)
    except TypeError as error:
        raise NotFound("class", target, (), "a class is a name or a whole number") from error
    if index < 0 or (known and index >= len(known)):
        last = f"0 to {len(known) - 1}" if known else "0 and up"
        raise NotFound("class", index, (), f"the classes of {model} are {last}")
    return index
