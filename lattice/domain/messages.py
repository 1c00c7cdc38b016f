"""Messages: mail between peers, one delivery per recipient.

Stored before the sender is answered; only the recipient takes; queued -> offered -> read -> acted.
An offer belongs to the process that took it; unproven it comes back and counts as a try, five tries
make it dead, and the sender is told. A repeat has the same id and says how often it was offered before.

    queued   waits                        offered  a process took it; not proven yet
    held     stopped, the person decides  read     proven: the client has the result
    dead     given up, with the reason    acted    answered by a reply
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from lattice import names
from lattice.contract.operations import CATEGORIES, INBOX_BYTES, INBOX_MESSAGES, MAX_MESSAGE_BYTES
from lattice.domain import chains, escalations, events, peers, runs, strains
from lattice.domain.caller import BROKER, Caller
from lattice.domain.hiding import Texts
from lattice.errors import BadRequest, Forbidden, NotFound, TooLarge
from lattice.names import ARCHITECT_ADDRESS, BROADCAST, PERSON
from lattice.store.database import Tx

MAX_TRIES = 5
_URGENT = "('blocker', 'error', 'review_request')"
# Else SQLite goes through all mail that the recipient ever had: to it, the primary key looks as good.
_WAITING = "deliveries d INDEXED BY deliveries_waiting"
_OFFERED = "deliveries d INDEXED BY deliveries_offered"
_CALLS_FOR_HELP = {"blocker": "blocker", "review_request": "review"}  # category: the kind of escalation it opens
_ASKED_BY = {kind: category for category, kind in _CALLS_FOR_HELP.items()}
TEXTS = Texts("messages", ("id",), ("content",))
DELIVERY_TEXTS = Texts("deliveries", ("recipient", "message_id"), ("reason",))  # an acknowledgement that was folded into it
PROOF_TEXTS = Texts("receipts", ("receipt",), ("proof",))
_NAMED = re.compile(r"\bmessage\s*#?(\d{1,15})\b", re.IGNORECASE)
PREFIX = {"blocker": "[AUTO-ESCALATED] ", "error": "[AUTO-BROADCAST] "}  # v4's words for a copy that was not addressed to its reader
# Of one recipient. (By receipts alone SQLite would go through all that were ever made.)
_OPEN_OFFERS = (
    f"{_OFFERED} JOIN receipts r ON r.message_id = d.message_id AND r.recipient = d.recipient AND r.ended_at IS NULL"
    " WHERE d.recipient = ? AND d.state = 'offered'"
)
_LISTED = (
    "m.id, m.sender_id, d.recipient AS recipient_id, m.category, m.content, m.created_at, d.read_at, d.state"
    " FROM messages m JOIN deliveries d ON d.message_id = m.id"
)

_HELD_OF_STRAIN = (
    "SELECT m.id FROM messages m WHERE m.strain = ? AND EXISTS"
    " (SELECT 1 FROM deliveries d WHERE d.message_id = m.id AND d.state = 'held') ORDER BY m.id"
)

Screen = Callable[[], None]  # raises TooMany or Rejected; run when all else is well, so only such messages spend quota


def send(tx: Tx, caller: Caller, *, recipient_id: str, category: str, content: str, screen: Screen, reply_to: int | None = None,
         verdict: str | None = None, run_id: str | None = None, **_: object) -> dict[str, Any]:  # fmt: skip
    """Store a message and queue it for all who must hear.

    Answers {ok, message_id, recipient: active | away | waiting, recipients[, escalation_id][, resolved]}.
    Order of refusal: category, sender, broadcast, recipient, length, rate, filter.
    """
    if category not in CATEGORIES:
        raise BadRequest(f"invalid category '{category}'; one of: {', '.join(CATEGORIES)}")
    _sender_is_live(tx, caller)
    address = names.check_address(recipient_id)
    if address == BROADCAST and not caller.leads:
        raise Forbidden("only architect can broadcast", hint="send_message to @architect, or to one peer")
    heard, state = _recipients(tx, caller, address)
    size = len(content.encode())
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(
            f"message has {size} bytes; the limit is {MAX_MESSAGE_BYTES}", limit=MAX_MESSAGE_BYTES,
            hint="put the text into a file or into set_memory and send where it is",
        )  # fmt: skip
    _may_answer(tx, caller, reply_to)
    if run_id is not None:
        runs.must_exist(tx, caller, run_id)
    answered = escalations.of_message(tx, reply_to) if verdict and reply_to else None
    if verdict and answered is None:
        raise BadRequest(
            "verdict resolves an open escalation, and reply_to names none",
            hint="reply_to must be the id of the message that carried the blocker or review; leave verdict out otherwise",
        )
    screen()
    cause = chains.cause_of(tx, caller, reply_to)
    if cause.parent is not None and not verdict and chains.is_empty_ack(content, category):
        folded = _fold_into_receipt(tx, caller, cause.parent, heard, content)
        if folded is not None:
            return folded
    also = _also_hear(tx, caller, category, heard)
    if answered is not None and verdict:
        # The reply itself is the verdict's mail: whoever asked gets it, to whomever it is addressed.
        asked_by = escalations.resolve(tx, caller, answered, verdict, content)["raised_by"]
        if asked_by not in (caller.id, *heard, *also) and peers.find(tx, asked_by) is not None:
            also.append(asked_by)
    text_gist = chains.gist(content)
    passing = strains.NOT_A_COPY if verdict else strains.judge(tx, caller, category, content, [*heard, *also])
    hold, strain, way_on = passing.hold, passing.strain, passing.way_on
    if hold is None and not verdict:
        hold = chains.why_hold(tx, caller, cause, category, [*heard, *also], text_gist)
        if hold is not None:  # not for its spreading: it waits by itself, unless others of its strain wait
            strain, way_on = strain if passing.is_waiting else None, "Do something first: a task, a decision, a lock; or ask the person."
    where = _workspace_of(tx, caller, heard)
    message_id = store(
        tx, caller, address=address, category=category, content=content, recipients=[*heard, *also], reply_to=reply_to, cause=cause,
        gist=text_gist, run_id=run_id or _run_of(tx, caller), hold=hold, workspace=where, strain=strain, passes=passing.passes,
    )  # fmt: skip
    answer: dict[str, Any] = {"ok": True, "message_id": message_id, "recipient": state, "recipients": sorted({*heard, *also})}
    if hold is not None:
        answer["held"] = hold
        answer["message"] = f"held, and shown to the person, who can let it through. {way_on}"
        if strain is not None:
            _alert_of_strain(tx, strain, message_id, hold, where)
    waits_for = escalations.waits_for(tx, caller, reply_to) if reply_to and answered is None else ""
    if answered is not None:
        answer["resolved"] = answered
    elif waits_for and hold is None:
        answer["message"] = f"sent; what #{reply_to} asks for stays open until you send a verdict with it: {waits_for}"
    elif category in _CALLS_FOR_HELP:
        answer["escalation_id"] = _open_what_it_calls_for(tx, caller, category, content, message_id)
    return answer


def escalate(tx: Tx, caller: Caller, *, kind: str, text: str, task_id: int | None, screen: Screen, **_: object) -> dict[str, Any]:
    """Raise a blocker or a review: an open row, and mail to the architect (to the person, when the architect asks or there is none).

    Answers {ok, escalation_id, message_id, reached, recipient, message}: what really happened.
    """
    _sender_is_live(tx, caller)
    size = len(text.encode())
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(f"the text has {size} bytes; the limit is {MAX_MESSAGE_BYTES}", limit=MAX_MESSAGE_BYTES)
    task_id = task_id if task_id is not None else _task_of(tx, caller)
    escalations.check_task(tx, caller, task_id)
    screen()
    run_id = _run_of(tx, caller)
    escalation_id = escalations.open_one(tx, caller, kind=kind, text=text, task_id=task_id, run_id=run_id)
    holder = peers.seat_holder(tx, caller.workspace)
    if caller.role == "architect" or caller.is_person:
        recipients, state, said = [PERSON], "active", "the person was asked, on the page"
    elif holder is None:
        recipients, state, said = (
            [ARCHITECT_ADDRESS, PERSON],
            "waiting",
            "there is no architect now: the person was asked on the page, and the next architect gets it",
        )
    else:
        row = peers.find(tx, holder)
        state = "active" if row is not None and row["status"] == "active" else "away"
        recipients, said = [holder], f"the architect {holder} was asked ({state})"
    about = f"task #{task_id}: " if task_id is not None else ""
    message_id = store(
        tx, caller, address=ARCHITECT_ADDRESS, category=_ASKED_BY[kind], content=about + text, recipients=recipients, run_id=run_id,
    )  # fmt: skip
    escalations.carried_by(tx, caller, escalation_id, message_id)
    return {
        "ok": True, "escalation_id": escalation_id, "message_id": message_id, "reached": recipients[0], "recipient": state,
        "message": f"{kind} {escalation_id} raised: {said}. It stays open until resolved; the verdict comes as mail.",
    }  # fmt: skip


def resolve(tx: Tx, caller: Caller, *, escalation_id: int, verdict: str, answer: str, **_: object) -> dict[str, Any]:
    """Resolve an escalation and mail the verdict to who raised it. Answers {ok, escalation_id, verdict, message_id}."""
    row = escalations.resolve(tx, caller, escalation_id, verdict, answer)
    if row["kind"] == "permission":  # the hook that waits gets the verdict; the session's tool goes on or not
        return {"ok": True, "escalation_id": escalation_id, "verdict": verdict, "message_id": None}
    if peers.find(tx, row["raised_by"]) is None:  # forgotten since: nobody is there to be told
        return {"ok": True, "escalation_id": escalation_id, "verdict": verdict, "message_id": None}
    about = f" (task #{row['task_id']})" if row["task_id"] else ""
    message_id = store(
        tx, caller, address=row["raised_by"], category="status_update",
        content=f"{row['kind']} {escalation_id}{about}: {verdict}" + (f"\n{answer}" if answer else ""),
        recipients=[row["raised_by"]], reply_to=row["message_id"], run_id=row["run_id"], workspace=row["workspace"],
    )  # fmt: skip
    return {"ok": True, "escalation_id": escalation_id, "verdict": verdict, "message_id": message_id}


def tell(tx: Tx, recipient: str, category: str, content: str, *, workspace: str | None = None, run_id: str | None = None) -> int | None:
    """A notice from the broker itself, in the recipient's workspace unless another is named; its id. Nobody is told who is forgotten."""
    row = peers.find(tx, recipient)
    if row is None:
        return None
    where = row["workspace"] if workspace is None else workspace
    return store(tx, BROKER, address=recipient, category=category, content=content, recipients=[recipient], run_id=run_id, workspace=where)


