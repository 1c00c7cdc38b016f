"""Run the tests: `python -m tests [SELECTION ...] [options]`.

    python -m tests                     all that needs nothing but Python; field tests are named as skipped
    python -m tests unit                one of the kinds of the table below; also a folder (web) or a module (tests.web.test_server)
    python -m tests --storms            storms and properties at their full figures
    python -m tests --require-field     the field tests; a missing program is a failure
    python -m tests --nightly           all of these at the largest figures, and what only runs at night
    python -m tests -k lock --replay 7  only tests whose name has the word; repeat a seeded run
    python -m tests --publish           what measures the bar (tests/bar.py) at its figures; writes docs/reliability.md

Each module runs in a process of its own, with warnings as errors, an empty home and its own temporary folder,
so that no test sees another's state or the user's. A test that takes longer than its bound (60 s, or the class's
`time_bound_s`) is ended, its threads' stacks are shown, it counts as failed, and the module's other tests go on.
The last line is always `N passed, N failed, N skipped`; the exit code is 0 only when nothing failed.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from tests import bar, figures

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)

# What each folder or module covers; the longest prefix that fits counts. The kinds are selections of the whole.
KINDS: dict[str, tuple[str, ...]] = {
    "tests": ("unit",),
    "tests.cli.test_demo": ("e2e",),
    "tests.guard": ("unit", "abuse"),
    "tests.properties": ("unit",),
    "tests.stories": ("e2e",),
    "tests.field": ("e2e",),
    "tests.storms": ("stress",),
    "tests.storms.test_kills": ("chaos",),
    "tests.storms.test_crash_points": ("chaos",),
    "tests.storms.test_power_cuts": ("chaos",),
    "tests.storms.test_disk_faults": ("chaos",),
    "tests.storms.test_no_writing": ("chaos",),
    "tests.storms.test_stops": ("chaos",),
    "tests.storms.test_sync_order": ("chaos",),
    "tests.storms.test_frozen": ("chaos",),
    "tests.storms.test_clock_jumps": ("chaos",),
    "tests.storms.test_departed": ("chaos",),
    "tests.storms.test_damaged_files": ("chaos",),
    "tests.storms.test_upgrades": ("chaos",),
    "tests.storms.test_orphans": ("chaos",),
    "tests.storms.test_restart_in_between": ("chaos",),
    "tests.storms.test_squatters": ("abuse",),
    "tests.storms.test_fetched_and_killed": ("chaos",),
    "tests.storms.test_mail_through_faults": ("chaos",),
    "tests.simulator": ("unit", "stress"),
    "tests.threats": ("abuse",),
    "tests.fuzz": ("abuse",),
    "tests.nightly": ("stress",),
    "tests.nightly.test_mutants": ("unit",),
}
ALL_KINDS = ("unit", "stress", "chaos", "e2e", "abuse")
# These measure time, or drive programs that do: nothing else runs beside them.
ALONE = (
    "tests.field",
    "tests.storms.test_speed",
    "tests.storms.test_session_storm",
    "tests.storms.test_stops",
    "tests.storms.test_disk_faults",
    "tests.storms.test_no_writing",
    "tests.storms.test_starts",
    "tests.simulator.test_day",
    "tests.nightly.test_millions",
    "tests.nightly.test_hot_backup",
)
# These mostly wait: they get a lane of their own, and start first.
QUIET = (
    "tests.storms.test_frozen",
    "tests.storms.test_departed",
    "tests.storms.test_clock_jumps",
    "tests.storms.test_orphans",
    "tests.storms.test_squatters",
    "tests.cli.test_demo",
    "tests.cli.test_launch",
    "tests.cli.test_restore",
    "tests.stories.test_delivery",
    "tests.stories.test_unheard_enrolment",
    "tests.threats.test_http",
    "tests.nightly.test_soak",
)
# These take longest at full figures: they start before the others, so that none of them runs on alone at the end.
LONG = (
    "tests.storms.test_kills",
    "tests.storms.test_mail_through_faults",
    "tests.storms.test_linear",
    "tests.storms.test_crash_points",
    "tests.properties.test_model_hypothesis",
    "tests.nightly.test_mutants",
)
# What --storms and --nightly choose; the last only at night, or by name.
FULL = ("tests.storms", "tests.linear", "tests.properties", "tests.simulator", "tests.threats", "tests.fuzz")
NIGHTLY = "tests.nightly"
FIELD = "tests.field"
TIME_BOUND_S = 60.0


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--worker"]:
        from tests.worker import run_module

        return run_module(json.loads(arguments[1]))
    options = _options(arguments)
    if options.sum:
        return _sum(options.sum)
    if options.publish and not options.nightly:
        options.storms = options.require_field = True
    modules = select(discover(), options)
    if not modules:
        print(f"nothing fits {' '.join(options.selection)}; kinds: {', '.join(ALL_KINDS)}")
        print("0 passed, 0 failed, 0 skipped")
        return 2
    return _run(modules, options)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("selection", nargs="*", help=f"kinds ({', '.join(ALL_KINDS)}), folders or modules")
    parser.add_argument("--storms", action="store_true", help="storms and properties at full figures")
    parser.add_argument("--require-field", action="store_true", help="the field tests; what is missing fails")
    parser.add_argument("--nightly", action="store_true", help="the largest figures")
    parser.add_argument("-k", dest="pattern", default="", help="only tests whose id contains this, or fits it as a shell pattern")
    parser.add_argument("-j", dest="jobs", type=int, default=min(2, os.cpu_count() or 1), help="modules side by side (default 2)")
    parser.add_argument("-v", dest="verbose", action="store_true", help="show what the tests print")
    parser.add_argument("--replay", type=int, default=0, metavar="SEED", help="repeat the seeded tests with this seed")
    parser.add_argument("--publish", action="store_true", help="put the figures of this run onto docs/reliability.md")
    parser.add_argument("--record", default="", metavar="FILE", help="write every test's outcome as JSON")
    parser.add_argument("--sum", nargs="+", metavar="FILE", help="add up recorded runs: a test that ran later is not a skip")
    return parser.parse_args(arguments)


def discover() -> list[str]:
    """The dotted names of all test modules, in order."""
    found = []
    for folder, folders, files in os.walk(HERE):
        folders[:] = sorted(name for name in folders if not name.startswith(("_", ".")))
        package = ".".join(["tests", *os.path.relpath(folder, HERE).split(os.sep)]).replace("..", "").rstrip(".")
        found += [f"{package}.{name[:-3]}" for name in sorted(files) if name.startswith("test_") and name.endswith(".py")]
    return found


def kinds_of(module: str) -> tuple[str, ...]:
    return KINDS[max((prefix for prefix in KINDS if _is_under(module, prefix)), key=len)]


def _is_under(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _is_under_any(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(_is_under(module, prefix) for prefix in prefixes)


def select(modules: list[str], options: argparse.Namespace) -> list[str]:
    """The modules to run. Figures choose folders (`--storms` runs what has figures); words narrow them down."""
    if options.selection:
        return [module for module in modules if any(_fits(module, word) for word in options.selection)]
    chosen: set[str] = set()
    if options.storms or options.nightly:
        chosen |= {*FULL}
    if options.require_field or options.nightly:
        chosen |= {FIELD}
    if options.nightly:
        chosen |= {NIGHTLY}
    if options.publish:
        chosen |= {place for row in bar.ROWS for place in row.where}
    modules = [module for module in modules if options.nightly or not _is_under(module, NIGHTLY)]
    return [module for module in modules if not chosen or any(_is_under(module, place) for place in chosen)]


def _fits(module: str, word: str) -> bool:
    if word in ALL_KINDS:
        return word in kinds_of(module)
    word = word.removesuffix(".py").strip("/").replace("/", ".")
    return any(_is_under(module, full) for full in (word, f"tests.{word}", f"tests.test_{word}"))


# -- one run ------------------------------------------------------------------------------------------------------------


class Tally:
    """The outcomes so far. Shared by the threads that each mind one worker; `lock` guards all of it and the terminal."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.outcomes: dict[str, dict[str, object]] = {}
        self.measured: list[dict[str, Any]] = []

    def add(self, module: str, records: list[dict[str, object]], took_s: float) -> None:
        count = {"passed": 0, "failed": 0, "skipped": 0}
        with self.lock:
            for record in records:
                self.outcomes[str(record["id"])] = record
                count[str(record["outcome"])] += 1
            mark = "FAIL" if count["failed"] else "ok  " if count["passed"] else "skip"
            extra = "".join(f", {count[word]} {word}" for word in ("failed", "skipped") if count[word])
            print(f"{mark} {module.removeprefix('tests.'):<44} {count['passed']:>4} passed{extra}  {took_s:.1f} s", flush=True)

    def count(self) -> tuple[int, int, int]:
        said = [record["outcome"] for record in self.outcomes.values()]
        return said.count("passed"), said.count("failed"), said.count("skipped")


