"""Other people's JSON files: a member or an item of a list put in or taken out, everything else left byte for byte.

A file is read whole, the place is found by walking the text (so order, spacing, line ends and a byte
order mark stay), and the new text takes the old one's place by rename, with its mode. What cannot be
parsed is not touched. A link is followed: the link stays, what it points at changes.
Not for formats with comments: those do not parse here, and so are refused.
"""

from __future__ import annotations

import json
import os
import stat

from lattice.lasting import sync_folder

_BLANK = " \t\r\n"


class Unreadable(Exception):
    """The file is not what its owner would accept; the message names file and place. It was not touched."""


def read(path: str) -> str | None:
    """The text of the file with its line ends as they are; None when there is none. Unreadable when it is not UTF-8."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as problem:
        raise Unreadable(f"{path} is not UTF-8 text (byte {problem.start}); it was not touched") from None
    except OSError as problem:
        raise Unreadable(f"{path} cannot be read: {problem.strerror or problem}") from None


def parse(text: str, path: str) -> dict[str, object]:
    """The object that the text says. Unreadable on anything else; blank text is an empty object."""
    try:
        found = json.loads(_body(text)) if _body(text).strip() else {}
    except (ValueError, RecursionError) as problem:
        raise Unreadable(f"{path} is not valid JSON ({problem}); it was not touched") from None
    if not isinstance(found, dict):
        raise Unreadable(f"{path} holds no JSON object; it was not touched")
    return found


def get_member(text: str, names: tuple[str, ...], path: str) -> object:
    """The value under the names, one inside the other; None when it is not there."""
    value: object = parse(text, path)
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def set_member(text: str, names: tuple[str, ...], value: object, path: str) -> str:
    """The text with this value under the names; objects on the way are made. Unreadable when one of them is no object."""
    parse(text, path)
    mark, body = text[: len(text) - len(_body(text))], _body(text)
    newline = "\r\n" if "\r\n" in body else "\n"
    if not body.strip():
        return mark + _say(_nested(names, value), "  ", "", newline) + newline
    step = _step(body)
    start = _skip(body, 0)
    depth = 0
    for depth, name in enumerate(names):
        members, end = _members(body, start)
        member = next((one for one in reversed(members) if one[0] == name), None)
        if member is None:
            break
        _, _, value_start, value_end = member
        if depth == len(names) - 1:
            said = _say(value, step, _margin(body, value_start), newline)
            return mark + body[:value_start] + said + body[value_end:]
        start = value_start
        if body[start] != "{":
            raise Unreadable(f"{path}: {'.'.join(names[: depth + 1])} is not an object; it was not touched")
    members, end = _members(body, start)
    added = _nested(names[depth + 1 :], value)
    if members:
        first_key, last_end = members[0][1], members[-1][3]
        gap = body[_skip_back(body, first_key) : first_key]
        margin = gap.rpartition("\n")[2] if "\n" in gap else ""
        said = _say(added, step if "\n" in gap else "", margin, newline)
        colon = ": " if step else ":"
        return mark + body[:last_end] + "," + gap + json.dumps(names[depth], ensure_ascii=False) + colon + said + body[last_end:]
    outer = _margin(body, start)
    said = _say({names[depth]: added}, step, outer, newline)
    return mark + body[:start] + said + body[end:]


def remove_member(text: str, names: tuple[str, ...], path: str) -> str:
    """The text without what is under the names; unchanged when it is not there. Emptied objects stay."""
    parse(text, path)
    mark, body = text[: len(text) - len(_body(text))], _body(text)
    if not body.strip():
        return text
    start = _skip(body, 0)
    for depth, name in enumerate(names):
        if body[start] != "{":
            return text
        members, end = _members(body, start)
        index = next((index for index in reversed(range(len(members))) if members[index][0] == name), None)
        if index is None:
            return text
        _, key_start, value_start, value_end = members[index]
        if depth < len(names) - 1:
            start = value_start
        elif len(members) == 1:
            return mark + body[: start + 1] + body[end - 1 :]
        elif index == len(members) - 1:
            return mark + body[: members[index - 1][3]] + body[value_end:]
        else:
            return mark + body[:key_start] + body[members[index + 1][1] :]
    return text


def append_items(text: str, names: tuple[str, ...], values: list[object], path: str) -> str:
    """The text with these values at the end of the list under the names; the list, and objects on the way, are made."""
    there = get_member(text, names, path)
    if there is None or there == []:
        return set_member(text, names, values, path) if values else text
    if not isinstance(there, list):
        raise Unreadable(f"{path}: {'.'.join(names)} is no list; it was not touched")
    mark, body, start = _place(text, names)
    items, _ = _items(body, start)
    newline = "\r\n" if "\r\n" in body else "\n"
    first, last_end = items[0][0], items[-1][1]
    gap = body[_skip_back(body, first) : first]
    margin = gap.rpartition("\n")[2] if "\n" in gap else ""
    step = _step(body) if "\n" in gap else ""
    said = "".join("," + gap + _say(value, step, margin, newline) for value in values)
    return mark + body[:last_end] + said + body[last_end:]


def remove_items(text: str, names: tuple[str, ...], indexes: list[int], path: str) -> str:
    """The text without these items of the list under the names. An emptied list stays."""
    parse(text, path)
    for index in sorted(indexes, reverse=True):
        mark, body, start = _place(text, names)
        items, end = _items(body, start)
        if len(items) == 1:
            text = mark + body[: start + 1] + body[end - 1 :]
        elif index == len(items) - 1:
            text = mark + body[: items[index - 1][1]] + body[items[index][1] :]
        else:
            text = mark + body[: items[index][0]] + body[items[index + 1][0] :]
    return text


def write(path: str, text: str, new_mode: int = 0o600) -> None:
    """The text in the file's place, whole or not at all; its mode kept, `new_mode` when it is new. OSError."""
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    os.makedirs(folder, exist_ok=True)
    try:
        mode = stat.S_IMODE(os.stat(real).st_mode)
    except FileNotFoundError:
        mode = new_mode
    temporary = os.path.join(folder, f".{os.path.basename(real)}.{os.urandom(6).hex()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, real)
    except BaseException as problem:
        os.unlink(temporary)
        if isinstance(problem, OSError):
            problem.filename = path  # a full disk names none, and nobody knows the temporary one
        raise
    sync_folder(folder)


def back_up(path: str, backups: str, stamp: str) -> str:
    """A 0600 copy of the file in the backups folder, named for it and the stamp; its path."""
    os.makedirs(backups, mode=0o700, exist_ok=True)
    with open(path, "rb") as file:
        content = file.read()
    number = 0
    while True:
        name = os.path.basename(path).lstrip(".") + f".{stamp}" + (f".{number}" if number else "")
        copy = os.path.join(backups, name)
        try:
            handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError:
            number += 1
            continue
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return copy


# -- the walk over the text -----------------------------------------------------------------------
# The text has been parsed before, so that it is JSON is known here; only places are looked for.

_decode = json.JSONDecoder().raw_decode


def _body(text: str) -> str:
    return text[1:] if text.startswith("\ufeff") else text


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _skip_back(text: str, at: int) -> int:
    while at > 0 and text[at - 1] in _BLANK:
        at -= 1
    return at


def _members(text: str, start: int) -> tuple[list[tuple[str, int, int, int]], int]:
    """The members of the object that begins at `start`: (name, key start, value start, value end); and its end."""
    found: list[tuple[str, int, int, int]] = []
    at = _skip(text, start + 1)
    while text[at] != "}":
        if text[at] == ",":
            at = _skip(text, at + 1)
        key_start = at
        name, at = _decode(text, at)
        value_start = _skip(text, _skip(text, at) + 1)
        _, at = _decode(text, value_start)
        found.append((name, key_start, value_start, at))
        at = _skip(text, at)
    return found, at + 1


def _items(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """The items of the list that begins at `start`: (start, end) of each; and the list's end."""
    found: list[tuple[int, int]] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        if text[at] == ",":
            at = _skip(text, at + 1)
        _, end = _decode(text, at)
        found.append((at, end))
        at = _skip(text, end)
    return found, at + 1


def _place(text: str, names: tuple[str, ...]) -> tuple[str, str, int]:
    """(byte order mark, the rest, where in it the value under the names begins). It is known to be there."""
    mark, body = text[: len(text) - len(_body(text))], _body(text)
    start = _skip(body, 0)
    for name in names:
        members, _ = _members(body, start)
        start = next(value for member, _, value, _ in reversed(members) if member == name)
    return mark, body, start


def _step(text: str) -> str:
    """What one level of indent is in this file; "" when it is written on one line."""
    at = _skip(text, 0) + 1
    gap = text[at : _skip(text, at)]
    if "\n" in gap:
        return gap.rpartition("\n")[2] or "  "
    return "" if text[_skip(text, at)] != "}" else "  "


def _margin(text: str, at: int) -> str:
    """The indent of the line that `at` is on."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _nested(names: tuple[str, ...], value: object) -> object:
    for name in reversed(names):
        value = {name: value}
    return value


def _say(value: object, step: str, margin: str, newline: str) -> str:
    if not step:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    said = json.dumps(value, ensure_ascii=False, indent=step)
    return said.replace("\n", newline + margin)
