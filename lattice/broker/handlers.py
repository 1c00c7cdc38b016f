"""Operation name -> the function that does it. A test holds the names equal to those of the contract.

    read    (tx, call) -> dict      write   (tx, call) -> dict      act   (call) -> dict | Answer | Parked

Most are one line: a domain function gets the caller and the checked values. The longer ones join two
nouns, or need what only the broker has (who beats, tokens, a terminal).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any

from lattice import VERSION, WIRE, names, reach
from lattice.broker import backups, dashboard, hooking, spawning
from lattice.broker.call import Call, rejected
from lattice.contract import openapi
from lattice.domain import (
    adoptions,
    conversations,
    departures,
    escalations,
    events,
    locks,
    memory,
    messages,
    peers,
    redactions,
    runs,
    soundness,
    tasks,
)  # fmt: skip
from lattice.errors import BadRequest, Forbidden, Internal, NotFound, OutOfSpace, Unavailable
from lattice.guard import tokens
from lattice.store.database import Tx
from lattice.web import stream
from lattice.web.server import Answer, Parked, Stream

RENEW_BEFORE_S = 3600.0
LOOK_FOR_S = 60.0  # for a text, through all of the log
SHOWN_WITHIN_S = 60.0  # how long a command may take to say that the person was shown mail
KEEP_BEAT_S = 60.0  # how often last_heartbeat is written down
EVENTS_AT_ONCE = 200
EVENTS_BYTES = 1_000_000  # in one go; the rest follows

log = logging.getLogger("lattice.broker")

# The filter's verdict on these is raised by the domain, after all that comes before it in the contract's order.
JUDGED_LATE = frozenset(("send_message", "escalate"))


# -- the broker itself -----------------------------------------------------------------------------------


def health(_: None, call: Call) -> dict[str, Any]:
    broker = call.broker
    said = broker.about()
    nonce = call.values["nonce"]
    if nonce is not None:
        said["proof"] = tokens.prove(broker.secret, nonce, broker.port, broker.pid)
    return said


def ready(_: None, call: Call) -> Answer:
    said = call.broker.about()
    fit = said["writable"] and said["sweep_age_s"] < 20
    return Answer(200 if fit else 503, {"ready": fit, "writable": said["writable"], "sweep_age_s": said["sweep_age_s"]})


def page(_: None, call: Call) -> Answer:
    body, headers = call.broker.page.answer()
    return Answer(call.broker.page.status, body, call.broker.page.content_type, headers)


def interface(_: None, call: Call) -> Answer:
    return Answer(200, openapi.text().encode())


def metrics(tx: Tx, call: Call) -> Answer:
    """Prometheus text format 0.0.4."""
    broker = call.broker
    lines = ["# TYPE lattice_calls_total counter"]
    lines += [f'lattice_calls_total{{op="{name}"}} {count}' for name, count in sorted(dict(broker.counts).items())]
    for name, sql in _GAUGES:
        row = tx.one(sql)
        lines += [f"# TYPE lattice_{name} gauge", f"lattice_{name} {row[0] if row else 0}"]
    lines += ["# TYPE lattice_uptime_seconds gauge", f"lattice_uptime_seconds {broker.about()['uptime_s']}"]
    return Answer(200, ("\n".join(lines) + "\n").encode(), "text/plain; version=0.0.4; charset=utf-8")


_GAUGES = (
    ("peers_active", "SELECT COUNT(*) FROM peers WHERE status = 'active' AND role <> 'system'"),
    ("deliveries_waiting", "SELECT COUNT(*) FROM deliveries WHERE state = 'queued'"),
    ("tasks_claimable", "SELECT COUNT(*) FROM tasks WHERE status = 'pending' AND n_open = 0"),
    ("tasks_in_progress", "SELECT COUNT(*) FROM tasks WHERE status = 'in_progress'"),
    ("locks_held", "SELECT COUNT(*) FROM locks WHERE state = 'held'"),
    ("escalations_open", "SELECT COUNT(*) FROM escalations WHERE state = 'open'"),
    ("events", "SELECT COALESCE(MAX(seq), 0) FROM events"),
)


def dashboard_data(tx: Tx, call: Call) -> dict[str, Any]:
    workspace = call.values["workspace"]
    shown = dashboard.data(
        tx, now=call.broker.clock.now(), workspace=workspace or "", everywhere=workspace is None, last_seen=call.broker.presence.walls()
    )
    return {**shown, "server": call.broker.about()}


def sign_in(call: Call) -> dict[str, Any]:
    """A ticket of the person becomes a viewer's and an actor's token. Once."""
    ticket, broker = call.ticket, call.broker
    if ticket.role != "system" or ticket.peer != names.PERSON:
        raise Forbidden(
            "this ticket enrols a session; it does not sign the person in", hint="c2-lattice page, or python launch.py, opens the page"
        )

    def use(tx: Tx) -> None:
        peers.use_ticket(tx, ticket.nonce, ticket.expires)
        events.note(tx, call.caller, "sign_in", [names.PERSON])

    broker.write(use, "sign_in")
    now = broker.clock.now()
    return {
        "ok": True,
        "token": tokens.mint_token(broker.secret, subject=names.PERSON, kind="system", epoch=1, now=now),
        "viewer": tokens.mint_token(broker.secret, subject="viewer", kind="viewer", epoch=1, now=now),
        "version": VERSION, "wire": WIRE,
    }  # fmt: skip


def shutdown(call: Call) -> dict[str, Any]:
    ticket = call.ticket
    if ticket is not None and ticket.role != "system":
        raise Forbidden("only the person stops the broker")

    def note(tx: Tx) -> None:
        if ticket is not None:
            peers.use_ticket(tx, ticket.nonce, ticket.expires)
        events.note(tx, call.caller, "shutdown", [])

    try:
        call.broker.write(note, "shutdown")
    except (OutOfSpace, Unavailable, Internal) as refusal:  # one that cannot write must all the more be stopped
        log.warning("stopping without a note of it: %s", refusal.message)
    call.broker.stop()
    return {"ok": True, "message": "the broker is stopping"}


def feed(tx: Tx, call: Call) -> dict[str, Any] | Stream:
    """The log from a cursor: as JSON, or (follow) as server-sent events whose ids are the cursor."""
    broker, workspace, values = call.broker, call.workspace, call.values
    first = int(values["after"])
    seen = call.request.headers.get("last-event-id", "")
    if seen.isascii() and seen.isdigit() and len(seen) < 16:
        first = int(seen)
    if not values["follow"]:
        found = events.feed(tx, after=first, limit=values["limit"], workspace=workspace)
        return {"events": found, "after": found[-1]["seq"] if found else first}
    cursor = [first]

    def new() -> bytes:
        said = b""
        while len(said) < EVENTS_BYTES:
            found = broker.read(lambda tx: events.feed(tx, after=cursor[0], limit=EVENTS_AT_ONCE, workspace=workspace))
            said += b"".join(stream.event(one, name="event", id=str(one["seq"])) for one in found)
            if found:
                cursor[0] = found[-1]["seq"]
            if len(found) < EVENTS_AT_ONCE:
                break
        return said

    return Stream("events", new)


def state(tx: Tx, call: Call) -> dict[str, Any]:
    try:
        seq, found = events.state_at(tx, call.values["seq"])
    except LookupError as gone:
        raise NotFound(str(gone)) from None
    return {"seq": seq, "state": found if call.caller.sees_all else events.seen_from(found, call.caller.id, call.caller.workspace)}


def verify(tx: Tx, call: Call) -> dict[str, Any]:
    said = soundness.verify(tx)
    return said if call.caller.sees_all else soundness.from_afar(said)


def search(tx: Tx, call: Call) -> dict[str, Any]:
    """Plain text search, newest first: {results: [{kind, id, text, at}]}.

    Others' mail is found by the person, and by the architect in its own workspace.
    """
    like = "%" + call.values["q"].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    workspace, limit = call.workspace, call.values["limit"]
    found: list[dict[str, Any]] = []
    for kind, sql in _SEARCHES:
        if kind == "message" and not (call.caller.sees_all or (call.caller.leads and workspace is not None)):
            rows = tx.all(
                sql + " AND (sender_id = ? OR id IN (SELECT message_id FROM deliveries WHERE recipient = ?)) ORDER BY at DESC LIMIT ?",
                (workspace, workspace, like, like, call.caller.id, call.caller.id, limit),
            )
        else:
            rows = tx.all(sql + " ORDER BY at DESC LIMIT ?", (workspace, workspace, like, like, limit))
        found += [{"kind": kind, **dict(row)} for row in rows]
    found.sort(key=lambda one: -one["at"])
    return {"results": found[:limit]}


_SEARCHES = (
    ("task", "SELECT id, title AS text, status, updated_at AS at FROM tasks WHERE (? IS NULL OR workspace = ?)"
             " AND (title LIKE ? ESCAPE '\\' OR description LIKE ? ESCAPE '\\')"),
    ("memory", "SELECT key AS id, value AS text, type AS status, updated_at AS at FROM memory WHERE (? IS NULL OR workspace = ?)"
               " AND (key LIKE ? ESCAPE '\\' OR value LIKE ? ESCAPE '\\')"),
    ("message", "SELECT id, content AS text, category AS status, created_at AS at FROM messages WHERE (? IS NULL OR workspace = ?)"
                " AND (content LIKE ? ESCAPE '\\' OR sender_id LIKE ? ESCAPE '\\')"),
)  # fmt: skip


# -- peers -----------------------------------------------------------------------------------------------------


def register(tx: Tx, call: Call) -> dict[str, Any]:
    broker, ticket, said = call.broker, call.ticket, call.values
    wanted = names.check_peer_id(said["id"])
    if ticket.role == "system" or ticket.peer != wanted:
        raise Forbidden(
            f"the ticket is for '{ticket.peer}', not for '{wanted}'", code="wrong_ticket", hint="mint a ticket for the id you register"
        )
    role = said["role"] or (ticket.role if ticket.role == "architect" else None)
    if role == "architect" and ticket.role != "architect":
        raise Forbidden("the ticket does not allow the architect's role", code="wrong_ticket", hint="mint the ticket with role architect")
    peers.use_ticket(tx, ticket.nonce, ticket.expires)
    working_dir = said["working_dir"]
    workspace = ticket.workspace or said["workspace"] or peers.workspace_of_dir(tx, working_dir)
    enrolment = peers.Enrolment(
        id=wanted, role=role, workspace=workspace, working_dir=working_dir, summary=said["summary"], pid=said["pid"], client=said["client"],
        client_pid=said["client_pid"], process=said["process"] or "", resume=said["resume"] or "",
        owns_token=_owns(call, said["resume"], wanted), fallback=said["fallback"], named=said["named"], poll_interval_ms=said["beat_ms"],
        git_branch=said["git_branch"], git_dirty_files=said["git_dirty_files"] or [], git_last_commit=said["git_last_commit"],
        ways=said["ways"] or [],
    )  # fmt: skip
    beating = broker.presence.beating(broker.clock.monotonic())
    peer_id = peers.settle_id(tx, enrolment, beating)
    made = peers.register(tx, enrolment, peer_id, names.new_key())
    caller = call.caller.__class__(peer_id, made["role"], workspace)
    if not made["same_life"]:
        messages.return_offers(tx, caller, peer_id, "its session enrolled anew")
        if not made["new"]:
            adoptions.come_back(tx, caller)
    if made["role"] == "architect":
        messages.seat_filled(tx, caller, workspace, peer_id)
    # Heard from now on, when no refusal can come any more: a sweep that is behind this in the same commit must not give it up for its
    # silence before.
    broker.presence.heard(peer_id, broker.clock.monotonic(), broker.clock.now(), said["beat_ms"] / 1000)
    return {**made, "wanted": wanted}


def settle_register(call: Call, made: dict[str, Any]) -> dict[str, Any]:
    """After the commit: the peer gets its token."""
    broker, said = call.broker, call.values
    notes = []
    if made["id"] != made["wanted"]:
        notes.append(f"'{made['wanted']}' lives in another process; you are '{made['id']}'")
    if said["role"] == "architect" and made["role"] != "architect":
        notes.append(
            f"the architect's seat is held by '{made['seat']['held_by']}'; you are a worker."
            f" The person can change it: launch.py --architect {made['id']}"
        )
    answer = {
        "ok": True, "id": made["id"], "role": made["role"], "workspace": made["workspace"], "resume": made["resume"], "seat": made["seat"],
        "token": tokens.mint_token(
            broker.secret, subject=made["id"], kind="peer", epoch=made["epoch"], now=broker.clock.now()
        ),
        "beat_ms": said["beat_ms"], "version": VERSION, "wire": WIRE,
    }  # fmt: skip
    return {**answer, "note": "; ".join(notes)} if notes else answer


def heartbeat(call: Call) -> Answer | Parked:
    """Alive until told otherwise. Waits (up to wait_s) while nothing is new since the stamp it saw."""
    broker, caller, said = call.broker, call.caller, call.values
    card = broker.cards.get(caller.id)
    if caller.is_person and not caller.on_behalf or card is None:
        return Answer(200, {"ok": True})
    if said["process"] and card["process"] and said["process"] != card["process"]:
        raise NotFound(f"another process enrolled as '{caller.id}' since", code="not_registered", hint="register again")
    now, wall = broker.clock.monotonic(), broker.clock.now()
    pulse = broker.presence.heard(caller.id, now, wall, card["poll_interval_ms"] / 1000, call.request.connection if said["wait_s"] else 0)
    if card["status"] != "active":
        broker.write(lambda tx: peers.revive(tx, caller), "heartbeat")
    git = repr((said["git_branch"], said["git_dirty_files"], said["git_last_commit"]))
    git_is_new = any(said[name] is not None for name in ("git_branch", "git_dirty_files", "git_last_commit")) and git != pulse.git
    counted = any(said[name] is not None for name in ("tokens_used", "tool_calls_count", "errors_count", "activity", "ways"))
    if git_is_new or counted or now - pulse.kept_at > KEEP_BEAT_S:
        kept = said if git_is_new else {**said, "git_branch": None, "git_dirty_files": None, "git_last_commit": None}
        broker.write(lambda tx: peers.note_beat(tx, caller, kept, overlapping=git_is_new), "heartbeat")
        pulse.kept_at = now
        pulse.git = git if git_is_new else pulse.git
    if said["wait_s"] and said["seen"] == broker.presence.stamp(caller.id):
        # No longer than its own interval: who waits is not heard, and would count as silent.
        return Parked(f"beat:{caller.id}", min(float(said["wait_s"]), pulse.interval_s), lambda: Answer(200, _pulse(call)))
    return Answer(200, _pulse(call))


def _pulse(call: Call) -> dict[str, Any]:
    """What a beat is answered. The stamp is read first, so that what comes meanwhile is new to the next beat."""
    broker, caller = call.broker, call.caller
    stamp = broker.presence.stamp(caller.id)

    def look(tx: Tx) -> dict[str, Any]:
        row = peers.known(tx, caller.id)
        said: dict[str, Any] = {
            "ok": True, "paused": bool(row["paused"]), "poll_interval_ms": row["poll_interval_ms"],
            "token_budget": row["token_budget"], "tokens_used": row["tokens_used"], "role": row["role"],
            **messages.unread(tx, caller.id), "newest": messages.newest(tx, caller.id),
        }  # fmt: skip
        if row["paused"]:
            said["paused_by"] = row["paused_by"]
        if row["token_budget"] is not None and row["tokens_used"] >= row["token_budget"]:
            said["budget_exceeded"] = True
        if row["status"] == "killed":
            raise peers.was_killed(caller.id, row["ended_by"])
        return said

    said: dict[str, Any] = broker.read(look)
    # Who never waits (a plain v4 client) shows no stamps.
    news = broker.presence.news(caller.id, stamp, (call.values["seen"] or "") if call.values["wait_s"] else None)
    said.update(stamp=stamp, locks_changed=news.relocked, lost=list(news.lost), version=VERSION, wire=WIRE)
    if call.token is not None and call.token.kind == "peer" and broker.left_of(call.token) < RENEW_BEFORE_S:
        said["token"] = tokens.mint_token(broker.secret, subject=caller.id, kind="peer", epoch=call.token.epoch, now=broker.clock.now())
    return said


def _owns(call: Call, shown: str | None, wanted: str) -> bool:
    """Is what it showed as `resume` a good token of that id?"""
    if not shown or "." not in shown:
        return False
    try:
        token = call.broker.token(shown)
    except Exception:  # any fault of the text means the same: not a token
        return False
    card = call.broker.cards.get(wanted)
    return token.subject == wanted and token.kind == "peer" and card is not None and card["epoch"] == token.epoch


def list_peers(tx: Tx, call: Call) -> dict[str, Any]:
    values, walls = call.values, call.broker.presence.walls()
    scope = values.get("scope") or "all"
    found = peers.list_active(
        tx, workspace=call.workspace, scope=scope, working_dir=values.get("working_dir") or call.caller.working_dir,
        git_root=values.get("git_root") or "",
    )  # fmt: skip
    for peer in found:
        peer["last_heartbeat"] = walls.get(peer["id"], peer["last_heartbeat"])
    return {"peers": found}


def get_peer(tx: Tx, call: Call) -> dict[str, Any]:
    peer = peers.get(tx, call.values["peer_id"])
    if not call.caller.sees_all and peer["workspace"] != call.caller.workspace:
        raise NotFound(f"peer '{peer['id']}' not found", hint="it is of another workspace; the person sees all")
    peer["last_heartbeat"] = call.broker.presence.walls().get(peer["id"], peer["last_heartbeat"])
    return peer


def seat(tx: Tx, call: Call) -> dict[str, Any]:
    answer = peers.seat(tx, call.caller, **call.values)
    if answer["architect"]:
        messages.seat_filled(tx, call.caller, answer["workspace"], answer["architect"])
        tx.after("wake", answer["architect"])
    return answer


def of_ours(fn: Callable[..., dict[str, Any]]) -> Callable[[Tx, Call], dict[str, Any]]:
    """A lead acts on peers of its own workspace; the person on all."""

    def guarded(tx: Tx, call: Call) -> dict[str, Any]:
        target = peers.find(tx, call.values["peer_id"])
        if target is None:
            raise NotFound(f"peer '{call.values['peer_id']}' not found", hint="list_peers shows who is here")
        if target["role"] == "system":
            raise Forbidden("that is the person: nobody leads them")
        if not call.caller.is_person and target["workspace"] != call.caller.workspace:
            raise Forbidden(f"peer '{target['id']}' is of another workspace; its architect or the person may do that")
        return fn(tx, call.caller, **call.values)

    return guarded


def ping(tx: Tx, call: Call) -> dict[str, Any]:
    return of_ours(lambda tx, caller, peer_id: _ping(tx, call, peers.known(tx, peer_id)))(tx, call)


def _ping(tx: Tx, call: Call, row: Any) -> dict[str, Any]:
    said = _pinged(tx, call, peers.shown(row))
    return {"ok": True, **said, "last_heartbeat": call.broker.presence.walls().get(row["id"], row["last_heartbeat"]),
            "git_dirty_files": peers.shown(row)["git_dirty_files"], "git_last_commit": row["git_last_commit"]}  # fmt: skip


def ping_all(tx: Tx, call: Call) -> dict[str, Any]:
    found = peers.list_active(tx, workspace=call.workspace, scope="all", working_dir="", git_root="")
    return {"ok": True, "peers": [_pinged(tx, call, peer) for peer in found if peer["id"] != call.caller.id]}


def _pinged(tx: Tx, call: Call, peer: dict[str, Any]) -> dict[str, Any]:
    age = call.broker.presence.age(peer["id"], call.broker.clock.monotonic())
    age = call.broker.clock.now() - peer["last_heartbeat"] if age is None else age
    return {
        "peer_id": peer["id"], "role": peer["role"], "status": peer.get("status", "active"), "paused": peer["paused"],
        "seconds_since_heartbeat": round(age, 1), "possibly_stuck": age > 20, "current_task": tasks.current(tx, peer["id"]),
        "git_branch": peer["git_branch"],
    }  # fmt: skip


# -- messages and escalations --------------------------------------------------------------------------------


def _screen(call: Call, bucket: str) -> Callable[[], None]:
    """Rate, then filter: raised by the domain when all else is well. The person is bound by neither."""

    def screen() -> None:
        if call.caller.is_person:
            return
        call.broker.limits.spend(bucket, call.caller.id, call.broker.clock.monotonic())
        if call.verdict is not None:
            raise rejected(call.verdict)

    return screen


def send(tx: Tx, call: Call) -> dict[str, Any]:
    return messages.send(tx, call.caller, screen=_screen(call, "send"), **call.values)


def escalate(tx: Tx, call: Call) -> dict[str, Any]:
    return messages.escalate(tx, call.caller, screen=_screen(call, "escalate"), **call.values)


def take(tx: Tx, call: Call) -> dict[str, Any]:
    values = {**call.values, "process": call.values["process"] or call.caller.process}
    values["way"] = values["way"] or ("person" if call.caller.is_person else "tool")
    if call.caller.is_person:
        # The person is no process whose end would give back what a command took and did not say that it was shown.
        messages.return_offers(tx, call.caller, call.caller.id, "nobody said that it was shown", before=tx.at - SHOWN_WITHIN_S)
    taken = messages.take(tx, call.caller, receipts=names.new_key, **values)
    row = peers.known(tx, call.caller.id)
    return {**taken, "paused": bool(row["paused"])}


def take_v4(tx: Tx, call: Call) -> dict[str, Any]:
    return messages.take_v4(tx, call.caller, peer_id=call.values["peer_id"], receipts=names.new_key, process=call.caller.process)


def wait_mail(call: Call) -> Answer | Parked:
    """{unread, unread_from, urgent}: at once when mail waits, else as soon as it does, or after wait_s.

    Takes nothing. To ask keeps alive who is.
    """
    broker, caller, said = call.broker, call.caller, call.values
    until = broker.clock.monotonic() + said["wait_s"]
    card = broker.cards.get(caller.id)
    if card is not None and card["status"] == "active" and not caller.is_person:
        broker.presence.heard(caller.id, broker.clock.monotonic(), broker.clock.now(), card["poll_interval_ms"] / 1000)

    def look() -> Answer | Parked:
        now_is = broker.cards.get(caller.id)
        if now_is is not None and now_is["status"] == "killed":
            raise peers.was_killed(caller.id, now_is["ended_by"])
        waiting = broker.read(lambda tx: messages.unread(tx, caller.id))
        left = until - broker.clock.monotonic()
        if waiting["urgent" if said["urgent_only"] else "unread"] or left <= 0:
            return Answer(200, waiting)
        return Parked(f"beat:{caller.id}", left, look)

    return look()


def all_messages(tx: Tx, call: Call) -> dict[str, Any]:
    """An architect's, of its own workspace, whatever it asks for: `everywhere` crosses lists, not mail."""
    where = call.workspace if call.caller.sees_all else call.caller.workspace
    return messages.list_all(tx, limit=call.values["limit"], after=call.values["after"], workspace=where)


