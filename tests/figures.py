"""What the tests measured: written down as they run, kept in `docs/figures.json`, shown as `docs/reliability.md`.

`measured` is called by tests. `publish` is the runner's, after a run with `--publish`: the rows that were measured get
their new figures with seed, commit, date and machine; the others keep what they had. Nothing on the page is typed by hand.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
import unittest
from typing import Any

from tests import bar

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEPT = os.path.join(TOP, "docs", "figures.json")
PAGE = os.path.join(TOP, "docs", "reliability.md")
Kept = dict[str, dict[str, dict[str, Any]]]  # row -> tier -> what was measured


def measured(test: unittest.TestCase, row: str, **figures: float) -> None:
    """This run's figures of one row of the bar; a row may be measured by several tests, each with its own figures."""
    assert row in bar.BY_ID, f"{row} is no row of the bar"
    line = json.dumps({"row": row, "test": test.id(), "figures": figures})
    print(f"figure {line}", flush=True)
    path = os.environ.get("C2_LATTICE_TEST_MEASURED")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_measured(path: str) -> list[dict[str, Any]]:
    """The lines that the tests of one worker wrote."""
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def publish(tier: str, lines: list[dict[str, Any]], failed: set[str], ran: list[str], seed: int) -> list[str]:
    """Put this run's figures onto the page. What is wrong with them, in words: [] when every row of the tier is measured and met."""
    kept = load()
    about = {"seed": seed, "commit": commit(), "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "machine": machine()}
    wrong = []
    for row in bar.ROWS:
        places = [place for place in row.where if tier == "N" or not place.startswith("tests.nightly")]
        if tier not in row.bars or not all(any(_is_under(module, place) for module in ran) for place in places):
            continue
        figures: dict[str, float] = {}
        for line in lines:
            if line["row"] == row.id:
                twice = figures.keys() & line["figures"].keys()
                assert not twice, f"{row.id}: {sorted(twice)} measured by two tests"
                figures |= line["figures"]
        faults = sorted(test for test in failed if any(_is_under(test, place) for place in row.where))
        kept.setdefault(row.id, {})[tier] = {**about, "figures": figures} | ({"failed": faults} if faults else {})
        wrong += [f"{row.id}: {what}" for what in [*bar.misses(row, tier, figures), *(f"{test} failed" for test in faults)]]
    kept = {row.id: kept[row.id] for row in bar.ROWS if row.id in kept}
    with open(KEPT, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1)  # the order of the figures is that in which their test says them, here and on the page
        file.write("\n")
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page(kept))
    return wrong


def _is_under(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def load() -> Kept:
    try:
        with open(KEPT, encoding="utf-8") as file:
            kept: Kept = json.load(file)
            return kept
    except FileNotFoundError:
        return {}


def commit() -> str:
    """The commit that was measured, marked when the tree was not as committed."""
    head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=TOP, capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no", "--", "lattice", "tests", "dashboard.html"],
        cwd=TOP, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return (head or "unknown") + ("+changes" if changed else "")


def machine() -> str:
    with tempfile.NamedTemporaryFile() as file:
        took = []
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, fsync {statistics.median(took) * 1000:.1f} ms"
    )


# -- the page -----------------------------------------------------------------------------------------------------------

HEAD = """# Reliability: the figures

This page is written by the test run itself (`python -m tests --publish`, and with `--nightly` for the rows marked N); nobody
types a figure here. Tier C is measured at each change, N at night, L before a release. The seed repeats a run's random
choices: `python -m tests --storms --replay SEED`. Threads and processes are still the machine's to order.

What the words mean, what is promised and what is not: below the table and in [security.md](security.md).

"""
FOOT = """
## What is not promised

- **Exactly-once delivery.** A repeat carries the same id and says so; that is all a crash between two programs allows.
- **Isolation between programs of one OS user.** Whoever can read the secret can enrol as anybody.
- **Durability on a disk that lies.** If the drive says “synced” and has not, so do we. No plug was pulled for this page: R2
  puts together what an honest disk may be found with after a cut, any part of what had not been synced, sector by sector.
- **Immunity to prompt injection.** The filter stops machine syntax, the breaker stops copies; persuasion passes.
- **Detection of all damage.** SQLite keeps no checksums of its pages; R8 is the rate that was really seen.
"""


def page(kept: Kept) -> str:
    """`docs/reliability.md` as these figures make it."""
    machines = sorted({entry["machine"] for tiers in kept.values() for entry in tiers.values()})
    letters = {name: chr(ord("A") + number) for number, name in enumerate(machines)}
    lines = [f"- Machine {letter}: {name}\n" for name, letter in letters.items()]
    table = [
        "\n| Row | What | The bar | Measured | Met | Tier | Seed | Commit | Date | Machine |\n|---|---|---|---|---|---|---|---|---|---|\n"
    ]
    notes = []
    for row in bar.ROWS:
        for tier, needs in row.bars.items() or {"": ()}.items():
            entry = kept.get(row.id, {}).get(tier)
            wanted = " · ".join(map(bar.shown, needs))
            if entry is None:
                cells = [wanted, "not run" + (f": {row.not_run}" if row.not_run else ""), "–", tier, "", "", "", ""]
            else:
                said = " · ".join(f"{bar.amount(value)} {bar.said(name)}" for name, value in entry["figures"].items())
                wrong = bar.misses(row, tier, entry["figures"]) + [f"{test.rpartition('.')[2]} failed" for test in entry.get("failed", ())]
                met = "yes" if not wrong else "**no**"
                cells = [wanted, said, met, tier, str(entry["seed"]), entry["commit"], entry["date"], letters[entry["machine"]]]
                if wrong:
                    notes.append(f"- **{row.id}** ({tier}): {'; '.join(wrong)}.{' ' + row.why if row.why else ''}\n")
            table.append(f"| {row.id} | {row.promise} | {' | '.join(cells)} |\n")
        if row.bars and row.not_run:
            notes.append(f"- **{row.id}**: not run: {row.not_run}.\n")
    missed = ["\n## What is not met\n\n", *notes] if notes else []
    return "".join([HEAD, *lines, *table, *missed, FOOT])
