"""What the hooks of a coding client (and of git) ask the broker.

One call a hook. A hook that ran proves what an earlier hook handed in; it may hand in mail, as the way
`hook`; a session that starts gets its capsule; an edit is refused while somebody else holds the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lattice import names
from lattice.domain import adoptions, capsules, escalations, events, locks, messages, peers
from lattice.errors import Conflict
from lattice.guard import content
from lattice.store.database import Tx
from lattice.visible import one_line
from lattice.web.server import Answer, Parked

if TYPE_CHECKING:
    from lattice.broker.call import Call


def hook(tx: Tx, call: Call) -> dict[str, Any]:
    """{ok, messages, more[, capsule][, released]}: what this event proves, changes and hands in."""
    caller, said = call.caller, call.values
    event = said["event"]
    # Wake runs beside the hook of the same event, and so proves nothing of what that one hands in.
    proven = 0 if event == "Wake" else messages.prove_hook_offers(tx, caller, said["tool_use_id"], event, said["began_ms"])
    peers.has_hooks(tx, caller, "rewake" if event == "Wake" else "hook")
    answer: dict[str, Any] = {"ok": True, "proven": proven, "messages": [], "more": 0}
    if event == "UserPromptSubmit" and said["source"] != "notice":
        peers.set_cause(tx, caller.id, None)
    if event in ("Stop", "SessionEnd"):
        answer["released"] = locks.release_turn(tx, caller)
    if said["max"]:
        taken = messages.take(
            tx, caller, receipts=names.new_key, max=said["max"], way="hook", process=caller.process, urgent_only=said["urgent_only"]
        )
        answer.update(messages=taken["messages"], more=taken["more"])
    if event == "SessionStart":
        answer["capsule"] = capsules.write(tx, caller)
    return answer


def why_flag(tx: Tx, card: Any) -> str:
    """Why a hook of this session (its card) should ask, "" for no reason.

    One that was given up may only be frozen: what it lost it must not write to when it goes on.
    """
    peer_id, why = card["id"], []
    is_active = card["status"] == "active"
    if is_active and messages.waits(tx, peer_id):
        why.append("mail")
    if is_active and messages.unproven_by_hook(tx, peer_id):
        why.append("proof")
    if is_active and locks.others_hold(tx, peer_id, card["workspace"]):
        why.append("locks")
    if locks.has_lost(tx, peer_id):
        why.append("lost")
    if card["status"] == "killed":
        why.append("ended")
    return " ".join(why)


def why_cause(tx: Tx, peer_id: str) -> str:
    """Was the session shown mail since its last human prompt? "" when not."""
    message_id = peers.cause(tx, peer_id)
    return "" if message_id is None else f"message {message_id}"


def guard(tx: Tx, call: Call) -> dict[str, Any]:
    """{verdict: allow | deny, file_path, reason, hint, holder …[, taken: paths locked for the turn]}."""
    caller, said = call.caller, call.values
    wanted = said["reached"]
    for kind, path in wanted:
        refusal = locks.against_edit(tx, caller, kind, path)
        if refusal is not None:
            events.note(tx, caller, "edit_refused", [path], reason=refusal.message)
            return {
                "verdict": "deny",
                "file_path": path,
                "reason": refusal.message,
                "hint": refusal.hint,
                "code": refusal.code,
                **refusal.details,
            }
    taken = []
    if said["auto"]:
        for kind, path in wanted:
            if kind == "glob" or locks.covered(tx, caller.id, kind, path):
                continue
            try:
                locks.acquire(tx, caller, file_path=path, kind=kind, turn=True, reason="editing")
                taken.append(path)
            except Conflict as refusal:
                if refusal.code == "waited_for":  # nobody holds it, so it may be edited; who waits is not passed in the queue
                    continue
                return {"verdict": "deny", "file_path": path, "reason": refusal.message, "hint": refusal.hint, "code": refusal.code}
    return {"verdict": "allow", "taken": taken}


def held(tx: Tx, call: Call) -> dict[str, Any]:
    """{held: [{kind, file_path, holder, token}] by others in the caller's workspace, lost: [{kind, file_path}] by the caller}."""
    caller = call.caller
    rows = locks.held_by_others(tx, caller.id, caller.workspace)
    lost = tx.all("SELECT file_path, reach FROM lost_locks WHERE peer_id = ? ORDER BY token", (caller.id,))
    return {
        "held": [{"kind": row["reach"], "file_path": row["file_path"], "holder": row["peer_id"], "token": row["token"]} for row in rows],
        "lost": [{"kind": row["reach"], "file_path": row["file_path"]} for row in lost],
    }


def breach(tx: Tx, call: Call) -> dict[str, Any]:
    """Files that changed although others hold them: each holder and the caller hear of it, once a file and holder. {ok, breaches}."""
    caller, said = call.caller, call.values
    found: dict[str, list[str]] = {}
    for kind, path in said["reached"]:
        for row in locks.in_the_way(tx, caller.id, kind, path):
            paths = found.setdefault(row["peer_id"], [])
            if path not in paths:
                paths.append(path)
    for holder, paths in found.items():
        listed = one_line(", ".join(paths[:10]), 2000) + (f" and {len(paths) - 10} more" if len(paths) > 10 else "")
        # The notice is the broker's own, so a command that the filter would not let a peer say is not said by it either.
        how = f" by: {one_line(said['command'], 200)}" if said["command"] and content.judge(said["command"], "summary") is None else ""
        messages.tell(
            tx,
            holder,
            "alert",
            f"{caller.id} changed what you hold{how}. Files: {listed}. Look at them before you go on.",
            workspace=caller.workspace,
        )
        messages.tell(
            tx,
            caller.id,
            "alert",
            f"your command changed files that {holder} holds: {listed}. Tell {holder}, or put them back.",
            workspace=caller.workspace,
        )
        events.note(tx, caller, "breach", list(paths[:100]), holder=holder, command=said["command"][:500])
    return {"ok": True, "breaches": [{"holder": holder, "paths": paths} for holder, paths in found.items()]}


def permission(call: Call) -> Parked | Answer:
    """A tool wants leave: an escalation that the person answers. Waits; {decided: allow | deny | none, escalation_id, answer}."""
    broker, caller, said = call.broker, call.caller, call.values
    request = {"tool": said["tool"], "wait_s": said["wait_s"]}

    def raise_it(tx: Tx) -> int:
        escalation_id = escalations.open_one(
            tx, caller, kind="permission", text=f"{said['tool']}: {said['text']}", task_id=None, run_id=None, request=request
        )
        escalations.carried_by(tx, caller, escalation_id, None)
        return escalation_id

    escalation_id = broker.write(raise_it, "permission")
    until = broker.clock.monotonic() + said["wait_s"]

    def look() -> Answer | Parked:
        row = broker.read(lambda tx: escalations.get(tx, escalation_id))
        left = until - broker.clock.monotonic()
        if row["state"] == "open" and left > 0.05:
            return Parked(f"escalation:{escalation_id}", left, look)
        if row["state"] == "open":
            row = broker.write(lambda tx: _withdraw(tx, escalation_id), "permission")
        decided = {"approve": "allow", "": "none"}.get(row["verdict"], "deny")
        return Answer(200, {"decided": decided, "escalation_id": escalation_id, "answer": row["answer"], "by": row["resolved_by"]})

    return look()


def withdraw_overdue(tx: Tx, escalation_ids: list[int]) -> None:
    """Whoever waited for these verdicts is gone (its hook was ended, or the broker): nobody would hear the answer."""
    for escalation_id in escalation_ids:
        _withdraw(tx, escalation_id)


def _withdraw(tx: Tx, escalation_id: int) -> dict[str, Any]:
    """Nobody answered in time: the client's own prompt stands, so the question is no longer ours.

    Answers it as it is now: perhaps the person answered at the last moment.
    """
    if escalations.get(tx, escalation_id)["state"] == "open":
        escalations.withdraw(tx, escalation_id, "nobody answered in time; the client asked its own user")
    return escalations.get(tx, escalation_id)


def capsule(tx: Tx, call: Call) -> dict[str, Any]:
    return {"capsule": capsules.write(tx, call.caller)}


def adopt(tx: Tx, call: Call) -> dict[str, Any]:
    return adoptions.adopt(tx, call.caller, **call.values)