def log_conversation(tx: Tx, call: Call) -> dict[str, Any]:
    if not call.caller.is_person:
        call.broker.limits.spend("conversation", call.caller.id, call.broker.clock.monotonic())
    return conversations.add(tx, call.caller, **call.values)


# -- locks -------------------------------------------------------------------------------------------------------


def with_path(call: Call) -> dict[str, Any]:
    """The values with the path in its one spelling, a relative one joined to the caller's folder (to none, where it registered none)."""
    kind, path = reach.of(call.values["file_path"], _base(call))
    return {**call.values, "kind": kind, "file_path": path}


def with_paths(call: Call) -> dict[str, Any]:
    """The same for many that somebody would change, or has changed: `reached` is [(kind, path)].

    What has no spelling that a lock may have is left out. A name with signs is a name, and may be a pattern of a shell.
    """
    base = _base(call)
    reached: list[tuple[str, str]] = []
    for text in call.values["paths"]:
        with contextlib.suppress(BadRequest):
            reached.append(reach.of(text, base, literal=True))
            if reach.has_signs(text) and reach.of(text, base)[0] == "glob":
                reached.append(reach.of(text, base))
    return {**call.values, "reached": reached}


def _base(call: Call) -> str:
    stated, own = call.values["base"], call.caller.working_dir
    if stated and not os.path.isabs(stated):
        raise BadRequest("base must be an absolute folder")
    return stated or (own if os.path.isabs(own) else "")


