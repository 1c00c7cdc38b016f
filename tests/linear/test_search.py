"""The search itself: small histories that are right and wrong, all orders tried out beside it, long histories and what spoils them."""

from __future__ import annotations

import itertools
import random
import unittest
from collections.abc import Callable
from typing import Any

from tests.linear import lock, task
from tests.linear.search import FOREVER, Operation, explain, judge
from tests.running import chance, figure

CLIENTS = ("a", "b", "c", "d", "e")


def op(called: float, returned: float, *asked: Any, answer: tuple[Any, ...] | None) -> Operation:
    return Operation(called, returned, str(asked[1]) if len(asked) > 1 else "", asked, answer)


def locked(called: float, returned: float, who: str, token: int, shared: bool = False) -> Operation:
    return op(called, returned, "lock", who, shared, 0, answer=("granted", token))


def unlocked(called: float, returned: float, who: str) -> Operation:
    return op(called, returned, "unlock", who, 0, False, answer=("released", ""))


def held(called: float, returned: float, who: str, holder: str) -> Operation:
    return op(called, returned, "lock", who, False, 0, answer=("held", holder))


class SmallHistories(unittest.TestCase):
    def good(self, *history: Operation) -> None:
        verdict = judge(history, lock.step, lock.Lock())
        self.assertTrue(verdict.is_linearizable, explain(verdict))
        self.assertEqual(verdict.left, [])

    def bad(self, *history: Operation) -> None:
        verdict = judge(history, lock.step, lock.Lock())
        self.assertFalse(verdict.is_linearizable, verdict.order)
        self.assertTrue(verdict.left)
        self.assertIn("none of these can be next", explain(verdict))

    def test_nothing_is_linearizable(self) -> None:
        self.good()

    def test_one_after_the_other(self) -> None:
        self.good(locked(0, 1, "a", 1), held(2, 3, "b", "a"), unlocked(4, 5, "a"), locked(6, 7, "b", 2))

    def test_calls_that_overlap_may_come_in_either_order(self) -> None:
        self.good(locked(0, 10, "a", 1), held(1, 2, "b", "a"))
        self.good(held(0, 1, "b", "a"), locked(1, 10, "a", 1))  # a return and a call at one moment overlap
        self.good(locked(0, 1, "a", 1), unlocked(2, 9, "a"), locked(3, 4, "b", 2), held(5, 6, "c", "b"))

    def test_what_returned_before_is_before(self) -> None:
        self.bad(held(0, 1, "b", "a"), locked(2, 10, "a", 1))
        self.bad(locked(0, 1, "a", 1), locked(2, 3, "b", 2), unlocked(4, 5, "a"))

    def test_two_grants_of_one_lock(self) -> None:
        self.bad(locked(0, 10, "a", 1), locked(0, 10, "b", 2))
        self.good(locked(0, 10, "a", 1, shared=True), locked(0, 10, "b", 2, shared=True))
        self.bad(locked(0, 10, "a", 1, shared=True), locked(0, 10, "b", 2))

    def test_a_token_that_does_not_grow(self) -> None:
        for second, is_good in ((3, True), (2, False), (1, False)):
            history = (locked(0, 1, "a", 2), unlocked(2, 3, "a"), locked(4, 5, "b", second))
            (self.good if is_good else self.bad)(*history)

    def test_asking_again_is_answered_by_the_same_token(self) -> None:
        self.good(locked(0, 1, "a", 1), locked(2, 3, "a", 1))
        self.bad(locked(0, 1, "a", 1), locked(2, 3, "a", 2))

    def test_an_unknown_call_may_have_taken_effect_or_not(self) -> None:
        asked = op(0, FOREVER, "lock", "a", False, 0, answer=None)
        self.good(asked, held(5, 6, "b", "a"))
        self.good(asked, locked(5, 6, "b", 1))
        self.good(asked, locked(5, 6, "b", 1), unlocked(7, 8, "b"), held(90, 91, "b", "a"))  # only now
        self.bad(asked, held(5, 6, "b", "a"), locked(7, 8, "b", 1))  # once it has, it has
        self.bad(asked, held(5, 6, "b", "c"))
        self.bad(held(-2, -1, "b", "a"), asked)  # not before it was called

    def test_an_unknown_call_has_a_last_moment_where_one_is_known(self) -> None:
        asked = op(0, 4, "lock", "a", False, 0, answer=None)
        self.good(asked, held(5, 6, "b", "a"))
        self.good(asked, locked(5, 6, "b", 1))
        self.bad(asked, locked(5, 6, "b", 1), unlocked(7, 8, "b"), held(90, 91, "b", "a"))

    def test_the_token_of_an_unknown_grant_is_the_first_that_is_told_of_it(self) -> None:
        before = (locked(0, 1, "a", 5, shared=True), op(2, FOREVER, "lock", "b", True, 0, answer=None))
        after = (locked(10, 11, "c", 9, shared=True), op(12, 13, "unlock", "c", 0, False, answer=("released", "")))

        def seen(token: int, at: float) -> Operation:
            return op(at, at + 1, "renew", "b", answer=("holds", token))

        held_between = held(8, 9, "d", "b")  # so it has the lock, before c comes
        self.good(*before, held_between, *after, seen(7, 14), seen(7, 16))
        self.bad(*before, held_between, *after, seen(7, 14), seen(8, 16))
        self.bad(*before, held_between, *after, seen(4, 14))
        self.bad(*before, held_between, *after, seen(12, 14))

    def test_a_lease_runs_out_at_the_tick_after_its_term_and_not_before(self) -> None:
        def timed(seconds: int, seen: str, *between: Operation) -> tuple[Operation, ...]:
            return (
                op(0, 1, "lock", "a", False, 5, answer=("granted", 1)), *between,
                op(4, 5, "advance", seconds, answer=("ok",)), op(6, 7, "tick", answer=("ok",)),
                op(8, 9, "check", "b", 0, answer=("is", seen, 1 if seen else 0, False, False, False)),
            )  # fmt: skip

        self.good(*timed(4, "a"))
        self.bad(*timed(4, ""))
        steps = (op(2, 2.1, "advance", 3, answer=("ok",)), op(2.2, 2.3, "tick", answer=("ok",)))
        self.good(*timed(3, "", *steps))
        self.bad(*timed(3, "a", *steps))
        self.good(*timed(3, "a", *steps, op(3, 3.1, "beat", "a", answer=("ok",))))
        self.bad(*timed(3, "", *steps, op(3, 3.1, "renew", "a", answer=("holds", 1))))
        self.good(*timed(20, "a"))  # the machine slept: a full term for all

    def test_what_changes_nothing_at_first_may_come_later_and_change_something(self) -> None:
        """A renewal beside the clock: before it moved it renews nothing, after it moved the lock lives longer."""
        self.good(
            op(0, 1, "lock", "a", False, 5, answer=("granted", 1)),
            op(2, 9, "renew", "a", answer=("holds", 1)), op(3, 8, "advance", 3, answer=("ok",)), op(10, 11, "tick", answer=("ok",)),
            op(12, 13, "advance", 3, answer=("ok",)), op(14, 15, "tick", answer=("ok",)), held(16, 17, "b", "a"),
        )  # fmt: skip

    def test_who_lost_its_lock_is_refused_until_it_asks(self) -> None:
        lost = (locked(0, 1, "a", 1), op(2, 3, "unlock", "arch", 0, True, answer=("released", "a")))
        self.good(*lost, op(4, 5, "edit", "a", answer=("stale",)), op(4, 5, "unlock", "a", 1, False, answer=("stale",)))
        self.bad(*lost, op(4, 5, "edit", "a", answer=("yes",)))
        self.bad(*lost, op(4, 5, "unlock", "a", 1, False, answer=("free",)))
        self.good(*lost, locked(4, 5, "a", 2), op(6, 7, "edit", "a", answer=("yes",)))

    def test_a_task_is_claimed_once_completed_by_its_owner_and_unblocks_the_next_once(self) -> None:
        def claimed(at: float, who: str, n: int, token: int) -> Operation:
            return op(at, at + 1, "claim", who, n, answer=("claimed", token))

        def completed(at: float, who: str, n: int, unblocks: bool, token: int = 0) -> Operation:
            return op(at, at + 1, "complete", who, n, token, answer=("completed", unblocks))

        for good, history in (
            (True, [claimed(0, "a", 0, 1), completed(2, "a", 0, True), claimed(4, "b", 1, 2), completed(6, "b", 1, False, 2)]),
            (False, [claimed(0, "a", 0, 1), claimed(2, "b", 0, 2)]),
            (False, [claimed(0, "a", 1, 1)]),
            (False, [claimed(0, "a", 0, 1), completed(2, "b", 0, True)]),
            (False, [claimed(0, "a", 0, 1), completed(2, "a", 0, False)]),
            (False, [claimed(0, "a", 0, 1), completed(2, "a", 0, True, 7)]),
            (True, [claimed(0, "a", 0, 1), op(2, 3, "release", "a", 0, 1, answer=("done",)), claimed(4, "b", 0, 2)]),
            (False, [claimed(0, "a", 0, 2), op(2, 3, "release", "a", 0, 2, answer=("done",)), claimed(4, "b", 0, 1)]),
            (False, [claimed(0, "a", 0, 1), op(2, 3, "fail", "a", 0, 1, answer=("done",)), claimed(4, "b", 1, 2)]),
            (False, [claimed(0, "a", 0, 1), op(2, 3, "get", 0, answer=("is", "pending", "", 0, True))]),
        ):
            self.assertEqual(judge(history, task.step, task.Pair()).is_linearizable, good, history)


