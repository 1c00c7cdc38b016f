"""The server over time: keep-alive, deadlines, limits, waiting, streams, stopping."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any
from unittest import mock

from lattice.errors import Unauthorized
from lattice.web import server as module
from lattice.web.parking import Lot, Place, has_hung_up
from lattice.web.server import Answer, Deadlines, Parked, Request, Stream
from lattice.web.stream import event
from tests.running import until
from tests.web.serving import SHORT, ServerCase, read_reply, split_replies

PATIENT_S = 20.0  # bound of a wait that ends by an event, not by time


class KeepAlive(ServerCase):
    def test_a_call_is_one_receive_and_one_send_without_delay(self) -> None:
        sizes: list[int] = []
        kept: list[socket.socket] = []
        genuine = module._Handler._send

        def counting(handler: Any, data: bytes) -> bool:
            kept.append(handler.request)
            sizes.append(len(data))
            return genuine(handler, data)

        with mock.patch.object(module._Handler, "_send", counting):
            self.start()
            connection = self.connect()
            for _ in range(100):
                connection.sendall(self.request("POST", "/x", b'{"a":1}'))
                received = connection.recv(65536)
                # The whole answer came as one piece: head and body were not sent apart.
                self.assertEqual(len(received), sizes[-1])
                self.assertTrue(received.endswith(b"}"))
            self.assertEqual(len(sizes), 100)
            self.assertTrue(kept[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertEqual({request.connection for request in self.seen}, {self.seen[0].connection})

    def test_connections_have_different_numbers(self) -> None:
        self.start()
        self.ask()
        self.ask()
        self.assertNotEqual(self.seen[0].connection, self.seen[1].connection)


class InTime(ServerCase):
    def dribble(self, head: bytes, tail: bytes) -> int:
        """Send `head`, then `tail` byte by byte for as long as the server takes it; the status of the answer."""
        connection = self.connect()
        connection.sendall(head)
        stop = threading.Event()

        def drip() -> None:
            for byte in tail:
                if stop.wait(0.02):
                    return
                try:
                    connection.send(bytes((byte,)))
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            return read_reply(connection).status
        finally:
            stop.set()
            thread.join()

    def test_a_head_that_dribbles_is_408_at_its_deadline(self) -> None:
        self.start(deadlines=SHORT)
        self.assertEqual(self.dribble(b"GET /x HTTP/1.1\r\nX: ", b"y" * 1000), 408)

    def test_a_body_that_dribbles_is_408_at_its_deadline(self) -> None:
        self.start(deadlines=SHORT)
        self.assertEqual(self.dribble(self.request("POST", "/x", b"", "Content-Length: 1000"), b" " * 1000), 408)
        self.assertEqual(self.seen, [])

    def test_an_idle_stranger_is_closed_without_a_word(self) -> None:
        self.start(deadlines=SHORT)
        connection = self.connect()
        self.assertEqual(connection.recv(100), b"")
        used = self.connect()
        used.sendall(self.request())
        self.assertEqual(read_reply(used).status, 200)
        self.assertEqual(used.recv(100), b"")

    def test_an_authenticated_connection_may_rest(self) -> None:
        def answer(request: Request) -> Answer:
            self.server.authenticated(request, "alice")
            return Answer(200, {})

        self.start(answer, deadlines=SHORT)
        rested = self.connect()
        rested.sendall(self.request())
        self.assertEqual(read_reply(rested).status, 200)
        stranger = self.connect()  # both are idle from here on; the later one is closed first
        self.assertEqual(stranger.recv(100), b"")
        rested.sendall(self.request())
        self.assertEqual(read_reply(rested).status, 200)

    def test_a_client_that_does_not_read_is_let_go(self) -> None:
        closed = threading.Event()

        def answer(request: Request) -> Answer:
            self.server.authenticated(request, "alice")
            return Answer(200, b"x" * 50_000_000)

        self.start(answer, deadlines=SHORT, on_close=lambda connection, who: closed.set())
        connection = self.connect()
        connection.sendall(self.request())
        self.assertTrue(closed.wait(PATIENT_S))


class Limits(ServerCase):
    def hold(self, count: int) -> list[socket.socket]:
        """Connections that the server has taken in: each has had an answer."""
        held = []
        for _ in range(count):
            connection = self.connect()
            connection.sendall(self.request())
            self.assertEqual(read_reply(connection).status, 200)
            held.append(connection)
        return held

    def assert_turned_away(self) -> None:
        connection = self.connect()
        reply = read_reply(connection)
        self.assertEqual((reply.status, reply.json()["code"], reply.json()["retryable"]), (503, "too_many_connections", True))
        self.assertEqual(connection.recv(100), b"")

    def test_strangers_are_limited_and_make_room_when_they_leave(self) -> None:
        self.start(max_unauthenticated=3, deadlines=Deadlines(tick=0.02))
        held = self.hold(3)
        self.assert_turned_away()
        threads = threading.active_count()
        for _ in range(20):
            self.assert_turned_away()
        self.assertLessEqual(threading.active_count(), threads)
        held[0].close()
        while self.server.connections() == 3:
            threading.Event().wait(0.001)
        self.hold(1)

    def test_all_are_limited(self) -> None:
        self.start(self.welcome, max_connections=3, max_per_peer=10)
        self.hold(3)
        self.assert_turned_away()

    def test_one_peer_has_so_many_connections_and_no_more(self) -> None:
        self.start(self.welcome, max_per_peer=2, max_unauthenticated=2)
        self.hold(2)
        refused = self.ask()
        self.assertEqual((refused.status, refused.json()["code"], refused.headers["connection"]), (503, "too_many_connections", "close"))
        self.who = "bob"
        self.hold(2)

    def test_a_large_body_is_taken_in_from_whom_is_known_alone(self) -> None:
        def admit(authorization: str) -> None:
            if authorization != "Bearer good":
                raise Unauthorized("a token is needed", code="no_token")

        self.start(admit=admit, deadlines=Deadlines(head=60, body=60))
        limit = module.LARGE
        for size, lines, status in ((limit, (), 200), (limit + 1, (), 401), (limit + 1, ("Authorization: Bearer good",), 200)):
            with self.subTest(size=size, lines=lines):
                body = b'{"a":"%s"}' % (b"x" * (size - 8))
                (reply,) = self.exchange(self.request("POST", "/x", body, *lines, "Connection: close"))
                self.assertEqual(status, reply.status)
        connection = self.connect()
        connection.sendall(self.request("POST", "/x", b"", f"Content-Length: {limit + 1}"))
        self.assertEqual(401, read_reply(connection).status, "without waiting for a byte of it")

    def test_large_bodies_are_answered_one_at_a_time_and_wait_side_by_side(self) -> None:
        inside, leave = threading.Semaphore(0), threading.Event()

        def answer(request: Request) -> Answer | Parked:
            if request.body is None:
                return Answer(200, {})
            inside.release()
            leave.wait(PATIENT_S)
            return Parked("k", PATIENT_S, lambda: Answer(200, {}))

        self.start(answer)
        body = b'{"a":"%s"}' % (b"x" * module.LARGE)
        connections = [self.connect() for _ in range(3)]
        for connection in connections:
            connection.sendall(self.request("POST", "/x", body))
        self.assertTrue(inside.acquire(timeout=PATIENT_S))
        self.assertFalse(inside.acquire(timeout=0.2), "no other is read meanwhile")
        self.assertEqual(200, self.ask().status, "what is small is")
        leave.set()
        until(lambda: self.server.lot.waiting("k") == 3, "all wait")
        self.server.wake("k")
        self.assertEqual([200] * 3, [read_reply(connection).status for connection in connections])

    def test_the_end_of_an_authenticated_connection_is_told(self) -> None:
        ended: list[tuple[int, str]] = []
        told = threading.Event()

        def on_close(connection: int, who: str) -> None:
            ended.append((connection, who))
            told.set()

        self.start(self.welcome, on_close=on_close)
        (connection,) = self.hold(1)
        connection.close()
        self.assertTrue(told.wait(PATIENT_S))
        self.assertEqual(ended, [(self.seen[0].connection, "alice")])

    who = "alice"

    def welcome(self, request: Request) -> Answer:
        self.server.authenticated(request, self.who)
        return Answer(200, {})


class Waiting(ServerCase):
    def park(self, wait_s: float = PATIENT_S, **options: Any) -> None:
        """Serve `/wait` as parked under "alice"."""

        def answer(request: Request) -> Answer | Parked:
            if request.path != "/wait":
                return Answer(200, {"ok": True})
            return Parked("alice", wait_s, lambda: Answer(200, {"woken": True}))

        self.start(answer, **options)

    def until_waiting(self, count: int, key: str = "alice") -> None:
        while self.server.lot.waiting(key) != count:
            threading.Event().wait(0.001)

    def test_a_parked_request_is_answered_when_its_key_is_woken(self) -> None:
        self.park()
        connections = [self.connect() for _ in range(5)]
        for connection in connections:
            connection.sendall(self.request("POST", "/wait", b"{}"))
        self.until_waiting(5)
        self.server.wake("bob")
        self.assertEqual(self.server.lot.waiting("alice"), 5)
        self.server.wake("alice")
        for connection in connections:
            self.assertEqual(read_reply(connection).json(), {"woken": True})
            connection.sendall(self.request())  # and it goes on
            self.assertEqual(read_reply(connection).json(), {"ok": True})

    def test_a_parked_request_is_answered_when_its_time_is_over(self) -> None:
        self.park(0.02)
        self.assertEqual(self.ask("GET", "/wait").json(), {"woken": True})
        self.assertEqual(self.server.lot.waiting("alice"), 0)

    def test_a_wake_between_the_look_and_the_waiting_is_not_lost(self) -> None:
        def answer(request: Request) -> Parked:
            self.server.wake("alice")  # happens after the request began, before it waits
            return Parked("alice", 3600.0, lambda: Answer(200, {"woken": True}))

        self.start(answer)
        self.assertEqual(self.ask().json(), {"woken": True})

    def test_an_old_wake_does_not_end_a_new_wait(self) -> None:
        self.park()
        self.server.wake("alice")
        connection = self.connect()
        connection.sendall(self.request("GET", "/wait"))
        self.until_waiting(1)
        self.server.wake("alice")
        self.assertEqual(read_reply(connection).status, 200)

    def test_a_closed_client_is_noticed_while_it_waits(self) -> None:
        told = threading.Event()
        answered: list[bool] = []

        def answer(request: Request) -> Parked:
            self.server.authenticated(request, "alice")
            return Parked("alice", 3600.0, lambda: answered.append(True) or Answer(200, {}))  # type: ignore[func-returns-value]

        self.start(answer, on_close=lambda connection, who: told.set())
        connection = self.connect()
        connection.sendall(self.request())
        self.until_waiting(1)
        connection.close()
        self.assertTrue(told.wait(PATIENT_S))
        self.assertEqual((self.server.lot.waiting("alice"), answered), (0, []))

    def test_a_client_that_hangs_up_is_noticed_while_its_request_is_under_way(self) -> None:
        for goodbye in (
            lambda connection: connection.close(),
            lambda connection: connection.shutdown(socket.SHUT_WR),
            lambda connection: (connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), connection.close()),
        ):
            seen: list[bool] = []
            gone, told = threading.Event(), threading.Event()

            def answer(request: Request, seen: list[bool] = seen, gone: threading.Event = gone, told: threading.Event = told) -> Answer:
                seen.append(self.server.has_left(request))
                told.set()
                self.assertTrue(gone.wait(PATIENT_S))
                seen.append(self.server.has_left(request))
                told.set()
                return Answer(200, {})

            self.start(answer)
            connection = self.connect()
            connection.sendall(self.request())
            self.assertTrue(told.wait(PATIENT_S))
            told.clear()
            goodbye(connection)
            gone.set()
            self.assertTrue(told.wait(PATIENT_S))
            self.assertEqual(seen, [False, True])

    def test_a_connection_that_we_closed_for_reading_was_not_hung_up_by_its_client(self) -> None:
        seen: list[bool] = []
        overdue = threading.Event()

        def answer(request: Request) -> Answer:
            self.assertTrue(overdue.wait(PATIENT_S))
            seen.append(self.server.has_left(request))
            return Answer(200, {})

        self.start(answer)
        connection = self.connect()
        connection.sendall(self.request())
        until(lambda: self.seen, "it is under way")
        link = self.seen[0].link
        link.deadline = 0.0  # its time to rest ran out just as the request came
        until(lambda: link.overdue, "the watchdog has seen it")
        overdue.set()
        self.assertEqual((read_reply(connection).status, seen), (200, [False]))

    def test_a_request_that_just_came_when_the_server_stopped_is_told_that_and_not_that_it_hung_up(self) -> None:
        def answer(request: Request) -> Answer:
            request.link.idle_since = 0.0  # as if it had rested for long, and its bytes came only now
            stopping.start()
            until(lambda: has_hung_up(request.link.socket), "its reading side is closed")
            return Answer(200, {"left": self.server.has_left(request)})

        self.start(answer)
        stopping = threading.Thread(target=self.server.stop)
        connection = self.connect()
        connection.sendall(self.request())
        received = b""
        while more := connection.recv(65536):
            received += more
        stopping.join(PATIENT_S)
        self.assertIn(b" 503 ", received)
        self.assertIn(b'"code":"stopping"', received)

    def test_a_request_sent_behind_one_that_is_under_way_is_no_hanging_up(self) -> None:
        seen: list[bool] = []
        more = threading.Event()

        def answer(request: Request) -> Answer:
            if request.path == "/first":
                self.assertTrue(more.wait(PATIENT_S))
                seen.append(self.server.has_left(request))
            return Answer(200, {})

        self.start(answer)
        connection = self.connect()
        connection.sendall(self.request("GET", "/first"))
        connection.sendall(self.request("GET", "/second", None, "Connection: close"))
        more.set()
        received = b""
        while more_bytes := connection.recv(65536):
            received += more_bytes
        self.assertEqual(len(split_replies(received)), 2)
        self.assertEqual(seen, [False])

    def test_a_request_sent_behind_a_waiting_one_waits_its_turn(self) -> None:
        self.park()
        connection = self.connect()
        connection.sendall(self.request("GET", "/wait"))
        self.until_waiting(1)
        connection.sendall(self.request("GET", "/x", None, "Connection: close"))
        self.server.wake("alice")
        received = b""
        while more := connection.recv(65536):
            received += more
        self.assertEqual([reply.json() for reply in split_replies(received)], [{"woken": True}, {"ok": True}])

    def test_then_may_refuse_or_wait_again(self) -> None:
        rounds: list[int] = []

        def then() -> Answer | Parked:
            rounds.append(1)
            if len(rounds) == 1:
                return Parked("alice", PATIENT_S, then)
            raise Unauthorized("killed meanwhile", code="killed")

        self.start(lambda _: Parked("alice", PATIENT_S, then))
        connection = self.connect()
        connection.sendall(self.request())
        self.until_waiting(1)
        self.server.wake("alice")
        while len(rounds) < 1:
            threading.Event().wait(0.001)
        self.until_waiting(1)
        self.server.wake("alice")
        reply = read_reply(connection)
        self.assertEqual((reply.status, reply.json()["code"]), (401, "killed"))

    def test_a_thousand_wakes_of_nobody_leave_no_trace_and_few_keys(self) -> None:
        self.park()
        for number in range(25_000):
            self.server.wake(f"peer-{number}")
        self.assertLessEqual(len(self.server.lot._last), 10_001)
        self.assertEqual(self.server.lot._waiting, {})

    def test_a_wake_that_was_forgotten_among_many_is_not_lost_to_who_looked_before_it(self) -> None:
        lot = Lot()
        since = lot.number
        for number in range(25_000):
            lot.wake(f"peer-{number}")
        ours, theirs = socket.socketpair()
        place = Place(ours)
        for close in (place, ours, theirs):
            self.addCleanup(close.close)
        self.assertEqual(lot.wait(place, "peer-0", since, 0.0), "woken")
        self.assertEqual(lot.wait(place, "peer-0", lot.number, 0.0), "late")


class Streaming(ServerCase):
    def test_events_go_out_as_they_come_until_the_client_leaves(self) -> None:
        news = [b"", event({"n": 1}, id="1")]
        told = threading.Event()

        def take() -> bytes:
            return news.pop() if news else b""

        def answer(request: Request) -> Stream:
            self.server.authenticated(request, "viewer")
            return Stream("events", take)

        self.start(answer, on_close=lambda connection, who: told.set())
        connection = self.connect()
        connection.sendall(self.request("GET", "/events"))
        received = self.until(connection, b'data: {"n":1}\n\n')
        self.assertIn(b"Content-Type: text/event-stream", received)
        self.assertNotIn(b"Content-Length", received)
        self.assertIn(b"id: 1\n", received)
        while self.server.lot.waiting("events") != 1:
            threading.Event().wait(0.001)
        news.append(event({"n": 2}, id="2", name="task"))
        self.server.wake("events")
        self.assertIn(b"event: task\n", self.until(connection, b'data: {"n":2}\n\n'))
        connection.close()
        self.assertTrue(told.wait(PATIENT_S))

    def test_what_does_not_go_out_in_one_piece_follows_at_once(self) -> None:
        pieces = [event({"n": number}) for number in (3, 2, 1)]
        self.start(lambda _: Stream("events", lambda: pieces.pop() if pieces else b""))
        connection = self.connect()
        connection.sendall(self.request("GET", "/events"))
        received = self.until(connection, b'data: {"n":3}\n\n')  # nobody wakes it
        self.assertEqual(1, received.count(b": still here"))

    def test_silence_is_broken_by_a_comment(self) -> None:
        with mock.patch.object(module.streams, "run", _impatient(module.streams.run)):
            self.start(lambda _: Stream("events", lambda: b""))
            connection = self.connect()
            connection.sendall(self.request("GET", "/events"))
            self.until(connection, b": still here\n\n: still here\n\n: still here\n\n")

    def test_an_event_is_one_line_each(self) -> None:
        self.assertEqual(event("a\nb"), b'data: "a\\nb"\n\n')
        for bad in ({"id": "1\n2"}, {"name": "x\rdata: y"}):
            with self.assertRaises(ValueError):
                event({}, **bad)

    def until(self, connection: socket.socket, expected: bytes) -> bytes:
        received = b""
        while expected not in received:
            more = connection.recv(65536)
            self.assertTrue(more, received)
            received += more
        return received


def _impatient(run: Any) -> Any:
    return lambda stream, lot, place, send: run(stream, lot, place, send, silence_s=0.01)


class Stopping(ServerCase):
    def test_parked_streaming_and_idle_connections_end_and_running_ones_are_answered(self) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def answer(request: Request) -> Answer | Parked | Stream:
            if request.path == "/parked":
                return Parked("alice", 3600.0, lambda: Answer(200, {"state": "parked"}))
            if request.path == "/stream":
                return Stream("events", lambda: b"")
            if request.path == "/slow":
                entered.set()
                go_on.wait(PATIENT_S)
            return Answer(200, {"state": request.path})

        server = self.start(answer)
        idle, parked, stream, slow = (self.connect() for _ in range(4))
        idle.sendall(self.request())
        read_reply(idle)
        parked.sendall(self.request("GET", "/parked"))
        stream.sendall(self.request("GET", "/stream"))
        slow.sendall(self.request("GET", "/slow"))
        self.assertTrue(entered.wait(PATIENT_S))
        while server.lot.waiting("alice") + server.lot.waiting("events") != 2:
            threading.Event().wait(0.001)
        stopping = threading.Thread(target=server.stop, args=(PATIENT_S,))
        stopping.start()
        reply = read_reply(parked)
        self.assertEqual((reply.json(), reply.headers["connection"]), ({"state": "parked"}, "close"))
        self.assertEqual(idle.recv(100), b"")
        while stream.recv(65536):
            pass
        self.assertTrue(stopping.is_alive())  # the slow one still runs
        go_on.set()
        self.assertEqual(read_reply(slow).json(), {"state": "/slow"})
        stopping.join(PATIENT_S)
        self.assertFalse(stopping.is_alive())
        self.assertEqual(server.connections(), 0)
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        server.stop()  # twice is once

    def test_the_next_request_of_a_client_that_was_just_answered_is_answered_too_and_is_the_last(self) -> None:
        server = self.start()
        connection = self.connect()
        connection.sendall(self.request())
        read_reply(connection)
        with mock.patch.object(module, "GRACE_S", PATIENT_S):
            stopping = threading.Thread(target=server.stop, args=(PATIENT_S,))
            stopping.start()
            until(lambda: server.is_stopping, "it stops")
            connection.sendall(self.request())
            reply = read_reply(connection)
            self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
            stopping.join(PATIENT_S)
        self.assertFalse(stopping.is_alive())

    def test_whoever_comes_while_it_stops_is_told_that_it_does(self) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def answer(request: Request) -> Answer:
            entered.set()
            go_on.wait(PATIENT_S)
            return Answer(200, {})

        server = self.start(answer)
        slow = self.connect()
        slow.sendall(self.request())
        self.assertTrue(entered.wait(PATIENT_S))
        stopping = threading.Thread(target=server.stop, args=(PATIENT_S,))
        stopping.start()
        until(lambda: server.is_stopping, "it stops")
        late = self.connect()
        late.sendall(self.request())
        reply = read_reply(late)
        self.assertEqual((reply.status, reply.json()["code"]), (503, "stopping"))
        go_on.set()
        self.assertEqual(read_reply(slow).status, 200)
        stopping.join(PATIENT_S)
        with self.assertRaises(ConnectionRefusedError):
            self.connect()

    def test_a_request_that_never_ends_does_not_hold_the_stop_for_ever(self) -> None:
        go_on, entered = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def answer(request: Request) -> Answer:
            entered.set()
            go_on.wait(PATIENT_S)
            return Answer(200, {})

        server = self.start(answer)
        connection = self.connect()
        connection.sendall(self.request())
        self.assertTrue(entered.wait(PATIENT_S))
        server.stop(0.05)
        self.assertEqual(connection.recv(100), b"")
        go_on.set()

    def test_a_server_that_never_served_can_be_stopped(self) -> None:
        server = module.Server(0, lambda _: Answer(200, {}))
        server.stop(0.0)
        server.serve()  # and then serving ends at once

    def test_only_loopback_is_bound(self) -> None:
        server = self.start()
        self.assertEqual(server._listener.server_address[0], "127.0.0.1")

    def test_two_servers_cannot_have_one_port(self) -> None:
        server = self.start()
        with self.assertRaises(OSError):
            module.Server(server.port, lambda _: Answer(200, {}))
