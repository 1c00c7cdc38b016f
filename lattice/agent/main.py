"""The MCP server beside one coding session: pipes, signals, threads, and how it ends.

The main thread reads. A thread waits for signals: a Python handler can lose the race with a blocking read.
A thread watches the client: a pipe may be held open by others after it is gone. It ends with 0 on the end of
stdin, on SIGINT, SIGTERM, SIGHUP, and when its client is gone; before that it takes its leave of the broker,
for LEAVE_S at most. All else begins after the first answer.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from lattice import settings as settings_of
from lattice.agent import stdio
from lattice.agent.session import Session
from lattice.errors import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lattice.agent.toolbox import Toolbox

ENROL_AFTER_S = 0.3  # after the first tools/list: `claude mcp list` is gone by then
LEAVE_S = 0.45
DRAIN_S = 2.0  # for calls under way when stdin ends: a pipe that was written at once and closed
WATCH_S = 2.0


class Server:
    """The parts, put together once: those of the first answer at once, the others by `open_toolbox`."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        settings: Any = settings_of.read(environ)
        self.settings = settings
        self.client_pid = os.getppid()
        self.client_started = ""
        self.folder = settings.peer_dir or _cwd()
        self.toolbox: Toolbox | None = None
        self._ending = threading.Lock()
        self._first_use = threading.Lock()  # guards _in_use
        self._in_use = False
        self.wire = stdio.take_over()
        self.session = Session(self.write, self.open_toolbox)

    def open_toolbox(self) -> Toolbox:
        if self.toolbox is None:
            from lattice.agent.beat import Beat
            from lattice.agent.identity import Identity
            from lattice.agent.link import Link
            from lattice.agent.mail import Offers
            from lattice.agent.toolbox import Toolbox
            from lattice.agent.wake import Wake

            self.identity = Identity(self.settings, self.environ, self.client_pid)
            wake = Wake(self.environ, is_wanted=self.settings.wake != "off", on_failure=self.failed)
            self.link = Link(self.settings, self.identity, working_dir=self.folder, client_name=self._client_name, reached_by=wake.ways)
            self.beat = Beat(self.link, wake, on_failure=self.failed, git=self._git, counts=self._counts)
            self.offers = Offers(self.link.ask, self.link.process, on_failure=self.failed)
            self.toolbox = Toolbox(
                self.settings, self.link, self.beat, self.offers, environ=self.environ, on_failure=self.failed, on_use=self.used
            )
        return self.toolbox

    def serve(self) -> None:
        """Until stdin ends. Never returns."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        try:
            for number, line in enumerate(self.wire.lines()):
                self.session.receive(line)
                if number == 0:
                    self.open_toolbox()
            give_up = time.monotonic() + DRAIN_S
            while self.session.busy() and time.monotonic() < give_up:
                time.sleep(0.01)
        except BaseException as error:
            self.failed("the session failed", error)
            self.end(70)  # EX_SOFTWARE
        self.end()

    def end(self, code: int = 0) -> None:
        """Leave, and end the process. Later callers wait for the first one to have done it."""
        self._ending.acquire()  # never released: the process ends here
        leaving = threading.Thread(target=self._leave, name="leave", daemon=True)
        leaving.start()
        leaving.join(LEAVE_S)
        os._exit(code)  # threads that wait for the broker or the client are not waited for

    def _leave(self) -> None:
        try:
            self.session.close()
        except stdio.Gone:
            pass  # nobody is there to hear it
        if self.toolbox is None:
            return
        self.beat.stop()
        self.offers.settle(LEAVE_S / 3)
        self.link.leave(was_used=bool(self.toolbox.was_called or self.beat.waiting()), within_s=LEAVE_S)

    def write(self, line: bytes) -> None:
        try:
            self.wire.write(line)
        except stdio.Gone:
            if threading.current_thread().name == "leave":
                raise
            self.end()  # does not return

    def used(self, called: bool) -> None:
        """The client has listed the tools, or called one: from now on we beat. Enrols soon, a call does at once."""
        with self._first_use:
            if not self._in_use:
                self._in_use = True
                self.beat.start()
                if not called:
                    timer = threading.Timer(ENROL_AFTER_S, self._enrol)
                    timer.daemon = True
                    timer.start()

    def _enrol(self) -> None:
        try:
            self.link.enrol()
        except Refusal:
            pass  # the first call tries again, and its result says what is wrong
        except Exception as error:
            self.failed("enrolling failed", error)

    def _watch(self) -> None:
        if os.name == "nt":
            from lattice.agent import process

            self.client_started = process.started(self.client_pid)
        while True:
            time.sleep(WATCH_S)
            if self._client_is_gone():
                self.end()

    def _client_is_gone(self) -> bool:
        if os.name != "nt":
            return os.getppid() != self.client_pid
        from lattice.agent import process

        return not process.is_alive(self.client_pid, self.client_started)

    def _git(self) -> dict[str, object]:
        from lattice.agent import git

        return git.state(self.folder)

    def _counts(self) -> dict[str, object]:
        return self.open_toolbox().counts()

    def _client_name(self) -> str:
        return self.session.client_name

    def failed(self, what: str, error: BaseException) -> None:
        from lattice.agent import log

        log.write(self.settings.home, what, error)


def main() -> int:
    if os.isatty(0):  # a person, not a client
        said = "this speaks to a coding client, over its pipes: install.py registers it there. Ctrl-D or Ctrl-C ends it."
        sys.stderr.write(f"c2-lattice: {said}\n")
    try:
        server = Server(dict(os.environ))
    except settings_of.BadSetting as error:
        sys.stderr.write(f"c2-lattice: {error}\n")
        return 78  # EX_CONFIG
    threading.excepthook = lambda failure: server.failed(f"thread {failure.thread and failure.thread.name}", failure.exc_value)  # type: ignore[arg-type]
    _wait_for_signals(server)
    server.serve()
    return 0


def _wait_for_signals(server: Server) -> None:
    if os.name == "nt":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.end())
        return
    ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before any other thread is made: they inherit it

    def wait() -> None:
        signal.sigwait(ends)
        server.end()

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return os.path.expanduser("~")  # the directory was removed under us
