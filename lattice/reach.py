"""Reach: what a lock covers. A file, a directory with all below it, or a glob.

A path that ends in `/`, or names a directory that is there, reaches all below it. A path with `*`, `?`
or `[` is a glob, unless what has the signs is there under just that name (`[id].tsx`, or a new file in a
folder `[id]`): `*` and `?` stay inside one segment, `**` is any number of segments. A segment of a glob
also covers the name that is spelled like it, so a lock on `[id].tsx` before that file is there holds.

Two reaches overlap when one file could be in both; for two globs that is decided on the safe side where
a `[...]` is involved. Paths are in their one spelling (`names.lock_path`); here nothing is read but
directory entries, by `of`.
"""

from __future__ import annotations

import functools
import os
import re

from lattice import names
from lattice.errors import BadRequest

MAX_SEGMENTS = 32  # of a glob after its first sign
_SIGNS = re.compile(r"[*?\[]")

Segment = tuple[bool, str]  # is it a pattern, its text


def of(text: str, base: str, *, literal: bool = False, folds: bool | None = None) -> tuple[str, str]:
    """(kind, path) of what somebody wrote, joined to `base`. BadRequest for a path that none of ours may have.

    `literal`: it is the name of a file, whatever signs are in it. `folds`: see `names.lock_path`.
    """
    text = text.strip().replace("\\", "/")
    if not text:
        raise BadRequest("file_path is required")
    full = os.path.join(base, text) if base else text
    if not literal and _SIGNS.search(text):
        parts = _parts(full)
        first = _first_pattern(parts)
        if first is not None:
            return "glob", _glob(parts, first, folds)
    path = names.lock_path(text, base, folds=folds)
    known = os.path.isabs(full)
    if known and os.path.isdir(full):
        return "dir", path
    if text.endswith(("/", os.sep)) and not (known and os.path.lexists(full.rstrip("/" + os.sep))):
        return "dir", path
    return "file", path


def has_signs(text: str) -> bool:
    """Could it be a glob?"""
    return _SIGNS.search(text) is not None


def overlap(kind: str, path: str, other_kind: str, other: str) -> bool:
    """Could one file be in both?"""
    if kind != "glob" and other_kind != "glob":
        return (
            path == other or (kind == "dir" and other.startswith(_below(path))) or (other_kind == "dir" and path.startswith(_below(other)))
        )
    return _meet(_segments(kind, path), _segments(other_kind, other))


def covers(kind: str, path: str, other_kind: str, other: str) -> bool:
    """Is all of the other inside this one? For a glob in a glob only where they are the same, which is the safe side."""
    if (kind, path) == (other_kind, other):
        return True
    if other_kind == "file":
        return overlap(kind, path, other_kind, other)
    if kind != "dir":
        return False
    root = other if other_kind == "dir" else "/".join(text for is_pattern, text in _before_signs(_segments("glob", other)))
    return root == path or root.startswith(_below(path))


def _below(path: str) -> str:
    return path if path.endswith("/") else path + "/"


# -- what somebody wrote -----------------------------------------------------------------------------------


def _parts(full: str) -> list[str]:
    return full.replace("\\", "/").split("/") if os.name == "nt" else full.split("/")


def _first_pattern(parts: list[str]) -> int | None:
    """Where the first segment stands that has signs and is not there under just that name; None: all of it is a name.

    Names that come after one that is there are names as well, unless they have signs: `[id]/new.tsx`.
    """
    for index, part in enumerate(parts):
        if _SIGNS.search(part):
            so_far = "/".join(parts[: index + 1])
            if not os.path.isabs(so_far) or not os.path.lexists(so_far):
                return index
    return None


