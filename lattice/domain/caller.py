"""Caller: who asks. Made from the token by `broker/app`, never from a request's fields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """id and role as the broker's own record has them.

    `on_behalf` is command-center when the person acts for the peer `id`; the log then names both.
    The person (`role` system) is in all workspaces, so its `workspace` is "" and `sees_all` is true; where it
    named one for this call, that is its `workspace`, and `is_placed` is true.
    """

    id: str
    role: str
    workspace: str = ""
    working_dir: str = ""
    process: str = ""
    on_behalf: str = ""
    is_placed: bool = False

    @property
    def is_person(self) -> bool:
        return self.role == "system"

    @property
    def sees_all(self) -> bool:
        return self.role in ("system", "viewer")

    @property
    def is_everywhere(self) -> bool:
        """Is what it does to all meant for all workspaces?"""
        return self.is_person and not self.is_placed

    @property
    def leads(self) -> bool:
        return self.role in ("architect", "system")

    @property
    def actor(self) -> str:
        """How the log names it."""
        return f"{self.id} (by {self.on_behalf})" if self.on_behalf else self.id


BROKER = Caller("broker", "system")  # the sweep's own doings