def store(tx: Tx, caller: Caller, *, address: str, category: str, content: str, recipients: list[str], reply_to: int | None = None,
          cause: chains.Cause | None = None, gist: str = "", run_id: str | None = None, workspace: str | None = None,
          hold: str | None = None, strain: int | None = None, passes: frozenset[str] = frozenset()) -> int:  # fmt: skip
    """Write a message, queue it for each recipient once (or hold it, with the reason, for all but `passes`), wake them. Answers its id."""
    where = caller.workspace if workspace is None else workspace
    cause = cause or chains.Cause(reply_to, None, 0)
    message_id = tx.insert(
        "INSERT INTO messages (sender_id, on_behalf, address, category, content, workspace, run_id, reply_to, hops, parent, root, gist,"
        " strain, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            caller.id,
            caller.on_behalf,
            address,
            category,
            content,
            where,
            run_id,
            reply_to,
            cause.hops,
            cause.parent,
            cause.root,
            gist,
            strain,
            tx.at,
        ),
    )
    heard = list(dict.fromkeys(recipients))
    for recipient in heard:
        waits = hold is not None and recipient not in passes
        tx.run(
            "INSERT INTO deliveries (message_id, recipient, state, reason, queued_at) VALUES (?, ?, ?, ?, ?)",
            (message_id, recipient, "held" if waits else "queued", hold if waits else "", tx.at),
        )
        if not waits:
            tx.after("wake", recipient)
    events.record(tx, caller, "message", [message_id], run_id=run_id, workspace=where)
    events.record(tx, caller, "delivery", [(recipient, message_id) for recipient in heard], run_id=run_id, workspace=where)
    if reply_to is not None and tx.run(
        "UPDATE deliveries SET state = 'acted', acted_at = ?"
        " WHERE recipient = ? AND message_id = ? AND state IN ('queued', 'offered', 'read')",
        (tx.at, caller.id, reply_to),
    ):
        _end_open(tx, caller, reply_to, "answered")
        events.record(tx, caller, "delivery", [(caller.id, reply_to)], run_id=run_id, workspace=where)
        tx.after("flag", caller.id)  # where it was offered, no hook need prove it any more
    return message_id


