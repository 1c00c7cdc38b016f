"""A web page in the person's browser against the broker on loopback (S1 to S6).

Each table is shot at a whole broker, with tokens and bodies that would do something if they were let through.
"""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser

from lattice.broker.page import default_path
from tests.threats.attacked import Attacked, Call
from tests.web import hostile

METHODS = ("GET", "POST", "OPTIONS", "HEAD")


class S01Rebinding(Attacked):
    """A name of the attacker's that resolves to 127.0.0.1: the Host header still says whose page it is."""

    def test_no_other_host_gets_anything_on_any_route_by_any_method(self) -> None:
        refused = [host for host, status in hostile.hosts(self.port).items() if status == 421]
        self.assertGreaterEqual(len(refused), 16)
        table = [
            (f"{method} {call.path} at {host!r}", call.raw(self.port, method=method, host=host or " "), 421)
            for call in self.some(self.by_path())
            for method in METHODS
            for host in refused
        ]
        with self.unchanged():
            self.hold(table)

    def test_no_host_or_two_is_400_on_every_route(self) -> None:
        table = [
            (f"{method} {call.path} with {lines}", call.raw(self.port, *lines, method=method, host=""), 400)
            for call in self.some(self.by_path(), 12)
            for method in METHODS
            for lines in hostile.host_lines(self.port)
        ]
        with self.unchanged():
            self.hold(table)

    def test_a_target_that_is_no_path_is_400(self) -> None:
        request = "{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n\r\n"
        targets = (*hostile.targets(self.port), f"http://127.0.0.1:{self.port}/health", "//evil.example/health#", "127.0.0.1:1", "/\\x#")
        self.hold(
            [
                ((method, target), request.format(method, target, self.port).encode(), 400)
                for method in (*METHODS, "CONNECT")
                for target in targets
            ]
        )

    def test_the_same_calls_at_our_own_names_pass(self) -> None:
        """Else the tables above would hold for a broker that refuses everything."""
        ours = [host for host, status in hostile.hosts(self.port).items() if status == 200]
        table = [(f"{call.path} at {host}", self.stranger(call, host), call.passes) for call in self.by_path() for host in ours]
        self.hold(table)

    def by_path(self) -> list[Call]:
        return list({call.path: call for call in self.calls()}.values())

    def stranger(self, call: Call, host: str) -> bytes:
        return call._replace(authorization="").raw(self.port, host=host)


