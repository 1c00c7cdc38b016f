"""The disk says no: full, read-only, failing. Nothing that was answered is lost, nothing hangs, and the broker says what it is."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

try:
    import resource
except ImportError as missing:
    raise unittest.SkipTest("only on POSIX: limits on the files of a process") from missing

from tests import tracing
from tests.figures import measured
from tests.running import Broker, chance, figure, until
from tests.storms.patient import Course, Patient

# What a fault leads to, as seen from outside.
DIES, FULL, READ_ONLY, GOES_ON, EITHER = "exit 74", "507", "503 read_only", "goes on", "goes on or exit 74"
STOPS = "stops all the same"
REFUSED = {FULL: (507, "disk_full"), READ_ONLY: (503, "read_only")}
DB, WAL, SHM, PROBE = "", "-wal", "-shm", ".probe"
SMALL_DISK = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"')


class Scenario(NamedTuple):
    """A fault, the kind of deed that meets it, what must come of it, and the fault itself as a context of a patient."""

    fault: str
    kind: str
    leads_to: str
    ill: Callable[[Patient], contextlib.AbstractContextManager[object]]
    lasts: bool  # until it is taken away; else it passes by itself

    def __str__(self) -> str:
        return f"{self.fault}, {self.kind}: {self.leads_to}"


def _traced() -> list[Scenario]:
    """Faults that strace puts between the broker and its files."""
    table: list[tuple[str, tuple[str, ...], Sequence[str], str]] = [
        # A sync that fails: whether it is on the disk, nobody knows.
        *((f"fdatasync:error=EIO:when={when}", (WAL,), ("memory", "message", "batch"), DIES) for when in ("1", "2", "3", "1+", "2+")),
        *((f"fdatasync:error={number}:when=1", (WAL,), ("memory",), DIES) for number in ("ENOSPC", "EDQUOT", "EROFS", "EINTR")),
        # A write that fails for no reason that passes.
        *((f"pwrite64:error=EIO:when={when}", (WAL,), ("message", "batch"), DIES) for when in ("1", "2", "5", "1+")),
        # No room: for a while, or until somebody makes some.
        *((f"pwrite64:error=ENOSPC:when={when}", (WAL,), ("memory", "message", "batch"), FULL) for when in ("1", "1..3", "2+", "1+")),
        *((f"pwrite64:error={number}", (WAL, PROBE), ("message", "batch"), FULL) for number in ("EDQUOT", "EFBIG")),
        *((f"pwrite64:error={number}", (WAL, PROBE), ("message", "batch"), READ_ONLY) for number in ("EROFS", "EACCES", "EPERM")),
        ("pwrite64:error=EROFS", (), ("message",), READ_ONLY),
        ("pwrite64:error=ENOSPC", (), ("message",), FULL),
        # The checkpoint fails: what it copies is in the write-ahead log, and stays there.
        *((fault, (DB,), ("large",), GOES_ON) for fault in ("pwrite64:error=EIO", "pwrite64:error=ENOSPC", "fdatasync:error=EIO")),
        *((f"{call}:error=EIO", (DB,), ("memory",), STOPS) for call in ("pwrite64", "fdatasync", "ftruncate")),
        *((f"{call}:error={number}", (DB, WAL), ("batch",), STOPS) for call in ("pwrite64", "ftruncate") for number in ("ENOSPC", "EROFS")),
        # What is read does not come.
        *((f"pread64:error=EIO:when={when}", files, ("message",), EITHER) for when in ("1", "1+") for files in ((DB, WAL), (WAL,), (DB,))),
        *((f"openat:error={number}", (DB, WAL), ("message",), EITHER) for number in ("EMFILE", "EIO")),
        *((f"fcntl:error={number}:when=1", (SHM, DB), ("message",), EITHER) for number in ("ENOLCK", "EIO")),
        # A slow disk is no fault.
        ("fdatasync:delay_enter=100000", (WAL,), ("memory",), GOES_ON),
        ("pwrite64:delay_enter=20000", (WAL,), ("batch",), GOES_ON),
    ]  # fmt: skip
    return [
        Scenario(f"{inject} on {_named(files)}", kind, leads_to, functools.partial(_injected, inject, files), ":when=" not in inject)
        for inject, files, kinds, leads_to in table
        for kind in kinds
    ]


def _named(files: Sequence[str]) -> str:
    return " and ".join("lattice.db" + ending for ending in files) or "all files"


def _injected(inject: str, files: Sequence[str], patient: Patient) -> tracing.Attached:
    paths = [patient.broker.database + ending for ending in files]
    return tracing.Attached(patient.broker.signalled, inject.split(":")[0], inject=[inject], paths=paths)


def _limited() -> list[Scenario]:
    """A limit on the size of files, a little further on than what was written last: there a write is cut short, by the kernel itself."""
    return [
        Scenario(f"no file goes on for more than {more} bytes", kind, FULL, functools.partial(_no_larger, more), lasts=False)
        for more, kind in ((0, "memory"), (100, "message"), (4_000, "batch"), (4_220, "message"), (9_000, "batch"))
    ]


@contextlib.contextmanager
def _no_larger(more: int, patient: Patient) -> Iterator[None]:
    with open(patient.broker.database + "-shm", "rb") as index:
        frames = int.from_bytes(index.read(20)[16:], sys.byteorder)
    written = 32 + frames * (24 + 4096)  # a header, then pages with a header each
    pid, (_, hard) = patient.broker.signalled, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (written + more, hard))
    try:
        until(
            lambda: patient.write(patient.writers[0], "large").status == 507, "the limit is met"
        )  # at once, or when the log was begun anew
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def _filled() -> list[Scenario]:
    """A small disk of its own, on which something else leaves so many bytes."""
    return [
        Scenario(f"{left} bytes are left on the disk", kind, FULL, functools.partial(_full, left), lasts=left == 0)
        for left, kind in ((0, "memory"), (0, "batch"), (0, "large"), (4096, "message"), (3 * 4096, "batch"), (8 * 4096, "large"))
    ]


@contextlib.contextmanager
def _full(left: int, patient: Patient) -> Iterator[None]:
    folder = f"/proc/{patient.broker.signalled}/root{os.path.dirname(patient.broker.database)}"
    with open(f"{folder}/something else", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(65536)):
                pass
        # The log has room in it from before: that goes first.
        until(lambda: patient.write(patient.writers[0], "large").status == 507, "the log is full too")
        file.truncate(file.tell() - left)
    try:
        yield
    finally:
        os.unlink(file.name)


class Figures:
    """What all scenarios together come to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scenarios = self.lost = self.hangs = self.retried = self.not_one = 0
        self.worst_exit_s = self.worst_resume_s = 0.0
        self.faults: list[str] = []

    def close_books(self, patient: Patient) -> None:
        """Whatever was not acknowledged is asked for again; then the database must have what the books say."""
        patient.settle()
        found = patient.end()
        with self.lock:
            self.faults += found.halves
            self.lost += sum(not found.times[key] for key in patient.acknowledged)
            self.not_one += sum(found.times[key] != 1 for key in patient.retried)
            self.retried += len(patient.retried)
            self.hangs += patient.hangs


