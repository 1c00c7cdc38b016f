"""The documents cannot lie: what they name is there, what is there is named, and the protocol's examples are run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
import unittest
from typing import Any

from lattice import VERSION, settings
from lattice.cli import install, launch, verbs
from lattice.cli import main as command
from lattice.contract.operations import TOOLS
from lattice.guard import tokens
from tests import __main__ as runner
from tests.running import Broker, Wire

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = os.path.join(TOP, "lattice")
OF_THE_TESTS = {"C2_LATTICE_FIELD", "C2_LATTICE_TEST_SEED", "C2_LATTICE_TEST_FIGURES"}
SPECIFICATIONS = ("https://modelcontextprotocol.io/", "https://www.rfc-editor.org/", "https://sqlite.org/")
# Where the broker says no: what is answered over HTTP. The rest of the package says no to itself.
ANSWERING = ("broker", "domain", "guard", "web/head.py", "web/body.py", "web/router.py", "web/server.py", "store/writer.py",
             "store/database.py", "clients", "errors.py")  # fmt: skip
# The pages that tell the wire, and how many examples of each are at least run.
TOLD = {"protocol": 65, "locks": 15, "hooks": 8}
AT_THE_START = {"damaged_database", "foreign_database", "newer_database", "no_permission", "no_folder"}


def documents() -> list[str]:
    """Every document of ours, by its path from the top."""
    found = ["README.md", "CONTRIBUTING.md"]
    for folder, folders, files in os.walk(os.path.join(TOP, "docs")):
        folders.sort()
        found += [os.path.relpath(os.path.join(folder, name), TOP).replace(os.sep, "/") for name in sorted(files) if name.endswith(".md")]
    return found


def text(path: str) -> str:
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next one of its rank."""
    body = text(page).split(f"\n## {title}\n", 1)[1]
    return body.split("\n## ", 1)[0]