# -- taking ---------------------------------------------------------------------------------------------


def take(
    tx: Tx,
    caller: Caller,
    *,
    receipts: Callable[[], str],
    max: int = INBOX_MESSAGES,
    way: str = "tool",
    process: str = "",
    tool_use_id: str | None = None,
    urgent_only: bool = False,
    **_: object,
) -> dict[str, Any]:
    """Offer the caller its oldest mail: {messages, more, paused}. Whole messages, at most `max` and 24 KB (but always one).

    `urgent_only`: blockers, errors and reviews; the rest waits.

    The person's mail is read when shown; everybody else's when the offer is proven.
    """
    rows = tx.all(
        f"SELECT m.*, d.attempts, p.role FROM {_WAITING} JOIN messages m ON m.id = d.message_id LEFT JOIN peers p ON p.id = m.sender_id"
        f" WHERE d.recipient = ? AND d.state = 'queued' AND (NOT ? OR m.category IN {_URGENT}) ORDER BY d.message_id LIMIT ?",
        (caller.id, int(urgent_only), max),
    )
    offered: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        size += len(row["content"].encode())
        if offered and size > INBOX_BYTES:
            break
        mail = _as_mail(row, caller.id, receipts())
        asks = escalations.waits_for(tx, caller, row["id"]) if caller.leads else ""
        offered.append({**mail, "asks": asks} if asks else mail)
    for mail in offered:
        tx.run(
            "UPDATE deliveries SET state = 'offered', way = ?, process = ?, offered_at = ? WHERE recipient = ? AND message_id = ?",
            (way, process, tx.at, caller.id, mail["id"]),
        )
        tx.run(
            "INSERT INTO receipts (receipt, message_id, recipient, way, process, offered_at, tool_use_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (mail["receipt"], mail["id"], caller.id, way, process, tx.at, tool_use_id or ""),
        )
    if offered:
        events.record(tx, caller, "delivery", [(caller.id, mail["id"]) for mail in offered])
        said_by_peers = [
            mail["id"] for mail in offered if mail["from"] != BROKER.id
        ]  # a notice of ours beside them does not cut their chain
        peers.set_cause(tx, caller.id, (said_by_peers or [offered[-1]["id"]])[-1])
        tx.after("wake", caller.id)
    if way == "person":
        ack(tx, caller, receipts=[mail["receipt"] for mail in offered], proof="shown to the person")
    waiting = unread(tx, caller.id)
    return {"messages": offered, "more": waiting["unread"], "more_from": waiting["unread_from"]}