def lock_file(tx: Tx, call: Call) -> dict[str, Any]:
    answer = locks.acquire(tx, call.caller, **call.values)
    if answer.get("refreshed"):
        # From now on, not from the commit on: a sweep that waits for the writer behind this must not end it for its silence before.
        call.broker.presence.granted(answer["token"], call.broker.clock.monotonic())
    return answer


def renew_locks(tx: Tx, call: Call) -> dict[str, Any]:
    """What the caller holds, all of it renewed, and what it lost since it asked last."""
    broker = call.broker
    card = broker.cards.get(call.caller.id)
    if card is not None:
        broker.presence.heard(call.caller.id, broker.clock.monotonic(), broker.clock.now(), card["poll_interval_ms"] / 1000)
    return {
        "ok": True, "locks": locks.holdings(tx, call.caller.id), "lost": broker.presence.take_lost(call.caller.id),
        "task": tasks.current(tx, call.caller.id),
    }  # fmt: skip


# -- redaction ----------------------------------------------------------------------------------------------------


def redact(call: Call) -> dict[str, Any]:
    """Take it out, and push what stood there out of the files; {…, copies: the backups that were made before}."""
    broker, values = call.broker, call.values

    def take_out(tx: Tx) -> dict[str, Any]:
        return redactions.redact(tx, call.caller, **values)

    if values["dry_run"]:
        return {**broker.database.read(take_out, at=broker.clock.now(), within_s=LOOK_FOR_S), "dry_run": True}
    said = broker.write(take_out, "redact")
    copies = backups.every_copy(broker.backups)
    return {**said, "out_of_the_files": broker.database.empty_log(), "copies": copies}