def rows(markdown: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def domain_on_the_map() -> tuple[list[str], list[str]]:
    """The modules of `domain/` as CONTRIBUTING.md names them: the nouns in their order, and those beside them."""
    drawn = re.search(r"domain/ +the nouns: ([a-z\s]+);\s+beside them: ([^\n]+)\n", text("CONTRIBUTING.md"))
    assert drawn is not None
    return drawn[1].split(), re.findall(r"(\w+) \(", drawn[2])


def anchors(markdown: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


class TheReadme(unittest.TestCase):
    def test_its_table_of_settings_is_the_table_of_the_program(self) -> None:
        expected = [[f"`{one.env}`", f"`{one.default}`" if one.default else "–", one.why] for one in settings.SETTINGS]
        self.assertEqual(rows(section("README.md", "Settings")), expected)

    def test_it_names_each_tool_once_with_a_line(self) -> None:
        found = rows(section("README.md", f"The {len(TOOLS)} tools"))
        self.assertEqual(sorted(row[0] for row in found), sorted(f"`{name}`" for name in TOOLS))
        self.assertTrue(all(len(row) == 2 and row[1] for row in found))

    def test_its_table_of_kinds_is_the_runners(self) -> None:
        found = rows(section("README.md", "Tests"))
        self.assertEqual([row[0] for row in found], list(runner.ALL_KINDS))
        for kind, covers, where in found:
            self.assertTrue(covers)
            for place in re.findall(r"`(tests/[^`]*)`", where):
                module = place.removesuffix(".py").strip("/").replace("/", ".")
                self.assertIn(kind, runner.kinds_of(module), f"{place} is not of the kind {kind}")

    def test_the_exit_statuses_are_the_commands(self) -> None:
        said = " ".join(section("README.md", "The `c2-lattice` command").split())
        wanted = {"done": command.DONE, "refused": command.REFUSED, "the line is wrong": command.WRONG_LINE, "no broker": command.NO_BROKER,
                  "not known to it": command.NOT_KNOWN}  # fmt: skip
        for words, status in wanted.items():
            self.assertIn(f"{status} {words}", said)


class TheMap(unittest.TestCase):
    def test_every_room_of_the_package_is_on_it_and_nothing_else(self) -> None:
        drawn = re.search(r"```text\n(.*?)```", text("CONTRIBUTING.md"), re.DOTALL)
        assert drawn is not None
        said = set(re.findall(r"^    ([a-z_]+(?:\.py|/)) ", drawn[1], re.MULTILINE))
        there = set()
        for name in os.listdir(PACKAGE):
            path = os.path.join(PACKAGE, name)
            if os.path.isdir(path) and os.path.exists(os.path.join(path, "__init__.py")):
                there.add(name + "/")
            elif name.endswith(".py") and name != "__init__.py":
                there.add(name)
        self.assertEqual(said, there)

    def test_it_comes_first(self) -> None:
        before = text("CONTRIBUTING.md").split("```text")[0]
        self.assertLess(before.count("\n"), 8)

    def test_the_nouns_on_it_are_there_and_stand_in_the_order_of_their_imports(self) -> None:
        from tests.test_floors import NOUNS

        said, _ = domain_on_the_map()
        self.assertEqual(said, [noun for noun in NOUNS if noun in said])
        for noun in said:
            self.assertTrue(os.path.exists(os.path.join(PACKAGE, "domain", noun + ".py")), noun)

    def test_every_module_of_the_domain_is_on_it_once(self) -> None:
        nouns, beside = domain_on_the_map()
        there = [name.removesuffix(".py") for name in os.listdir(os.path.join(PACKAGE, "domain")) if name.endswith(".py")]
        self.assertEqual(sorted(nouns + beside), sorted(name for name in there if name != "__init__"))


class WhatTheyName(unittest.TestCase):
    def test_every_relative_link_leads_somewhere(self) -> None:
        for page in documents():
            for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
                if "://" in target:
                    continue
                path, _, anchor = target.partition("#")
                full = os.path.normpath(os.path.join(TOP, os.path.dirname(page), path)) if path else os.path.join(TOP, page)
                with self.subTest(page=page, link=target):
                    self.assertTrue(os.path.exists(full), "no such file")
                    if anchor:
                        self.assertIn(anchor, anchors(text(os.path.relpath(full, TOP))))

    def test_every_path_of_the_tree_and_every_name_in_a_file_is_there(self) -> None:
        for page in documents():
            for path, name in re.findall(r"`((?:lattice|tests|docs|\.ci)/[\w./]*?)(?:: (\w+))?`", text(page)):
                if "000N" in path:
                    continue  # a pattern
                with self.subTest(page=page, path=path):
                    self.assertTrue(os.path.exists(os.path.join(TOP, path)), "no such path")
                    if name:
                        self.assertIn(name, text(path))

    def test_every_option_and_every_verb_exists(self) -> None:
        known = {"install": helped(install._parse), "launch": helped(launch._parse), "tests": helped(runner._options)}
        for page in documents():
            for line in re.findall(r"(?:python3? |`)((?:install\.py|launch\.py|-m tests)(?: [^`\n#]*)?)", text(page)):
                program = {"in": "install", "la": "launch", "-m": "tests"}[line[:2]]
                for option in re.findall(r"(?<!\S)--[a-z-]+", line):
                    with self.subTest(page=page, line=line):
                        self.assertIn(option, known[program])
            for verb in re.findall(r"(?:^|`)c2-lattice ([a-z][a-z-]+)", text(page), re.MULTILINE):
                with self.subTest(page=page, verb=verb):
                    self.assertTrue(verb in (*command.OWN, "help", "version") or verbs.find(verb), "no such verb")

    def test_every_variable_is_a_setting(self) -> None:
        known = {one.env for one in settings.SETTINGS} | OF_THE_TESTS
        for page in documents():
            found = set(re.findall(r"\b(?:C2_LATTICE|PEER)_[A-Z_]+\b", text(page)))
            self.assertLessEqual(found, known, page)

    def test_no_place_of_anybodys_machine_and_no_foreign_address(self) -> None:
        for page in documents():
            said = text(page)
            with self.subTest(page=page):
                self.assertEqual(re.findall(r"(?<![\w.~])/(?:work|home|root|Users|tmp)/[\w./-]*", said), [])
                for address in re.findall(r"\bhttps?://[^\s)`\"]+", said):
                    ours = re.match(r"http://(?:127\.0\.0\.1|localhost)(?::\d+|:PORT)?(?:/|$)", address)
                    self.assertTrue(ours or address.startswith(SPECIFICATIONS), address)

    def test_decisions_are_numbered_without_gaps_and_half_a_page(self) -> None:
        pages = sorted(os.listdir(os.path.join(TOP, "docs", "decisions")))
        self.assertEqual([int(name[:3]) for name in pages], list(range(1, len(pages) + 1)))
        for name in pages:
            said = text(f"docs/decisions/{name}")
            self.assertTrue(said.startswith(f"# {name[:3]} "), name)
            self.assertLess(len(said.split()), 350, name)

    def test_the_changelog_begins_with_this_version(self) -> None:
        newest = re.search(r"^## (\S+)", text("docs/changelog.md"), re.MULTILINE)
        assert newest is not None
        self.assertEqual(newest[1], VERSION)


class TheProtocol(unittest.TestCase):
    def test_it_names_every_code_word_that_the_broker_answers(self) -> None:
        page = "".join(text(f"docs/{name}.md") for name in TOLD)
        said = set(re.findall(r"`([a-z_]+)`", page)) | set(re.findall(r'"code": "([a-z_]+)"', page))
        wanted = set()
        for folder, _, files in os.walk(PACKAGE):
            for name in files:
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, PACKAGE).replace(os.sep, "/")
                if name.endswith(".py") and inside.startswith(ANSWERING):
                    wanted |= set(re.findall(r'\bcode(?:=|, status(?:, retryable)? = )"([a-z_]+)"', text(path)))
        self.assertIn("token_expired", wanted)
        self.assertEqual(wanted - said - AT_THE_START, set())

    def test_the_examples_happen_as_they_are_told(self) -> None:
        for page, at_least in TOLD.items():
            steps = examples(text(f"docs/{page}.md"))
            self.assertGreater(len(steps), at_least)
            with self.subTest(page=page), Broker() as broker, contextlib.closing(Telling(broker)) as told:
                for who, method, path, body, status, answer in steps:
                    shown = f"{method} {path} ({who})"
                    found = told.ask(who, method, path, body)
                    self.assertEqual(found[0], status, f"{shown}: {found[1]}")
                    told.compare(self, answer, found[1], shown)


Step = tuple[str, str, str, Any, int, Any]


def examples(markdown: str) -> list[Step]:
    """(who, method, path, body, status, answer) of each exchange in the ```http blocks."""
    found: list[Step] = []
    for block in re.findall(r"```http\n(.*?)```", markdown, re.DOTALL):
        who = method = path = ""
        body: Any = None
        for line in block.splitlines():
            mark, rest = line[:2], line[2:]
            if mark == "> " and rest.startswith("{"):
                body = json.loads(rest)
            elif mark == "> ":
                head = re.fullmatch(r"(GET|POST) (\S+) +\((.+)\)", rest)
                assert head is not None, line
                (method, path, who), body = head.groups(), None
            else:
                assert mark == "< ", line
                status, _, answer = rest.partition(" ")
                found.append((who, method, path, body, int(status), json.loads(answer)))
    return found


class Telling:
    """Plays the examples: knows each one's token, and what a name in angle brackets stands for.

    Who has not enrolled before its first call is enrolled as a worker of `/example`.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.wire = Wire(broker.port)
        self.tokens: dict[str, str] = {
            "person": broker.person().headers["Authorization"],
            "somebody with a made-up token": "Bearer c2t1.x.y",
        }
        self.named: dict[str, Any] = {}

    def close(self) -> None:
        self.wire.close()

    def ask(self, who: str, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        headers = {}
        if who.startswith("ticket of "):
            peer, _, role = who.removeprefix("ticket of ").partition(" as ")
            ticket = tokens.mint_ticket(self.broker.secret(), peer=peer, role=role, workspace="", now=time.time())
            headers["Authorization"] = f"Ticket {ticket}"
        elif who != "nobody":
            if who not in self.tokens:
                self.ask(f"ticket of {who}", "POST", "/register", {"id": who, "workspace": "example", "working_dir": "/example"})
            headers["Authorization"] = self.tokens[who]
        path = re.sub(r"<(\w+)>", lambda name: str(self.named[name[1]]), path)
        status, said = self.wire.call(method, path, self.filled(body), headers)
        if path == "/register" and status == 200:
            self.tokens[said["id"]] = f"Bearer {said['token']}"
        return status, said

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        return self.named[value[1:-1]] if isinstance(value, str) and re.fullmatch(r"<\w+>", value) else value

    def compare(self, test: unittest.TestCase, told: Any, found: Any, where: str) -> None:
        """What is told must be so; an object may have more."""
        if told == "…":
            return
        if isinstance(told, str) and re.fullmatch(r"<\w+>", told):
            test.assertEqual(found, self.named.setdefault(told[1:-1], found), where)
        elif isinstance(told, dict):
            test.assertIsInstance(found, dict, where)
            for name, one in told.items():
                test.assertIn(name, found, where)
                self.compare(test, one, found[name], f"{where}: {name}")
        elif isinstance(told, list):
            test.assertIsInstance(found, list, where)
            test.assertEqual(len(told), len(found), where)
            for index, one in enumerate(told):
                self.compare(test, one, found[index], f"{where}[{index}]")
        else:
            test.assertEqual(found, told, where)


def helped(parse: Any) -> str:
    """What a program's --help says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        parse(["--help"])
    return said.getvalue()


if __name__ == "__main__":
    unittest.main()
