"""Spawning: an architect asks for another session, the person says yes or no, the session gets its identity.

By default the request is an open escalation (kind spawn) and the caller is told `pending`; the page asks
the person, the outcome comes as mail, and after ten minutes without an answer it is refused.
C2_LATTICE_SPAWN=allow, or being the person, skips the question. Who asked hears when a session that was opened
has not enrolled after two minutes; a broker that was started anew meanwhile no longer knows of it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lattice import names
from lattice.clients import spawn as clients
from lattice.domain import escalations, events, idempotency, messages, peers
from lattice.domain.caller import BROKER, Caller
from lattice.errors import BadRequest, Conflict, Forbidden, Refusal
from lattice.guard import tokens

if TYPE_CHECKING:
    from lattice.broker.app import Broker
    from lattice.broker.call import Call
    from lattice.store.database import Tx

log = logging.getLogger("lattice.broker")

REFUSED_AFTER_S = 600.0
ARRIVES_WITHIN_S = 120.0
START = (
    "You are the c2-lattice worker {peer}. Call check_messages, then list_tasks; claim what is claimable, lock files before you edit them, "
    "complete each task with a summary, and go on until nothing is left to claim."
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was opened and is expected: by whom, where, since when (broker's clocks)."""

    peer_id: str
    asker: str
    workspace: str
    where: str
    at: float
    since: float


def ask(call: Call) -> dict[str, Any]:
    """Open the session now, or ask the person first: {ok, status: opened | pending, peer_id, message[, escalation_id]}.

    Once for each key. A repeat that comes before the first has its answer, or after a broker that ended over it, is
    answered `opening`: whether there is a session then, only its arrival shows.
    """
    broker, caller, said = call.broker, call.caller, call.values
    key: str | None = said.pop("idempotency_key", None)
    before = broker.read(lambda tx: idempotency.answered(tx, caller.actor, key, call.operation.name, said)) if key else None
    if before is not None:  # before the checks: its own session may be there by now
        return before  # type: ignore[no-any-return]
    request = _request(call)
    if not (caller.is_person or broker.settings.spawn == "allow"):
        asked: dict[str, Any] = broker.write(
            lambda tx: broker.once(tx, call, key, lambda: _ask_person(tx, caller, request)), "spawn_worker"
        )
        return asked
    opening = {
        "ok": True, "status": "opening", "peer_id": request["peer_id"],
        "message": "it was being opened when this was repeated: list_peers shows whether it came; if it did not, ask anew",
    }  # fmt: skip
    begun: dict[str, Any] = broker.write(lambda tx: broker.once(tx, call, key, lambda: opening), "spawn_worker") if key else opening
    if begun is not opening:
        return begun
    answer: dict[str, Any] | None = None
    try:
        answer = {"ok": True, "status": "opened", **_open(broker, caller, request)}
    finally:
        if key:  # with no answer it was refused, and may be asked again
            broker.write(lambda tx: idempotency.amend(tx, caller.actor, key, answer), "spawn_worker")
    return answer


def _request(call: Call) -> dict[str, Any]:
    """What is to be opened. Raises when it cannot be."""
    broker, caller, said = call.broker, call.caller, call.values
    if said["role"] == "architect" and not caller.is_person:
        raise Forbidden("only the person seats an architect", hint="ask for a worker, or message command-center")
    peer_id = names.check_peer_id(said["peer_id"]) if said["peer_id"] else names.new_id(said["role"])
    if broker.read(lambda tx: _lives(tx, peer_id)):
        raise Conflict(f"'{peer_id}' is a peer already", code="id_taken", hint="choose another peer_id, or leave it out")
    working_dir = _folder(said["working_dir"] or "", caller.working_dir)
    if not os.path.isdir(working_dir):
        raise BadRequest(f"working_dir {working_dir} is no folder on this machine", hint="name an existing folder")
    workspace = caller.workspace or broker.read(lambda tx: peers.workspace_of_dir(tx, working_dir))
    return {
        "peer_id": peer_id, "role": said["role"], "working_dir": working_dir, "workspace": workspace, "prompt": said["prompt"] or "",
        "tmux": said["tmux"] or "", "way": said["way"],
    }  # fmt: skip


