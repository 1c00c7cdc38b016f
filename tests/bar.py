"""The bar: what is published about reliability and security, row by row, and what each figure has to be.

A test says what it measured with `figures.measured(self, "R1", kills=200, lost=0)`; `docs/reliability.md` is this table
with the figures of the last run. Tier C runs at each change (`python -m tests --storms --require-field`), tier N at night
(`--nightly`), tier L before a release. A figure that is missed is published all the same, with the reason in `why`.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "<": operator.lt}


class Need(NamedTuple):
    """One figure and its bound; the unit is in the name."""

    name: str
    sign: str
    value: float


class Row(NamedTuple):
    """`bars`: the needs by tier. `where`: modules or folders of tests that measure it. `not_run`: what of it was not, and why."""

    id: str
    promise: str
    bars: dict[str, tuple[Need, ...]]
    where: tuple[str, ...]
    why: str = ""
    not_run: str = ""


def _needs(said: str) -> tuple[Need, ...]:
    """`kills >= 200, lost == 0` as needs."""
    found = []
    for part in filter(None, (part.strip() for part in said.split(","))):
        name, sign, value = part.split(" ")
        found.append(Need(name, sign, float(value)))
    return tuple(found)


def _row(id: str, promise: str, where: str, C: str = "", N: str = "", L: str = "", why: str = "", not_run: str = "") -> Row:
    bars = {tier: _needs(said) for tier, said in (("C", C), ("N", N), ("L", L)) if said}
    return Row(id, promise, bars, tuple(f"tests.{name}" for name in where.split()), why, not_run)


ROWS = (
    _row("R1", "kill -9 under load loses nothing that was acknowledged", "storms.test_kills",
         "kills >= 200, acknowledged >= 100000, lost == 0, doubled == 0, torn == 0"),
    _row("R2", "…nor does a kill at any single write to the disk, nor a power cut as far as a program can have one",
         "storms.test_crash_points storms.test_power_cuts",
         "crash_points >= 500, lost == 0, torn == 0, corrupt == 0, power_cuts >= 300, lost_by_a_cut == 0, torn_by_a_cut == 0,"
         " corrupt_by_a_cut == 0"),
    _row("R3", "“ok” is sent only after the disk sync", "storms.test_sync_order",
         "answers >= 1000, before_the_sync == 0, control_answers >= 50, control_caught_percent == 100"),
    _row("R4", "I/O errors never lie", "storms.test_disk_faults",
         "scenarios >= 60, acknowledged_and_lost == 0, hangs == 0, worst_exit_s <= 1, worst_resume_s <= 1"),
    _row("R5", "failed is not the same as not done: a retry with the same key gives one row", "storms.test_disk_faults",
         "retried >= 60, rows_not_one == 0"),
    _row("R6", "a read-only file or folder, a missing folder, a quota: said clearly, at once; a running broker goes on reading",
         "storms.test_no_writing", "cases >= 8, wrong_exit == 0, worst_s <= 2, crashes == 0"),
    _row("R7", "a damaged database is never silently replaced", "storms.test_damaged_files",
         "fixtures >= 40, silent == 0, bytes_deleted == 0"),
    _row("R8", "one flipped bit", "nightly.test_bit_flips",
         N="flips >= 1000, crashes == 0, detected_percent >= 0, detected_of_those_that_matter_percent >= 90"),
    _row("R9", "upgrades: every released schema migrates, or is as it was; a newer one is refused and left alone", "storms.test_upgrades",
         "schemas >= 2, kills >= 50, between == 0, newer_changed == 0"),
    _row("R10", "backup and restore", "storms.test_backups nightly.test_hot_backup",
         "drills >= 20, not_a_prefix_of_what_was_acknowledged == 0",
         N="drills >= 20, not_a_prefix_of_what_was_acknowledged == 0, rows >= 1000000, hot_backup_s <= 2"),
    _row("R11", "messages: none lost, repeats marked, order kept for each pair", "storms.test_mail_through_faults",
         "messages >= 10000, lost == 0, unmarked_repeats == 0, twice_in_a_session == 0, out_of_order == 0",
         N="messages >= 50000, lost == 0, unmarked_repeats == 0, twice_in_a_session == 0, out_of_order == 0"),
    _row("R12", "nothing is “read” before the agent has it", "storms.test_fetched_and_killed", "kills >= 100, came_back_percent == 100"),
    _row("R13", "one winner", "storms.test_claims", "clients >= 64, rounds >= 1000, rounds_without_one_winner == 0"),
    _row("R14", "locks and claims are linearizable", "storms.test_linear",
         "histories >= 1000, operations >= 300000, violations == 0, planted_bugs >= 10, planted_bugs_missed == 0"),
    _row("R15", "a paused holder can do no harm", "simulator.test_zombies storms.test_frozen",
         "rounds >= 200, accepted == 0, real_rounds >= 5, real_accepted == 0"),
    _row("R16", "the core and a plain model of it agree", "properties.test_model_hypothesis",
         "walks >= 2000, steps_each >= 50, differences == 0"),
    _row("R17", "task graphs: no cycle, nothing claimable early, all of it done in spite of deaths", "simulator.test_graphs",
         "graphs >= 10000, cycles == 0, early == 0, unfinished == 0"),
    _row("R18", "a machine that sleeps kills nobody", "storms.test_frozen simulator.test_sleep",
         "frozen_s >= 30, virtual_sleep_h >= 8, dead == 0, locks_lost == 0, worst_dead_found_s <= 30"),
    _row("R19", "the wall clock jumps", "storms.test_clock_jumps", "jumps >= 5, wrong_expiries == 0, out_of_order == 0"),
    _row("R20", "what a dead session held is free soon, once", "storms.test_departed",
         "deaths >= 10, worst_s <= 20, freed_twice == 0", N="deaths >= 100, worst_s <= 20, freed_twice == 0"),
    _row("R21", "the sweeper cannot die", "simulator.test_sweeper", "faults >= 20, did_not_run_again == 0, worst_sweep_age_s < 20"),
    _row("R22", "a day of twenty peers", "simulator.test_day nightly.test_soak",
         "virtual_hours >= 24, peers >= 20, violations == 0, took_s <= 30, database_mb <= 64",
         N="soak_minutes >= 30, memory_growth_percent < 5, descriptors_more <= 2, threads_more <= 2",
         why="it grows by steps; what each step is was not found out. In 72,000 rounds within 150 s it had 42.5 MB after a minute and"
         " 43.5 MB at the end, so it slows down; that it ends was not shown"),
    _row("R23", "two brokers at once: one serves, the others leave before they open the database", "storms.test_starts",
         "rounds >= 50, starts >= 1000, rounds_without_one_broker == 0, losers_that_opened_it == 0, worst_loser_s <= 2"),
    _row("R24", "a storm of sessions without a broker", "storms.test_session_storm",
         "sessions >= 40, brokers == 1, not_registered == 0, took_s <= 40",
         N="sessions >= 200, brokers == 1, not_registered == 0, took_s <= 40"),
    _row("R25", "the port is somebody else's", "storms.test_squatters",
         "cases >= 60, squatters >= 8, secret_bytes_sent == 0, unclear == 0"),
    _row("R26", "stop means stop", "storms.test_stops",
         "stops >= 200, not_zero == 0, dropped == 0, wal_left == 0, worst_s <= 2"),
    _row("R27", "no zombies, no leaked descriptors", "storms.test_spawned_children",
         "spawns >= 100, zombies == 0, leaked_descriptors == 0"),
    _row("R28", "no orphans", "storms.test_orphans", "clients_killed >= 20, worst_s <= 5, pipe_held_worst_s <= 15, left == 0"),
    _row("R29", "a restart of the broker is not noticed", "storms.test_restart_in_between",
         "calls >= 1000, restarts >= 5, tool_errors == 0, doubled == 0, worst_restart_s <= 5"),
    _row("R30", "mixed versions: the release before against this one, both ways", "test_bar",
         not_run="there is no release before this one yet"),
    _row("R31", "a million messages and a million events", "nightly.test_millions",
         N="messages >= 1000000, events >= 1000000, worst_p99_ms < 50, dashboard_ms < 200, start_s <= 2, quick_check_s <= 1",
         why="the quick check is SQLite's own time for a file of this size; the broker makes one at its start, which has its two seconds"),
    _row("R32", "speed with a full sync", "storms.test_speed", "clients >= 64, durable_writes_per_s >= 1000, p99_ms <= 100"),
    _row("R33", "memory", "storms.test_speed", "peers >= 200, resident_mb <= 120, hostile_resident_mb <= 200"),
    _row("R34", "malformed HTTP", "fuzz.test_http",
         "requests >= 20000, unintended_5xx == 0, dropped == 0, hangs == 0, tracebacks == 0",
         N="requests >= 100000, unintended_5xx == 0, dropped == 0, hangs == 0, tracebacks == 0"),
    _row("R35", "malformed bodies over every route", "fuzz.test_bodies",
         "bodies >= 10000, queries >= 2000, unintended_5xx == 0, dropped == 0, hangs == 0, tracebacks == 0, wrong_and_taken == 0",
         N="bodies >= 50000, queries >= 10000, unintended_5xx == 0, dropped == 0, hangs == 0, tracebacks == 0, wrong_and_taken == 0"),
    _row("R36", "malformed JSON-RPC", "fuzz.test_jsonrpc",
         "lines >= 20000, exits == 0, ids_without_one_answer == 0, wrong_lines_out == 0",
         N="lines >= 100000, exits == 0, ids_without_one_answer == 0, wrong_lines_out == 0"),
    _row("R37", "the OpenAPI document is true (schemathesis)", "field.test_openapi", "operations >= 60, failures == 0",
         N="operations >= 60, failures == 0"),
    _row("R38", "MCP is spoken as specified (Inspector, official schemas)", "field.test_inspector",
         "tools >= 22, failures == 0, lines_checked >= 100, schema_violations == 0"),
    _row("R39", "hostile text on the page", "field.test_page", "payloads >= 60, fields >= 10, executed == 0, policy_reports == 0"),
    _row("R40", "who may do what", "broker.test_access", "routes_percent == 100, principals >= 8, wrong == 0"),
    _row("R41", "texts: evasions caught, ordinary talk let through, terminals safe", "threats.test_text",
         "evasions >= 200, evasions_missed == 0, ordinary >= 1000, let_through_percent >= 99.5, good_lines >= 300, changed_lines == 0,"
         " terminal_sequences >= 40, control_bytes_out == 0"),
    _row("R42", "ten gullible agents and one worm", "threats.test_worm",
         "agents >= 10, infected <= 3, alerts == 1, others_throughput_percent >= 90"),
    _row("R43", "secrets stay secret", "threats.test_canary", "places >= 5, hits == 0, files_looser_than_0600 == 0"),
    _row("R44", "the tests bite: each removed protection fails one", "nightly.test_mutants",
         N="mutants >= 40, caught_percent == 100"),
    _row("R45", "the same on every system", "test_bar",
         not_run="run on Linux with Python 3.11 alone: macOS, Windows and Python 3.12 to 3.14 were not at hand"),
)  # fmt: skip
BY_ID = {row.id: row for row in ROWS}


def misses(row: Row, tier: str, figures: dict[str, float]) -> list[str]:
    """What of the bar these figures do not reach, in words; [] when all is met."""
    found = []
    for need in row.bars.get(tier, ()):
        value = figures.get(need.name)
        if value is None:
            found.append(f"{said(need.name)} not measured")
        elif not COMPARE[need.sign](value, need.value):
            found.append(f"{amount(value)} {said(need.name)} instead of {SIGNS[need.sign]}{amount(need.value)}")
    return found


SIGNS = {">=": "≥ ", "<=": "≤ ", "==": "", "<": "< "}


def said(name: str) -> str:
    return name.replace("_", " ")


def amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def shown(need: Need) -> str:
    return f"{SIGNS[need.sign]}{amount(need.value)} {said(need.name)}"
