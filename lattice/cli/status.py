"""Is the broker up, and what does it say of itself. Changes nothing, makes nothing, not even the state directory."""

from __future__ import annotations

import os

from lattice import VERSION, WIRE, daemon, settings
from lattice.errors import Refusal
from lattice.guard.tokens import SecretError, load_secret
from lattice.settings import DEFAULT_PORT
from lattice.web.client import Client


def look(chosen) -> tuple[str, int, bytes]:  # type: ignore[no-untyped-def]
    """(ours, none, foreign or silent; the port; the secret). SecretError when there is one that cannot be used."""
    if not chosen.secret and not os.path.lexists(os.path.join(chosen.home, "secret")):
        # Without a secret there can be no broker of ours; whatever answers on the port is foreign.
        port = chosen.port or DEFAULT_PORT
        return daemon.probe(port, b"\0" * 32), port, b""
    secret = load_secret(chosen.home, chosen.secret)
    port = daemon.find(chosen)
    return daemon.look(port, secret), port, secret


def health(port: int) -> dict[str, object]:
    """What the broker says of itself; {} when it does not."""
    client = Client(port, timeout_s=5.0)
    try:
        return client.call("GET", "/health")
    except Refusal:
        return {}
    finally:
        client.close()


def others(chosen, port: int, secret: bytes) -> list[str]:  # type: ignore[no-untyped-def]
    """Brokers of this home that answer on another port than this one: a sentence on each."""
    cards = settings.running_brokers(chosen.home) if secret else []
    return [
        f"http://127.0.0.1:{card['port']}/dashboard with {card.get('database')}, process {card.get('pid')}"
        for card in cards
        if card["port"] != port and daemon.probe(int(str(card["port"])), secret) == "ours"
    ]


def broker_line(chosen) -> str:  # type: ignore[no-untyped-def]
    """One sentence on the broker."""
    try:
        there, port, _ = look(chosen)
    except (SecretError, OSError) as problem:
        return f"cannot be asked: {problem}"
    if there == "none":
        return f"not running (port {port})"
    if there == "foreign":
        return f"port {port} is used by another program, which is not our broker"
    if there == "silent":
        refusal = daemon.silent(chosen.home, port)
        return f"{refusal.message}; {refusal.hint}"
    said = health(port)
    version = str(said.get("version") or "")
    line = f"running on http://127.0.0.1:{port}/dashboard, version {version}, process {said.get('pid')}"
    if version != VERSION or said.get("wire") != WIRE:
        line += f"; this checkout is {VERSION}: launch.py --restart brings them together"
    if said.get("writable") is False:
        line += "; it cannot write (is the disk full?)"
    return line