class S02CrossSite(Attacked):
    """A page of another origin that sends without being able to read."""

    def test_origin_and_fetch_site_are_judged_on_every_route(self) -> None:
        table, passing = [], 0
        for call in self.some(self.calls()):
            for origin, origin_passes in hostile.origins(self.port).items():
                for site, site_passes in hostile.SITES.items():
                    lines = [f"Origin: {origin}"] if origin is not None else []
                    lines += [f"Sec-Fetch-Site: {site}"] if site is not None else []
                    passes = origin_passes and site_passes
                    shown = call._replace(authorization="") if passes else call  # who is let in does nothing here
                    table.append((f"{call.path} {lines}", shown.raw(self.port, *lines), call.passes if passes else 403))
                    passing += passes
        self.assertGreater(passing, len(table) // 20)
        with self.unchanged():
            self.hold(table)

    def test_a_preflight_is_405_and_allows_nothing(self) -> None:
        asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, content-type")
        private = "Access-Control-Request-Private-Network: true"
        table = [
            (f"{call.path} {origin}", call.raw(self.port, *asks, private, *origin, method="OPTIONS"), 403 if origin else 405)
            for call in self.calls()
            for origin in ((), ("Origin: http://evil.example",))
        ]
        self.hold(table)

    def test_only_a_navigation_to_the_empty_page_comes_from_anywhere(self) -> None:
        table = [
            (call.path, call.raw(self.port, *hostile.NAVIGATES), 200 if call.path in ("/", "/dashboard") else 403) for call in self.calls()
        ]
        with self.unchanged():
            self.hold(table)


class S03SimpleRequests(Attacked):
    """A form, or a fetch without CORS, may send a body of three kinds without asking first; JSON is none of them."""

    def test_a_body_of_another_type_is_415_on_every_route(self) -> None:
        table = [
            (f"{call.path} as {kind!r}", call.raw(self.port, *([f"Content-Type: {kind}"] if kind else []), content_type=""), 415)
            for call in self.calls("POST")
            for kind in (*hostile.OTHER_TYPES, None)
        ]
        with self.unchanged():
            self.hold(table)

    def test_the_same_body_as_json_does_something(self) -> None:
        """The table above would hold for bodies that nobody takes."""
        before = self.contents()
        call = Call("", "POST", "/memory", b'{"key": "k", "value": "another"}', f"Bearer {self.worker.token}", 0)
        self.hold([("as JSON", call.raw(self.port, content_type=kind), 200) for kind in hostile.JSON_TYPES])
        self.assertNotEqual(before, self.contents())


class S04Cookies(Attacked):
    """Cookies do not know ports: another server on localhost would get ours, and could set its own for us."""

    def test_no_answer_sets_one_and_none_that_is_sent_means_anything(self) -> None:
        """`shoot` looks for Set-Cookie in each answer of all these classes."""
        tokens = (self.person.token, self.worker.token)
        table = [
            (call.path, call._replace(authorization="").raw(self.port, f"Cookie: token={token}; Authorization=Bearer {token}"), call.passes)
            for call in self.calls()
            for token in tokens
        ]
        with self.unchanged():
            self.hold(table)
        streaming = next(call for call in self.calls() if call.name == "state")
        self.hold([("with the token where it belongs", streaming.raw(self.port), 200)])

    def test_the_page_uses_none(self) -> None:
        self.assertNotIn("cookie", read_page().lower())


class S05SignIn(Attacked):
    """The page is opened with a code that works once and not for long."""

    def sign_in(self, code: str, *, as_field: bool) -> tuple[str, bytes]:
        call = next(call for call in self.calls("POST") if call.name == "sign_in")
        if as_field:
            return code[:20], call._replace(authorization="", body=json.dumps({"code": code}).encode()).raw(self.port)
        return code[:20], call._replace(authorization=f"Ticket {code}", body=b"{}").raw(self.port)

    def code(self, **more: float) -> str:
        return self.broker.ticket("command-center", "system", **more)

    def test_a_code_works_once_for_sixty_seconds_and_only_whole(self) -> None:
        now = time.time()
        for as_field in (True, False):
            good, other = self.code(), self.code(now=now - 55)
            old, changed = self.code(now=now - 61), self.code()
            rows = [
                (good, 200), (good, 409), (other, 200), (old, 401), (changed[:-1], 401), (changed[:-1] + "A" * (changed[-1] != "A"), 401),
                (changed.swapcase(), 401), ("", 401), ("x", 401), ("é" * 10, 401), (self.worker.token, 401), (self.person.token, 401),
                (self.broker.ticket("worker"), 403), (self.broker.ticket("command-center", "worker"), 403),
                (self.broker.ticket("arch", "architect"), 403), (changed, 200), (changed, 409),
            ]  # fmt: skip
            for code, status in rows:
                what, request = self.sign_in(code, as_field=as_field)
                self.hold([((as_field, what), request, status)])

    def test_the_page_has_no_data_in_it_and_its_data_needs_a_token(self) -> None:
        names = ("worker", "arch", "victim", "a task", "/src/a.py")
        for path in ("/", "/dashboard"):
            ((reply,),) = self.shoot([Call("", "GET", path, b"", "", 200).raw(self.port)])
            self.assertEqual((200, read_page().encode()), (reply.status, reply.body))
        with open(default_path(), encoding="utf-8") as file:
            page = file.read()
        self.assertEqual([], [name for name in names if f'"{name}"' in page])
        bearers = ("", "Bearer ", "Bearer x", f"Ticket {self.broker.ticket('worker')}", f"Basic {self.person.token}", self.person.token)
        self.hold(
            [
                ((path, bearer[:10]), Call("", "GET", path, b"", bearer, 0).raw(self.port), 401)
                for path in ("/dashboard/data", "/dashboard/token", "/events", "/state", "/metrics")
                for bearer in bearers
            ]
        )
        ((reply,),) = self.shoot([Call("", "GET", "/dashboard/data", b"", f"Bearer {self.person.enrolled['viewer']}", 0).raw(self.port)])
        self.assertIn(b"victim", reply.body)

    def test_the_token_for_looking_acts_nowhere(self) -> None:
        viewer = f"Bearer {self.person.enrolled['viewer']}"
        opened = [call for call in self.calls("POST") if call.authorization.startswith("Bearer")]
        table = [(call.path, call._replace(authorization=viewer).raw(self.port), 403) for call in opened]
        with self.unchanged():
            self.hold(table)


class S06StoredMarkup(Attacked):
    """Peers' texts on the page. That sixty payloads do nothing in a real browser is `tests.field.test_page` (R39)."""

    FORBIDDEN = (
        r"innerHTML", r"outerHTML", r"insertAdjacentHTML", r"document\.write", r"createContextualFragment", r"DOMParser", r"srcdoc",
        r"setHTML", r"\beval\b", r"new Function", r"set(?:Timeout|Interval)\(\s*[\"'`]", r"javascript:", r"\bstyle=",
        r"<[^>]*\son[a-z]+\s*=", r"setAttribute\(\s*[\"'`]on", r"\.on[a-z]+\s*=", r"import\(", r"\bsrc\s*=", r"Trusted(?:HTML|Script)",
        r"createPolicy", r"postMessage", r"window\.name", r"\.cssText", r"WebSocket", r"https?://(?!www\.w3\.org/2000/svg)",
    )  # fmt: skip

    def test_the_page_has_no_way_to_make_markup_or_code_from_text(self) -> None:
        page = read_page()
        self.assertEqual({}, {sign: found for sign in self.FORBIDDEN if (found := re.findall(sign, page))})
        self.assertIn(".textContent", page)

    def test_each_of_these_signs_would_be_found(self) -> None:
        examples = (
            "a.innerHTML = b", "a.outerHTML", "a.insertAdjacentHTML(", "document.write(", "r.createContextualFragment(", "new DOMParser(",
            "i.srcdoc", "a.setHTML(", "eval(x)", "new Function(x)", "setTimeout('x', 1)", "javascript:x", '<p style="x">',
            '<p onclick="x">', "a.setAttribute('onclick', x)", "a.onclick = x", "import(x)", 'src="x"', "TrustedHTML", "createPolicy(",
            "postMessage(", "window.name", "a.cssText", "new WebSocket(", "http://evil.example",
        )  # fmt: skip
        for sign, example in zip(self.FORBIDDEN, examples, strict=True):
            self.assertRegex(example, sign)

    def test_no_element_of_the_page_runs_or_loads_anything_but_the_one_script_and_style(self) -> None:
        found = Elements()
        found.feed(read_page())
        self.assertEqual((1, 1), (found.tags.count("script"), found.tags.count("style")))
        self.assertEqual([], sorted({*found.tags} & {"iframe", "object", "embed", "base", "frame", "applet", "img", "video", "audio"}))
        self.assertEqual([], [(name, value) for name, value in found.attributes if name.startswith("on") or name in ("src", "action")])
        self.assertEqual([], [value for name, value in found.attributes if name == "href" and not value.startswith(("data:", "#"))])

    def test_the_policy_around_it_is_this_one(self) -> None:
        ((reply,),) = self.shoot([Call("", "GET", "/dashboard", b"", "", 200).raw(self.port)])
        policy = dict(part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";"))
        for name in ("script-src", "style-src"):
            self.assertRegex(policy.pop(name), r"\A'sha256-[A-Za-z0-9+/]{43}='\Z")
        self.assertEqual(
            {
                "default-src": "'none'", "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
                "frame-ancestors": "'none'", "require-trusted-types-for": "'script'",
            },
            policy,
        )  # fmt: skip
        wanted = {
            "x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin", "cross-origin-opener-policy": "same-origin", "x-frame-options": "DENY",
        }  # fmt: skip
        self.assertEqual(wanted, {name: reply.headers.get(name) for name in wanted})


class Elements(HTMLParser):
    """Every start tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def read_page() -> str:
    with open(default_path(), encoding="utf-8") as file:
        return file.read()
