"""The text form of objectives: `Logit("goldfish") - 0.1 * Channel("features.3", 12)`.

Read by walking Python's syntax tree; nothing is evaluated. `read(repr(objective)) == objective`.
"""

from __future__ import annotations

import ast

from .errors import NotFound, SettingError
from .objectives.base import Objective
from .registry import objectives, settings


def read(text: str) -> Objective:
    """The objective that a text describes. Raises SettingError or NotFound."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingError(f"{text!r} is no objective; one is Logit('tabby')") from error
    try:
        found = _walk(tree, text)
    except (RecursionError, OverflowError) as error:
        raise SettingError(f"{text!r} is too deep or its numbers too large") from error
    if not isinstance(found, Objective):
        raise SettingError(f"{text!r} is a number, not an objective; one is Logit('tabby')")
    return found


def _walk(node: ast.expr, text: str) -> Objective | float:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node, node.func.id, text)
    if isinstance(node, ast.BinOp):
        left, right = _walk(node.left, text), _walk(node.right, text)
        if isinstance(node.op, ast.Mult) and not isinstance(left, Objective):
            return left * right
        if isinstance(left, Objective):
            if isinstance(node.op, ast.Mult) and not isinstance(right, Objective):
                return left * right
            if isinstance(right, Objective):
                if isinstance(node.op, ast.Add):
                    return left + right
                if isinstance(node.op, ast.Sub):
                    return left - right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_walk(node.operand, text)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    raise SettingError(
        f"{ast.unparse(node)!r} in {text!r} is no objective; they combine by +, - and * by a number"
    )


def _call(node: ast.Call, name: str, text: str) -> Objective:
    known = objectives()
    if name not in known:
        raise NotFound("objective", name, known, f"there are {', '.join(known)}")
    if any(k.arg is None for k in node.keywords):
        raise SettingError(f"{ast.unparse(node)!r} in {text!r}: ** is not understood")
    try:
        values = [ast.literal_eval(a) for a in node.args]
        named = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
        made: Objective = known[name](*values, **named)
    except (TypeError, ValueError) as error:
        if isinstance(error, SettingError):
            raise
        wanted = ", ".join(s.name for s in settings(known[name]))
        raise SettingError(f"{ast.unparse(node)!r} in {text!r}: {name} takes {wanted}") from error
    return made