def _run(modules: list[str], options: argparse.Namespace) -> int:
    tally, started = Tally(), time.monotonic()
    seed = options.replay or int.from_bytes(os.urandom(4), "big")
    print(f"{len(modules)} modules, Python {sys.version.split()[0]}, {os.cpu_count()} cores, seed {seed}", flush=True)
    alone = [module for module in modules if _is_under_any(module, ALONE)]
    quiet = [module for module in modules if _is_under_any(module, QUIET)]
    others = sorted((module for module in modules if module not in {*alone, *quiet}), key=lambda module: not _is_under_any(module, LONG))
    lanes = [[quiet, others], [quiet], *[[others]] * max(1, options.jobs)]  # who mostly waited goes on with the others
    _work_off(lanes, tally, options, seed)
    _work_off([[alone]], tally, options, seed)
    _report(tally, time.monotonic() - started)
    if options.record:
        with open(options.record, "w", encoding="utf-8") as file:
            json.dump(list(tally.outcomes.values()), file)
    passed, failed, skipped = tally.count()
    if options.publish:
        faults = {test for test, record in tally.outcomes.items() if record["outcome"] == "failed"}
        for wrong in figures.publish("N" if options.nightly else "C", tally.measured, faults, modules, seed):
            print(f"not met: {wrong}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed + skipped else 0


def _work_off(lanes: list[list[list[str]]], tally: Tally, options: argparse.Namespace, seed: int) -> None:
    """Run the modules of these lists, each once and in order; a lane is one module at a time, from its first list that has one left."""

    def mind(lane: list[list[str]]) -> None:
        while True:
            with tally.lock:
                waiting = next((modules for modules in lane if modules), None)
                if waiting is None:
                    return
                module = waiting.pop(0)
            started = time.monotonic()
            records, measured = _run_module(module, options, seed)
            with tally.lock:
                tally.measured += measured
            tally.add(module, records, time.monotonic() - started)

    minders = [threading.Thread(target=mind, args=(lane,)) for lane in lanes]
    for minder in minders:
        minder.start()
    for minder in minders:
        minder.join()


Records = list[dict[str, object]]


def _run_module(module: str, options: argparse.Namespace, seed: int) -> tuple[Records, list[dict[str, Any]]]:
    """(outcomes, figures) of one module, run in workers: one, and another after each test that had to be ended."""
    records: Records = []
    measured: list[dict[str, Any]] = []
    for _ in range(20):
        done = [str(record["id"]) for record in records]
        fresh, told, complete = _one_worker(module, done, options, seed)
        records += fresh
        measured += told
        if complete or not fresh:
            break
    return records, measured


def _one_worker(module: str, done: list[str], options: argparse.Namespace, seed: int) -> tuple[Records, list[dict[str, Any]], bool]:
    scratch = os.path.realpath(tempfile.mkdtemp(prefix="c2t"))  # short: socket names in it have 108 bytes
    results = os.path.join(scratch, "results.jsonl")
    output = os.path.join(scratch, "output.txt")
    task = {
        "module": module, "done": done, "results": results, "pattern": options.pattern, "bound_s": TIME_BOUND_S,
        "field": FIELD, "require_field": bool(options.require_field or options.nightly),
    }  # fmt: skip
    size = "nightly" if options.nightly else "full" if options.storms else "short"
    try:
        with open(output, "wb") as sink:
            worker = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests", "--worker", json.dumps(task)],
                cwd=TOP, env=_environment(scratch, seed, size), stdin=subprocess.DEVNULL,
                stdout=None if options.verbose else sink, stderr=None if options.verbose else subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            try:
                worker.wait(timeout=3600)
            finally:
                _end_group(worker)
        records, unfinished, complete = _read_results(results)
        if not complete:  # ended by its bound, or it crashed
            test = unfinished or f"{module} (loading it, or between its tests)"
            detail = f"ended with code {worker.returncode}\n" + ("" if options.verbose else _tail(output))
            records.append({"id": test, "outcome": "failed", "detail": detail, "took_s": 0.0})
            complete = not unfinished
        for record in records:
            if record["outcome"] == "failed" and record.get("print"):
                record["detail"] = f"{record['detail']}\n{_tail(output)}"
        return records, figures.read_measured(os.path.join(scratch, "measured")), complete
    finally:
        _end_detached(scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(scratch: str, seed: int, size: str) -> dict[str, str]:
    """What a test sees: nothing of the user's own sessions, brokers or settings."""
    keep = ("PATH", "LANG", "LC_ALL", "TERM", "SYSTEMROOT", "COMSPEC", "PATHEXT", "C2_LATTICE_FIELD", "VIRTUAL_ENV", "CI")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    home = os.path.join(scratch, "home")
    os.mkdir(home)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    environment.setdefault("C2_LATTICE_FIELD", os.path.join(cache, "c2-lattice-field"))
    environment |= {
        "HOME": home, "USERPROFILE": home, "TMPDIR": scratch, "TMP": scratch, "TEMP": scratch, "PYTHONDONTWRITEBYTECODE": "",
        "C2_LATTICE_HOME": os.path.join(home, ".c2-lattice"), "C2_LATTICE_DB": os.path.join(home, ".c2-lattice.db"),
        "C2_LATTICE_TEST_SEED": str(seed), "C2_LATTICE_TEST_FIGURES": size, "C2_LATTICE_TEST_MEASURED": os.path.join(scratch, "measured"),
    }  # fmt: skip
    return {name: value for name, value in environment.items() if value}


def _read_results(path: str) -> tuple[list[dict[str, object]], str, bool]:
    """(outcomes, the test that began and did not end, whether the worker came to its end)"""
    records, begun, complete = [], "", False
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record.get("begin"):
                    begun = record["begin"]
                elif record.get("end"):
                    complete = True
                else:
                    records.append(record)
                    begun = "" if record["id"] == begun else begun
    except OSError:
        pass  # it did not come so far as to write one: the caller reports that
    return records, begun, complete


def _end_group(worker: subprocess.Popen[bytes]) -> None:
    """End what the worker started and left in its own process group."""
    if os.name == "posix":
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left in it
    worker.kill()
    worker.wait()


def _end_detached(scratch: str) -> None:
    """End what the tests left in a session of its own (brokers are started so): its environment names this worker's folder."""
    if not os.path.isdir("/proc/self"):
        return
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                ours = scratch.encode() in file.read()
            if ours:
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is another user's


def _tail(path: str, size: int = 12_000) -> str:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        return file.read().decode("utf-8", "replace")


# -- what is said at the end --------------------------------------------------------------------------------------------


def _report(tally: Tally, took_s: float) -> None:
    records = list(tally.outcomes.values())
    skipped: dict[str, list[str]] = {}
    for record in records:
        if record["outcome"] == "skipped":
            skipped.setdefault(str(record["detail"]), []).append(str(record["id"]))
    for reason, tests in skipped.items():
        print(f"\nskipped, {reason}")
        for test in tests:
            print(f"    {test}")
    for record in records:
        if record["outcome"] == "failed":
            print(f"\n{'=' * 100}\nFAILED {record['id']}\n{str(record['detail']).rstrip()}")
    slow = sorted(records, key=lambda record: -float(str(record["took_s"])))[:8]
    print("\nslowest:")
    for record in slow:
        print(f"  {float(str(record['took_s'])):6.2f} s  {record['id']}")
    print(f"in {took_s:.1f} s")


def _sum(files: list[str]) -> int:
    """One closing line for several runs: a failure in any is a failure; a test that ran in one is not skipped."""
    rank = {"skipped": 0, "passed": 1, "failed": 2}
    outcomes: dict[str, str] = {}
    for name in files:
        with open(name, encoding="utf-8") as file:
            for record in json.load(file):
                before = outcomes.get(record["id"], "skipped")
                outcomes[record["id"]] = max(before, record["outcome"], key=lambda outcome: rank[outcome])
    said = list(outcomes.values())
    for test in sorted(test for test, outcome in outcomes.items() if outcome == "failed"):
        print(f"FAILED {test}")
    print(f"{said.count('passed')} passed, {said.count('failed')} failed, {said.count('skipped')} skipped")
    return 1 if "failed" in said or "passed" not in said else 0


def fits_pattern(test: str, pattern: str) -> bool:
    return not pattern or pattern in test or fnmatch.fnmatch(test, pattern)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
