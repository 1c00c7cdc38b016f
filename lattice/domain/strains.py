"""Strains: a text that goes from hand to hand, and when that is stopped.

A message is a copy of what its sender was offered in the last ten minutes, or has itself sent in that time, when
the one holds most of the other (`guard/likeness.py`). Each copy names the first message of its lineage, its strain.
It spreads when somebody gets it who has not had it: not whom the sender has it from, not its author, not the person.

    watched   a strain has reached at most three recipients, by at most two senders, in ten minutes: copies go out
    held      a copy would have brought it further: that one waits for the person, and so does every later one, but for
              one answer each to its author and to whom the sender has it from
    allowed   the person let it through, for good        stopped   the person said no: copies are refused

The person may say anything to all, and who leads its own words and those of another lead; a copy that somebody else
passes on counts. A call for help always reaches who leads; whom else it names, only as any other copy does.

Decides, and keeps what was decided; `messages` stores, holds and tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lattice.domain import events, peers
from lattice.domain.caller import BROKER, Caller
from lattice.errors import Forbidden
from lattice.guard.likeness import is_copy, runs_of
from lattice.names import ARCHITECT_ADDRESS, PERSON
from lattice.store.database import Tx

WINDOW_S = 600.0
MOST_RECIPIENTS = 3
MOST_SENDERS = 2
AMONG = 32  # of what the sender was offered last, and of what it sent last: so many are compared
MOST_HELD = 100  # copies that wait for the person; one more tells nobody anything, and is refused
AT_MOST_COUNTED = 1000  # deliveries of a strain that is not held: an error that reached all, or repeats
CALLS_FOR_HELP = ("blocker", "error", "review_request")

_COMPARED = "m.id, m.sender_id, m.content, COALESCE(m.strain, m.id) AS root, r.content AS root_content"
_OFFERED = (
    f"SELECT {_COMPARED} FROM deliveries d JOIN messages m ON m.id = d.message_id LEFT JOIN messages r ON r.id = m.strain"
    " WHERE d.recipient = ? AND d.offered_at > ? ORDER BY d.offered_at DESC LIMIT ?"
)
_SENT = (
    f"SELECT {_COMPARED} FROM (SELECT * FROM messages WHERE sender_id = ? ORDER BY id DESC LIMIT ?) m"
    " LEFT JOIN messages r ON r.id = m.strain WHERE m.created_at > ?"
)


@dataclass(frozen=True, slots=True)
class Passing:
    """What is to be done with a message: its strain, if it is a copy; why it is held, and who gets it all the same.

    `is_waiting`: others of the strain are held.
    """

    strain: int | None = None
    is_waiting: bool = False
    hold: str | None = None
    way_on: str = ""
    passes: frozenset[str] = frozenset()


NOT_A_COPY = Passing()


def judge(tx: Tx, caller: Caller, category: str, content: str, recipients: list[str]) -> Passing:
    """Is it a copy, and does it spread too far? Forbidden (`stopped`) where the person has said no to this text."""
    leads = _who_leads(tx, caller) if category in CALLS_FOR_HELP else frozenset()
    to = frozenset(recipients) - leads - {caller.id, PERSON}
    if caller.is_person or not to:
        return NOT_A_COPY
    root, sources = _lineage(tx, caller, content)
    if root is None or (caller.leads and root["by_lead"]):
        return NOT_A_COPY
    to -= (sources | {root["sender_id"]}) - (_sent_to(tx, caller, root["id"]) if root["state"] in ("held", "stopped") else frozenset())
    why = _why_hold(tx, caller, root, to) if to else None
    return Passing(root["id"], root["state"] == "held", why, _way_on(caller), leads)


def hold(tx: Tx, strain: int, workspace: str) -> bool:
    """The strain is held from now on. Is that new, so that the person is to be told?"""
    if tx.one("SELECT 1 FROM strains WHERE id = ?", (strain,)) is not None:
        return False
    tx.run("INSERT INTO strains (id, state, workspace, held_at) VALUES (?, 'held', ?, ?)", (strain, workspace, tx.at))
    events.record(tx, BROKER, "strain", [strain])
    return True


def told(tx: Tx, strain: int, alert_id: int | None) -> None:
    """The notice that told the person of it."""
    tx.run("UPDATE strains SET alert_id = ? WHERE id = ?", (alert_id, strain))
    events.record(tx, BROKER, "strain", [strain])


def decide(tx: Tx, caller: Caller, strain: int, *, allow: bool) -> None:
    """The person lets this text go to whoever it is sent to, or will not have it passed on."""
    tx.run("UPDATE strains SET state = ? WHERE id = ?", ("allowed" if allow else "stopped", strain))
    events.record(tx, caller, "strain", [strain])


def forget(tx: Tx, caller: Caller, ids: list[int]) -> None:
    """What was decided of texts whose first message is forgotten; no copy of them is left."""
    gone = [strain for strain in ids if tx.run("DELETE FROM strains WHERE id = ?", (strain,))]
    if gone:
        events.record(tx, caller, "strain", gone)


def is_held(tx: Tx, strain: int | None) -> bool:
    return strain is not None and tx.one("SELECT 1 FROM strains WHERE id = ? AND state = 'held'", (strain,)) is not None


def _who_leads(tx: Tx, caller: Caller) -> frozenset[str]:
    return frozenset((PERSON, ARCHITECT_ADDRESS, peers.seat_holder(tx, caller.workspace) or ARCHITECT_ADDRESS))


def _lineage(tx: Tx, caller: Caller, content: str) -> tuple[dict[str, Any] | None, frozenset[str]]:
    """The first message of the lineage that this text continues, and from whom the caller has it; (None, …) for a new text."""
    new = runs_of(content)
    if not new:
        return None, frozenset()
    since = tx.at - WINDOW_S
    found = [
        row
        for row in (*tx.all(_OFFERED, (caller.id, since, AMONG)), *tx.all(_SENT, (caller.id, AMONG, since)))
        if is_copy(new, runs_of(row["content"])) or (row["root_content"] is not None and is_copy(new, runs_of(row["root_content"])))
    ]
    if not found:
        return None, frozenset()
    roots = sorted({row["root"] for row in found})
    row = tx.one(
        "SELECT m.id, m.sender_id, m.on_behalf, m.created_at, COALESCE(s.state, '') AS state, p.role"
        " FROM messages m LEFT JOIN strains s ON s.id = m.id LEFT JOIN peers p ON p.id = m.sender_id"
        f" WHERE m.id IN ({', '.join('?' * len(roots))}) ORDER BY s.state IS NULL, s.state = 'allowed', m.id LIMIT 1",
        roots,
    )
    if row is None:
        return None, frozenset()
    by_lead = bool(row["on_behalf"]) or row["sender_id"] in (PERSON, BROKER.id) or row["role"] in ("architect", "system")
    return {**dict(row), "by_lead": by_lead}, frozenset(row["sender_id"] for row in found)


def _why_hold(tx: Tx, caller: Caller, root: dict[str, Any], to: frozenset[str]) -> str | None:
    begun = f"it began with message {root['id']} of {root['sender_id']}"
    match root["state"]:
        case "allowed":
            return None
        case "stopped":
            raise Forbidden(
                f"the person has stopped this text; it is not passed on ({begun})",
                code="stopped",
                hint="say what you found in your own words",
            )
        case "held":
            _not_too_many(tx, root["id"])
            return f"this text waits for the person, with all its copies: {begun}"
    senders, reached = _so_far(tx, root)
    if to <= reached:
        return None  # they have it
    if len(to | reached) > MOST_RECIPIENTS:
        return f"this text would have reached {len(to | reached)} sessions in {int(WINDOW_S // 60)} minutes: {begun}"
    if len(senders | {caller.id}) > MOST_SENDERS:
        return f"a third session would pass this text on, after {' and '.join(sorted(senders))}: {begun}"
    return None


def _so_far(tx: Tx, root: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Who has brought the strain to whom in the window. What a lead said itself does not count."""
    rows = tx.all(
        "SELECT m.sender_id, d.recipient FROM messages m JOIN deliveries d ON d.message_id = m.id"
        " WHERE (m.strain = ? OR (m.id = ? AND NOT ?)) AND m.created_at > ? AND d.state <> 'held' AND d.recipient NOT IN (?, ?)"
        " ORDER BY m.id LIMIT ?",
        (root["id"], root["id"], int(root["by_lead"]), tx.at - WINDOW_S, PERSON, root["sender_id"], AT_MOST_COUNTED),
    )
    senders, reached = set(), set()
    for row in rows:
        if row["recipient"] not in reached:
            senders.add(row["sender_id"])
            reached.add(row["recipient"])
    return frozenset(senders), frozenset(reached)


def _sent_to(tx: Tx, caller: Caller, strain: int) -> frozenset[str]:
    """To whom the caller has sent this text before: an answer may quote it, once; more than that is a game of two."""
    rows = tx.all(
        "SELECT DISTINCT d.recipient FROM messages m JOIN deliveries d ON d.message_id = m.id"
        " WHERE (m.strain = ? OR m.id = ?) AND +m.sender_id = ? LIMIT ?",  # the sign: else all that the sender ever sent is read
        (strain, strain, caller.id, AT_MOST_COUNTED),
    )
    return frozenset(row["recipient"] for row in rows)


def _not_too_many(tx: Tx, strain: int) -> None:
    row = tx.one(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM messages m WHERE m.strain = ?"
        " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = m.id AND d.state = 'held') LIMIT ?)",
        (strain, MOST_HELD),
    )
    if row is not None and row["n"] >= MOST_HELD:
        raise Forbidden(
            f"{MOST_HELD} copies of this text wait for the person already",
            code="stopped",
            hint="go on with your own work; do not send it again",
        )


def _way_on(caller: Caller) -> str:
    if caller.leads:
        return "Say it to all in your own words, or ask the person."
    return "Only the architect speaks to all: ask @architect to broadcast it, in words of your own."
