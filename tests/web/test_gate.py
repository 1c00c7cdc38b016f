"""The gate: who may talk to a service on localhost at all."""

from __future__ import annotations

from tests.web import hostile
from tests.web.serving import ServerCase

ROUTES = (
    ("GET", "/health"), ("GET", "/"), ("GET", "/dashboard"), ("GET", "/nope"),
    ("POST", "/send"), ("OPTIONS", "/send"), ("HEAD", "/health"),
)  # fmt: skip


class Hosts(ServerCase):
    def test_a_host_that_is_not_ours_is_misdirected_on_every_path_and_method(self) -> None:
        port = self.start().port
        for host, status in hostile.hosts(port).items():
            for method, path in ROUTES if status != 200 and host else ():
                with self.subTest(host=host, method=method, path=path):
                    self.assertEqual(self.ask(method, path, b"{}" if method == "POST" else None, host=host).status, status)
        self.assertEqual(self.seen, [])

    def test_no_host_an_empty_one_or_two_are_refused(self) -> None:
        self.start()
        for method, path in ROUTES:
            body = b"{}" if method == "POST" else None
            with self.subTest(method=method, path=path):
                self.assertEqual(self.ask(method, path, body, host="").status, 400)
                self.assertEqual(self.ask(method, path, body, "Host:", host="").status, 421)
                self.assertEqual(self.ask(method, path, body, f"Host: {self.host()}").status, 400)
        self.assertEqual(self.seen, [])

    def test_our_own_names_pass(self) -> None:
        port = self.start().port
        for host, status in hostile.hosts(port).items():
            with self.subTest(host):
                self.assertEqual(status == 200, bool(host) and self.ask(host=host).status == 200)

    def test_one_more_host_can_be_allowed_exactly(self) -> None:
        self.start(allow_host="Tunnel.example:8000")
        self.assertEqual(self.ask(host="tunnel.example:8000").status, 200)
        self.assertEqual(self.ask("GET", "/x", None, "Origin: http://tunnel.example:8000", host="tunnel.example:8000").status, 200)
        for host in ("tunnel.example", "tunnel.example:80001", "x.tunnel.example:8000"):
            with self.subTest(host):
                self.assertEqual(self.ask(host=host).status, 421)

    def test_an_absolute_target_is_refused(self) -> None:
        for target in hostile.targets(self.start().port):
            with self.subTest(target):
                self.assertEqual(self.ask("GET", target).status, 400)
        self.assertEqual(self.seen, [])


class CrossSite(ServerCase):
    def test_origin_and_fetch_site_are_judged_on_every_route(self) -> None:
        port = self.start().port
        for method, path in ROUTES:
            for origin, origin_passes in hostile.origins(port).items():
                for site, site_passes in hostile.SITES.items():
                    lines = [f"Origin: {origin}"] if origin is not None else []
                    lines += [f"Sec-Fetch-Site: {site}"] if site is not None else []
                    with self.subTest(method=method, path=path, origin=origin, site=site):
                        self.seen.clear()
                        reply = self.ask(method, path, b"{}" if method == "POST" else None, *lines)
                        passes = origin_passes and site_passes
                        self.assertEqual(reply.status, 200 if passes else 403)
                        self.assertEqual(len(self.seen), int(passes))
                        self.assertFalse([name for name in reply.headers if name.startswith(("access-control-", "set-cookie"))])

    def test_a_navigation_to_the_page_passes_from_anywhere_and_nothing_else_does(self) -> None:
        self.start()
        navigates = hostile.NAVIGATES
        for path in ("/", "/dashboard"):
            self.assertEqual(self.ask("GET", path, None, *navigates).status, 200)
            self.assertTrue(self.seen[-1].is_navigation)
        self.seen.clear()
        for method, path, lines in (
            ("GET", "/dashboard/data", navigates),
            ("GET", "/health", navigates),
            ("POST", "/dashboard", navigates),
            ("GET", "/dashboard", (navigates[0], navigates[1], "Sec-Fetch-Dest: iframe")),
            ("GET", "/dashboard", (navigates[0], "Sec-Fetch-Mode: no-cors", navigates[2])),
            ("GET", "/dashboard", (*navigates, "Origin: http://evil.example")),
        ):
            with self.subTest(method=method, path=path, lines=lines):
                self.assertEqual(self.ask(method, path, b"{}" if method == "POST" else None, *lines).status, 403)
        self.assertEqual(self.seen, [])


class Bodies(ServerCase):
    def test_only_json_is_taken(self) -> None:
        self.start()
        for kind in hostile.OTHER_TYPES:
            with self.subTest(kind):
                self.assertEqual(self.ask("POST", "/x", b"{}", f"Content-Type: {kind}").status, 415)
        raw = f"POST /x HTTP/1.1\r\nHost: {self.host()}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        self.assertEqual([reply.status for reply in self.exchange(raw)], [415])
        self.assertEqual(self.seen, [])

    def test_json_with_its_charset_is_taken(self) -> None:
        self.start()
        for kind in hostile.JSON_TYPES:
            with self.subTest(kind):
                self.assertEqual(self.ask("POST", "/x", b"{}", f"Content-Type: {kind}").status, 200)

    def test_an_encoded_body_is_not_taken(self) -> None:
        self.start()
        for coding in hostile.CODINGS:
            with self.subTest(coding):
                self.assertEqual(self.ask("POST", "/x", b"{}", f"Content-Encoding: {coding}").status, 415)
        self.assertEqual(self.ask("POST", "/x", b"{}", "Content-Encoding: identity").status, 200)


class Every(ServerCase):
    def test_every_answer_says_its_length_and_that_nobody_else_may_keep_or_read_it(self) -> None:
        self.start()
        replies = [
            self.ask(),
            self.ask("POST", "/x", b"nonsense"),
            self.ask(host="evil.example"),
            self.ask("POST", "/x", b"{}", "Content-Type: text/plain"),
        ]
        self.assertEqual([reply.status for reply in replies], [200, 400, 421, 415])
        for reply in replies:
            self.assertEqual(int(reply.headers["content-length"]), len(reply.body))
            self.assertEqual(reply.headers["cache-control"], "no-store")
            self.assertEqual(reply.headers["x-content-type-options"], "nosniff")
            self.assertEqual(reply.headers["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(reply.headers["content-type"], "application/json")
            self.assertIn("date", reply.headers)

    def test_every_error_has_the_one_shape(self) -> None:
        self.start()
        for reply in (self.ask("POST", "/x", b"nonsense"), self.ask(host="evil.example"), self.ask("GET", "*"), self.ask("GET", "/%ff")):
            body = reply.json()
            self.assertIsInstance(body["error"], str)
            self.assertIsInstance(body["code"], str)
            self.assertIsInstance(body["retryable"], bool)
