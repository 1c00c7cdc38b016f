"""One call of each write that does something, with what must be there before it. `test_idempotency` holds the list whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lattice.domain import chains
from tests.broker.broking import PERSON, House

Made = tuple[str, str, dict[str, Any]]  # who, path, body ({} for a GET)


def _mail(house: House) -> list[str]:
    house.send("arch", "w1")
    return [one["receipt"] for one in house.take("w1")]


def _claimed(house: House) -> int:
    task = house.task("w1")
    house.post("w1", "/tasks/claim", task_id=task)
    return task


def _blocker(house: House) -> int:
    return int(house.post("w1", "/escalations", kind="blocker", text="stuck")["escalation_id"])


def _locked(house: House) -> None:
    house.post("w1", "/lock", file_path="/src/a.py")


def _held(house: House) -> int:
    said: dict[str, Any] = {}
    for _ in range(chains.SAME_TEXT):
        said = house.send("w1", "w2", "the same again, in the same words")
    assert said["held"], said
    return int(said["message_id"])


def _left(house: House) -> str:
    _claimed(house)
    house.post("w1", "/leave")
    return "w1"


EXAMPLES: dict[str, Callable[[House], Made]] = {
    "leave": lambda house: ("w1", "/leave", {}),
    "set_summary": lambda house: ("w1", "/summary", {"summary": "at work"}),
    "seat": lambda house: (PERSON, "/seat", {"peer_id": "w1"}),
    "pause": lambda house: ("arch", "/pause", {"peer_id": "w1"}),
    "resume": lambda house: ("arch", "/resume", {"peer_id": house.post("arch", "/pause", peer_id="w1")["peer_id"]}),
    "pause_all": lambda house: ("arch", "/pause-all", {}),
    "resume_all": lambda house: ("arch", "/resume-all", {} if house.post("arch", "/pause-all") else {}),
    "config": lambda house: ("arch", "/config", {"peer_id": "w1", "poll_interval_ms": 5000}),
    "budget": lambda house: ("arch", "/budget", {"peer_id": "w1", "token_budget": 1000}),
    "kill_peer": lambda house: ("arch", "/kill-peer", {"peer_id": "w1"}),
    "unregister": lambda house: ("arch", "/unregister", {"peer_id": "w1"}),
    "send_message": lambda house: ("w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "found it"}),
    "v4_messages": lambda house: ("w1", "GET /messages/w1", {} if house.send("arch", "w1") else {}),
    "check_messages": lambda house: ("w1", "/inbox/take", {} if house.send("arch", "w1") else {}),
    "ack": lambda house: ("w1", "/inbox/ack", {"receipts": _mail(house)}),
    "give_back": lambda house: ("w1", "/inbox/return", {"receipts": _mail(house)}),
    "release_held": lambda house: (PERSON, f"/messages/{_held(house)}/release", {}),
    "escalate": lambda house: ("w1", "/escalations", {"kind": "blocker", "text": "stuck"}),
    "resolve": lambda house: ("arch", f"/escalations/{_blocker(house)}/resolve", {"verdict": "answer", "answer": "go left"}),
    "create_task": lambda house: ("w1", "/tasks", {"title": "a task"}),
    "create_batch": lambda house: ("w1", "/tasks/batch", {"tasks": [{"title": "one"}, {"title": "two", "blocked_by": [-1]}]}),
    "claim_task": lambda house: ("w1", "/tasks/claim", {"task_id": house.task("w1")}),
    "complete_task": lambda house: ("w1", "/tasks/complete", {"task_id": _claimed(house), "artifacts": {"summary": "done"}}),
    "release_task": lambda house: ("w1", f"/tasks/{_claimed(house)}/release", {}),
    "fail_task": lambda house: ("w1", f"/tasks/{_claimed(house)}/fail", {"reason": "no way"}),
    "cancel_task": lambda house: ("w1", f"/tasks/{house.task('w1')}/cancel", {}),
    "renew_task": lambda house: ("w1", f"/tasks/{_claimed(house)}/renew", {}),
    "edit_task": lambda house: ("w1", f"/tasks/{house.task('w1')}/edit", {"title": "another"}),
    "assign_task": lambda house: ("arch", f"/tasks/{house.task('w1')}/assign", {"peer_id": "w1"}),
    "depend_task": lambda house: ("w1", f"/tasks/{house.task('w1')}/depend", {"add": [house.task("w1")]}),
    "lock_file": lambda house: ("w1", "/lock", {"file_path": "/src/a.py"}),
    "unlock_file": lambda house: ("w1", "/unlock", {"file_path": "/src/a.py", "_": _locked(house)}),
    "renew_locks": lambda house: ("w1", "/locks/renew", {"_": _locked(house)}),
    "hook": lambda house: ("w1", "/hook", {"event": "UserPromptSubmit", "max": 5, "_": house.send("arch", "w1")["message_id"]}),
    "guard": lambda house: ("w2", "/guard", {"paths": ["/src/a.py"], "_": _locked(house)}),
    "breach": lambda house: ("w2", "/guard/breach", {"paths": ["/src/a.py"], "_": _locked(house)}),
    "adopt": lambda house: ("w2", "/adopt", {"peer_id": _left(house)}),
    "set_memory": lambda house: ("w1", "/memory", {"key": "k", "value": "v"}),
    "log_conversation": lambda house: ("w1", "/conversation", {"turn_type": "user", "content": "hi"}),
    "create_run": lambda house: ("w1", "/runs", {"id": "r1", "name": "the run"}),
    "resume_run": lambda house: ("w1", f"/runs/{house.post('w1', '/runs', id='r1', name='the run', status='paused')['run_id']}/resume", {}),
}
# These change nothing that the log carries: they keep what is there.
KEEPING = frozenset(("renew_task", "renew_locks"))