# -- tasks, memory, runs ----------------------------------------------------------------------------------------


def cancel_task(tx: Tx, call: Call) -> dict[str, Any]:
    answer = tasks.cancel(tx, call.caller, **call.values)
    for escalation_id in escalations.open_of_task(tx, answer["task_id"]):
        escalations.withdraw(tx, escalation_id, f"task #{answer['task_id']} was cancelled by {call.caller.id}")
    if answer["owner"] and answer["owner"] != call.caller.id:
        reason = call.values["reason"]
        messages.tell(
            tx, answer["owner"], "alert", f"task #{answer['task_id']} was cancelled by {call.caller.id}" + (f": {reason}" if reason else "")
        )
    return answer


def assign_task(tx: Tx, call: Call) -> dict[str, Any]:
    answer = tasks.assign(tx, call.caller, **call.values)
    if answer["reserved_for"]:
        title = tasks.get(tx, task_id=answer["task_id"])["task"]["title"]
        messages.tell(tx, answer["reserved_for"], "alert", f"task #{answer['task_id']} is reserved for you by {call.caller.id}: {title}")
    return answer


def list_tasks(tx: Tx, call: Call) -> dict[str, Any]:
    values = dict(call.values)
    del values["everywhere"]
    return tasks.list_some(tx, workspace=call.workspace, **values)


