"""Framing: where a request ends, and that nothing behind a doubtful one is ever served."""

from __future__ import annotations

from lattice.errors import Conflict, TooMany, Unauthorized, WrongMethod
from lattice.web.server import Answer
from tests.web import hostile
from tests.web.serving import SHORT, ServerCase, read_reply


class Lengths(ServerCase):
    def test_a_length_that_is_no_plain_number_is_refused(self) -> None:
        self.start()
        for text in hostile.LENGTHS:
            with self.subTest(text):
                self.assertEqual(self.ask("POST", "/x", b"{}", f"Content-Length: {text}").status, 400)
        self.assertEqual(self.seen, [])

    def test_two_lengths_are_refused_also_when_they_agree(self) -> None:
        self.start()
        for second in ("2", "10"):
            with self.subTest(second):
                self.assertEqual(self.ask("POST", "/x", b"{}", "Content-Length: 2", f"Content-Length: {second}").status, 400)

    def test_a_post_without_length_is_411(self) -> None:
        self.start()
        raw = f"POST /x HTTP/1.1\r\nHost: {self.host()}\r\nContent-Type: application/json\r\n\r\n{{}}".encode()
        self.assertEqual([reply.status for reply in self.exchange(raw)], [411])

    def test_a_body_over_the_limit_is_413_and_the_client_can_read_it(self) -> None:
        self.start(max_body=1000, deadlines=SHORT)
        self.assertEqual(self.ask("POST", "/x", b'{"a":"' + b"x" * 992 + b'"}').status, 200)
        reply = self.ask("POST", "/x", b"x" * 1001)
        self.assertEqual((reply.status, reply.json()["limit"]), (413, 1000))
        self.assertEqual(self.ask("POST", "/x", b"x" * 3_000_000).status, 413)
        self.assertEqual(len(self.seen), 1)

    def test_a_body_that_is_too_long_or_too_short_is_refused_once(self) -> None:
        self.start(deadlines=SHORT)
        too_long = self.exchange(self.request("POST", "/x", b"{}XXXXXXXX", "Content-Length: 2"))
        self.assertEqual([reply.status for reply in too_long], [400])
        cut_off = self.exchange(self.request("POST", "/x", b"{}", "Content-Length: 10"), end=True)
        self.assertEqual([reply.status for reply in cut_off], [400])
        waiting = self.exchange(self.request("POST", "/x", b"{}", "Content-Length: 10"))
        self.assertEqual([reply.status for reply in waiting], [408])
        self.assertEqual(self.seen, [])

    def test_a_get_has_no_body(self) -> None:
        self.start()
        self.assertEqual(self.ask("GET", "/x", b"{}").status, 400)
        self.assertEqual(self.ask("GET", "/x", b"").status, 200)


class Smuggling(ServerCase):
    def test_nothing_behind_a_refused_request_is_served(self) -> None:
        self.start(deadlines=SHORT)
        host = self.host().encode()
        behind = hostile.behind(host)
        refused = hostile.smuggled(host, behind)
        self.assertGreaterEqual(len(refused), 30)
        for status, raw in refused:
            with self.subTest(raw):
                replies = self.exchange(raw + behind)
                self.assertEqual([reply.status for reply in replies], [status])
                self.assertEqual(replies[0].headers["connection"], "close")
        self.assertEqual(self.seen, [])

    def test_a_body_that_looks_like_a_request_is_a_body(self) -> None:
        self.start()
        inside = hostile.behind(self.host().encode())
        self.assertEqual(self.ask("POST", "/x", inside).status, 400)
        self.assertEqual(self.seen, [])

    def test_honest_pipelined_requests_are_answered_in_order(self) -> None:
        self.start()
        raw = self.request("POST", "/1", b"{}") + self.request("GET", "/2") + self.request("POST", "/3", b"{}", "Connection: close")
        self.assertEqual([reply.json()["path"] for reply in self.exchange(raw)], ["/1", "/2", "/3"])


