"""Call: one request on its way through the broker, as a handler gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lattice.domain.caller import Caller
from lattice.errors import Rejected
from lattice.web.server import Request

if TYPE_CHECKING:
    from lattice.broker.app import Broker


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for what, and the broker.

    `ticket` or `token` is what the caller showed; `verdict` the content filter's, for an operation whose
    other refusals come first.
    """

    broker: Broker
    operation: Any
    caller: Caller
    values: dict[str, Any]
    request: Request
    ticket: Any = None
    token: Any = None
    verdict: Any = None

    @property
    def workspace(self) -> str | None:
        """Whose things to list: the caller's workspace; None (all) for the person, or when asked for everywhere."""
        return None if self.values.get("everywhere") or self.caller.sees_all else self.caller.workspace


def rejected(verdict: Any) -> Rejected:
    """The refusal that a verdict of the content filter makes."""
    return Rejected(
        f"message rejected: {verdict.reason} (rule {verdict.rule}, at character {verdict.place})", rule=verdict.rule, place=verdict.place,
        hint="say it in words, or name the file instead",
    )  # fmt: skip
