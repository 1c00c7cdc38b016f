"""Reach: what a lock covers. A file, a directory with all below it, or a glob.

A path that ends in `/`, or names a directory that is there, reaches all below it. A path with `*`, `?`
or `[` is a glob unless a file of just that name is there (`[id].tsx`): `*` and `?` stay inside one
segment, `**` is any number of segments. Two reaches overlap when one file could be in both; for two
globs that is decided on the safe side where a `[...]` is involved.

Paths are in their one spelling (`names.lock_path`); here nothing is read but directory entries, by `of`.
"""

from __future__ import annotations

import functools
import os
import re

from lattice import names
from lattice.errors import BadRequest

KINDS = ("file", "dir", "glob")
_SIGNS = re.compile(r"[*?\[]")


def of(text: str, base: str) -> tuple[str, str]:
    """(kind, path) of what somebody wrote, joined to `base`. BadRequest for a path that none of ours may have."""
    text = text.strip()
    if not text:
        raise BadRequest("file_path is required")
    full = os.path.join(base, text) if base else text
    if _SIGNS.search(text) and not os.path.lexists(full):
        return "glob", _glob(full)
    path = names.lock_path(text, base)
    if text.endswith(("/", os.sep)) or (os.path.isabs(full) and os.path.isdir(full)):
        return "dir", path
    return "file", path


def overlap(kind: str, path: str, other_kind: str, other: str) -> bool:
    """Could one file be in both?"""
    if kind == "glob" and other_kind != "glob":
        kind, path, other_kind, other = other_kind, other, kind, path
    if other_kind != "glob":
        return (
            path == other
            or (kind == "dir" and other.startswith(_below(path)))
            or (other_kind == "dir" and path.startswith(_below(other)))
        )
    pattern = tuple(other.split("/"))
    if kind == "glob":
        return _meet(tuple(path.split("/")), pattern)
    if kind == "dir":
        return _meet((*path.rstrip("/").split("/"), "**"), pattern) or _meet(tuple(path.split("/")), pattern)
    return _meet(tuple(path.split("/")), pattern, literal=True)


def _below(path: str) -> str:
    return path if path.endswith("/") else path + "/"


def _glob(full: str) -> str:
    segments = full.replace("\\", "/").split("/") if os.name == "nt" else full.split("/")
    first = next(index for index, segment in enumerate(segments) if _SIGNS.search(segment))
    if any(segment in ("..", ".") for segment in segments[first:]):
        raise BadRequest("a glob must not go up again after its first sign", hint="write the directory first, then the signs")
    fixed = "/".join(segments[:first])
    root = names.lock_path(fixed, "") if fixed else ""
    rest = names.lock_path("/".join(segment for segment in segments[first:] if segment), "")
    if len(segments) - first > 32:
        raise BadRequest("a glob has at most 32 segments after its first sign")
    return f"{root.rstrip('/')}/{rest}" if full.startswith("/") or root else rest


@functools.lru_cache(maxsize=4096)
def _meet(one: tuple[str, ...], two: tuple[str, ...], literal: bool = False) -> bool:
    """Is there a path that both segment lists match? With `literal`, `one` is a path and its signs are letters."""
    if not one or not two:
        return all(segment == "**" for segment in one + two)
    if two[0] == "**":
        return _meet(one, two[1:], literal) or _meet(one[1:], two, literal)
    if one[0] == "**" and not literal:
        return _meet(one[1:], two, literal) or _meet(one, two[1:], literal)
    return _segments_meet(one[0], two[0], literal) and _meet(one[1:], two[1:], literal)


@functools.lru_cache(maxsize=4096)
def _segments_meet(one: str, two: str, literal: bool) -> bool:
    """Is there a name that both match? `[...]` counts as any one letter between two globs, and exactly against a name."""
    if literal or not _SIGNS.search(one):
        return _expression(two).fullmatch(one) is not None
    if not _SIGNS.search(two):
        return _expression(one).fullmatch(two) is not None
    left, right = _signs(one), _signs(two)
    reached = {(0, 0)}
    seen = set(reached)
    while reached:
        a, b = reached.pop()
        if a == len(left) and b == len(right):
            return True
        steps = []
        if a < len(left) and left[a] == "*":
            steps.append((a + 1, b))
            if b < len(right):
                steps.append((a, b + 1))
        if b < len(right) and right[b] == "*":
            steps.append((a, b + 1))
            if a < len(left):
                steps.append((a + 1, b))
        if a < len(left) and b < len(right) and (left[a] == right[b] or "?" in (left[a], right[b])):
            steps.append((a + 1, b + 1))
        for step in steps:
            if step not in seen:
                seen.add(step)
                reached.add(step)
    return False


def _signs(segment: str) -> list[str]:
    """A segment as letters, `?` and `*`; a class is a `?`."""
    return list(re.sub(r"\[[^\]]+\]", "?", segment))


@functools.lru_cache(maxsize=4096)
def _expression(segment: str) -> re.Pattern[str]:
    import fnmatch

    return re.compile(fnmatch.translate(segment))
