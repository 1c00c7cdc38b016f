"""Flags: one small file per session, so that a hook with nothing to do costs no Python (design D20).

`flags/<client pid>` is there while the peer has mail (or an offer for a hook to prove), somebody else holds a
lock in its workspace, or it has lost a lock and not asked since. `flags/<client pid>.cause` is there while
it was shown mail since its last human prompt. A hook tests for them with `sh`. They are put up before the
write that makes them true is answered. The first line says whose and why ("alice: mail locks"), the second
which broker's; where two peers have one client, it is the reasons of both.

Threads: the writer's leader and the sweep; one lock guards it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

from lattice import settings

log = logging.getLogger("lattice.broker")

REASONS = ("mail", "proof", "locks", "lost")  # in this order, so that `sh` can compare them


class Flags:
    def __init__(self, home: str, port: int) -> None:
        """Those of a broker before this one go: what is true now is put up anew. Another broker's of this home stay."""
        self._folder = os.path.join(home, "flags")
        self._port = port
        self._lock = threading.Lock()
        self._up: dict[str, str] = {}  # file name -> what it says
        self._why: dict[str, dict[str, str]] = {}  # file name -> peer -> why
        self._of_peer: dict[str, str] = {}
        self._stopped = False
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        others = {card["port"] for card in settings.running_brokers(home) if card["port"] != port and _runs(card.get("pid"))}
        for name in os.listdir(self._folder):
            if not others or self._whose(name) not in others:
                self._remove(name)

    def belongs(self, peer_id: str, client_pid: int | None) -> None:
        """The session of this peer runs in that client process; None: none that a hook could be run by."""
        name = str(client_pid) if client_pid else ""
        with self._lock:
            old = self._of_peer.get(peer_id, "")
            if old == name:
                return
            if old:
                self._say(old, peer_id, "")
                self._say(old + ".cause", peer_id, "")
            if name:
                self._of_peer[peer_id] = name
            else:
                self._of_peer.pop(peer_id, None)

    def watched(self, peer_id: str) -> bool:
        """Is there a hook that would look?"""
        return peer_id in self._of_peer

    def set(self, peer_id: str, why: str, *, cause: bool = False) -> None:
        """Up while `why` is not empty."""
        with self._lock:
            name = self._of_peer.get(peer_id)
            if name is not None:
                self._say(name + (".cause" if cause else ""), peer_id, why)

    def lower_all(self) -> None:
        """The broker stops: no hook has anything to ask, whatever is still written."""
        with self._lock:
            self._stopped = True
            self._why.clear()
            for name in list(self._up):
                self._lower(name)

    def _say(self, name: str, peer_id: str, why: str) -> None:
        """The file shows the reasons of all whose client this is."""
        reasons = self._why.setdefault(name, {})
        if why:
            reasons[peer_id] = why
        else:
            reasons.pop(peer_id, None)
        if not reasons:
            del self._why[name]
            self._lower(name)
            return
        words = {word for one in reasons.values() for word in one.split()}
        said = [word for word in REASONS if word in words] + sorted(words.difference(REASONS))
        self._raise(name, f"{next(iter(reasons))}: {' '.join(said)}\nport {self._port}\n")

    def _raise(self, name: str, text: str) -> None:
        if self._stopped or self._up.get(name) == text:
            return
        try:
            path = os.path.join(self._folder, name)
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(text)
            self._up[name] = text
        except OSError:
            self._up.pop(name, None)
            log.exception("flag %s", name)  # a hook then sees nothing to do; the tools tell all the same

    def _lower(self, name: str) -> None:
        if self._up.pop(name, None) is not None:
            self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self._folder, name))
        except FileNotFoundError:
            pass  # somebody has tidied up
        except OSError:
            log.exception("flag %s", name)

    def _whose(self, name: str) -> int:
        """The port of the broker that put it up, 0 when it does not say."""
        try:
            with open(os.path.join(self._folder, name), encoding="utf-8") as file:
                port = file.read(1000).partition("\nport ")[2].strip()
        except (OSError, ValueError):
            return 0
        return int(port) if port.isascii() and port.isdigit() else 0


def _runs(pid: object) -> bool:
    """Is that process there, as far as can be seen?"""
    if not isinstance(pid, int) or pid <= 0:
        return False
    if sys.platform == "win32":  # a signal would end it there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's by now
    return True
