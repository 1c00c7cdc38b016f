"""The client: what is known of a call, and what is done about it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable
from typing import Any

from lattice.errors import BadRequest, Conflict, TooMany, Unauthorized, Unavailable
from lattice.web.client import Client, query, quote
from lattice.web.server import Answer, Request
from tests.web.serving import ServerCase

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Scripted:
    """A listener that gives each connection in turn to one function of a list, on one thread."""

    def __init__(self, case: unittest.TestCase, *scripts: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port: int = self.listener.getsockname()[1]
        self.received: list[bytes] = []
        self.accepted = 0
        self.thread = threading.Thread(target=self._run, args=(scripts,))
        self.thread.start()
        case.addCleanup(self.end)

    def _run(self, scripts: tuple[Callable[[socket.socket], None], ...]) -> None:
        for script in scripts:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection:
                connection.settimeout(10)
                script(connection)

    def take(self, connection: socket.socket) -> bytes:
        """Read one whole request."""
        raw = b""
        while b"\r\n\r\n" not in raw:
            more = connection.recv(65536)
            if not more:
                return b""
            raw += more
        self.received.append(raw)
        return raw

    def end(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10):
                pass  # ends an accept that nobody came to
        except ConnectionRefusedError:
            pass
        self.listener.close()
        self.thread.join(10)


class ClientCase(ServerCase):
    def client(self, port: int, **options: Any) -> Client:
        client = Client(port, **options)
        self.addCleanup(client.close)
        return client

    def scripted(self, *scripts: Callable[[Scripted, socket.socket], None]) -> Scripted:
        holder: list[Scripted] = []
        ready = threading.Event()

        def bound(script: Callable[[Scripted, socket.socket], None]) -> Callable[[socket.socket], None]:
            def run(connection: socket.socket) -> None:
                ready.wait(10)
                script(holder[0], connection)

            return run

        holder.append(Scripted(self, *[bound(script) for script in scripts]))
        ready.set()
        return holder[0]

    def assert_unavailable(self, code: str, call: Callable[[], object]) -> Unavailable:
        with self.assertRaises(Unavailable) as caught:
            call()
        self.assertEqual(caught.exception.code, code)
        return caught.exception


def serve_one(server: Scripted, connection: socket.socket) -> None:
    server.take(connection)
    connection.sendall(OK)


def close_unanswered(server: Scripted, connection: socket.socket) -> None:
    server.take(connection)


class Calls(ClientCase):
    def test_calls_share_one_connection(self) -> None:
        port = self.start().port
        client = self.client(port)
        for number in range(5):
            self.assertEqual(client.call("POST", "/x", {"n": number})["body"], {"n": number})
        self.assertEqual(client.call("GET", query("/x", {"q": "ä b/&="}))["path"], "/x")
        self.assertEqual(self.seen[-1].query, {"q": "ä b/&="})
        self.assertEqual(len({request.connection for request in self.seen}), 1)

    def test_headers_go_along_and_a_post_without_body_sends_an_empty_object(self) -> None:
        port = self.start().port
        client = self.client(port)
        self.assertEqual(client.call("POST", "/x", headers={"Authorization": "Bearer t"})["body"], {})
        self.assertEqual(self.seen[0].headers["authorization"], "Bearer t")

    def test_any_text_comes_through(self) -> None:
        client = self.client(self.start().port)
        body = {"text": 'é 日本 😀 \u202e "quoted" \\ \n', "big": "x" * 300_000}
        self.assertEqual(client.call("POST", "/x", body)["body"], body)

    def test_each_refusal_is_its_class_with_its_details(self) -> None:
        refusals = [
            Conflict("held by w2", hint="ask it", holder="w2"),
            Unauthorized("killed", code="killed"),
            TooMany("later", retry_after_s=3),
        ]

        def answer(request: Request) -> Answer:
            raise refusals[len(self.seen) - 1]

        client = self.client(self.start(answer).port)
        for refusal in refusals:
            with self.assertRaises(type(refusal)) as caught:
                client.call("POST", "/x", {})
            self.assertEqual(caught.exception.as_json(), refusal.as_json())
        self.assertEqual(len({request.connection for request in self.seen}), 1)

    def test_other_answers_can_be_fetched_as_they_are(self) -> None:
        client = self.client(self.start(lambda _: Answer(200, b"up 1\n", "text/plain; charset=utf-8")).port)
        status, headers, body = client.fetch("GET", "/metrics")
        self.assertEqual((status, headers["content-type"], body), (200, "text/plain; charset=utf-8", b"up 1\n"))

    def test_what_cannot_be_sent_is_refused_before_it_is(self) -> None:
        client = self.client(1)
        for path in ("x", "/a b", "/a\r\nX: y", "/é", ""):
            with self.subTest(path), self.assertRaises(BadRequest):
                client.call("GET", path)
        with self.assertRaises(BadRequest):
            client.call("GET", "/x", headers={"Authorization": "a\r\nX: y"})
        for value in (float("nan"), object(), {1, 2}):
            with self.assertRaises(BadRequest):
                client.call("POST", "/x", {"a": value})

    def test_a_connection_that_the_server_turned_away_says_so(self) -> None:
        port = self.start(max_unauthenticated=0).port
        self.assert_unavailable("too_many_connections", lambda: self.client(port).call("GET", "/x"))


class Connections(ClientCase):
    def test_no_listener_is_unreachable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.assert_unavailable("unreachable", lambda: self.client(port).call("POST", "/x", {}))

    def test_a_connection_closed_while_idle_is_replaced_for_any_call(self) -> None:
        server = self.scripted(serve_one, serve_one)
        client = self.client(server.port)
        client.call("POST", "/x", {})
        assert client._socket is not None
        client._socket.settimeout(10)
        client._socket.recv(1, socket.MSG_PEEK)  # until the close has arrived here
        client.call("POST", "/y", {})
        self.assertEqual([raw.split(b" ")[1] for raw in server.received], [b"/x", b"/y"])

    def answered_then_stale(self) -> tuple[Scripted, Client]:
        """A kept connection that takes the second request and closes without an answer."""

        def serve_then_drop(server: Scripted, connection: socket.socket) -> None:
            serve_one(server, connection)
            server.take(connection)

        server = self.scripted(serve_then_drop, serve_one)
        client = self.client(server.port)
        client.call("GET", "/x")
        return server, client

    def test_a_get_on_a_stale_connection_is_repeated_once(self) -> None:
        server, client = self.answered_then_stale()
        self.assertEqual(client.call("GET", "/y"), {})
        self.assertEqual([raw.split(b" ")[1] for raw in server.received], [b"/x", b"/y", b"/y"])

    def test_a_post_with_a_key_is_repeated_and_is_the_same_request(self) -> None:
        server, client = self.answered_then_stale()
        self.assertEqual(client.call("POST", "/y", {"idempotency_key": "k1"}), {})
        self.assertEqual(server.received[1], server.received[2])

    def test_a_post_without_a_key_is_not_repeated(self) -> None:
        server, client = self.answered_then_stale()
        refusal = self.assert_unavailable("unknown_outcome", lambda: client.call("POST", "/y", {"a": 1}))
        self.assertTrue(refusal.retryable)
        self.assertEqual(len(server.received), 2)

    def test_a_fresh_connection_that_closes_is_not_tried_again(self) -> None:
        server = self.scripted(close_unanswered)
        self.assert_unavailable("unknown_outcome", lambda: self.client(server.port).call("GET", "/x"))
        self.assertEqual(server.accepted, 1)

    def test_an_answer_that_breaks_off_is_an_unknown_outcome_even_for_a_get(self) -> None:
        def cut_body(server: Scripted, connection: socket.socket) -> None:
            serve_one(server, connection)
            server.take(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        server = self.scripted(cut_body, serve_one)
        client = self.client(server.port)
        client.call("GET", "/x")
        self.assert_unavailable("unknown_outcome", lambda: client.call("GET", "/y"))
        self.assertEqual(client.call("GET", "/z"), {})  # and the next call has a new connection

    def test_silence_ends_at_the_time_out_in_total(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)

        def dribble(server: Scripted, connection: socket.socket) -> None:
            server.take(connection)
            for byte in b"HTTP/1.1 200 OK\r\n" * 100:
                try:
                    connection.send(bytes((byte,)))
                except OSError:
                    return
                if release.wait(0.02):
                    return

        server = self.scripted(dribble)
        self.assert_unavailable("unknown_outcome", lambda: self.client(server.port, timeout_s=0.2).call("GET", "/x"))
        release.set()

    def test_a_stranger_that_speaks_something_else_is_not_believed(self) -> None:
        for said in (b"220 smtp ready\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\x00" * 70_000,
                     b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\n{}",
                     b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"):  # fmt: skip
            with self.subTest(said[:40]):

                def speak(server: Scripted, connection: socket.socket, said: bytes = said) -> None:
                    server.take(connection)
                    connection.sendall(said)

                port = self.scripted(speak).port
                self.assert_unavailable("unknown_outcome", lambda port=port: self.client(port).call("GET", "/x"))  # type: ignore[misc]

    def test_a_continue_before_the_answer_is_skipped(self) -> None:
        def continuing(server: Scripted, connection: socket.socket) -> None:
            server.take(connection)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)

        self.assertEqual(self.client(self.scripted(continuing).port).call("GET", "/x"), {})

    def test_close_ends_a_call_that_waits_in_another_thread(self) -> None:
        taken = threading.Event()

        def hold(server: Scripted, connection: socket.socket) -> None:
            serve_one(server, connection)
            server.take(connection)
            taken.set()
            connection.recv(1)

        client = self.client(self.scripted(hold).port)
        client.call("GET", "/x")
        codes: list[str] = []

        def call() -> None:
            try:
                client.call("GET", "/x")
            except Unavailable as refusal:
                codes.append(refusal.code)

        thread = threading.Thread(target=call)
        thread.start()
        self.assertTrue(taken.wait(10))
        client.close()
        thread.join(10)
        self.assertEqual(codes, ["unknown_outcome"])


class OnConnect(ClientCase):
    def test_it_runs_on_each_new_connection_before_any_other_request(self) -> None:
        server = self.scripted(*[_serve_two] * 2)
        client = self.client(server.port, on_connect=lambda client: client.call("GET", "/proof") and None)
        client.call("GET", "/x", headers={"Authorization": "Bearer t"})
        client.close()
        client.call("GET", "/y", headers={"Authorization": "Bearer t"})
        self.assertEqual([raw.split(b" ")[1] for raw in server.received], [b"/proof", b"/x", b"/proof", b"/y"])
        self.assertEqual([b"Bearer" in raw for raw in server.received], [False, True, False, True])

    def test_no_secret_leaves_when_it_refuses(self) -> None:
        def refuse(client: Client) -> None:
            client.call("GET", "/proof")
            raise Unavailable("a stranger listens there", code="foreign")

        server = self.scripted(serve_one, serve_one)
        client = self.client(server.port, on_connect=refuse)
        for _ in range(2):
            self.assert_unavailable("foreign", lambda: client.call("POST", "/x", {}, {"Authorization": "Bearer secret"}))
        self.assertEqual([raw.split(b" ")[1] for raw in server.received], [b"/proof", b"/proof"])

    def test_no_secret_leaves_when_the_connection_closes_after_the_proof(self) -> None:
        def prove_and_close(server: Scripted, connection: socket.socket) -> None:
            server.take(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

        server = self.scripted(prove_and_close)
        client = self.client(server.port, on_connect=lambda client: client.call("GET", "/proof") and None)
        self.assert_unavailable("unreachable", lambda: client.call("POST", "/x", {}, {"Authorization": "Bearer secret"}))
        self.assertEqual(len(server.received), 1)


def _serve_two(server: Scripted, connection: socket.socket) -> None:
    serve_one(server, connection)
    serve_one(server, connection)


class Words(unittest.TestCase):
    def test_quote_leaves_nothing_that_a_path_could_mistake(self) -> None:
        self.assertEqual(quote("a/b?c#d%é .."), "a%2Fb%3Fc%23d%25%C3%A9%20..")
        self.assertEqual(quote("w-1_2.x~"), "w-1_2.x~")

    def test_query_leaves_out_none(self) -> None:
        self.assertEqual(query("/x", {"a": None}), "/x")
        self.assertEqual(query("/x", {"a": 1, "b": None, "c": True, "d": "e f"}), "/x?a=1&c=true&d=e%20f")

    def test_it_is_light_to_load(self) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import lattice.web.client;"
            "print(*sorted({'socket', 'ssl', 'http', 'urllib', 'email', 'logging', 'typing', 'hashlib', 'subprocess'} & set(sys.modules)))"
        )
        from lattice.web import client

        top = client.__file__.removesuffix("/lattice/web/client.py")
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code, top], capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(done.stdout.strip(), "")
