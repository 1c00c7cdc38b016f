"""A power cut, as far as a program can have one: what of its writes a disk may have kept, that it had not yet been told to keep.

`recorded` reads from strace's log every change that a process made to the files of a folder, and what it said meanwhile.
`Disk` goes through these changes one by one. At each moment it knows what is surely kept (all before the last sync of a
file, and of its folder for its name), and `cut` writes down one state that the disk may be found in: of the later writes
to a file any may be there or not, sector by sector; of the later changes of a folder the first few are there. A disk that
lies about its syncs is another matter.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from tests import tracing

CALLS = "openat,pwrite64,write,ftruncate,fdatasync,fsync,?unlink,?unlinkat,?link,?linkat,?rename,?renameat,?renameat2"
MORE = ("-y", "-xx", "-s", "1000000")  # names with descriptors, all bytes in hexadecimal
SECTOR = 512
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"<((?:\\x[0-9a-f]{2})*)>")
_NUMBERS = re.compile(r", (-?\d+)(?=,|\Z)")


class Change(NamedTuple):
    """`kind`: make, write, size, sync, remove, link or name (`path` is, or becomes, `other`), said. Paths are relative to the folder."""

    kind: str
    path: str = ""
    other: str = ""
    data: bytes = b""
    at: int = 0


def recorded(log: str, folder: str, pid: int) -> list[Change]:
    """What the process `pid` did below `folder`, in order; what it wrote to a pipe is `said`."""
    return [change for call in tracing.calls(log) if call.pid == pid for change in _changes(call, folder)]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _changes(call: tracing.Call, folder: str) -> Iterator[Change]:
    if call.result.startswith("-1"):
        return
    texts = [_bytes(text) for text in _TEXT.findall(call.arguments)]
    files = [os.path.relpath(_bytes(name).decode(), folder) for name in _FILE.findall(call.arguments) if name]
    numbers = [int(number) for number in _NUMBERS.findall(call.arguments.rpartition('"')[2] or call.arguments)]
    paths = [os.path.relpath(os.path.join(folder, text.decode("utf-8", "replace")), folder) for text in texts]
    inside = [not path.startswith("..") for path in files]
    match call.name:
        case "openat" if "O_CREAT" in call.arguments and not paths[0].startswith(".."):
            yield Change("make", paths[0])
            if "O_TRUNC" in call.arguments:
                yield Change("size", paths[0], at=0)
        case "pwrite64" if inside[0]:
            yield Change("write", files[0], data=texts[0][: int(call.result)], at=numbers[-1])
        case "write" if not inside[0]:
            yield Change("said", data=texts[0])
        case "write":
            yield Change("write", files[0], data=texts[0], at=-1)
        case "ftruncate" if inside[0]:
            yield Change("size", files[0], at=numbers[-1])
        case "fdatasync" | "fsync" if inside[0]:
            yield Change("sync", files[0])
        case "unlink" | "unlinkat" if not paths[-1].startswith(".."):
            yield Change("remove", paths[-1])
        case "link" | "linkat" if not paths[0].startswith(".."):
            yield Change("link", paths[0], paths[1])
        case "rename" | "renameat" | "renameat2" if not paths[0].startswith(".."):
            yield Change("name", paths[0], paths[1])


class _File:
    """Bytes that are surely kept, and changes since that may be."""

    def __init__(self, kept: bytes = b"") -> None:
        self.kept = bytearray(kept)
        self.size = len(kept)  # as the program sees it
        self.later: list[Change] = []

    def sync(self) -> None:
        for change in self.later:
            _apply(self.kept, change)
        self.later.clear()

    def found(self, chance: random.Random) -> bytes:
        """One of the states that it may be in."""
        likely = chance.choice((0.0, 0.5, 0.95, 1.0))
        found = bytearray(self.kept)
        for change in self.later:
            if change.kind == "size":
                if chance.random() < likely:
                    _apply(found, change)
                continue
            for start in range(0, len(change.data), SECTOR):
                if chance.random() < likely:
                    _apply(found, change._replace(data=change.data[start : start + SECTOR], at=change.at + start))
        return bytes(found)


def _apply(data: bytearray, change: Change) -> None:
    end = change.at + len(change.data)
    if change.kind == "size":
        del data[change.at :]
        end = change.at
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if change.kind == "write":
        data[change.at : end] = change.data


class Disk:
    """A folder as it is now, and the folders in it. `change` goes on by one; `cut` is what may be found if the power goes then."""

    def __init__(self, folder: str) -> None:
        self.kept: dict[str, _File] = {}
        for where, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(where, name), "rb") as file:
                    self.kept[os.path.relpath(file.name, folder)] = _File(file.read())
        self.names = dict(self.kept)  # as the program sees them
        self.later: list[tuple[str, _File | None]] = []  # changes of names since

    def change(self, change: Change) -> None:
        match change.kind:
            case "make":
                if change.path not in self.names:
                    self._name(change.path, _File())
            case "write":
                file = self.names[change.path]
                change = change._replace(at=file.size) if change.at < 0 else change
                file.size = max(file.size, change.at + len(change.data))
                file.later.append(change)
            case "size":
                self.names[change.path].size = change.at
                self.names[change.path].later.append(change)
            case "sync":
                self._sync(change.path)
            case "remove":
                self._name(change.path, None)
            case "link":
                self._name(change.other, self.names[change.path])
            case "name":
                self._name(change.other, self.names[change.path])
                self._name(change.path, None)

    def _name(self, path: str, file: _File | None) -> None:
        self.later.append((path, file))
        _rename(self.names, path, file)

    def _sync(self, path: str) -> None:
        if path in self.names:
            self.names[path].sync()
            return
        for name, file in self.later:
            if (os.path.dirname(name) or ".") == path:
                _rename(self.kept, name, file)
        self.later = [(name, file) for name, file in self.later if (os.path.dirname(name) or ".") != path]

    def cut(self, folder: str, chance: random.Random) -> None:
        """Put one state that may be found into an empty folder."""
        names = dict(self.kept)
        for name, file in self.later[: chance.randint(0, len(self.later))]:
            _rename(names, name, file)
        for name, file in names.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(file.found(chance))


def _rename(names: dict[str, _File], path: str, file: _File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file
