"""What the clients of a history ask: each operation as a request on the wire, and its answer in the words of the models."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

Answer = tuple[Any, ...]


class Ask(NamedTuple):
    """`parts`: what it is to each object that it touches. `hear(status, said, key)`: the answer, as that object's model has it."""

    method: str
    path: str
    body: dict[str, object]
    parts: tuple[tuple[Any, Answer], ...]
    hear: Callable[[int, dict[str, Any], Any], Answer]


class Unexpected(Exception):
    """An answer that no model knows."""


# -- locks: the object's key is the path -------------------------------------------------------------------------------------


def lock(who: str, path: str, shared: bool, term: int) -> Ask:
    body: dict[str, object] = {"file_path": path, "shared": shared}
    return Ask("POST", "/lock", body | ({"ttl_s": term} if term else {}), ((path, ("lock", who, shared, term)),), _locked)


def unlock(who: str, path: str, token: int, leads: bool) -> Ask:
    body: dict[str, object] = {"file_path": path}
    return Ask("POST", "/unlock", body | ({"token": token} if token else {}), ((path, ("unlock", who, token, leads)),), _unlocked)


def check(who: str, path: str, token: int) -> Ask:
    query = f"?file_path={path}" + (f"&token={token}" if token else "")
    return Ask("GET", f"/locks/check{query}", {}, ((path, ("check", who, token)),), _checked)


def edit(who: str, path: str) -> Ask:
    return Ask("POST", "/guard", {"paths": [path]}, ((path, ("edit", who)),), _judged)


def renew_all(who: str, paths: list[str]) -> Ask:
    return Ask("POST", "/locks/renew", {}, tuple((path, ("renew", who)) for path in paths), _renewed)


def beat(who: str, paths: list[str]) -> Ask:
    return Ask("POST", "/heartbeat", {"id": who}, tuple((path, ("beat", who)) for path in paths), _ok)


def advance(seconds: int, paths: list[str]) -> Ask:
    return Ask("POST", "/virtual/advance", {"seconds": seconds}, tuple((path, ("advance", seconds)) for path in paths), _ok)


def tick(paths: list[str]) -> Ask:
    return Ask("POST", "/virtual/tick", {}, tuple((path, ("tick",)) for path in paths), _ok)


def _locked(status: int, said: dict[str, Any], key: Any) -> Answer:
    if status == 200:
        return ("granted", said["token"])
    return ("held", _expect(said, status == 409 and said["code"] == "locked")["holder"])


def _unlocked(status: int, said: dict[str, Any], key: Any) -> Answer:
    if status == 200:
        return ("released", said.get("holder", "")) if said["released"] else ("free",)
    if status == 409 and said["code"] == "stale_token":
        return ("stale",)
    return ("held", _expect(said, status == 403 and "holder" in said)["holder"])


def _checked(status: int, said: dict[str, Any], key: Any) -> Answer:
    _expect(
        said, status == 200 and said["locked"] == (said["holder"] is not None) and said["state"] == ("held" if said["locked"] else "free")
    )
    return ("is", said["holder"] or "", said["token"] or 0, said["yours"], said["token_is_current"], said["lost"] is not None)


def _judged(status: int, said: dict[str, Any], key: Any) -> Answer:
    if _expect(said, status == 200)["verdict"] == "allow":
        return ("yes",)
    return ("stale",) if said["code"] == "stale_token" else ("held", _expect(said, said["code"] == "locked")["holder"])


def _renewed(status: int, said: dict[str, Any], key: Any) -> Answer:
    held = [one["token"] for one in _expect(said, status == 200)["locks"] if one["file_path"] == key]
    return ("holds", held[0] if held else 0)


def _ok(status: int, said: dict[str, Any], key: Any) -> Answer:
    _expect(said, status == 200 and said["ok"])
    return ("ok",)


# -- tasks: the object's key is the pair of ids, n which of them -----------------------------------------------------------------


def claim(who: str, pair: tuple[int, int], n: int) -> Ask:
    return Ask("POST", "/tasks/claim", {"task_id": pair[n]}, ((pair, ("claim", who, n)),), _claimed)


def complete(who: str, pair: tuple[int, int], n: int, token: int) -> Ask:
    body = {"task_id": pair[n], "artifacts": {"summary": "done"}, **_shown(token)}
    return Ask("POST", "/tasks/complete", body, ((pair, ("complete", who, n, token)),), _completed)


def fail(who: str, pair: tuple[int, int], n: int, token: int) -> Ask:
    return Ask("POST", f"/tasks/{pair[n]}/fail", {"reason": "cannot", **_shown(token)}, ((pair, ("fail", who, n, token)),), _done)


def release(who: str, pair: tuple[int, int], n: int, token: int) -> Ask:
    return Ask("POST", f"/tasks/{pair[n]}/release", _shown(token), ((pair, ("release", who, n, token)),), _done)


def renew(who: str, pair: tuple[int, int], n: int, token: int) -> Ask:
    return Ask("POST", f"/tasks/{pair[n]}/renew", _shown(token), ((pair, ("renew", who, n, token)),), _kept)


def get(who: str, pair: tuple[int, int], n: int) -> Ask:
    return Ask("GET", f"/tasks/{pair[n]}", {}, ((pair, ("get", n)),), _got)


def _claimed(status: int, said: dict[str, Any], key: Any) -> Answer:
    if status == 200:
        return ("claimed", said["token"])
    _expect(said, status == 409)
    if said["code"] == "blocked":
        return ("blocked",)
    return ("held", said["holder"]) if "already in_progress" in said["error"] else ("ended",)


def _completed(status: int, said: dict[str, Any], key: Any) -> Answer:
    return ("completed", bool(said["newly_unblocked"])) if status == 200 else _refused(status, said)


def _done(status: int, said: dict[str, Any], key: Any) -> Answer:
    return ("done",) if status == 200 else _refused(status, said)


def _kept(status: int, said: dict[str, Any], key: Any) -> Answer:
    return ("holds", said["token"]) if status == 200 else _refused(status, said)


def _got(status: int, said: dict[str, Any], key: Any) -> Answer:
    task = _expect(said, status == 200)["task"]
    return ("is", task["status"], task["assigned_to"] or "", task["token"] or 0, task["claimable"])


def _refused(status: int, said: dict[str, Any]) -> Answer:
    if status == 409 and said["code"] == "stale_token":
        return ("stale",)
    if status == 409:
        return ("ended",)
    _expect(said, status == 403)
    return ("pending",) if said["code"] == "stale_token" else ("held", said["holder"])


def _shown(token: int) -> dict[str, object]:
    return {"token": token} if token else {}


def _expect(said: dict[str, Any], fits: bool) -> dict[str, Any]:
    if not fits:
        raise Unexpected(json.dumps(said)[:500])
    return said