class AllOrders(unittest.TestCase):
    """The search beside a look at every order, on histories so small that this can be done."""

    def test_the_search_says_what_trying_all_orders_says(self) -> None:
        chosen = chance(self)
        outcomes = [0, 0]
        for _ in range(figure(500, 2000)):
            history = [self.any_operation(chosen) for _ in range(chosen.randint(1, 6))]
            right = self.by_hand(history)
            verdict = judge(history, lock.step, lock.Lock())
            self.assertEqual(verdict.is_linearizable, right, history)
            outcomes[right] += 1
        self.assertGreater(min(outcomes), 50, "both outcomes were tried")

    def any_operation(self, chosen: random.Random) -> Operation:
        called, term = chosen.randrange(8), chosen.choice((0, 1))
        returned: float = called + 1 + chosen.randrange(4)
        who, other = chosen.choice("abc"), chosen.choice("abc")
        asked: tuple[Any, ...]
        answer: tuple[Any, ...] | None
        asked, answer = chosen.choice((
            (("lock", who, chosen.random() < 0.5, term), chosen.choice((("granted", chosen.randint(1, 3)), ("held", other)))),
            (("unlock", who, 0, False), chosen.choice((("released", ""), ("free",), ("held", other)))),
            (("renew", who), ("holds", chosen.randrange(3))),
            (("edit", who), chosen.choice((("yes",), ("held", other)))),
            (("beat", who), ("ok",)), (("advance", 2), ("ok",)), (("tick",), ("ok",)),
        ))  # fmt: skip
        if chosen.random() < 0.25:
            answer, returned = None, chosen.choice((returned, FOREVER))
        return Operation(called, returned, who, asked, answer)

    def by_hand(self, history: list[Operation]) -> bool:
        known = [one for one in history if one.answer is not None]
        unknown = [one for one in history if one.answer is None]
        subsets = itertools.chain.from_iterable(itertools.combinations(unknown, size) for size in range(len(unknown) + 1))
        return any(self.fits(order) for some in subsets for order in itertools.permutations([*known, *some]))

    def fits(self, order: tuple[Operation, ...]) -> bool:
        if any(late.returned < early.called for early, late in itertools.combinations(order, 2)):
            return False
        state: lock.Lock | None = lock.Lock()
        for one in order:
            state = lock.step(state, one.asked, one.answer)  # type: ignore[arg-type]
            if state is None:
                return False
        return True