def _visible_run(call: Call, answer: dict[str, Any]) -> dict[str, Any]:
    if not call.caller.sees_all and answer["run"]["workspace"] != call.caller.workspace:
        raise NotFound(f"run '{answer['run']['id']}' not found", hint="it is of another workspace; the person sees all")
    return answer


def get_memory(tx: Tx, call: Call) -> dict[str, Any]:
    values, workspace = call.values, call.workspace
    if values["history"]:
        if not values["key"]:
            raise BadRequest("key parameter required")
        return memory.history(tx, workspace=workspace, key=values["key"])
    if values["key"]:
        return memory.get(tx, workspace=workspace, key=values["key"])
    return memory.list_some(tx, workspace=workspace, type=values["type"], limit=values["limit"])


def plain(fn: Callable[..., dict[str, Any]]) -> Callable[[Tx, Call], dict[str, Any]]:
    """A domain function that takes (tx, caller, **values)."""
    return lambda tx, call: fn(tx, call.caller, **call.values)


HANDLERS: dict[str, Callable[..., Any]] = {
    "health": health,
    "ready": ready,
    "metrics": metrics,
    "page": page,
    "openapi": interface,
    "dashboard_data": dashboard_data,
    "sign_in": sign_in,
    "shutdown": shutdown,
    "events": feed,
    "state": state,
    "verify": verify,
    "search": search,
    "register": register,
    "heartbeat": heartbeat,
    "leave": plain(departures.leave),
    "list_peers": list_peers,
    "get_peer": get_peer,
    "set_summary": plain(peers.set_summary),
    "seat": seat,
    "pause": of_ours(peers.pause),
    "resume": of_ours(peers.resume),
    "pause_all": plain(peers.pause_all),
    "resume_all": plain(peers.resume_all),
    "ping": ping,
    "ping_all": ping_all,
    "config": of_ours(peers.config),
    "budget": of_ours(peers.budget),
    "kill_peer": of_ours(departures.kill),
    "unregister": of_ours(departures.unregister),
    "spawn_worker": spawning.ask,
    "send_message": send,
    "v4_messages": take_v4,
    "check_messages": take,
    "ack": plain(messages.ack),
    "give_back": plain(messages.give_back),
    "peek": lambda tx, call: messages.peek(tx, call.caller, call.values["peer_id"]),
    "wait_mail": wait_mail,
    "receipts": lambda tx, call: messages.how_far(tx, call.caller, call.values["message_id"]),
    "release_held": plain(messages.release_held),
    "hook": hooking.hook,
    "guard": hooking.guard,
    "held": hooking.held,
    "breach": hooking.breach,
    "permission": hooking.permission,
    "capsule": hooking.capsule,
    "adopt": hooking.adopt,
    "all_messages": all_messages,
    "messages_for": plain(messages.list_for),
    "escalate": escalate,
    "list_escalations": lambda tx, call: escalations.list_some(
        tx, state=call.values["state"], workspace=call.workspace, limit=call.values["limit"]
    ),
    "resolve": plain(messages.resolve),
    "create_task": plain(tasks.create),
    "create_batch": plain(tasks.create_batch),
    "list_tasks": list_tasks,
    "get_task": plain(tasks.show),
    "claim_task": plain(tasks.claim),
    "complete_task": plain(tasks.complete),
    "release_task": plain(tasks.release),
    "fail_task": plain(tasks.fail),
    "cancel_task": cancel_task,
    "renew_task": plain(tasks.renew),
    "edit_task": plain(tasks.edit),
    "assign_task": assign_task,
    "depend_task": plain(tasks.depend),
    "lock_file": lock_file,
    "unlock_file": plain(locks.release),
    "list_locks": lambda tx, call: locks.list_some(tx, call.caller, workspace=call.workspace),
    "check_lock": plain(locks.check),
    "renew_locks": renew_locks,
    "set_memory": plain(memory.put),
    "get_memory": get_memory,
    "memory_history": lambda tx, call: memory.history(tx, workspace=call.workspace, key=call.values["key"]),
    "redact": redact,
    "log_conversation": log_conversation,
    "get_conversation": plain(conversations.get),
    "log": lambda tx, call: {"logs": events.log(tx, last=call.values["last"], workspace=call.workspace)},
    "create_run": plain(runs.create),
    "list_runs": lambda tx, call: runs.list_all(tx, status=call.values["status"], workspace=call.workspace),
    "get_run": lambda tx, call: _visible_run(call, runs.get(tx, call.values["run_id"])),
    "run_summary": lambda tx, call: _visible_run(call, runs.summary(tx, call.values["run_id"])),
    "resume_run": lambda tx, call: _visible_run(call, runs.resume(tx, call.caller, run_id=call.values["run_id"])),
    "export_run": lambda tx, call: _visible_run(call, runs.export(tx, call.values["run_id"])),
}
# What looks at the machine, done before the write: the writer must not wait for a slow disk or a lost share.
PREPARE: dict[str, Callable[[Call], dict[str, Any]]] = {
    "lock_file": with_path, "unlock_file": with_path, "check_lock": with_path, "guard": with_paths, "breach": with_paths,
}  # fmt: skip
# What a call that is repeated with its key is answered, where the first answer may be out of date.
REPEATED: dict[str, Callable[[Tx, Call, dict[str, Any]], dict[str, Any]]] = {
    "check_messages": lambda tx, call, before: messages.still_offered(tx, before),
    "hook": lambda tx, call, before: messages.still_offered(tx, before),
}
# What is done after the commit, to make the answer.
SETTLE: dict[str, Callable[[Call, dict[str, Any]], dict[str, Any]]] = {"register": settle_register}
