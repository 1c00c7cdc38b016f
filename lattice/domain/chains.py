"""Chains: what caused what, and when talk that leads nowhere is held.

A message's parent is what it answers, else what its sender was offered last since its last human prompt.
A chain is held, and shown to the person, after 12 hops, or after 3 rounds of one cycle, in which no task,
lock, memory or escalation changed and no human said a word. So is the fourth identical text to one
recipient in ten minutes. A blocker or a call for review is never held, the first error of a sender in a
chain neither. An acknowledgement without content folds into the receipt of what it answers; what answers a
question, a call for help or a proposal has content, however short it is.

Decides only: `messages` stores, holds and folds.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from lattice.domain.caller import BROKER, Caller
from lattice.names import PERSON
from lattice.store.database import Tx

MAX_HOPS = 12
MAX_ROUNDS = 3
SAME_TEXT = 4
SAME_TEXT_S = 600.0
SAME_TEXT_AMONG = 64  # of a sender's newest messages of that text: enough for each recipient that hears it
CAUSE_S = 1800.0  # what was offered longer ago is not why somebody speaks now
LOOK_BACK = 5000  # events: so far back something useful is looked for
USEFUL = ("task", "dependency", "lock", "memory", "escalation", "run")
ALWAYS_PASS = ("blocker", "review_request")  # they open an escalation

# Texts made of these alone say only "I have it". Anything with a name, a number, a path or a question says more.
_RECEIVED = (
    "ok(?:ay)?|k|great|perfect|nice|cool|good|awesome|excellent|noted|received|message received|roger|copy|ack|acked|acknowledged"
    "|understood|thanks?|thank you|thx|ty|cheers|got it|got that|will do|on it|no problem|np|you too|you ?re welcome|welcome|happy to help"
    "|much appreciated|appreciated|appreciate it|standing by|have a (?:nice|great|good) day|bye"
)
# These agree: to whoever proposed or asked that is an answer. ("Done" is news, and stands on neither list.)
_AGREED = "yes|yep|yup|sure|fine|confirmed|agreed|sounds good|looks good|lgtm|makes sense|all good|all clear|likewise|same here"
_BESIDE = (
    "so much|very much|a lot|for the (?:update|info|confirmation|help|work|reply)|for letting me know|for confirming"
    "|for your (?:message|help|reply)|work|job|and|again|that|i|too|then|all|everyone"
)
_ACK = re.compile(rf"(?=(?:.*\b)?(?:{_RECEIVED}|{_AGREED})\b)(?:(?:{_RECEIVED}|{_AGREED}|{_BESIDE})(?:\s+|$))+")
_AGREES = re.compile(rf"\b(?:{_AGREED})\b")
_SIGNS = re.compile(r"[\W_]+")  # what is neither letter nor digit
_PLAIN = ("status_update", "finding")  # what asks for nothing, unless its text does
_MAX_ACK = 120  # characters


@dataclass(frozen=True, slots=True)
class Cause:
    """Where a new message stands in its chain."""

    parent: int | None
    root: int | None
    hops: int


def cause_of(tx: Tx, caller: Caller, reply_to: int | None) -> Cause:
    """What made the caller send: `reply_to`, else what it was offered last. The person causes by themselves."""
    if caller.is_person:
        return Cause(reply_to, None, 0)
    parent = reply_to
    if parent is None:
        row = tx.one(
            "SELECT p.cause FROM peers p JOIN deliveries d ON d.recipient = p.id AND d.message_id = p.cause"
            " WHERE p.id = ? AND COALESCE(d.offered_at, 0) > ?",
            (caller.id, tx.at - CAUSE_S),
        )
        parent = row["cause"] if row else None
    if parent is None:
        return Cause(None, None, 0)
    row = tx.one("SELECT root, hops, sender_id, on_behalf FROM messages WHERE id = ?", (parent,))
    if row is None or not _is_peers_own(row):
        return Cause(parent, None, 0)  # a human word, or the broker's own notice, begins a new chain
    return Cause(parent, row["root"] or parent, row["hops"] + 1)


def why_hold(tx: Tx, caller: Caller, cause: Cause, category: str, recipients: list[str], text_gist: str) -> str | None:
    """The reason to hold a message that would be sent now, or None."""
    if caller.is_person or category in ALWAYS_PASS:
        return None
    if _is_repeated(tx, caller, recipients, text_gist):
        return f"the same text to the same recipient for the {SAME_TEXT}th time in {int(SAME_TEXT_S // 60)} minutes"
    if cause.hops < 2 * MAX_ROUNDS:
        return None
    chain = _since_something_useful(tx, caller, _ancestors(tx, cause.parent))
    if category == "error" and not any(row["category"] == "error" and row["sender_id"] == caller.id for row in chain):
        return None  # somebody must hear of it; of the same talk's next ones too only where it leads somewhere
    if len(chain) >= MAX_HOPS:
        return f"{len(chain)} messages in a chain without a change to a task, lock, memory or escalation, or a human word"
    senders = [caller.id, *(row["sender_id"] for row in chain)]
    period = _cycle(senders)
    if period:
        those = ", ".join(sorted(set(senders[:period])))
        return f"{MAX_ROUNDS} rounds between {those} without a change to a task, lock, memory or escalation, or a human word"
    return None


def is_empty_ack(text: str, category: str) -> bool:
    """Is it made of nothing but words of thanks, receipt and agreement? Whether it says something then, what it answers decides."""
    if category not in _PLAIN or len(text) > _MAX_ACK or "?" in text:
        return False
    words = _words(text)
    return _ACK.fullmatch(words) is not None if words else bool(text.strip())  # without words: a thumb, a heart


def answers_nothing(text: str, asked: str, asked_category: str) -> bool:
    """Is this acknowledgement of `asked` without content? Not where that asked for something; an agreement only with another one."""
    if asked_category not in _PLAIN or "?" in asked:
        return False
    return is_empty_ack(asked, asked_category) or _AGREES.search(_words(text)) is None


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]|_", " ", text.casefold().replace("'", "")).split())


def gist(text: str) -> str:
    """A digest of the text without case, spaces and signs (of the signs, where there is nothing else)."""
    said = _SIGNS.sub("", text.casefold()) or "".join(text.split())
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _is_repeated(tx: Tx, caller: Caller, recipients: list[str], text_gist: str) -> bool:
    rows = tx.all(
        "SELECT d.recipient, COUNT(*) AS n FROM"
        " (SELECT id, created_at FROM messages WHERE sender_id = ? AND gist = ? AND gist <> '' ORDER BY id DESC LIMIT ?) m"
        " JOIN deliveries d ON d.message_id = m.id WHERE m.created_at > ? GROUP BY d.recipient",
        (caller.id, text_gist, SAME_TEXT_AMONG, tx.at - SAME_TEXT_S),
    )
    return any(row["recipient"] in recipients and row["n"] >= SAME_TEXT - 1 for row in rows)


def _is_peers_own(row: Any) -> bool:
    """Not the person's word (in a peer's name, perhaps), nor a notice of the broker."""
    return not row["on_behalf"] and row["sender_id"] not in (PERSON, BROKER.id)


def _ancestors(tx: Tx, parent: int | None) -> list[Any]:
    """The chain from its newest message back, as far as the rules look."""
    found: list[Any] = []
    while parent is not None and len(found) <= MAX_HOPS:
        row = tx.one("SELECT id, sender_id, on_behalf, category, parent, created_at FROM messages WHERE id = ?", (parent,))
        if row is None or not _is_peers_own(row):
            break
        found.append(row)
        parent = row["parent"]
    return found


def _since_something_useful(tx: Tx, caller: Caller, chain: list[Any]) -> list[Any]:
    """The newest part of the chain: after the last useful change by anybody in it, and the last human word to one of them."""
    people = sorted({caller.id, *(row["sender_id"] for row in chain)})
    if not chain:
        return []
    these = ", ".join("?" * len(people))
    useful = tx.one(
        f"SELECT MAX(seq) AS seq FROM events WHERE seq > (SELECT MAX(seq) FROM events) - {LOOK_BACK}"
        f" AND kind IN ({', '.join('?' * len(USEFUL))}) AND actor IN ({these})",
        (*USEFUL, *people),
    )  # fmt: skip
    told = tx.one(
        "SELECT MAX(id) AS id FROM messages WHERE sender_id = ? AND id > ?"
        f" AND id IN (SELECT message_id FROM deliveries WHERE recipient IN ({these}) AND message_id > ?)",
        (PERSON, chain[-1]["id"], *people, chain[-1]["id"]),
    )  # fmt: skip
    prompted = tx.one(f"SELECT MAX(prompted_at) AS at FROM peers WHERE id IN ({these})", tuple(people))
    # By the order in which things came, where it is known: the clock may have been set between them.
    last = max(_newest_before(tx, useful["seq"] if useful is not None else None), (told["id"] if told is not None else None) or 0)
    since = (prompted["at"] if prompted is not None else None) or 0.0
    return [one for one in chain if one["id"] > last and one["created_at"] > since]


def _newest_before(tx: Tx, seq: int | None) -> int:
    """The newest message that was there at this event; 0 for none. (Not the last one told of: that may be an old one, let through.)"""
    if seq is None:
        return 0
    row = tx.one(
        "SELECT MAX(CAST(SUBSTR(subject, 2) AS INTEGER)) AS id FROM events WHERE seq < ? AND seq > ? AND kind = 'message'",
        (seq, seq - LOOK_BACK),
    )
    return (row["id"] if row is not None else None) or 0


def _cycle(senders: list[str]) -> int:
    """The length of a cycle of senders that has gone MAX_ROUNDS rounds and goes on, else 0."""
    for period in range(2, len(senders) // MAX_ROUNDS + 1):
        rounds = senders[: period * MAX_ROUNDS + 1]
        repeats = len(rounds) > period * MAX_ROUNDS and all(rounds[at] == rounds[at % period] for at in range(len(rounds)))
        if repeats and len(set(rounds[:period])) == period:
            return period
    return 0