class Service:
    """The plainest lock service there is, to make histories with: it knows nothing of the model."""

    def __init__(self) -> None:
        self.holder, self.token, self.newest = "", 0, 0

    def lock(self, who: str) -> tuple[Any, ...]:
        if self.holder not in ("", who):
            return ("held", self.holder)
        if not self.holder:
            self.newest += 1
            self.holder, self.token = who, self.newest
        return ("granted", self.token)

    def unlock(self, who: str, token: int) -> tuple[Any, ...]:
        if self.holder != who:
            return ("stale",) if token and self.holder else ("held", self.holder) if self.holder else ("free",)
        if token and token != self.token:
            return ("stale",)
        self.holder = ""
        return ("released", "")

    def check(self, who: str, token: int) -> tuple[Any, ...]:
        mine = self.holder == who
        return ("is", self.holder, self.token if self.holder else 0, mine, mine and token == self.token, False)


Spoil = Callable[[random.Random, list[Operation]], Operation | None]


class LongHistories(unittest.TestCase):
    """Made by doing one thing after the other, each at one moment, and telling of longer times around those moments."""

    time_bound_s = 120.0

    def history(self, chosen: random.Random, size: int) -> list[Operation]:
        service, free, made = Service(), dict.fromkeys(CLIENTS, 0.0), []
        at, told = 0.0, [0]
        for _ in range(size):
            at += 1.0
            who = chosen.choice(CLIENTS)
            token = chosen.choice(told)  # nobody shows a token that nobody was told
            verb = chosen.choice(("lock", "unlock", "check"))
            called = max(free[who], at - chosen.random() * 6)
            if verb == "lock":
                asked: tuple[Any, ...] = ("lock", who, False, 0)
                answer = service.lock(who)
            elif verb == "unlock":
                asked, answer = ("unlock", who, token, False), service.unlock(who, token)
            else:
                asked, answer = ("check", who, token), service.check(who, token)
            free[who] = at + chosen.random() * 0.9
            lost = chosen.random() < 0.04
            if not lost and answer[0] == "granted":
                told.append(answer[1])
            made.append(Operation(called, FOREVER if lost else free[who], who, asked, None if lost else answer))
        return made

    def test_what_was_done_one_after_the_other_is_accepted_however_the_calls_overlap(self) -> None:
        chosen = chance(self)
        for _ in range(figure(60, 400)):
            history = self.history(chosen, chosen.randint(1, 80))
            verdict = judge(history, lock.step, lock.Lock())
            self.assertTrue(verdict.is_linearizable, explain(verdict))

    def test_each_way_to_spoil_a_history_is_found(self) -> None:
        chosen = chance(self)
        for name, spoil in SPOILS.items():
            spoiled = 0
            for _ in range(figure(40, 200)):
                history = [one for one in self.history(chosen, 60) if one.answer is not None]
                wrong = spoil(chosen, history)
                if wrong is None:
                    continue
                spoiled += 1
                verdict = judge([*history, wrong], lock.step, lock.Lock())
                self.assertFalse(verdict.is_linearizable, f"{name}: {wrong} in {history}")
            self.assertGreater(spoiled, 10, name)


