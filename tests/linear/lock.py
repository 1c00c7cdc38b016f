"""A lock as it should be: the plain model of one path that the search holds histories against.

Who holds it (one exclusive, or several shared), with which token, term and time of the last renewal; who lost it and has
not asked since; the newest token seen; what the clock shows and when the sweep last looked. A grant whose answer nobody
heard has the token 0 until somebody is told it.

    asked                               answers
    lock who shared term                granted token · held holder
    unlock who token leads              released holder ("": its own) · free · stale · held holder
    check who token                     is holder token yours current lost
    edit who                            yes · held holder · stale
    renew who                           holds token, 0 for none
    beat who · advance s · tick         ok
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.linear.search import FOREVER

LATE_S = 4.0  # a tick so much after the one before: the machine slept, everyone gets a full term


class Grant(NamedTuple):
    peer: str
    token: int
    shared: bool
    term: int  # 0: none of its own
    since: float
    above: int = 0  # a token of 0 is one between these two: tokens told before the grant are smaller, and
    below: float = FOREVER  # those of later grants greater


class Lock(NamedTuple):
    grants: tuple[Grant, ...] = ()  # oldest first
    lost: frozenset[str] = frozenset()
    newest: int = 0
    now: float = 0.0
    ticked: float = 0.0


def step(lock: Lock, asked: tuple[Any, ...], answer: tuple[Any, ...] | None) -> Lock | None:
    return ASKED[asked[0]](lock, answer, *asked[1:])


def take(lock: Lock, answer: tuple[Any, ...] | None, who: str, shared: bool, term: int) -> Lock | None:
    grants, lost, newest, now, ticked = lock
    mine = _of(grants, who)
    if mine is not None and mine.shared == shared:  # asked again: the same token, a full term
        if answer is not None and answer[0] != "granted":
            return None
        return _told(Lock(_changed(grants, mine, term=term, since=now), lost, newest, now, ticked), who, answer)
    others = [grant for grant in grants if grant.peer != who and not (shared and grant.shared)]
    if others:
        return lock if answer is None or answer == ("held", others[-1].peer) else None
    rest = tuple(grant for grant in grants if grant.peer != who)
    if answer is None:
        return Lock((*rest, Grant(who, 0, shared, term, now, newest)), lost - {who}, newest, now, ticked)
    token = answer[1]
    if answer[0] != "granted" or token <= newest:
        return None
    rest = tuple(grant if grant.token or grant.below < token else grant._replace(below=token) for grant in rest)
    return Lock((*rest, Grant(who, token, shared, term, now)), lost - {who}, token, now, ticked)


def release(lock: Lock, answer: tuple[Any, ...] | None, who: str, token: int, leads: bool) -> Lock | None:
    grants, lost, newest, now, ticked = lock
    mine = _of(grants, who)
    if token and (mine.token != token if mine is not None else bool(grants) or who in lost):
        return lock if answer in (None, ("stale",)) else None
    if mine is None and grants and not leads:
        return lock if answer in (None, ("held", grants[0].peer)) else None
    gone = [mine] if mine is not None else list(grants)
    if answer is not None and answer != (("free",) if not gone else ("released", "" if mine is not None else gone[0].peer)):
        return None
    left = tuple(grant for grant in grants if grant not in gone)
    return Lock(left, (lost - {who}) | {grant.peer for grant in gone if grant.peer != who}, newest, now, ticked)


def check(lock: Lock, answer: tuple[Any, ...] | None, who: str, token: int) -> Lock | None:
    if answer is None:
        return lock
    mine = _of(lock.grants, who)
    others = [grant for grant in lock.grants if grant.peer != who]
    shown = others[-1] if others else mine
    _, holder, told, yours, current, lost = answer
    if (holder, yours, lost) != (shown.peer if shown else "", mine is not None and not others, who in lock.lost):
        return None
    if current != (mine is not None and token > 0 and mine.token == token):
        return None
    return _told(lock, holder, ("is", told)) if shown else lock


def edit(lock: Lock, answer: tuple[Any, ...] | None, who: str) -> Lock | None:
    """What the hook asks before an edit."""
    others = [grant for grant in lock.grants if grant.peer != who]
    right = ("held", others[-1].peer) if others else ("stale",) if who in lock.lost else ("yes",)
    return lock if answer in (None, right) else None


def renew(lock: Lock, answer: tuple[Any, ...] | None, who: str) -> Lock | None:
    mine = _of(lock.grants, who)
    if mine is None:
        return lock if answer in (None, ("holds", 0)) else None
    renewed = lock._replace(grants=_changed(lock.grants, mine, since=lock.now))
    return None if answer == ("holds", 0) else _told(renewed, who, answer)


def beat(lock: Lock, answer: tuple[Any, ...] | None, who: str) -> Lock | None:
    mine = _of(lock.grants, who)
    return lock if mine is None else lock._replace(grants=_changed(lock.grants, mine, since=lock.now))


def advance(lock: Lock, answer: tuple[Any, ...] | None, seconds: float) -> Lock | None:
    return lock._replace(now=lock.now + seconds)


def tick(lock: Lock, answer: tuple[Any, ...] | None) -> Lock | None:
    grants, lost, newest, now, ticked = lock
    if now - ticked > LATE_S:
        grants = tuple(grant._replace(since=now) for grant in grants)
    over = [grant for grant in grants if grant.term and now - grant.since > grant.term]
    left = tuple(grant for grant in grants if grant not in over)
    return Lock(left, lost | {grant.peer for grant in over}, newest, now, now)


ASKED: dict[str, Callable[..., Lock | None]] = {
    "lock": take, "unlock": release, "check": check, "edit": edit, "renew": renew, "beat": beat, "advance": advance, "tick": tick,
}  # fmt: skip


def _of(grants: tuple[Grant, ...], who: str) -> Grant | None:
    for grant in grants:
        if grant.peer == who:
            return grant
    return None


def _changed(grants: tuple[Grant, ...], one: Grant, **said: Any) -> tuple[Grant, ...]:
    new = one._replace(**said)
    return grants if new == one else tuple(new if grant is one else grant for grant in grants)


def _told(lock: Lock, holder: str, answer: tuple[Any, ...] | None) -> Lock | None:
    """The answer names the token of the holder's grant: it must be that one, or the first that is heard of it."""
    if answer is None:
        return lock
    grant, token = _of(lock.grants, holder), answer[1]
    assert grant is not None
    if grant.token:
        return lock if grant.token == token else None
    if not grant.above < token < grant.below:
        return None
    told = _changed(lock.grants, grant, token=token, above=0, below=FOREVER)
    return lock._replace(grants=told, newest=max(lock.newest, token))
