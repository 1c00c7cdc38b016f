"""The process that runs one test module and writes down how each test ended.

Promises: every test leaves one line of JSON; a line `begin` is on disk before the test's first statement, so
the runner knows which test a crash or the time bound hit. What threads raise and what is left open (a socket,
a file, a database) is a failure too.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import signal
import sys
import threading
import time
import traceback
import unittest
from collections.abc import Iterator
from types import TracebackType
from typing import Any

Problem = tuple[type[BaseException], BaseException, TracebackType | None]


class Ledger(unittest.TestResult):
    """Writes one line for each test as it ends."""

    def __init__(self, path: str, bound_s: float, skip_fails: bool) -> None:
        super().__init__()
        self.file = open(path, "a", encoding="utf-8")
        self.bound_s, self.skip_fails = bound_s, skip_fails
        self.problems: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}
        self.elsewhere: list[str] = []
        self.began = time.monotonic()

    def write(self, **record: object) -> None:
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def bound(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True)

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.write(begin=test.id())
        self.bound(float(getattr(test, "time_bound_s", self.bound_s)))
        self.began = time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self.bound(self.bound_s)
        name = test.id()
        problems = self.problems.pop(name, []) + self.elsewhere
        self.elsewhere = []
        took_s = round(time.monotonic() - self.began, 3)
        if problems:
            self.write(id=name, outcome="failed", detail="\n".join(problems), took_s=took_s, print=True)
        elif name in self.reasons:
            self._skipped(name, self.reasons[name], took_s)
        else:
            self.write(id=name, outcome="passed", detail="", took_s=took_s)

    def _skipped(self, name: str, reason: str, took_s: float) -> None:
        # A skip that says `only on` is about the platform; any other names a program that could be installed.
        outcome = "failed" if self.skip_fails and not reason.startswith("only on") else "skipped"
        self.write(id=name, outcome=outcome, detail=reason, took_s=took_s)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._problem(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._problem(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.problems.setdefault(test.id(), []).append(f"{subtest.id()}\n{_text(err)}")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.problems.setdefault(test.id(), []).append("passed, though it is marked as an expected failure")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        if isinstance(test, unittest.TestCase) and hasattr(test, "_testMethodName"):
            self.reasons[test.id()] = reason
        else:  # a whole class or module, in its setUpClass: no startTest follows
            self._skipped(test.id(), reason, 0.0)

    def _problem(self, test: unittest.TestCase, err: Any) -> None:
        if hasattr(test, "_testMethodName"):
            self.problems.setdefault(test.id(), []).append(_text(err))
        else:  # setUpClass, tearDownClass, setUpModule
            self.write(id=test.id(), outcome="failed", detail=_text(err), took_s=0.0, print=True)

    def close(self, module: str) -> None:
        gc.collect()
        if self.elsewhere:
            self.write(id=f"{module} (left behind)", outcome="failed", detail="\n".join(self.elsewhere), took_s=0.0, print=True)
        self.write(end=True)
        faulthandler.cancel_dump_traceback_later()
        self.file.close()


def run_module(task: dict[str, Any]) -> int:
    """Load the module and run those of its tests that fit and have not run. The runner reads what came of it."""
    from tests.__main__ import fits_pattern

    # A shell's background job is started with Ctrl-C ignored, and hands that on to all it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module: str = task["module"]
    ledger = Ledger(task["results"], task["bound_s"], task["require_field"])
    ledger.bound(task["bound_s"])
    _listen(ledger)
    try:
        loaded = importlib.import_module(module)
        suite = unittest.defaultTestLoader.loadTestsFromModule(loaded)
    except unittest.SkipTest as skip:
        ledger._skipped(module, str(skip), 0.0)
        ledger.close(module)
        return 0
    except BaseException:
        ledger.write(id=module, outcome="failed", detail=traceback.format_exc(), took_s=0.0)
        ledger.close(module)
        return 1
    tests = [test for test in _flat(suite) if test.id() not in task["done"] and fits_pattern(test.id(), task["pattern"])]
    if module.startswith(task["field"]) and not task["require_field"]:
        needs = getattr(loaded, "NEEDS", "third-party programs: .ci/run installs them, then python -m tests --require-field")
        for test in tests:
            ledger.write(id=test.id(), outcome="skipped", detail=f"needs {needs}", took_s=0.0)
    else:
        unittest.TestSuite(tests).run(ledger)
    ledger.close(module)
    return 0


def _listen(ledger: Ledger) -> None:
    """What a thread raises, and what the interpreter cannot raise (a warning in a finaliser), fails the test that runs."""

    def in_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        said = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        ledger.elsewhere.append(f"in thread {name}:\n{said}")

    def unraisable(args: Any) -> None:
        said = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        ledger.elsewhere.append(f"{args.err_msg or 'ignored'} in {args.object!r}:\n{said}")

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def _text(err: Problem) -> str:
    return "".join(traceback.format_exception(*err))


def _flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flat(item)
        else:
            yield item
