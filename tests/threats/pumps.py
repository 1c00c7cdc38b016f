"""Pumps: texts made from a regular expression to make it work as long as it can.

A matcher that goes back and forth does so where a part of the expression fits again and again and the end does not. So a
pump is a beginning that fits, one or a few parts of the expression repeated to the wanted size, and an end that spoils it.
"""

from __future__ import annotations

import ast
import functools
import os
import random
import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENDS = ("", "!", "\x00", "\n", " ", "é", "x", "\U0001f600", '"', "<")
_CATEGORIES = {op.CATEGORY_DIGIT: "7", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "w"}
_NOT_CATEGORIES = {op.CATEGORY_NOT_DIGIT: "x", op.CATEGORY_NOT_SPACE: "y", op.CATEGORY_NOT_WORD: "-"}


def pumps(pattern: str, flags: int, size: int, count: int, chosen: random.Random) -> list[str]:
    """`count` texts of `size` signs for this expression; the first ones repeat all of it, each part, each pair of parts."""
    parts, compiled = list(parser.parse(pattern, flags)), re.compile(pattern, flags)
    spans = [(0, len(parts)), *((at, at + 1) for at in range(len(parts))), *((at, at + 2) for at in range(len(parts) - 1))]
    made = []
    for number in range(count):
        first, last = spans[number] if number < len(spans) else sorted(chosen.sample(range(len(parts) + 1), 2))
        before = "".join(_example(part, chosen) for part in parts[:first])
        turns = [piece for _ in range(3) if (piece := "".join(_example(part, chosen) for part in parts[first:last]))] or ["a"]
        turn = "".join(turns) if number % 2 else turns[0]
        text = before + turn * (size // len(turn) + 1)
        end = chosen.choice([end for end in ENDS if not compiled.fullmatch(text[:8] + end)] or ENDS)
        made.append(text[: size - len(end)] + end)
    return made


def _example(part: tuple[Any, Any], chosen: random.Random) -> str:
    """A short text that this part of an expression fits."""
    kind, value = part
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.NOT_LITERAL:
        return "b" if value == ord("a") else "a"
    if kind is op.ANY:
        return "a"
    if kind is op.IN:
        return _one_of(value, chosen)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        least, most, inner = value
        times = min(max(int(least), chosen.randrange(4)), int(most))
        return "".join(_examples(inner, chosen) for _ in range(times))
    if kind is op.BRANCH:
        return _examples(chosen.choice(value[1]), chosen)
    if kind is op.SUBPATTERN:
        return _examples(value[-1], chosen)
    if kind is op.ATOMIC_GROUP:
        return _examples(value, chosen)
    return ""  # places, looks around, references: they take no sign


def _examples(parts: Any, chosen: random.Random) -> str:
    return "".join(_example(part, chosen) for part in parts)


def _one_of(members: list[tuple[Any, Any]], chosen: random.Random) -> str:
    refused = members[0][0] is op.NEGATE
    if refused:
        fit = [sign for sign in "a0Z.-/\\ é" if not _holds(members[1:], sign)]
        return chosen.choice(fit or ["\u4e00"])
    kind, value = chosen.choice(members)
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.RANGE:
        return chr(chosen.randint(value[0], value[1]))
    return {**_CATEGORIES, **_NOT_CATEGORIES}[value]


def _holds(members: list[tuple[Any, Any]], sign: str) -> bool:
    code = ord(sign)
    for kind, value in members:
        if kind is op.LITERAL and value == code or kind is op.RANGE and value[0] <= code <= value[1]:
            return True
        if kind is op.CATEGORY:
            is_in = {"7": sign.isdigit(), " ": sign.isspace(), "w": sign.isalnum() or sign == "_"}
            if value in _CATEGORIES and is_in[_CATEGORIES[value]]:
                return True
            if value in _NOT_CATEGORIES and not is_in[{"x": "7", "y": " ", "-": "w"}[_NOT_CATEGORIES[value]]]:
                return True
    return False


@functools.cache
def expressions() -> tuple[str, ...]:
    """Every place in lattice/ that makes a regular expression, as module:name of the constant or the function."""
    return tuple(sorted(set(_expressions())))


def _expressions() -> Iterator[str]:
    for folder, _, files in os.walk(os.path.join(TOP, "lattice")):
        for name in sorted(files):
            if not name.endswith(".py"):
                continue
            path = os.path.join(folder, name)
            module = os.path.relpath(path, TOP)[:-3].replace(os.sep, ".")
            with open(path, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            yield from (f"{module}:{where}" for where in _made_in(tree, ""))


def _made_in(node: ast.AST, where: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inside = where
        if isinstance(child, ast.FunctionDef) or (isinstance(child, ast.ClassDef) and not where):
            inside = child.name
        elif isinstance(child, ast.Assign) and not where and isinstance(child.targets[0], ast.Name):
            inside = child.targets[0].id
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and isinstance(child.func.value, ast.Name):
            if child.func.value.id == "re" and child.func.attr != "escape":
                yield where
        yield from _made_in(child, inside)
