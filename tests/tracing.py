"""strace for tests: what a program asks of the kernel, and what it does when the kernel says no.

`command` is the argument list to put before a program's own, `Attached` is strace on one that runs; `calls` reads what strace
wrote, in the order in which the calls ended. Where it cannot be used, `missing` says why, for a named skip.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

NULL = os.devnull


@functools.cache
def missing() -> str:
    """Why there is no tracing here, "" when there is."""
    if sys.platform != "linux":
        return "only on Linux: strace"
    if shutil.which("strace") is None:
        return "strace is missing: apt-get install strace"
    try:
        subprocess.run(["strace", "-qq", "-o", NULL, "true"], check=True, capture_output=True, timeout=20)
    except (subprocess.SubprocessError, OSError):
        return "only on systems that let one process trace another: strace is there, but ptrace is forbidden"
    return ""


def command(trace: str, *, log: str = NULL, inject: Sequence[str] = (), paths: Sequence[str] = (), more: Sequence[str] = ()) -> list[str]:
    """strace and its options, for the program that follows and for all that it starts.

    `trace`    the calls to see, `pwrite64,fdatasync`; one with a `?` before it need not exist on this machine
    `inject`   faults, `fdatasync:error=EIO:when=3+`; each thread counts its own calls
    `paths`    only calls on these files
    `more`     other options, such as `-y` (say the file with each descriptor)
    """
    return ["strace", "-f", "-qq", "-o", log, *more, *_chosen(trace, inject, paths), "--"]


class Attached:
    """strace on all threads of a process that runs, for as long as the `with` lasts; the process goes on after it."""

    def __init__(self, pid: int, trace: str, *, inject: Sequence[str] = (), paths: Sequence[str] = ()) -> None:
        self.argv = ["strace", "-f", "-o", NULL, *_chosen(trace, inject, paths), "-p", str(pid)]

    def __enter__(self) -> Attached:
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        said = b""
        while b" attached" not in said:  # it says so when it has all of them
            line = self.process.stderr.readline()
            if not line:
                self.__exit__()
                raise AssertionError(f"strace cannot attach: {said.decode()}")
            said += line
        self.reader = threading.Thread(target=self.process.stderr.read, daemon=True)  # so that it never waits for a reader
        self.reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        if hasattr(self, "reader"):
            self.reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def _chosen(trace: str, inject: Sequence[str], paths: Sequence[str]) -> list[str]:
    faults = [part for fault in inject for part in ("-e", f"inject={fault}")]
    return [*(part for path in paths for part in ("-P", path)), "-e", f"trace={trace}", *faults]


class Call(NamedTuple):
    """One call: who made it, which it was, the text of its arguments, its result as strace shows it; the lines of its begin and end."""

    pid: int
    name: str
    arguments: str
    result: str
    began: int
    ended: int


_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (.*)\Z", re.DOTALL)
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>\Z", re.DOTALL)
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (.*)\Z", re.DOTALL)


def calls(log: str) -> list[Call]:
    """The calls that came to their end, in the order in which they did. Lines about signals and exits are left out."""
    found: list[Call] = []
    open_calls: dict[str, tuple[str, int]] = {}
    with open(log, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file):
            line = line.rstrip("\n")
            if whole := _WHOLE.match(line):
                found.append(Call(int(whole[1]), whole[2], whole[3], whole[4], number, number))
            elif begun := _BEGUN.match(line):
                open_calls[begun[1]] = (begun[3], number)
            elif (resumed := _RESUMED.match(line)) and resumed[1] in open_calls:
                arguments, began = open_calls.pop(resumed[1])
                found.append(Call(int(resumed[1]), resumed[2], arguments + resumed[3], resumed[4], began, number))
    return found
