"""A day of twenty sessions: everything that must be so is so after each step, and the database stays small."""

from __future__ import annotations

import os
import time
import unittest
from unittest import mock

from lattice.broker import retention
from lattice.domain import events
from tests.figures import measured
from tests.running import chance, figure
from tests.simulator.people import Peer
from tests.simulator.test_simulation import Simulated
from tests.simulator.town import Town
from tests.simulator.world import Weather, World

HOUR_S = 3600.0
PEERS = 20
MB = 1024 * 1024
# Sessions last hours, and so do the times between them; now and then something goes wrong.
WEATHER = Weather(
    lost_request=0.002, lost_answer=0.002, doubled=0.001, late=0.001, dies_before_commit=0.0, dies_after_commit=0.0,
    broker_ends_s=6 * HOUR_S, broker_sleeps_s=12 * HOUR_S, machine_sleeps_s=0.0, wall_jumps_s=8 * HOUR_S,
    peer_dies_s=9 * HOUR_S, peer_freezes_s=12 * HOUR_S, peer_leaves_s=4 * HOUR_S,
)  # fmt: skip


def workforce(world: World) -> list[Peer]:
    """Two architects with nine sessions each. Four beat every three seconds; the others were told to beat less often."""
    found = []
    for number in range(PEERS):
        workspace = ("shop", "yard")[number % 2]
        role = "architect" if number < 2 else "worker"
        peer = Peer(
            world, f"{workspace}-{number}", role=role, workspace=workspace, beat_s=3.0 if number < 4 else 15.0,
            think_s=240.0, named=number % 7 != 6, client_pid=2000 + number if number % 3 else None,
        )  # fmt: skip
        peer.away_s = (5.0, 600.0, 2 * HOUR_S, 6 * HOUR_S)
        found.append(peer)
    return found


class ADay(Simulated):
    def test_a_day_of_twenty_sessions(self) -> None:
        hours = figure(1, 24)
        began = time.perf_counter()
        with World(chance(self).randrange(2**31), weather=WEATHER, tick_s=2.0) as world:
            town = Town(world, workforce(world), pace=60.0)
            world.run(hours * HOUR_S)
            seen = {key for key, peer in world.watch.state["peer"].items() if peer["role"] != "system"}
            town.rest()
            took_s = time.perf_counter() - began
            size = sum(os.path.getsize(world.house.config.db + end) for end in ("", "-wal") if os.path.exists(world.house.config.db + end))
            print(f"{world.steps} steps, {world.watch.looked} wrote, {world.watch.seq} events; {world.answers}; {world.befell}")
        measured(self, "R22", virtual_hours=hours, peers=len(seen), violations=0, took_s=took_s, database_mb=size / MB)
        self.assertEqual(PEERS, len(seen))

    def test_the_file_of_many_days_stops_growing(self) -> None:
        """A busy while each day, and what is over is kept for two. The while is short, so its rounds are close together."""
        days, sizes = figure(8, 16), []
        weather = Weather(broker_ends_s=1800.0, machine_sleeps_s=0.0, wall_jumps_s=0.0)
        self.enterContext(mock.patch.multiple(retention, FIRST_AFTER_S=10.0, EVERY_S=10.0))
        self.enterContext(mock.patch.multiple(events, SNAPSHOT_EVERY=500, SNAPSHOT_THINGS=100))  # the log goes before a snapshot
        with World(chance(self).randrange(2**31), weather=weather, environ={"C2_LATTICE_KEEP_DAYS": "2"}) as world:
            town = Town(world, pace=3.0)
            for _ in range(days):
                world.run(figure(150, 400))
                world.sleep_all(24 * HOUR_S - figure(150, 400), monotonic_counts=True)
                sizes.append(os.path.getsize(world.house.config.db) / MB)
            sent, kept = len(world.sent_once), len(world.watch.state["message"])
            town.rest()
        print(f"{kept} messages of {sent} are left; MB by day: {[round(size, 2) for size in sizes]}")
        self.assertLess(max(sizes[days // 2 :]), 1.5 * sizes[days // 2])
        self.assertLess(kept, sent)


if __name__ == "__main__":
    unittest.main()