@unittest.skipIf(tracing.missing(), tracing.missing())
class AFailingDisk(unittest.TestCase):
    time_bound_s = 400.0

    def test_nothing_answered_is_lost_nothing_hangs_and_the_broker_says_what_it_is(self) -> None:
        self.figures = Figures()
        chosen = chance(self)
        others = [*_traced(), *_limited()]
        others = chosen.sample(others, figure(6, len(others)))
        groups = [others[::2], others[1::2]]
        if not small_disks_missing():
            groups.append(chosen.sample(_filled(), figure(1, len(_filled()))))
        with ThreadPoolExecutor(2) as side_by_side:
            list(side_by_side.map(self.suffer, groups))
        figures = self.figures
        self.assertEqual(figures.faults, [], "\n".join(figures.faults))
        measured(
            self, "R4", scenarios=figures.scenarios, acknowledged_and_lost=figures.lost, hangs=figures.hangs,
            worst_exit_s=figures.worst_exit_s, worst_resume_s=figures.worst_resume_s,
        )  # fmt: skip
        measured(self, "R5", retried=figures.retried, rows_not_one=figures.not_one)
        self.assertEqual((figures.lost, figures.hangs, figures.not_one), (0, 0, 0))
        self.assertLessEqual(max(figures.worst_exit_s, figures.worst_resume_s), 1.0)

    def suffer(self, scenarios: list[Scenario]) -> None:
        """One broker, one scenario after the other."""
        with contextlib.ExitStack() as stack:
            if scenarios[0].ill.func is _full:  # type: ignore[attr-defined]
                patient = stack.enter_context(on_a_small_disk())
            else:
                patient = stack.enter_context(Patient(Broker()))
            for scenario in scenarios:
                try:
                    self.one(patient, scenario)
                except Exception as problem:
                    self.report(scenario, f"{type(problem).__name__} {problem}")
                    if patient.ended(0) is not None:
                        patient.revive()
            self.figures.close_books(patient)

    def report(self, scenario: Scenario, *wrong: str) -> None:
        with self.figures.lock:
            self.figures.faults += [f"{scenario}: {what}" for what in wrong]

    def one(self, patient: Patient, scenario: Scenario) -> None:
        self.assertEqual({told.status for told in patient.each("memory")}, {200})
        patient.said()
        with scenario.ill(patient):
            if scenario.leads_to == STOPS:
                began = time.monotonic()
                os.kill(patient.broker.signalled, signal.SIGTERM)
                course, status, took_s = Course([], [], []), patient.ended(20), time.monotonic() - began
            else:
                course = patient.suffer(scenario.kind, 30 if scenario.kind == "large" else 8 if scenario.leads_to == DIES else 3)
                status = patient.ended() if scenario.leads_to == DIES or course.may_end else patient.ended(0)
                took_s = time.monotonic() - course.first_trouble
        resume_s = 0.0 if status is not None else patient.recover()
        self.report(scenario, *self.judge(scenario, course, status, patient.said()))
        if status is not None:
            patient.revive()
        patient.settle()
        with self.figures.lock:
            self.figures.scenarios += 1
            if scenario.leads_to == DIES:
                self.figures.worst_exit_s = max(self.figures.worst_exit_s, took_s)
            self.figures.worst_resume_s = max(self.figures.worst_resume_s, resume_s)
        if scenario.leads_to == STOPS and took_s > 2.0:
            self.report(scenario, f"took {took_s:.1f} s")

    def judge(self, scenario: Scenario, course: Course, status: int | None, said: list[str]) -> Iterator[str]:
        """What is not as it must be, in words."""
        written, read = {told.status for told in course.written}, {told.status for told in course.read}
        if any("Traceback" in line for line in said):
            yield "a traceback: " + "\n".join(said)[-3000:]
        if scenario.leads_to == STOPS:
            if status != 0:
                yield f"ended with {status}: {said}"
        elif scenario.leads_to == DIES or (scenario.leads_to == EITHER and status is not None):
            if status != 74 or not written <= {0, 200, 500, 503}:
                yield f"ended with {status}, answered {written}"
            if not any(line.startswith("c2-lattice broker: ") and "start again" in line for line in said):
                yield f"did not say so: {said}"
        elif status is not None:
            yield f"ended with {status}: {said}"
        elif scenario.leads_to == GOES_ON and written | read != {200}:
            yield f"answered {written}, and to reads {read}"
        elif scenario.leads_to in REFUSED:
            refused = {(told.status, told.code) for told in course.written if told.status != 200}
            if refused != {REFUSED[scenario.leads_to]}:
                yield f"refused with {refused}"
            if read - {200}:
                yield f"reading did not go on: {read}"
            if scenario.lasts and course.writable[-1]:
                yield "/health did not say so"


@functools.cache
def small_disks_missing() -> str:
    """Why there can be no small disk here, "" when there can."""
    try:
        subprocess.run([*SMALL_DISK, "/mnt", "true"], check=True, capture_output=True, timeout=20)
    except (subprocess.SubprocessError, OSError):
        return "only where a user may mount in a namespace of its own (unshare -rm)"
    return ""


@contextlib.contextmanager
def on_a_small_disk() -> Iterator[Patient]:
    """A broker whose database is on a small disk, that nobody else sees."""
    home = os.path.realpath(tempfile.mkdtemp(prefix="c2s"))
    disk = os.path.join(home, "disk")
    os.mkdir(disk)
    broker = Broker(home, C2_LATTICE_DB=os.path.join(disk, "lattice.db"))
    try:
        with Patient(broker, under=(*SMALL_DISK, disk)) as patient:
            yield patient
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    unittest.main()