def _glob(parts: list[str], first: int, folds: bool | None) -> str:
    if any(part in ("..", ".") for part in parts[first:]):
        raise BadRequest("a glob must not go up again after its first sign", hint="write the directory first, then the signs")
    rest = [part for part in parts[first:] if part]
    if not parts[-1] and rest[-1] != "**":  # `src/*/`: directories, and a directory reaches all below it
        rest.append("**")
    if len(rest) > MAX_SEGMENTS:
        raise BadRequest(f"a glob has at most {MAX_SEGMENTS} segments after its first sign")
    fixed = "/".join(parts[:first])
    pattern = names.lock_path("./" + "/".join(rest), "", folds=folds)  # a blank that begins a name is no edge of the text
    if not fixed:
        return f"/{pattern}" if first else pattern  # below the root, or of no known folder
    return f"{names.lock_path(fixed, '', folds=folds).rstrip('/')}/{pattern}"


# -- whether two meet -----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _segments(kind: str, path: str) -> tuple[Segment, ...]:
    if kind == "glob":
        return tuple((_SIGNS.search(part) is not None, part) for part in path.split("/"))
    named = tuple((False, part) for part in path.rstrip("/").split("/"))
    return (*named, (True, "**")) if kind == "dir" else named


def _before_signs(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    first = next((index for index, (is_pattern, _) in enumerate(segments) if is_pattern), len(segments))
    return segments[:first]


_ANY = (True, "**")


@functools.lru_cache(maxsize=4096)
def _meet(one: tuple[Segment, ...], two: tuple[Segment, ...]) -> bool:
    """Is there a path that both match? Steps: segments of one by segments of two."""
    for a, b in zip(one, two, strict=False):  # what most pairs differ in
        if _ANY in (a, b):
            break
        if not _segments_meet(a, b):
            return False
    # reached[j]: the first i segments of one and the first j of two can be the same path
    reached = [all(segment == _ANY for segment in two[:j]) for j in range(len(two) + 1)]
    for a in one:
        above, reached = reached, [reached[0] and a == _ANY] + [False] * len(two)
        for j, b in enumerate(two):
            if _ANY in (a, b):  # it stands for nothing more, or takes the other's segment and goes on
                reached[j + 1] = above[j + 1] or reached[j]
            else:
                reached[j + 1] = above[j] and _segments_meet(a, b)
    return reached[-1]


@functools.lru_cache(maxsize=4096)
def _segments_meet(one: Segment, two: Segment) -> bool:
    """Is there a name that both match? `[...]` counts as any one letter between two patterns, and exactly against a name."""
    (is_pattern, text), (other_is_pattern, other) = one, two
    if text == other:
        return True
    if not is_pattern and not other_is_pattern:
        return False
    if not is_pattern:
        return _expression(other).fullmatch(text) is not None
    if not other_is_pattern:
        return _expression(text).fullmatch(other) is not None
    left, right = _signs(text), _signs(other)
    reached = [all(sign == "*" for sign in right[:j]) for j in range(len(right) + 1)]
    for a in left:
        above, reached = reached, [reached[0] and a == "*"] + [False] * len(right)
        for j, b in enumerate(right):
            if "*" in (a, b):
                reached[j + 1] = above[j + 1] or reached[j]
            else:
                reached[j + 1] = above[j] and (a == b or "?" in (a, b))
    return reached[-1]


def _signs(segment: str) -> list[str]:
    """A segment as letters, `?` and `*`; a class is a `?`, read as fnmatch reads it: `[]x]` and `[!]x]` are one class each."""
    found: list[str] = []
    at = 0
    while at < len(segment):
        sign = segment[at]
        at += 1
        if sign == "[":
            end = segment.find("]", at + 1 + (segment[at : at + 1] == "!"))
            if end >= 0:
                sign, at = "?", end + 1
            else:
                sign = "\0["  # a letter that is no sign
        found.append(sign)
    return found


@functools.lru_cache(maxsize=4096)
def _expression(segment: str) -> re.Pattern[str]:
    import fnmatch  # here: the hooks load this module at their start

    return re.compile(fnmatch.translate(segment))