def _ask_person(tx: Tx, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
    text = f"{caller.id} asks for a new {request['role']} session '{request['peer_id']}' in {request['working_dir']}"
    escalation_id = escalations.open_one(tx, caller, kind="spawn", text=text, task_id=None, run_id=None, request=request)
    message_id = messages.store(
        tx,
        caller,
        address=names.PERSON,
        category="question",
        content=text + "\nAllow it or refuse it on the page.",
        recipients=[names.PERSON],
    )
    escalations.carried_by(tx, caller, escalation_id, message_id)
    return {
        "ok": True, "status": "pending", "peer_id": request["peer_id"], "escalation_id": escalation_id,
        "message": "the person was asked on the page; the outcome comes as mail. Without an answer it is refused after 10 minutes.",
    }  # fmt: skip


def open_approved(broker: Broker, escalation_id: int) -> None:
    """The person allowed a session: open it, and mail the outcome."""
    try:
        row = broker.read(lambda tx: escalations.get(tx, escalation_id))
        request = row["request"]
        try:
            opened = _open(broker, Caller(row["raised_by"], "architect", row["workspace"]), request)
            outcome = f"session '{opened['peer_id']}' opened ({opened['way']}): {opened['message']}"
        except Refusal as refusal:
            outcome = f"session '{request['peer_id']}' could not be opened: {refusal.message}"
        broker.write(lambda tx: messages.tell(tx, row["raised_by"], "alert", outcome, workspace=row["workspace"]), "spawn_worker")
    except Exception:  # on a thread of its own: nobody above could answer
        log.exception("spawn %s", escalation_id)


def refuse_old(broker: Broker) -> None:
    """Requests that nobody answered in time."""
    waiting = broker.read(lambda tx: escalations.spawns_waiting(tx, broker.age.before(REFUSED_AFTER_S)))

    def refuse(tx: Tx) -> None:
        for escalation_id in waiting:
            messages.resolve(tx, BROKER, escalation_id=escalation_id, verdict="changes", answer="refused: nobody answered in 10 minutes")

    if waiting:
        broker.write(refuse, "refuse_spawn")


def tell_of_missing(broker: Broker, now: float) -> None:
    """Sessions that were opened two minutes ago and have not enrolled: whoever asked for one is told, once."""
    over = [one for one in broker.expected if now - one.since >= ARRIVES_WITHIN_S]
    for one in over:
        broker.expected.remove(one)
        broker.write(partial(_tell_if_missing, one=one), "spawn_worker")


def _tell_if_missing(tx: Tx, one: Opened) -> None:
    row = peers.find(tx, one.peer_id)
    if row is not None and row["last_heartbeat"] >= one.at:
        return
    left = int((tokens.LONGEST_TICKET_S - ARRIVES_WITHIN_S) // 60)
    text = (
        f"session '{one.peer_id}', opened 2 minutes ago ({one.where}), has not arrived. Its client may be waiting there for an answer"
        f" (trust, sign-in), or could not start. It can still arrive for {left} minutes; after that ask anew."
    )
    messages.tell(tx, one.asker, "alert", text, workspace=one.workspace)


def _open(broker: Broker, asker: Caller, request: dict[str, Any]) -> dict[str, Any]:
    """Mint the ticket, open the terminal, log it: {peer_id, way, message}."""
    if broker.read(lambda tx: _lives(tx, request["peer_id"])):
        raise Conflict(f"'{request['peer_id']}' is a peer already", code="id_taken")
    ticket = tokens.mint_ticket(
        broker.secret,
        peer=request["peer_id"],
        role=request["role"],
        workspace=request["workspace"],
        now=broker.clock.now(),
        ttl_s=tokens.LONGEST_TICKET_S,
    )
    opened = clients.spawn(
        broker.settings.home, peer=request["peer_id"], role=request["role"], ticket=ticket, port=broker.port,
        workspace=request["workspace"], working_dir=request["working_dir"],
        prompt=request["prompt"] or START.format(peer=request["peer_id"]), way=request["way"],
        tmux=request["tmux"], environ=broker.environ,
    )  # fmt: skip
    broker.write(
        lambda tx: events.note(tx, asker, "spawned", [request["peer_id"]], way=str(opened["way"]), working_dir=request["working_dir"]),
        "spawn_worker",
    )
    where = f"{opened['way']}: {opened['detail']}"
    broker.expected.append(Opened(request["peer_id"], asker.id, request["workspace"], where, broker.clock.now(), broker.clock.monotonic()))
    return {"peer_id": request["peer_id"], "way": opened["way"], "message": str(opened["detail"])}


def _folder(asked: str, of_caller: str) -> str:
    """Where the session is to work, absolute. The broker's own working directory is nobody's project and never meant."""
    folder = os.path.join(of_caller, os.path.expanduser(asked))
    if not os.path.isabs(folder):
        raise BadRequest("working_dir must be an absolute path of you, who are in no folder", hint="name the project's folder")
    return os.path.normpath(folder)


def _lives(tx: Tx, peer_id: str) -> bool:
    row = peers.find(tx, peer_id)
    return row is not None and row["status"] in ("active", "away", "killed")