class Heads(ServerCase):
    def test_tls_and_other_languages_are_refused_without_waiting(self) -> None:
        self.start()
        for raw in (b"\x16\x03\x01\x02\x00\x01", b"\x00\x00", b"{}", b"GET / HTTP/1.1\nHost: x\n\n"):
            with self.subTest(raw):
                self.assertEqual([reply.status for reply in self.exchange(raw)], [400])

    def test_a_head_that_ends_too_early_is_answered_and_silence_is_not(self) -> None:
        self.start()
        for raw in (b"G", b"GET /x HTTP/1.1\r\n", self.request()[:-2]):
            with self.subTest(raw):
                self.assertEqual([reply.status for reply in self.exchange(raw, end=True)], [400])
        self.assertEqual(self.exchange(b"", end=True), [])
        after_one = self.exchange(self.request() + b"GET /y HT", end=True)
        self.assertEqual([reply.status for reply in after_one], [200, 400])

    def test_a_malformed_head_request_gets_no_body_either(self) -> None:
        self.start()
        for raw in (
            b"HEAD /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"HEAD * HTTP/1.1\r\n\r\n",
            self.request("HEAD", host="evil.example"),
        ):
            connection = self.connect()
            connection.sendall(raw)
            received = b""
            while more := connection.recv(65536):
                received += more
            self.assertTrue(received.startswith(b"HTTP/1.1 4") and received.endswith(b"\r\n\r\n"), received)

    def test_too_many_or_too_long_headers_are_431(self) -> None:
        self.start()
        self.assertEqual(self.ask("GET", "/x", None, *[f"X-{number}: y" for number in range(98)]).status, 200)
        self.assertEqual(self.ask("GET", "/x", None, *[f"X-{number}: y" for number in range(100)]).status, 431)
        self.assertEqual(self.ask("GET", "/x", None, "X: " + "y" * 70_000).status, 431)
        self.assertEqual(self.ask("GET", "/" + "y" * 70_000).status, 431)

    def test_a_query_is_decoded_and_a_bad_one_is_400(self) -> None:
        self.start()
        self.assertEqual(self.ask("GET", "/x?a=b+c%20d&e=%C3%A9").status, 200)
        self.assertEqual((self.seen[0].path, self.seen[0].query), ("/x", {"a": "b c d", "e": "é"}))
        for path in ("/x?a=1&a=2", "/x?a=%ff", "/x?a=%00", "/%00", "/%ff", "/%c3%28", "/%g0", "/x%"):
            with self.subTest(path):
                self.assertEqual(self.ask("GET", path).status, 400)
        self.assertEqual(len(self.seen), 1)

    def test_a_client_that_asks_first_is_told_to_continue(self) -> None:
        self.start()
        connection = self.connect()
        head = self.request("POST", "/x", b"", "Expect: 100-continue", "Content-Length: 7")
        connection.sendall(head)
        self.assertEqual(connection.recv(65536), b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b'{"a":1}')
        self.assertEqual(read_reply(connection).json()["body"], {"a": 1})
        self.assertEqual(self.ask("POST", "/x", b"{}", "Expect: tea").status, 400)


class Answers(ServerCase):
    def test_http_1_0_gets_its_answer_and_the_close(self) -> None:
        self.start()
        raw = f"GET /x HTTP/1.0\r\nHost: {self.host()}\r\nConnection: keep-alive\r\n\r\n".encode()
        replies = self.exchange(raw)
        self.assertEqual([(reply.status, reply.headers["connection"]) for reply in replies], [(200, "close")])

    def test_refusals_of_the_operation_keep_the_connection(self) -> None:
        refusals = [Conflict("held by w2", hint="ask it", holder="w2"), Unauthorized("no token"), TooMany("slow down", retry_after_s=2.5)]

        def answer(request: object) -> Answer:
            raise refusals.pop(0)

        self.start(answer)
        connection = self.connect()
        connection.sendall(self.request("POST", "/x", b"{}"))
        reply = read_reply(connection)
        self.assertEqual(reply.status, 409)
        self.assertEqual(reply.json(), {"error": "held by w2", "code": "conflict", "retryable": False, "hint": "ask it", "holder": "w2"})
        connection.sendall(self.request())
        self.assertEqual(read_reply(connection).headers["www-authenticate"], "Bearer")
        connection.sendall(self.request())
        self.assertEqual(read_reply(connection).headers["retry-after"], "3")

    def test_our_own_mistake_is_500_without_its_details_and_is_logged(self) -> None:
        for mistake in (
            lambda _: 1 / 0,
            lambda _: Answer(200, {"a": float("nan")}),
            lambda _: Answer(200, {}, headers=(("Set-Cookie", "a"),)),
            lambda _: Answer(200, {}, headers=(("Access-Control-Allow-Origin", "*"),)),
            lambda _: Answer(200, {}, headers=(("A", "b\r\nC: d"),)),
        ):
            self.start(mistake)
            with self.assertLogs("lattice.web.server", "ERROR") as logged:
                reply = self.ask("GET", "/x?token=hidden")
            self.assertEqual((reply.status, reply.json()["code"]), (500, "internal"))
            self.assertNotIn("Error", reply.json()["error"])
            self.assertNotIn("hidden", "\n".join(record.getMessage() for record in logged.records))

    def test_a_head_request_gets_no_body_and_unread_bodies_close(self) -> None:
        def answer(request: object) -> Answer:
            raise WrongMethod("no", allowed=["GET", "POST"])

        self.start(answer)
        connection = self.connect()
        connection.sendall(self.request("HEAD"))
        received = connection.recv(65536)
        self.assertTrue(received.startswith(b"HTTP/1.1 405 ") and received.endswith(b"\r\n\r\n"))
        self.assertIn(b"Allow: GET, POST\r\n", received)
        replies = self.exchange(self.request("PUT", "/x", b"{}" * 50) + hostile.behind(self.host().encode()))
        self.assertEqual([reply.status for reply in replies], [405])

    def test_bytes_go_out_as_they_are(self) -> None:
        self.start(lambda _: Answer(200, b"<p>", "text/html; charset=utf-8", (("Content-Security-Policy", "default-src 'none'"),)))
        reply = self.ask()
        self.assertEqual(reply.body, b"<p>")
        self.assertEqual(reply.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(reply.headers["content-security-policy"], "default-src 'none'")
