"""Flags: one small file per session, so that a hook with nothing to do costs no Python (design D20).

`flags/<client pid>` is there while the peer has mail (or an offer by hook to prove), somebody else holds a
lock in its workspace, or it has lost a lock and not asked since. `flags/<client pid>.cause` is there while
it was shown mail since its last human prompt. A hook tests for them with `sh`. They are put up before the
write that makes them true is answered. What is in the file is for people.

Threads: the writer's leader and the sweep; one lock guards it.
"""

from __future__ import annotations

import logging
import os
import threading

log = logging.getLogger("lattice.broker")


class Flags:
    def __init__(self, home: str) -> None:
        self._folder = os.path.join(home, "flags")
        self._lock = threading.Lock()
        self._up: dict[str, str] = {}  # file name -> what it says
        self._of_peer: dict[str, str] = {}
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for name in os.listdir(self._folder):  # of a broker before this one: what is true now is put up anew
            self._remove(name)

    def belongs(self, peer_id: str, client_pid: int | None) -> None:
        """The session of this peer runs in that client process; None: none that a hook could be run by."""
        name = str(client_pid) if client_pid else ""
        with self._lock:
            old = self._of_peer.get(peer_id, "")
            if old == name:
                return
            if old and old not in [one for peer, one in self._of_peer.items() if peer != peer_id]:
                self._lower(old)
                self._lower(old + ".cause")
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
            if name is None:
                return
            name += ".cause" if cause else ""
            if why:
                self._raise(name, f"{peer_id}: {why}\n")
            else:
                self._lower(name)

    def lower_all(self) -> None:
        """The broker stops: no hook has anything to ask."""
        with self._lock:
            for name in list(self._up):
                self._lower(name)

    def _raise(self, name: str, text: str) -> None:
        if self._up.get(name) == text:
            return
        try:
            path = os.path.join(self._folder, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            self._up[name] = text
        except OSError:
            log.exception("flag %s", name)  # a hook then sees nothing to do; the tools tell all the same

    def _lower(self, name: str) -> None:
        if self._up.pop(name, None) is not None:
            self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self._folder, name))
        except FileNotFoundError:
            pass
        except OSError:
            log.exception("flag %s", name)
