"""The broker as seen from outside its process: is it up and is it ours, start it once, stop it.

Ours is what proves that it knows the secret of this state directory; anything else that answers on the port is
foreign, whatever it says, and hears nothing but a nonce. However many processes start it at once, one does.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from lattice import names
from lattice import settings as settings_of
from lattice.errors import Refusal, Unavailable
from lattice.exclusive import Exclusive
from lattice.web.client import Client, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any

START_S = 10.0
WAIT_S = 40.0  # for another process that is starting it, with 200 more on two cores
LOOK_S = 0.25  # how often it looks meanwhile whether it is up
STOP_S = 5.0
TAKEN_S = 2.5  # a broker that stops has its database for two seconds at most
_TAKEN = "another broker has "
LOOKS, AGAIN_S = 5, 0.05  # at a port whose connections end without an answer, and the first pause between two; each is twice the last
MAX_LOG = 5 * 1024 * 1024
_BROKER_SAYS = "c2-lattice broker: "  # what its reasons not to start begin with
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What belongs to the session that happens to start the broker, and not to a program for all sessions.
_OF_A_SESSION = (
    "PEER_", "C2_LATTICE_TICKET", "CLAUDE_CODE_SESSION", "CLAUDE_CODE_MESSAGING", "CLAUDE_CODE_ENTRYPOINT", "CLAUDECODE", "TMUX",
)  # fmt: skip


def find(settings: settings_of.Settings) -> int:
    """The port to use: C2_LATTICE_PORT if set, else that of a running broker of this home, else 7899.

    That a broker answers there is not promised. One that serves our database comes before others.
    """
    if settings.port:
        return int(settings.port)
    cards = settings_of.running_brokers(settings.home)
    cards.sort(key=lambda card: card.get("database") != settings.db)
    if cards:
        from lattice.guard.tokens import load_secret

        secret = load_secret(settings.home, settings.secret)
        for card in cards:
            if probe(int(str(card["port"])), secret, 2.0) == "ours":
                return int(str(card["port"]))
    return settings_of.DEFAULT_PORT


def probe(port: int, secret: bytes, timeout_s: float = 2.0) -> str:
    """Who listens on the port: `ours`, `foreign`, or `none`. What does not answer in time is `foreign`."""
    there = look(port, secret, timeout_s)
    return "foreign" if there == "silent" else there


def look(port: int, secret: bytes, timeout_s: float = 2.0) -> str:
    """As `probe`; and `silent` for what takes a connection and does not answer in time, or is too busy to.

    A stopped broker and a stranger look the same then. A connection that ends without an answer may be a broker that is
    just ending: it is looked at again, and a stranger is what goes on like that. So is one that says that it stops.
    """
    for number in range(LOOKS):
        if number:
            time.sleep(AGAIN_S * 2 ** (number - 1))
        there = _look(port, secret, timeout_s)
        if there not in ("ended", "stopping"):
            return there
    return "silent" if there == "stopping" else "foreign"


def _look(port: int, secret: bytes, timeout_s: float) -> str:
    """One look, on a connection of its own; `ended` when that ended without an answer, `stopping` when that was the answer."""
    from lattice.guard.tokens import check_proof

    client = Client(port, timeout_s=timeout_s)
    nonce = names.new_key()
    begun = time.monotonic()
    try:
        health = client.call("GET", query("/health", {"nonce": nonce}))
    except Refusal as refusal:
        if refusal.code == "unreachable":
            return "none"
        if refusal.code == "unknown_outcome":
            return "silent" if time.monotonic() - begun >= 0.9 * timeout_s else "ended"
        return "stopping" if refusal.code == "stopping" else "silent" if refusal.status == 503 else "foreign"
    finally:
        client.close()
    return "ours" if check_proof(secret, nonce, port, health.get("pid"), health.get("proof")) else "foreign"


def start(settings: settings_of.Settings) -> int:
    """The port of our running broker, which is started unless it runs. Returns when it has proven itself.

    Unavailable when the port is a foreign program's, or the broker does not come up within START_S; SecretError
    when the state directory is not ours alone.
    """
    from lattice.guard.tokens import load_secret

    secret = load_secret(settings.home, settings.secret)  # makes the home, 0700
    starter = _starter(settings)
    give_up = time.monotonic() + WAIT_S
    while not starter.acquire(LOOK_S):
        # Whoever may start it now may have it up already: then there is nothing to wait for.
        port = find(settings)
        if look(port, secret) == "ours":
            return port
        if time.monotonic() > give_up:
            raise _others_start_it()
    try:
        return _start_alone(settings, secret)
    finally:
        starter.release()


def hold_starts(settings: settings_of.Settings) -> Exclusive:
    """Until it is released, no session of this home starts a broker. Unavailable when others have been starting one for too long."""
    starter = _starter(settings)
    if not starter.acquire(WAIT_S):
        raise _others_start_it()
    return starter


def _starter(settings: settings_of.Settings) -> Exclusive:
    return Exclusive(os.path.join(settings.home, "starter.lock"))


def _others_start_it() -> Unavailable:
    return Unavailable("another session has been starting the broker for too long", code="no_broker")


def _start_alone(settings: settings_of.Settings, secret: bytes) -> int:
    """As `start`, by the one process that may: the port of a broker that came up meanwhile, or of ours."""
    give_up = time.monotonic() + START_S
    port = find(settings)
    there = look(port, secret)
    if there == "ours":
        return port
    if there == "silent":
        raise silent(settings.home, port)
    if there == "foreign":
        raise Unavailable(
            f"port {port} is used by another program, which is not our broker",
            code="foreign_program", hint="end that program, or choose another port: C2_LATTICE_PORT=N", port=port,
        )  # fmt: skip
    patient = time.monotonic() + TAKEN_S
    while True:
        serves, ended, why = _bring_up(settings, port, secret, give_up)
        if serves:
            return port
        # It may have ended because another one serves the database: on another port, then.
        other = find(settings)
        if other != port and probe(other, secret) == "ours":
            return other
        if _TAKEN not in why or time.monotonic() > patient:
            break
        time.sleep(AGAIN_S)
    log = os.path.join(settings.home, "broker.log")
    how = (f": {why}" if why else f" (it ended with {ended})") if ended is not None else f" within {START_S:g} s"
    raise Unavailable(
        f"the broker did not start on port {port}{how}",
        code="unreachable" if ended is not None and ended < 0 else "no_broker",  # killed: it may well come up the next time
        hint="" if why and ended is not None else f"look into {log}",
    )


def _bring_up(settings: settings_of.Settings, port: int, secret: bytes, give_up: float) -> tuple[bool, int | None, str]:
    """Start a broker, and wait until it has proved itself, has ended, or the time is over: (it serves, exit status, its last words)."""
    broker, log_from = _spawn(settings, port)
    ended: int | None = None
    pause_s = 0.02
    try:
        while time.monotonic() < give_up and ended is None:
            ended = broker.poll()
            if probe(port, secret) == "ours":
                return True, None, ""
            time.sleep(pause_s if ended is None else 0.0)
            pause_s = min(0.2, pause_s * 1.5)
        return False, ended, _last_words(os.path.join(settings.home, "broker.log"), log_from)
    finally:
        _reap(broker)


def silent(home: str, port: int) -> Unavailable:
    """What is said of a port that takes connections and does not answer: a broker that hangs, as far as we can know."""
    pids = [card["pid"] for card in settings_of.running_brokers(home) if card.get("port") == port]
    if pids:
        whose = f"our broker there was process {pids[0]}: stopped, or very busy"
        remedy = f"wait; or see whether it is that (ps {pids[0]}) and end it: kill -9 {pids[0]}"
    else:
        whose = "no broker of this state directory is known to be there"
        remedy = "end that program, or choose another port: C2_LATTICE_PORT=N"
    return Unavailable(f"port {port} takes connections and does not answer; {whose}", code="no_broker", hint=remedy, port=port)


def stop(port: int, secret: bytes, timeout_s: float = STOP_S) -> bool:
    """Ask our broker on the port to stop, as the person. True when it is gone, False when none was there.

    Unavailable when the program there is not ours, or is still there after the time.
    """
    from lattice.guard.tokens import mint_ticket

    there = probe(port, secret)
    if there == "none":
        return False
    if there == "foreign":
        raise Unavailable(f"port {port} is used by another program, which is not our broker", code="foreign_program", port=port)
    client = Client(port, timeout_s=timeout_s, on_connect=lambda client: _must_be_ours(client, secret))
    try:
        pid = client.call("GET", "/health").get("pid")
        ticket = mint_ticket(secret, peer=names.PERSON, role="system", workspace="", now=time.time())
        client.call("POST", "/shutdown", {}, {"Authorization": f"Ticket {ticket}"})
    finally:
        client.close()
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if probe(port, secret, 1.0) == "none" and not _runs(pid):  # until its end it has the database, also without its port
            return True
        time.sleep(0.05)
    raise Unavailable(f"the broker on port {port} did not stop within {timeout_s:g} s", code="timeout")


def _must_be_ours(client: Client, secret: bytes) -> None:
    """On the very connection that a ticket is to go over: who was ours a moment ago may be another by now."""
    from lattice.guard.tokens import check_proof

    nonce = names.new_key()
    health = client.call("GET", query("/health", {"nonce": nonce}))
    if not check_proof(secret, nonce, client.port, health.get("pid"), health.get("proof")):
        raise Unavailable(
            f"port {client.port} is used by another program, which is not our broker", code="foreign_program", port=client.port
        )


def _spawn(settings: settings_of.Settings, port: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start the broker as a process of its own: it outlives us, holds none of our handles, and shares no terminal.

    The second is where in broker.log its own words begin.
    """
    import signal
    import subprocess

    argv = [sys.executable, "-I", "-S", os.path.join(ROOT, "broker.py"), "--port", str(port), "--db", settings.db]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_SESSION)}
    environ["C2_LATTICE_HOME"] = settings.home
    log = _open_log(os.path.join(settings.home, "broker.log"))
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": 0x08000000 | 0x00000200}  # CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP
    blocked = None
    if sys.platform != "win32":
        # A child inherits the mask of the thread that makes it, and a broker must hear its signals.
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        log_from = os.fstat(log).st_size
        broker = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=True, cwd=settings.home, env=environ, **detached
        )
        return broker, log_from
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(log)


def _runs(pid: object) -> bool:
    """Is that process there, and more than a name that nobody has taken off the list?"""
    if not isinstance(pid, int) or pid <= 0 or sys.platform == "win32":  # a signal would end it there
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return not os.path.isdir("/proc/self")  # without it the signal has said all there is to know


def _reap(broker: subprocess.Popen[bytes]) -> None:
    """Wait for the broker's end on a thread: it must not stay a zombie while we live, nor end with us."""
    if broker.poll() is None:
        threading.Thread(target=broker.wait, name="reap", daemon=True).start()


def _last_words(path: str, log_from: int) -> str:
    """What a broker that did not start said last, in one line; "" when it said nothing."""
    try:
        with open(path, "rb") as file:
            file.seek(log_from)
            lines = file.read(64_000).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    said = [line for line in lines if line.startswith(_BROKER_SAYS)] or [line for line in lines if line.strip()]
    return said[-1].removeprefix(_BROKER_SAYS).strip() if said else ""


def _open_log(path: str) -> int:
    try:
        if os.path.getsize(path) > MAX_LOG:
            os.replace(path, path + ".1")
    except OSError:
        pass  # not there yet
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
