"""A coding client, as the installer and the spawner see it.

One seam: a further client is one file with an `Adapter` in it and one line in `adapters.py`.
An adapter changes only what is registered under our own name, tells what it did in sentences, and can
undo it: a file that nobody else has written to since is restored exactly, from any other only our member
is taken out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lattice.clients import config_files, record
from lattice.clients.config_files import Unreadable

NAME = "c2-lattice"


class Entry(NamedTuple):
    """What a client runs to start our MCP server: a program and its arguments, never a shell line."""

    command: str
    args: tuple[str, ...]


class Found(NamedTuple):
    """What is registered under our name. `entry` None: nothing. `problem`: why that cannot be said."""

    file: str
    entry: Entry | None
    problem: str = ""


class Refused(Exception):
    """The adapter could not do it and changed nothing; the message says why and what would help."""


class Adapter:
    """One client. `environ` is the person's environment, `home` our state directory, `stamp` names backups."""

    name = ""
    title = ""

    def __init__(self, environ: Mapping[str, str], home: str, stamp: str = "0") -> None:
        self.environ = environ
        self.home = home
        self.stamp = stamp

    def detect(self) -> str:
        """Where the client is (its program, or its file), "" when there is no sign of it."""
        raise NotImplementedError

    def program(self) -> str:
        """The client's program on the environment's PATH, absolute; "" when there is none."""
        raise NotImplementedError

    def find(self, project: str = "") -> Found:
        """What is registered for the user, or in the folder `project`."""
        raise NotImplementedError

    def install(self, entry: Entry, *, project: str = "", dry_run: bool = False) -> list[str]:
        """Register the entry; what was (or would be) done, in sentences. [] when it is there already. Refused."""
        raise NotImplementedError

    def uninstall(self, entry: Entry, *, project: str = "", dry_run: bool = False) -> list[str]:
        """Take our registration out again; [] when there is none of ours. Refused."""
        raise NotImplementedError

    def hooks(self) -> str:
        """What of our hooks is in the client's settings, in a sentence; "" when it has none of that kind."""
        return ""

    def install_hooks(self, *, rewake: bool = False, dry_run: bool = False) -> list[str]:
        """Put our hooks into the user's settings (`rewake`: with the one that wakes an idle session); sentences. Refused."""
        return []

    def uninstall_hooks(self, *, dry_run: bool = False) -> list[str]:
        """Take them out again; sentences. Refused."""
        return []

    def session(self, program: str, prompt: str, *, headless: bool, entry: Entry) -> list[str]:
        """The argument list that opens a session of this client on the prompt."""
        raise NotImplementedError


