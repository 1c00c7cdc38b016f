"""A broker for these tests alone: the real one, with a clock that is moved by hand, or broken in one named way.

    python tests/linear/staged.py by_hand|- BUG|-

By hand: POST /virtual/advance moves the clock while no request is under way, POST /virtual/tick lets the sweep look; it looks
at no other time. A bug replaces one function before the program begins; `BUGS` says what each does.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import threading
import time
from typing import Any

from lattice.broker import app, main, sweep
from lattice.clock import ManualClock
from lattice.web.server import Answer
from tests.linear.bugs import BUGS


class ByHand:
    """The clock, and who may move it: a request takes no time, so none is under way meanwhile."""

    def __init__(self) -> None:
        self.clock = ManualClock(time.time())
        self.sweep: Any = None
        self.turn = threading.Condition()
        self.under_way = 0
        self.moving = False

    def install(self) -> None:
        call, stage = app.Broker.call, self

        def staged(broker: Any, request: Any) -> Any:
            if request.path == "/virtual/advance":
                return stage.advance(float(request.body["seconds"]))
            with stage.turn:
                stage.turn.wait_for(lambda: not stage.moving)
                stage.under_way += 1
            try:
                if request.path == "/virtual/tick":
                    stage.sweep.tick()
                    return Answer(200, {"ok": True})
                return call(broker, request)
            finally:
                with stage.turn:
                    stage.under_way -= 1
                    stage.turn.notify_all()

        app.SystemClock = lambda: self.clock  # type: ignore[assignment, misc]
        app.Broker.call = staged  # type: ignore[method-assign]
        sweep.Sweep.start = lambda sweeper: setattr(stage, "sweep", sweeper)  # type: ignore[method-assign]

    def advance(self, seconds: float) -> Answer:
        with self.turn:
            self.moving = True
            self.turn.wait_for(lambda: self.under_way == 0)
            self.clock.advance(seconds)
            self.moving = False
            self.turn.notify_all()
        return Answer(200, {"ok": True})


if __name__ == "__main__":
    if sys.argv[1] == "by_hand":
        ByHand().install()
    if sys.argv[2] != "-":
        BUGS[sys.argv[2]].plant()
    raise SystemExit(main.main([]))
