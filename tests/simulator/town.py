"""A town: a world with its people in it and its weather over it, and how it comes to rest.

`live` lets things happen; `rest` calms the weather, brings everybody back, and lets them finish. Then nothing may be left over:
no mail unread, no lock or task with somebody who is gone.
"""

from __future__ import annotations

from typing import Any

from lattice.names import PERSON
from tests.simulator.people import Peer
from tests.simulator.watch import Violation
from tests.simulator.world import Weather, World


def crew(world: World) -> list[Peer]:
    """Six sessions in one repository, one of them unnamed, and two in another."""
    return [
        Peer(world, "arch", role="architect"),
        Peer(world, "ann", client_pid=1001),
        Peer(world, "bob", client_pid=1002),
        Peer(world, "cleo", client_pid=1002),  # two of one client
        Peer(world, "dave", beat_s=6.0, think_s=8.0),
        Peer(world, "temp-1", named=False),
        Peer(world, "yara", workspace="yard", client_pid=1003),
        Peer(world, "yuri", workspace="yard"),
    ]


class Town:
    """`pace`: how many times slower the person acts, and everything is looked at, than in a town of a few minutes."""

    def __init__(self, world: World, people: list[Peer] | None = None, *, pace: float = 1.0) -> None:
        self.world = world
        self.rests = False
        self.pace = pace
        self.crew = crew(world) if people is None else people
        world.crew = self.crew
        for peer in self.crew:
            world.schedule.after(world.chance.uniform(0, 5), peer.begin)
        world.schedule.after(7.0, self.person_acts)
        for field, what in (("broker_ends_s", self.broker_ends), ("broker_sleeps_s", self.broker_sleeps),
                            ("machine_sleeps_s", self.machine_sleeps), ("wall_jumps_s", self.wall_jumps)):  # fmt: skip
            self._later(field, what)
        world.schedule.after(60.0 * pace, self.look_at_all)

    def _later(self, field: str, what: Any) -> None:
        mean = getattr(self.world.weather, field)
        if mean:
            self.world.schedule.after(self.world.chance.expovariate(1 / mean), what)

    def look_at_all(self) -> None:
        self.world.schedule.after(60.0 * self.pace, self.look_at_all)
        if self.world.is_up and self.world.watching:
            self.world.watch.look_at_all()

    # -- weather ----------------------------------------------------------------------------------------------

    def broker_ends(self) -> None:
        self._later("broker_ends_s", self.broker_ends)
        if not self.world.weather.broker_ends_s or not self.world.is_up:
            return
        if self.world.happens(0.5):
            self.world.crash("from outside")
        else:
            self.world.restart()

    def broker_sleeps(self) -> None:
        self._later("broker_sleeps_s", self.broker_sleeps)
        if self.world.weather.broker_sleeps_s:
            self.world.sleep(self.world.chance.choice((3.0, 20.0, 60.0)))

    def machine_sleeps(self) -> None:
        self._later("machine_sleeps_s", self.machine_sleeps)
        if self.world.weather.machine_sleeps_s:
            self.world.sleep_all(self.world.chance.choice((30.0, 600.0, 8 * 3600.0)), monotonic_counts=self.world.happens(0.5))

    def wall_jumps(self) -> None:
        self._later("wall_jumps_s", self.wall_jumps)
        if self.world.weather.wall_jumps_s:
            self.world.note("wall clock jumped")
            self.world.clock.jump(self.world.chance.choice((-3600.0, 3600.0, -1.0, 0.5, 86400.0, -86400.0)))

    # -- the person -------------------------------------------------------------------------------------------

    def person_acts(self) -> None:
        world, chance = self.world, self.world.chance
        if self.rests:
            return
        world.schedule.after(chance.expovariate(1 / (10.0 * self.pace)), self.person_acts)
        kind = chance.randrange(8)
        if kind == 0:
            world.person("POST", "/inbox/take", way="person")
        elif kind == 1:
            status, said = world.person("GET", "/escalations?state=open")
            for one in said["escalations"][:2] if status == 200 else ():
                world.person("POST", f"/escalations/{one['id']}/resolve", verdict=chance.choice(("answer", "approve")), answer="yes")
        elif kind == 2:
            for row in world.rows("SELECT DISTINCT message_id FROM deliveries WHERE state = 'held' ORDER BY message_id LIMIT 2"):
                world.person("POST", f"/messages/{row[0]}/release", verdict=chance.choice(("let_through", "let_through", "stop")))
        elif kind == 3:
            to = chance.choice((self.crew[0].id, self.crew[1].id, "@architect", "broadcast"))
            world.person("POST", "/send", recipient_id=to, category="question", content=f"how is it going {world.number()}")
        elif kind == 4:
            self.lift()
        elif kind == 5 and chance.random() < 0.3:
            world.person("POST", chance.choice(("/kill-peer", "/unregister")), peer_id=chance.choice(self.crew[1:]).id)
        elif kind == 6 and chance.random() < 0.3:
            world.person("POST", "/seat", peer_id=chance.choice(self.crew).id)
        else:
            world.person("POST", "/tasks", title=f"asked for {world.number()}", workspace=chance.choice(("shop", "yard")))

    def lift(self) -> None:
        """Whoever was ended or paused may go on; a session that was ended is started anew."""
        for peer in self.crew:
            if peer.is_killed or self.world.happens(0.1):
                status, _ = self.world.person("POST", "/resume", peer_id=peer.id)
                if peer.is_killed and status in (200, 404):
                    peer._gone()

    # -- coming to rest ---------------------------------------------------------------------------------------

    def rest(self) -> None:
        world = self.world
        world.weather, self.rests = Weather.calm(), True
        world.note("came to rest")
        world.run(130.0)  # the sleepers wake, those that are away come back
        ended = {row[0] for row in world.rows("SELECT id FROM peers WHERE status = 'killed'")}  # some do not know it: they were away
        for peer in self.crew:
            if peer.is_frozen:
                peer.thaw(peer.life)
            if peer.is_killed or peer.id in ended:
                world.person("POST", "/resume", peer_id=peer.id)
                peer._gone()
            if not peer.is_there:
                peer.begin()
        world.person("POST", "/resume-all", everywhere=True)
        world.run(100.0)
        for peer in self.crew:
            peer.think_s = 1e9
        for _ in range(60):
            world.run(5.0)
            for row in world.rows("SELECT DISTINCT message_id FROM deliveries WHERE state = 'held'"):
                world.person("POST", f"/messages/{row[0]}/release", verdict="let_through")
            world.person("POST", "/inbox/take", way="person")
            for peer in self.crew:
                peer.read()
                peer.hook()
            if not self._unread():
                break
        left = [tuple(row) for row in self._unread()[:5]]
        if left:
            raise Violation(f"seed {world.seed}, at rest: mail that nobody gets: {left}")
        world.watch.at_the_end()

    def _unread(self) -> list[Any]:
        here = [peer.id for peer in self.crew] + [PERSON]
        marks = ", ".join("?" * len(here))
        return self.world.rows(
            f"SELECT recipient, message_id, state FROM deliveries WHERE state IN ('queued', 'offered', 'held') AND recipient IN ({marks})",
            *here,
        )
