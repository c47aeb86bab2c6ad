"""A result as the command and as the Python code that make it again; and errors without the server's folders."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_PATH = re.compile(r"""(?<![\w.~:/])(?:/[^\s/'":,;()]+)+/([^\s/'":,;()]+)""")


def public(error: BaseException) -> str:
    """An error's line, of every path only the last part."""
    return _PATH.sub(r"\1", " ".join(str(error).split())) or type(error).__name__


def command(
    technique: str, values: Mapping[str, Any], paths: Sequence[str], model: str, weights: str | None
) -> str:
    """The command line. values: the settings that are not the defaults."""
    words = ["pixelgrad", *technique.split("/"), *paths]
    for name, value in values.items():
        option = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(one, bool):
                words.append(option if one else f"--no-{option.lstrip('-')}")
            else:
                words += [option, str(one)]
    return shlex.join([*words, *_of(model, weights)])


def compared(names: Sequence[str], target: Any, paths: Sequence[str], model: str, weights: str | None) -> str:
    """The command line of a sheet of several methods."""
    words = ["pixelgrad", "compare", *paths, "--methods", ",".join(names)]
    words += [] if target is None else ["--target", str(target)]
    return shlex.join([*words, *_of(model, weights)])


def _of(model: str, weights: str | None) -> list[str]:
    return ["--model", model, *([] if weights is None else ["--weights", weights])]


def python(
    techniques: Mapping[str, Mapping[str, Any]],
    paths: Sequence[str],
    model: str,
    weights: str | None,
    own_size: bool,
) -> str:
    """The code. techniques: by name, with the settings that are not the defaults. own_size: whether photographs stay as
    they are."""
    from ..recipe import default_name  # of torch, which errors in words do not wait for

    load = ", ".join([_quoted(model), *([] if weights is None else [f"weights={_quoted(weights)}"])])
    lines = ["import pixelgrad as pg", "", f"model = pg.load({load})"]
    given = "model"
    if paths:
        given = "model, pixels"
        some = _quoted(paths[0]) if len(paths) == 1 else f"[{', '.join(map(_quoted, paths))}]"
        opened = "open_image" if len(paths) == 1 else "open_images"
        lines.append(f"pixels = pg.{opened}({some}{'' if own_size else ', model'})")
    for name, values in techniques.items():
        settings = "".join(f", {key}={_quoted(value)}" for key, value in values.items())
        lines.append(f"result = pg.make({_quoted(name)}{settings}).run({given})")
        lines.append(f"result.save({_quoted(default_name(name, paths))})")
    return "\n".join(lines) + "\n"


def surveyed(
    survey: str, values: Mapping[str, Any], data: str, out: str, model: str, weights: str | None
) -> str:
    """The code of a survey of a data set, into the folder `out`."""
    load = ", ".join([_quoted(model), *([] if weights is None else [f"weights={_quoted(weights)}"])])
    settings = "".join(f", {key}={_quoted(value)}" for key, value in values.items())
    lines = [
        "import pixelgrad as pg",
        "",
        f"model = pg.load({load})",
        f"done = pg.run_over(pg.make({_quoted(survey)}{settings}), model, {_quoted(data)}, {_quoted(out)})",
        'print(*done.found, sep="\\n")',
    ]
    return "\n".join(lines) + "\n"


def _quoted(value: Any) -> str:
    """A value as Python code."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_quoted, value))},)"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