class FileEdit:
    """One member in one JSON file of a client: put in, looked up, taken out."""

    def __init__(self, path: str, names: tuple[str, ...], home: str, stamp: str, new_mode: int = 0o600) -> None:
        self.path = path
        self.names = names
        self.home = home
        self.stamp = stamp
        self.new_mode = new_mode

    def look(self) -> object:
        """The value of the member, None when there is none. Unreadable."""
        text = config_files.read(self.path)
        return None if text is None else config_files.get_member(text, self.names, self.path)

    def is_ours(self, found: object, wanted: dict[str, object]) -> bool:
        """Is it what we would write, or what the record says we wrote from another place?"""
        known = record.read(self.home).get(self.path)
        return found is not None and (same(found, wanted) or (known is not None and found == known.get("value")))

    def put(self, value: dict[str, object]) -> list[str]:
        """Write the member. Sentences. Unreadable when the file was left untouched."""
        before = config_files.read(self.path)
        changed = config_files.set_member(before or "", self.names, value, self.path)
        return self.around(value, lambda: config_files.write(self.path, changed, self.new_mode))

    def around(self, value: dict[str, object], change: Callable[[], object]) -> list[str]:
        """Run a change of the file (by us or by the client's own program) between a backup and a record."""
        before = config_files.read(self.path)
        known = record.read(self.home).get(self.path)
        new: dict[str, object] = {
            "made_file": before is None,
            "made_parents": self._missing_parents(before or ""),
            "replaced": None if before is None else config_files.get_member(before, self.names, self.path),
            "backup": "",
            "exact": True,
        }
        if known is not None and new["replaced"] == known.get("value"):
            # Ours already, from another place: what was before the first time is what counts. Its copy of the
            # file counts only while nobody else has written since.
            new = {**known, "exact": known.get("exact") is True and digest(before) == known.get("after")}
        said = []
        if before is not None and not new["backup"] and not new["made_file"]:
            new["backup"] = config_files.back_up(self.path, os.path.join(self.home, "backups"), self.stamp)
            said.append(f"kept a copy of {self.path} as {new['backup']}")
        change()
        after = config_files.read(self.path)
        new["value"] = value if after is None else config_files.get_member(after, self.names, self.path)
        new["after"] = digest(after)
        record.keep(self.home, self.path, new)
        return said

    def drop(self, ours: dict[str, object], remove: Callable[[], object] | None = None) -> list[str]:
        """Take the member out if it is ours, by `remove` (the client's own program) where that works; [] when it is not."""
        text = config_files.read(self.path)
        known = record.read(self.home).get(self.path) or {}
        found = None if text is None else config_files.get_member(text, self.names, self.path)
        if text is None or not self.is_ours(found, ours):
            record.forget(self.home, self.path)
            return []
        if known.get("exact") and digest(text) == known.get("after"):
            said = self._restore(known)
            if said:
                return said
        if remove is not None:
            remove()
            text = config_files.read(self.path) or ""
        changed = config_files.remove_member(text, self.names, self.path)
        said = [f"took {NAME} out of {self.path}"]
        if known.get("replaced") is not None:
            changed = config_files.set_member(text, self.names, known["replaced"], self.path)
            said = [f"put back in {self.path} what {NAME} named before the installation"]
        made = known.get("made_parents")
        for depth in range(len(self.names) - 1, 0, -1):
            parent = self.names[:depth]
            if isinstance(made, list) and list(parent) in made and config_files.get_member(changed, parent, self.path) == {}:
                changed = config_files.remove_member(changed, parent, self.path)
        record.forget(self.home, self.path)
        if known.get("made_file") and config_files.parse(changed, self.path) == {}:
            os.unlink(self.path)
            return [f"removed {self.path}, which held nothing else"]
        if config_files.read(self.path) not in (None, changed):
            config_files.write(self.path, changed, self.new_mode)
        return said

    def _restore(self, known: dict[str, object]) -> list[str]:
        """The file exactly as it was, since nobody else has written to it; [] when its copy is lost."""
        if known.get("made_file"):
            os.unlink(self.path)
            record.forget(self.home, self.path)
            return [f"removed {self.path}, which the installation had made"]
        backup = str(known.get("backup"))
        try:
            before = config_files.read(backup)
        except Unreadable:
            before = None
        if before is None:
            return []
        config_files.write(self.path, before, self.new_mode)
        record.forget(self.home, self.path)
        os.unlink(backup)
        return [f"{self.path} is again as it was before the installation"]

    def _missing_parents(self, text: str) -> list[list[str]]:
        return [
            list(self.names[:depth])
            for depth in range(1, len(self.names))
            if config_files.get_member(text, self.names[:depth], self.path) is None
        ]


def same(found: object, wanted: dict[str, object]) -> bool:
    """Does this entry start the same program with the same arguments (whatever else a person has added to it)?"""
    return isinstance(found, dict) and found.get("command") == wanted["command"] and found.get("args") == wanted["args"]


def as_entry(found: object) -> Entry | None:
    """An entry of a client's file; None when nothing is there. What has another shape is shown as it is."""
    if found is None:
        return None
    if not isinstance(found, dict):
        return Entry(json.dumps(found)[:200], ())
    args = found.get("args")
    return Entry(str(found.get("command") or found.get("url") or ""), tuple(map(str, args)) if isinstance(args, list) else ())


def own_entry() -> Entry:
    """How a client starts our MCP server: this very interpreter, not a shim that decides anew, and our own file."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return Entry(os.path.realpath(sys.executable), ("-I", "-S", os.path.join(top, "mcp_server.py")))


def home_of(environ: Mapping[str, str]) -> str:
    """The person's home folder, as the environment says it."""
    named = environ.get("HOME") or (environ.get("USERPROFILE") if os.name == "nt" else "")
    return named or os.path.expanduser("~")


def digest(text: str | None) -> str:
    """What a text is known by; "" for none."""
    return "" if text is None else hashlib.sha256(text.encode("utf-8")).hexdigest()