def still_offered(tx: Tx, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to a take that is asked for again, without what came back since or was proven: that comes anew, marked, or is had.

    What is read as soon as it is shown to the person is in it all the same.
    """
    is_open = [
        mail
        for mail in answer["messages"]
        if tx.one("SELECT 1 FROM receipts WHERE receipt = ? AND (ended_at IS NULL OR way = 'person')", (mail["receipt"],)) is not None
    ]
    return {**answer, "messages": is_open}


def take_v4(tx: Tx, caller: Caller, *, peer_id: str, receipts: Callable[[], str], process: str = "") -> dict[str, Any]:
    """v4's inbox: proves what the same peer was offered this way before, then offers the next."""
    if peer_id != caller.id:
        return look_at(tx, caller, peer_id)
    proven = tx.all(f"SELECT r.receipt FROM {_OPEN_OFFERS} AND r.way = 'v4'", (caller.id,))
    if proven:
        ack(tx, caller, receipts=[row["receipt"] for row in proven], proof="next inbox call")
    taken = take(tx, caller, receipts=receipts, max=INBOX_MESSAGES, way="v4", process=process)
    return {
        "messages": [
            {"id": mail["id"], "sender_id": mail["from"], "category": mail["category"], "content": mail["content"],
             "created_at": mail["sent"], "redelivered": mail["redelivered"], "run_id": mail["run_id"], "reply_to": mail["reply_to"]}
            for mail in taken["messages"]
        ],
        "more": taken["more"],
    }  # fmt: skip


def look_at(tx: Tx, caller: Caller, peer_id: str) -> dict[str, Any]:
    """Another's unread mail, consumed by nobody. The architect (of the same workspace) and the person may."""
    _may_look(tx, caller, peer_id)
    rows = tx.all(
        "SELECT m.id, m.sender_id, m.category, m.content, m.created_at FROM deliveries d JOIN messages m ON m.id = d.message_id"
        " WHERE d.recipient = ? AND d.state IN ('queued', 'offered') ORDER BY d.message_id LIMIT 100",
        (peer_id,),
    )
    return {"messages": [dict(row) for row in rows], "more": 0}


def ack(tx: Tx, caller: Caller, *, receipts: list[str], proof: str = "", **_: object) -> dict[str, Any]:
    """These offers were proven: offered -> read. A receipt that is not the caller's, or is over, counts for nothing.

    But for one that came back because its process was given up, and that same process now proves that it has it.
    """
    proven: list[tuple[str | int, ...]] = []
    late = False
    for receipt in receipts:
        row = _end_receipt(tx, caller, receipt, proof=proof)
        states = "('offered')"
        if row is None:
            row, states, late = _end_late(tx, caller, receipt, proof), "('queued', 'offered')", True
        if row is not None and tx.run(
            f"UPDATE deliveries SET state = 'read', read_at = ? WHERE recipient = ? AND message_id = ? AND state IN {states}",
            (tx.at, caller.id, row["message_id"]),
        ):
            proven.append((caller.id, row["message_id"]))
    if proven:
        events.record(tx, caller, "delivery", proven)
        tx.after("wake" if late else "flag", caller.id)
    return {"ok": True, "acknowledged": len(proven)}


def prove_hook_offers(tx: Tx, caller: Caller, tool_use_id: str | None, event: str, began_ms: int | None = None) -> int:
    """A hook of the session ran: what an earlier hook handed in was taken, and so was the result of the call it names. Answers how many.

    One that began before a mail was handed in knows nothing of that: its call may have waited long on the way. (What was
    handed in later than now was so before the clock was set back.)
    """
    rows = tx.all(
        f"SELECT r.receipt FROM {_OPEN_OFFERS} AND r.process = ? AND ((r.way = 'hook' AND (? IS NULL OR r.offered_at * 1000 < ?"
        " OR r.offered_at > ?)) OR (r.tool_use_id <> '' AND r.tool_use_id = ?))",
        (caller.id, caller.process, began_ms, began_ms, tx.at, tool_use_id or ""),
    )
    return ack(tx, caller, receipts=[row["receipt"] for row in rows], proof=f"hook {event}")["acknowledged"] if rows else 0


def unproven_by_hook(tx: Tx, peer_id: str) -> bool:
    """Is there an offer that a hook will prove: handed in by one, or taken by a call that the client has a name for?"""
    return tx.one(f"SELECT 1 FROM {_OPEN_OFFERS} AND (d.way = 'hook' OR r.tool_use_id <> '') LIMIT 1", (peer_id,)) is not None


def give_back(tx: Tx, caller: Caller, *, receipts: list[str], reason: str = "", **_: object) -> dict[str, Any]:
    """These offers did not reach the session: offered again, the same ids, one try more."""
    back: list[int] = []
    for receipt in receipts:
        row = _end_receipt(tx, caller, receipt, returned=reason or "returned")
        if row is not None:
            back.append(row["message_id"])
    return {"ok": True, "returned": _requeue(tx, caller, caller.id, back, reason or "returned")}


def return_offers(tx: Tx, caller: Caller, peer_id: str, reason: str, *, but_process: str | None = None, before: float | None = None) -> int:
    """All unproven offers of a peer come back (but those of `but_process`, or newer than `before`): its process ended or enrolled anew."""
    rows = tx.all(
        f"SELECT message_id FROM {_OFFERED} WHERE recipient = ? AND state = 'offered' AND (? IS NULL OR process <> ?)"
        " AND (? IS NULL OR offered_at < ?) ORDER BY message_id",
        (peer_id, but_process, but_process, before, before),
    )
    ids = [row["message_id"] for row in rows]
    for message_id in ids:
        tx.run(
            "UPDATE receipts SET returned = ?, ended_at = ? WHERE recipient = ? AND message_id = ? AND ended_at IS NULL",
            (reason, tx.at, peer_id, message_id),
        )
    return _requeue(tx, caller, peer_id, ids, reason)


def bury_mail(tx: Tx, caller: Caller, peer_id: str, reason: str) -> int:
    """A mailbox that nobody will open: what waits is dead, and each sender hears of it."""
    rows = tx.all("SELECT message_id FROM deliveries WHERE recipient = ? AND state IN ('queued', 'held', 'offered')", (peer_id,))
    for row in rows:
        _bury(tx, caller, peer_id, row["message_id"], reason)
    return len(rows)


def seat_filled(tx: Tx, caller: Caller, workspace: str, peer_id: str) -> int:
    """Mail that waited for an architect of this workspace (or of any: the person's) goes to the one who is now.

    So do open calls for help.
    """
    waiting = tx.all(
        f"SELECT d.message_id FROM {_WAITING} JOIN messages m ON m.id = d.message_id"
        " WHERE d.recipient = ? AND d.state = 'queued' AND (m.workspace = ? OR m.sender_id = ?) ORDER BY d.message_id",
        (ARCHITECT_ADDRESS, workspace, PERSON),
    )
    for row in waiting:
        message_id = row["message_id"]
        tx.run("DELETE FROM deliveries WHERE recipient = ? AND message_id = ?", (ARCHITECT_ADDRESS, message_id))
        tx.run(
            "INSERT OR IGNORE INTO deliveries (message_id, recipient, state, queued_at) VALUES (?, ?, 'queued', ?)",
            (message_id, peer_id, tx.at),
        )
        events.record(tx, caller, "delivery", [(ARCHITECT_ADDRESS, message_id), (peer_id, message_id)], workspace=workspace)
    left_open = [
        message_id
        for message_id in escalations.open_mail(tx, workspace, peer_id)
        if tx.run(
            "INSERT OR IGNORE INTO deliveries (message_id, recipient, state, queued_at) VALUES (?, ?, 'queued', ?)",
            (message_id, peer_id, tx.at),
        )
    ]  # an architect before this one had it, and went without an answer
    if left_open:
        events.record(tx, caller, "delivery", [(peer_id, message_id) for message_id in left_open], workspace=workspace)
    if waiting or left_open:
        tx.after("wake", peer_id)
    return len(waiting) + len(left_open)


def forget(tx: Tx, caller: Caller, ids: list[int]) -> None:
    """Delete these messages with their deliveries and receipts; see `forgetting`."""
    strains.forget(tx, caller, ids)
    pairs: list[tuple[str | int, ...]] = []
    for message_id in ids:
        rows = tx.all("SELECT recipient FROM deliveries WHERE message_id = ? ORDER BY recipient", (message_id,))
        pairs += [(row["recipient"], message_id) for row in rows]
        tx.run("DELETE FROM receipts WHERE message_id = ?", (message_id,))
        tx.run("DELETE FROM deliveries WHERE message_id = ?", (message_id,))
        tx.run("DELETE FROM messages WHERE id = ?", (message_id,))
    events.record(tx, caller, "delivery", pairs)
    events.record(tx, caller, "message", ids)


# -- looking ---------------------------------------------------------------------------------------------


def unread(tx: Tx, peer_id: str) -> dict[str, Any]:
    """{unread: how many wait, unread_from: their senders, urgent: blockers, errors and reviews among them}."""
    rows = unread_by_sender(tx, peer_id)
    return {
        "unread": sum(row["n"] for row in rows),
        "unread_from": [row["sender_id"] for row in rows],
        "urgent": sum(row["urgent"] for row in rows),
    }


def unread_by_sender(tx: Tx, peer_id: str) -> list[Any]:
    """sender_id, n, urgent: who waited longest first."""
    return tx.all(
        f"SELECT m.sender_id, COUNT(*) AS n, SUM(m.category IN {_URGENT}) AS urgent"
        f" FROM {_WAITING} JOIN messages m ON m.id = d.message_id WHERE d.recipient = ? AND d.state = 'queued'"
        " GROUP BY m.sender_id ORDER BY MIN(m.id)",
        (peer_id,),
    )


def newest(tx: Tx, peer_id: str) -> int:
    """The id of the newest message that waits for the peer; 0 when none does."""
    row = tx.one(f"SELECT MAX(message_id) AS id FROM {_WAITING} WHERE recipient = ? AND state = 'queued'", (peer_id,))
    return int(row["id"] or 0) if row is not None else 0


def has_any(tx: Tx, peer_id: str) -> bool:
    """Was this peer ever sent, or did it ever send, a message?"""
    return (
        tx.one("SELECT 1 FROM deliveries WHERE recipient = ? LIMIT 1", (peer_id,)) is not None
        or tx.one("SELECT 1 FROM messages WHERE sender_id = ? LIMIT 1", (peer_id,)) is not None
    )


def waits(tx: Tx, peer_id: str) -> bool:
    """Does any mail wait to be offered?"""
    return tx.one(f"SELECT 1 FROM {_WAITING} WHERE recipient = ? AND state = 'queued' LIMIT 1", (peer_id,)) is not None


def peek(tx: Tx, caller: Caller, peer_id: str | None) -> dict[str, Any]:
    """How much mail waits for the caller (or another, for who may look); takes nothing."""
    whose = peer_id or caller.id
    if whose != caller.id:
        _may_look(tx, caller, whose)
    return {"peer_id": whose, **unread(tx, whose)}


def how_far(tx: Tx, caller: Caller, message_id: int) -> dict[str, Any]:
    """{message, deliveries: [{recipient, state, way, attempts, times, reason}]}: for the sender, a recipient, the architect, the person."""
    row = tx.one("SELECT * FROM messages WHERE id = ?", (message_id,))
    rows = tx.all("SELECT * FROM deliveries WHERE message_id = ? ORDER BY recipient", (message_id,))
    mine = row is not None and (caller.id == row["sender_id"] or caller.sees_all or any(one["recipient"] == caller.id for one in rows))
    if row is None or not (mine or (caller.role == "architect" and row["workspace"] == caller.workspace)):
        raise NotFound(f"message {message_id} is not yours, or not there")
    return {
        "message": {
            "id": row["id"],
            "from": row["sender_id"],
            "to": row["address"],
            "category": row["category"],
            "sent": row["created_at"],
        },
        "deliveries": [
            {
                **{
                    name: one[name]
                    for name in ("recipient", "state", "way", "attempts", "reason", "queued_at", "offered_at", "read_at", "acted_at")
                },
                "proof": _proof(tx, message_id, one["recipient"]),
            }
            for one in rows
        ],
    }


def _proof(tx: Tx, message_id: int, recipient: str) -> str:
    """By what it was proven that the recipient has the message; "" as long as it is not."""
    row = tx.one(
        "SELECT proof FROM receipts WHERE message_id = ? AND recipient = ? AND proved_at IS NOT NULL ORDER BY proved_at LIMIT 1",
        (message_id, recipient),
    )
    return row["proof"] if row is not None else ""


def list_all(tx: Tx, *, limit: int, after: int | None, workspace: str | None) -> dict[str, Any]:
    """v4's list of all mail, newest first. `after`: only ids below it (the next page)."""
    rows = tx.all(
        f"SELECT {_LISTED} WHERE (? IS NULL OR m.workspace = ?) AND (? IS NULL OR m.id < ?) ORDER BY m.id DESC, d.recipient LIMIT ?",
        (workspace, workspace, after, after, limit),
    )
    return {"messages": [dict(row) for row in rows]}


def list_for(tx: Tx, caller: Caller, *, peer_id: str, limit: int, after: int | None, **_: object) -> dict[str, Any]:
    """What a peer sent or was sent, newest first."""
    if peer_id != caller.id:
        _may_look(tx, caller, peer_id)
    rows = tx.all(
        # The newest of either, each found by its index: of a peer with little mail all messages would be read else.
        f"SELECT {_LISTED} WHERE (m.sender_id = :peer OR d.recipient = :peer) AND m.id IN ("
        " SELECT * FROM (SELECT id FROM messages WHERE sender_id = :peer AND (:after IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit)"
        " UNION SELECT * FROM (SELECT message_id FROM deliveries WHERE recipient = :peer AND (:after IS NULL OR message_id < :after)"
        " ORDER BY message_id DESC LIMIT :limit)) ORDER BY m.id DESC, d.recipient LIMIT :limit",
        {"peer": peer_id, "after": after, "limit": limit},
    )
    return {"messages": [dict(row) for row in rows]}


def _open_what_it_calls_for(tx: Tx, caller: Caller, category: str, content: str, message_id: int) -> int:
    """The escalation that a sent blocker or call for review is; its id."""
    kind = _CALLS_FOR_HELP[category]
    escalation_id = escalations.open_one(tx, caller, kind=kind, text=content, task_id=_task_of(tx, caller), run_id=_run_of(tx, caller))
    escalations.carried_by(tx, caller, escalation_id, message_id)
    return escalation_id


def _recipients(tx: Tx, caller: Caller, address: str) -> tuple[list[str], str]:
    """Who an address means, and whether they are active, away, or waited for."""
    if address == BROADCAST:
        everywhere = int(caller.is_everywhere)
        rows = tx.all(
            "SELECT id FROM peers WHERE (status = 'active' OR (status IN ('away', 'dead') AND named)) AND id <> ?"
            " AND role <> 'system' AND (? OR workspace = ?) ORDER BY id",
            (caller.id, everywhere, caller.workspace),
        )
        heard = [row["id"] for row in rows]
        return heard if caller.is_person else [*heard, PERSON], "active"
    if address == ARCHITECT_ADDRESS:
        holder = peers.seat_holder(tx, caller.workspace)
        everywhere_held = peers.seated(tx) if caller.is_everywhere and holder is None else []
        if everywhere_held:  # the person is in all workspaces
            return everywhere_held, "active"
        if holder is None:
            return [ARCHITECT_ADDRESS], "waiting"
        address = holder
    elif address.startswith("#"):
        raise NotFound(f"room '{address}' not found", hint="send to a peer, @architect or command-center")
    row = peers.find(tx, address)
    if row is None or row["status"] == "killed" or (row["status"] == "dead" and not row["named"]):
        raise NotFound(f"recipient '{address}' not found or inactive", hint="list_peers shows who is here")
    return [address], "active" if row["status"] == "active" else "away"


def _also_hear(tx: Tx, caller: Caller, category: str, heard: list[str]) -> list[str]:
    """A blocker reaches the architect whoever it was addressed to; an error reaches all."""
    if category == "blocker" and not caller.leads:
        holder = peers.seat_holder(tx, caller.workspace) or ARCHITECT_ADDRESS
        return [] if holder in heard else [holder]
    if category == "error":
        rows = tx.all(
            "SELECT id FROM peers WHERE status = 'active' AND id <> ? AND (role = 'system' OR ? OR workspace = ?) ORDER BY id",
            (caller.id, int(caller.is_everywhere), caller.workspace),
        )
        return [row["id"] for row in rows if row["id"] not in heard]
    return []


def _workspace_of(tx: Tx, caller: Caller, heard: list[str]) -> str:
    """Where a message belongs: in its sender's workspace; the person's, who is in all, in that of all who hear it, where it is one."""
    if not caller.sees_all or caller.is_placed:
        return caller.workspace
    found = {row["workspace"] for one in heard if (row := peers.find(tx, one)) is not None and row["role"] != "system"}
    return str(found.pop()) if len(found) == 1 else ""


def _sender_is_live(tx: Tx, caller: Caller) -> None:
    row = peers.find(tx, caller.id)
    if row is None or row["status"] not in ("active", "away"):
        raise NotFound(f"sender '{caller.id}' not found or inactive", code="not_registered", hint="register again")


def _may_answer(tx: Tx, caller: Caller, reply_to: int | None) -> None:
    """NotFound for a message that is not the caller's to answer."""
    if reply_to is None:
        return
    row = tx.one(
        "SELECT m.sender_id, m.workspace, EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = m.id AND d.recipient = ?) AS mine"
        " FROM messages m WHERE m.id = ?",
        (caller.id, reply_to),
    )
    if row is None or not (
        row["mine"] or row["sender_id"] == caller.id or caller.is_person or (caller.leads and row["workspace"] == caller.workspace)
    ):
        raise NotFound(f"reply_to {reply_to} is no message of yours", hint="use the id that check_messages showed")


def _fold_into_receipt(tx: Tx, caller: Caller, parent: int, heard: list[str], content: str) -> dict[str, Any] | None:
    """An acknowledgement without content, sent back to whom it answers, is not mail: the receipt says it. None: it is mail after all."""
    row = tx.one("SELECT sender_id, category, content FROM messages WHERE id = ?", (parent,))
    if row is None or heard != [row["sender_id"]] or not chains.answers_nothing(content, row["content"], row["category"]):
        return None
    if not tx.run(
        "UPDATE deliveries SET state = 'acted', acted_at = ?, reason = ?"
        " WHERE recipient = ? AND message_id = ? AND state IN ('offered', 'read', 'acted')",
        (tx.at, "acknowledged: " + content.strip()[:80], caller.id, parent),
    ):
        return None
    _end_open(tx, caller, parent, "acknowledged")
    events.record(tx, caller, "delivery", [(caller.id, parent)])
    tx.after("flag", caller.id)
    events.note(tx, caller, "folded", [parent], text=content.strip()[:80])
    return {
        "ok": True, "folded": True, "message_id": parent, "recipients": [],
        "message": f"your acknowledgement is on the receipt of message {parent}; nothing was sent, so that nobody has to answer it",
    }  # fmt: skip


def act_on_named(tx: Tx, caller: Caller, text: str) -> None:
    """A task event that names a message ("message 12") is the caller's acting on it."""
    for number in sorted({int(one) for one in _NAMED.findall(text[:4000])})[:10]:
        if tx.run(
            "UPDATE deliveries SET state = 'acted', acted_at = ? WHERE recipient = ? AND message_id = ? AND state IN ('offered', 'read')",
            (tx.at, caller.id, number),
        ):
            _end_open(tx, caller, number, "named in a task")
            events.record(tx, caller, "delivery", [(caller.id, number)])
            tx.after("flag", caller.id)


def release_held(tx: Tx, caller: Caller, *, message_id: int, verdict: str, **_: object) -> dict[str, Any]:
    """The person lets held mail through (a new chain begins there), or ends it (dead; the sender hears why).

    What is said of a text that spreads is said of all its copies, those that wait and those to come.
    """
    row = tx.one("SELECT strain FROM messages WHERE id = ?", (message_id,))
    recipients = _held_from(tx, message_id)
    if row is None or not recipients:
        raise NotFound(f"no held message {message_id}", hint="the page and c2-lattice all-messages show what is held")
    together = [message_id]
    if strains.is_held(tx, row["strain"]):
        together = [one["id"] for one in tx.all(_HELD_OF_STRAIN, (row["strain"],))]
        strains.decide(tx, caller, row["strain"], allow=verdict == "let_through")
    if verdict == "let_through":
        for one in together:
            _let_through(tx, caller, one)
    else:
        _stop(tx, caller, together)
    return {"ok": True, "message_id": message_id, "verdict": verdict, "recipients": recipients, "messages": together}


def _held_from(tx: Tx, message_id: int) -> list[str]:
    """For whom a message is held."""
    rows = tx.all("SELECT recipient FROM deliveries WHERE message_id = ? AND state = 'held' ORDER BY recipient", (message_id,))
    return [row["recipient"] for row in rows]


def _let_through(tx: Tx, caller: Caller, message_id: int) -> None:
    recipients = _held_from(tx, message_id)
    row = tx.one("SELECT workspace FROM messages WHERE id = ?", (message_id,))
    if not recipients or row is None:
        return
    tx.run("UPDATE messages SET parent = NULL, root = NULL, hops = 0 WHERE id = ?", (message_id,))
    tx.run("UPDATE deliveries SET state = 'queued', reason = '' WHERE message_id = ? AND state = 'held'", (message_id,))
    events.record(tx, caller, "message", [message_id], workspace=row["workspace"])
    events.record(tx, caller, "delivery", [(recipient, message_id) for recipient in recipients], workspace=row["workspace"])
    for recipient in recipients:
        tx.after("wake", recipient)
    holder = peers.seat_holder(tx, row["workspace"])
    if ARCHITECT_ADDRESS in recipients and holder is not None:
        seat_filled(tx, caller, row["workspace"], holder)


def _stop(tx: Tx, caller: Caller, message_ids: list[int]) -> None:
    """What is held of these is dead. Each sender is told once."""
    stopped: dict[str, list[int]] = {}
    for message_id in message_ids:
        for recipient in _held_from(tx, message_id):
            row = _bury(tx, caller, recipient, message_id, "stopped by the person", tells=len(message_ids) == 1)
            if row is not None and message_id not in stopped.setdefault(row["sender_id"], []):
                stopped[row["sender_id"]].append(message_id)
    if len(message_ids) > 1:
        for sender, ids in stopped.items():
            numbers = ", ".join(map(str, ids))
            tell(tx, sender, "alert", f"stopped by the person: your messages {numbers}. That text is not to be passed on")


def _alert_of_strain(tx: Tx, strain: int, message_id: int, why: str, workspace: str) -> None:
    """The person is told once of a text that spreads, whatever else is held of it."""
    if not strains.hold(tx, strain, workspace):
        return
    said = (
        f"A text is going from session to session and was stopped: {why}. Message {message_id} and every further copy wait"
        f" until you let them through or stop them, on the page or with: c2-lattice release-held {message_id}"
    )
    strains.told(tx, strain, tell(tx, PERSON, "alert", said, workspace=workspace))


def move_mail(tx: Tx, caller: Caller, old: str, new: str) -> int:
    """What waits for `old` (or is held, or was given up for want of proof) waits for `new` instead. Answers how many."""
    return_offers(tx, caller, old, f"adopted by {new}")
    raise_dead(tx, caller, old)
    rows = tx.all(
        "SELECT message_id, state, attempts, reason FROM deliveries WHERE recipient = ? AND state IN ('queued', 'held')"
        " ORDER BY message_id",
        (old,),
    )
    for row in rows:
        message_id = row["message_id"]
        tx.run(
            "UPDATE deliveries SET state = 'dead', reason = ? WHERE recipient = ? AND message_id = ?",
            (f"adopted by {new}", old, message_id),
        )
        tx.run(
            "INSERT OR IGNORE INTO deliveries (message_id, recipient, state, attempts, reason, queued_at) VALUES (?, ?, ?, ?, ?, ?)",
            (message_id, new, row["state"], row["attempts"], row["reason"], tx.at),
        )
        events.record(tx, caller, "delivery", [(old, message_id), (new, message_id)])
    if rows:
        tx.after("wake", new)
    return len(rows)


def raise_dead(tx: Tx, caller: Caller, peer_id: str) -> int:
    """A new life of the peer: what was given up for want of proof is offered again."""
    rows = tx.all(
        "SELECT message_id FROM deliveries WHERE recipient = ? AND state = 'dead' AND reason LIKE 'offered %' ORDER BY message_id",
        (peer_id,),
    )
    for row in rows:
        tx.run(
            "UPDATE deliveries SET state = 'queued', reason = '', process = '' WHERE recipient = ? AND message_id = ?",
            (peer_id, row["message_id"]),
        )
    if rows:
        events.record(tx, caller, "delivery", [(peer_id, row["message_id"]) for row in rows])
        tx.after("wake", peer_id)
    return len(rows)


def _task_of(tx: Tx, caller: Caller) -> int | None:
    """The task the caller is at, where there is exactly one."""
    rows = tx.all("SELECT id FROM tasks WHERE assigned_to = ? AND status = 'in_progress' LIMIT 2", (caller.id,))
    return rows[0]["id"] if len(rows) == 1 else None


def _run_of(tx: Tx, caller: Caller) -> str | None:
    """The run of the caller's task in progress (the newest claim, where there are several)."""
    row = tx.one(
        "SELECT run_id FROM tasks WHERE assigned_to = ? AND status = 'in_progress' AND run_id IS NOT NULL ORDER BY token DESC LIMIT 1",
        (caller.id,),
    )
    return row["run_id"] if row else None


def _may_look(tx: Tx, caller: Caller, peer_id: str) -> None:
    if caller.sees_all:
        return
    row = peers.find(tx, peer_id)
    if caller.role != "architect" or row is None or row["workspace"] != caller.workspace:
        raise Forbidden("only the architect or the person may look at another's mail", hint="check_messages shows your own")


def _as_mail(row: Any, reader: str, receipt: str) -> dict[str, Any]:
    copied = row["address"] not in (reader, BROADCAST, ARCHITECT_ADDRESS) and row["category"] in PREFIX
    return {
        "id": row["id"], "from": row["sender_id"], "role": _role(row), "to": row["address"], "category": row["category"],
        "content": (PREFIX[row["category"]] if copied else "") + row["content"], "sent": row["created_at"], "receipt": receipt,
        "redelivered": row["attempts"], "reply_to": row["reply_to"], "run_id": row["run_id"], "hops": row["hops"],
    }  # fmt: skip


def _role(row: Any) -> str:
    return BROKER.id if row["sender_id"] == BROKER.id else row["role"] or "worker"


def _end_receipt(tx: Tx, caller: Caller, receipt: str, *, proof: str = "", returned: str = "") -> Any | None:
    row = tx.one("SELECT message_id FROM receipts WHERE receipt = ? AND recipient = ? AND ended_at IS NULL", (receipt, caller.id))
    if row is not None:
        tx.run(
            "UPDATE receipts SET proof = ?, proved_at = CASE WHEN ? = '' THEN ? END, returned = ?, ended_at = ? WHERE receipt = ?",
            (proof, returned, tx.at, returned, tx.at, receipt),
        )
    return row


def _end_late(tx: Tx, caller: Caller, receipt: str, proof: str) -> Any | None:
    """Of an offer that came back: the process that it was made to has it after all, and nobody else was offered it meanwhile."""
    row = tx.one(
        "SELECT r.message_id FROM receipts r JOIN deliveries d ON d.message_id = r.message_id AND d.recipient = r.recipient"
        " WHERE r.receipt = ? AND r.recipient = ? AND r.returned <> '' AND r.process = ? AND r.process <> ''"
        " AND (d.state = 'queued' OR d.state = 'offered' AND d.process = r.process)",
        (receipt, caller.id, caller.process),
    )
    if row is not None:
        tx.run("UPDATE receipts SET proof = ?, proved_at = ? WHERE receipt = ?", (proof, tx.at, receipt))
        _end_open(tx, caller, row["message_id"], proof)
    return row


def _end_open(tx: Tx, caller: Caller, message_id: int, proof: str) -> None:
    """The caller has the message, whatever was to prove it."""
    tx.run(
        "UPDATE receipts SET proof = ?, proved_at = ?, ended_at = ? WHERE recipient = ? AND message_id = ? AND ended_at IS NULL",
        (proof, tx.at, tx.at, caller.id, message_id),
    )


def _requeue(tx: Tx, caller: Caller, peer_id: str, message_ids: list[int], reason: str) -> int:
    back: list[tuple[str | int, ...]] = []
    for message_id in message_ids:
        if not tx.run(
            "UPDATE deliveries SET state = 'queued', process = '', attempts = attempts + 1"
            " WHERE recipient = ? AND message_id = ? AND state = 'offered'",
            (peer_id, message_id),
        ):
            continue  # it was answered, or proven in another way: not unread any more
        row = tx.one("SELECT attempts FROM deliveries WHERE recipient = ? AND message_id = ?", (peer_id, message_id))
        if row is not None and row["attempts"] % MAX_TRIES == 0:
            _bury(tx, caller, peer_id, message_id, f"offered {row['attempts']} times without proof; last: {reason}")
        else:
            back.append((peer_id, message_id))
    if back:
        events.record(tx, caller, "delivery", back)
        tx.after("wake", peer_id)
    return len(back)


def _bury(tx: Tx, caller: Caller, peer_id: str, message_id: int, reason: str, *, tells: bool = True) -> Any | None:
    """Give a delivery up, and tell its sender. The sender and how it is with it (sender_id, status)."""
    tx.run(
        "UPDATE deliveries SET state = 'dead', reason = ? WHERE recipient = ? AND message_id = ?",
        (reason, peer_id, message_id),
    )
    events.record(tx, caller, "delivery", [(peer_id, message_id)])
    row = tx.one("SELECT m.sender_id, p.status FROM messages m JOIN peers p ON p.id = m.sender_id WHERE m.id = ?", (message_id,))
    if tells and row is not None and row["status"] not in ("gone", "killed") and row["sender_id"] != peer_id:
        tell(tx, row["sender_id"], "alert", f"message {message_id} did not reach {peer_id}: {reason}")
    return row


def of_escalation(tx: Tx, escalation_id: int) -> list[int]:
    """The mail that carried it, and the answers of who resolved it."""
    rows = tx.all(
        "SELECT m.id FROM messages m JOIN escalations e ON e.id = ?"
        " WHERE m.id = e.message_id OR (m.reply_to = e.message_id AND m.sender_id = e.resolved_by) ORDER BY m.id",
        (escalation_id,),
    )
    return [row["id"] for row in rows]


def forget_gists(tx: Tx, ids: Iterable[object]) -> None:
    """A digest of a text that is gone is of no use, and to some a trace."""
    for message_id in ids:
        tx.run("UPDATE messages SET gist = '' WHERE id = ?", (message_id,))