def certainly_held(chosen: random.Random, history: list[Operation]) -> tuple[Operation, float, float] | None:
    """A grant, and a time in which it stood for certain: after its return, before anybody began to ask for a release."""
    found = []
    for grant in history:
        if grant.answer is not None and grant.answer[0] == "granted":
            end = min((one.called for one in history if one.asked[0] == "unlock" and one.returned >= grant.called), default=FOREVER)
            if end > grant.returned:
                found.append((grant, grant.returned, min(end, grant.returned + 1)))
    return chosen.choice(found) if found else None


def within(start: float, end: float) -> tuple[float, float]:
    return start + (end - start) / 3, start + (end - start) * 2 / 3


def second_grant(chosen: random.Random, history: list[Operation]) -> Operation | None:
    found = certainly_held(chosen, history)
    if found is None:
        return None
    grant, start, end = found
    return Operation(*within(start, end), "x", ("lock", "x", False, 0), ("granted", 10_000))


def unseen_holder(chosen: random.Random, history: list[Operation]) -> Operation | None:
    found = certainly_held(chosen, history)
    return found and Operation(*within(*found[1:]), "x", ("check", "x", 0), ("is", "", 0, False, False, False))


def wrong_holder(chosen: random.Random, history: list[Operation]) -> Operation | None:
    found = certainly_held(chosen, history)
    return found and Operation(*within(*found[1:]), "x", ("lock", "x", False, 0), ("held", "nobody"))


def stale_unlock(chosen: random.Random, history: list[Operation]) -> Operation | None:
    found = certainly_held(chosen, history)
    if found is None or found[0].answer is None or found[0].answer[1] < 2:
        return None
    grant, start, end = found
    return Operation(*within(start, end), grant.who, ("unlock", grant.who, 1, False), ("released", ""))


def used_token(chosen: random.Random, history: list[Operation]) -> Operation | None:
    """Another grant at the end, with a token that was given before."""
    tokens = [one.answer[1] for one in history if one.answer is not None and one.answer[0] == "granted"]
    end = max(one.returned for one in history) + 1
    return Operation(end, end + 1, "x", ("lock", "x", False, 0), ("granted", chosen.choice(tokens))) if tokens else None


def refused_by_the_future(chosen: random.Random, history: list[Operation]) -> Operation | None:
    """Somebody is told a holder who only asked later."""
    first = min(one.called for one in history)
    return Operation(first - 2, first - 1, "x", ("lock", "x", False, 0), ("held", chosen.choice(CLIENTS)))


SPOILS: dict[str, Spoil] = {
    spoil.__name__: spoil for spoil in (second_grant, unseen_holder, wrong_holder, stale_unlock, used_token, refused_by_the_future)
}


if __name__ == "__main__":
    unittest.main()
