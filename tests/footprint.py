"""What a process takes up, as Linux tells it in /proc."""

from __future__ import annotations

import os
from typing import NamedTuple


class Footprint(NamedTuple):
    """MB resident now, and at the most so far; threads; open descriptors."""

    resident_mb: float
    most_mb: float
    threads: int
    descriptors: int


def footprint(pid: int) -> Footprint:
    """Of a process of ours. FileNotFoundError where it is gone, or there is no /proc."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        said = dict(line.split(":", 1) for line in file)
    resident, most, threads = (int(said[name].split()[0]) for name in ("VmRSS", "VmHWM", "Threads"))
    return Footprint(resident / 1024, most / 1024, threads, len(os.listdir(f"/proc/{pid}/fd")))
