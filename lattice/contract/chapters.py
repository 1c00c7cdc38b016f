"""Chapters: under which heading of the reference an operation stands, by the first part of its path."""

from __future__ import annotations

CHAPTERS = (
    ("The broker itself", ("health", "ready", "metrics", "dashboard", "openapi.json", "sign-in", "shutdown", "events", "state", "search")),
    ("Peers", ("register", "heartbeat", "leave", "peers", "peer", "summary", "seat", "pause", "resume", "pause-all", "resume-all",
               "ping", "ping-all", "config", "budget", "kill-peer", "unregister", "spawn")),
    ("Messages", ("send", "messages", "inbox", "receipts", "messages-all", "messages-for")),
    ("Escalations", ("escalations",)),
    ("Rooms", ("rooms",)),
    ("Tasks", ("tasks",)),
    ("Locks", ("lock", "unlock", "locks")),
    ("Hooks", ("hook", "guard", "permission", "capsule", "adopt")),
    ("Memory", ("memory",)),
    ("Conversations and the log", ("conversation", "log", "redact")),
    ("Runs", ("runs",)),
)  # fmt: skip


def of(path: str) -> str:
    """The heading. KeyError when CHAPTERS does not know the path."""
    first = path.split("/")[1]
    for title, firsts in CHAPTERS:
        if first in firsts:
            return title
    raise KeyError(f"say in CHAPTERS where /{first} belongs")
