"""Strings that something behind might read as its own language: SQL, paths, shells, terminals' options (S23 to S25)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import unicodedata
import unittest
import urllib.parse
from typing import Any
from unittest import mock

from lattice import reach
from lattice.broker import main as broker_program
from lattice.clients import spawn, terminal
from lattice.contract.operations import OPERATIONS
from lattice.store.database import Database
from tests.fuzz import bodies
from tests.hooks.test_guard import Guarded
from tests.running import Broker, Peer, ToolFailed, figure, until
from tests.threats.attacked import Attacked

MARK = "plainly-there"
# Each would widen, end or turn a statement if it became part of one.
SQL = (
    "%", "_", "%%", "\\", "\\%", "\\_", "'", '"', "''", "`", ";", "--", "/*", "*/", "||", "*", "?", ":x", "@x", "$x", "NULL", "0x27",
    "(SELECT 1)",
    "plainly%", "plainly_there", "%there", "pl[a-z]inly%", "PLAINLY-THERE%", "' OR '1'='1", '" OR 1=1 --', "%' OR '1'='1", "') OR ('1'='1",
    "1; DROP TABLE peers", "'; DROP TABLE tasks; --", "x' UNION SELECT secret, 1 FROM tickets --", "';ATTACH DATABASE '/tmp/x' AS y;--",
    "plainly-there' --", "plainly-there\\", "CASE WHEN 1 THEN 1 END", "\u02bc OR 1=1", "\uff07 OR 1=1", "char(37)", "GLOB '*'",
)  # fmt: skip


class Seeded(Attacked):
    """One of each thing, that none of the strings is the name of."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        there = cls.broker.enrol(MARK, "worker", "seeded", working_dir=f"/{MARK}/shop", beat_ms=60_000)
        there.post("/runs", {"id": MARK, "name": MARK, "goal": MARK})
        task = there.post("/tasks", {"title": MARK, "description": MARK, "run_id": MARK})["task_id"]
        there.post("/tasks/claim", {"task_id": task})
        there.post("/tasks", {"title": MARK})
        there.post("/lock", {"file_path": f"/{MARK}/a.py"})
        there.post("/memory", {"key": MARK, "value": MARK})
        there.post("/conversation", {"turn_type": "user", "content": MARK})
        cls.arch.post("/send", {"recipient_id": MARK, "category": "finding", "content": MARK})

    def seeded(self) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.broker.database}?mode=ro", uri=True)) as database:
            return [
                row
                for sql in (
                    "SELECT id, role, status, paused, token_budget, poll_interval_ms FROM peers WHERE id = ?",
                    "SELECT id, title, status, assigned_to, reserved_for FROM tasks WHERE title = ?",
                    "SELECT file_path, peer_id, state FROM locks WHERE peer_id = ?",
                    "SELECT key, value, version FROM memory WHERE key = ?",
                    "SELECT id, name, status FROM runs WHERE id = ?",
                    "SELECT message_id, state FROM deliveries WHERE recipient = ?",
                    "SELECT peer_id, content FROM conversations WHERE peer_id = ?",
                )
                for row in database.execute(sql, (MARK,))
            ]


class S23SqlThroughReads(Seeded):
    """Every string means itself, wherever it is given."""

    def test_no_filter_of_any_read_finds_what_is_not_its_equal(self) -> None:
        self.assertGreaterEqual(len(set(SQL)), 30)
        beside = {("list_peers", "working_dir"): "scope=same_dir&", ("list_peers", "git_root"): "scope=same_repo&"}
        tried, wrong = 0, []
        for operation in bodies.GETS:
            for param in operation.params:
                if param.kind != "text" or param.identity or param.name in ("base", "nonce"):
                    continue
                for text in SQL:
                    if operation.name == "search" and text.lower() in MARK:
                        continue  # a part of it is looked for, and is there
                    if operation.name == "check_lock" and (reach.has_signs(text) or text == "\\"):
                        continue  # a glob is what such a path is there for; and that one is the folder of all folders
                    quoted = urllib.parse.quote(text, safe="")
                    path = operation.path.replace("{" + param.name + "}", quoted)
                    if path == operation.path:
                        path += f"?{beside.get((operation.name, param.name), '')}{param.name}={quoted}&follow=0"
                        path = path if operation.name == "events" else path.replace("&follow=0", "")
                    for name in operation.path_params:
                        path = path.replace("{" + name + "}", "1")
                    status, said = self.person.call("GET", path)
                    tried += 1
                    if status not in (200, 400, 403, 404, 413) or MARK in self.but_for(text, said):
                        wrong.append((operation.name, param.name, text, status))
        self.assertEqual([], wrong)
        self.assertGreater(tried, 15 * len(SQL))

    def but_for(self, text: str, said: object) -> str:
        """The answer without the string that was given, which some repeat (a path in its one spelling)."""
        return json.dumps(said).replace(json.dumps(text)[1:-1], "").replace(text.replace("\\", "/").rstrip("/"), "")


class S23SqlThroughChanges(Seeded):
    def test_no_change_touches_what_it_does_not_name(self) -> None:
        mail = {"category": "finding", "content": "x"}
        choosing: list[tuple[Peer, str, dict[str, Any], str]] = [
            *((self.person, path, {}, "peer_id") for path in ("/pause", "/resume", "/kill-peer", "/unregister", "/seat")),
            (self.person, "/tasks/1/assign", {}, "peer_id"), (self.person, "/seat", {"peer_id": ""}, "workspace"),
            (self.person, "/config", {"poll_interval_ms": 1000}, "peer_id"),
            (self.person, "/budget", {"token_budget": 1}, "peer_id"), (self.person, "/pause-all", {}, "workspace"),
            (self.person, "/unlock", {}, "file_path"), (self.person, "/memory", {"value": "v"}, "key"),
            (self.person, "/memory", {"key": "other", "value": "v"}, "supersedes"), (self.person, "/runs", {"status": "failed"}, "id"),
            (self.person, "/send", mail, "recipient_id"), (self.worker, "/adopt", {}, "peer_id"), (self.worker, "/lock", {}, "file_path"),
            (self.worker, "/inbox/ack", {}, "receipts"), (self.worker, "/inbox/return", {}, "receipts"),
            (self.worker, "/tasks", {"title": "t"}, "run_id"), (self.worker, "/memory", {"value": "v"}, "key"),
            (self.worker, "/runs", {"name": "n"}, "id"),
        ]  # fmt: skip
        before = self.seeded()
        for peer, path, body, name in choosing:
            for text in SQL:
                status, said = peer.call("POST", path, {**body, name: [text] if name == "receipts" else text})
                self.assertIn(status, (200, 400, 403, 404, 409, 413, 422), f"{path} {name}={text}: {said}")
            self.assertEqual(before, self.seeded(), f"{path} by {name}")


class S23SqlAsNames(Seeded):
    def test_what_is_stored_under_such_a_name_is_found_under_it_alone(self) -> None:
        kept = [text for text in SQL if self.worker.call("POST", "/memory", {"key": text, "value": f"of {text}"})[0] == 200]
        self.assertGreater(len(kept), 30)
        for text in kept:
            found = self.worker.get(f"/memory?key={urllib.parse.quote(text, safe='')}")
            self.assertEqual((text, f"of {text}"), (found["key"], found["value"]))
            results = self.worker.get(f"/search?limit=100&q={urllib.parse.quote(text, safe='')}")["results"]
            self.assertIn(text, [one["id"] for one in results if one["kind"] == "memory"])
            self.assertTrue(
                all(text.lower() in f"{one['id']} {one['text']} of".lower() for one in results if one["kind"] == "memory"), text
            )


class S23TheHandle(unittest.TestCase):
    """Were a statement from outside to reach the database all the same."""

    REFUSED = (
        "ATTACH DATABASE ':memory:' AS other", "ATTACH DATABASE '{folder}/stolen.db' AS other", "DETACH DATABASE main",
        "CREATE TABLE mine (x)", "CREATE TEMP TABLE mine (x)", "CREATE VIEW mine AS SELECT * FROM peers",
        "CREATE INDEX mine ON peers (role)",
        "CREATE TRIGGER mine AFTER INSERT ON tasks BEGIN DELETE FROM peers; END", "CREATE VIRTUAL TABLE mine USING fts5 (x)",
        "DROP TABLE peers", "DROP INDEX peers_by_status", "ALTER TABLE peers ADD COLUMN mine", "ALTER TABLE peers RENAME TO mine",
        "UPDATE sqlite_master SET sql = ''", "DELETE FROM sqlite_master", "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
        "VACUUM", "VACUUM INTO '{folder}/stolen.db'", "REINDEX", "ANALYZE",
        "PRAGMA writable_schema = 1", "PRAGMA synchronous = OFF", "PRAGMA journal_mode = DELETE", "PRAGMA foreign_keys = OFF",
        "PRAGMA user_version = 0", "PRAGMA application_id = 0", "PRAGMA query_only = 0", "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA table_info(peers)", "SELECT * FROM pragma_table_info('peers')",
        "SELECT load_extension('{folder}/evil.so')", "SELECT readfile('{folder}/x.db')", "SELECT writefile('{folder}/stolen', 'x')",
        "SELECT edit('x')",
        "SELECT 1; DROP TABLE peers", "SELECT " + "1," * 60_000 + "1",
        "SELECT 'x' LIKE '{pattern}'",
    )  # fmt: skip
    WRITES = (
        "INSERT INTO counters VALUES ('x', 1)",
        "UPDATE peers SET role = 'architect'",
        "DELETE FROM events",
        "REPLACE INTO counters VALUES ('token', 0)",
    )

    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.database = Database(os.path.join(self.folder, "x.db"))
        self.addCleanup(self.database.close)

    def test_it_attaches_nothing_changes_no_schema_loads_no_code_and_sets_nothing(self) -> None:
        schema = self.database.read(lambda tx: [tuple(row) for row in tx.all("SELECT name, sql FROM sqlite_master ORDER BY name")])
        for text in self.REFUSED:
            sql = text.replace("{folder}", self.folder).replace("{pattern}", "%a" * 1000)
            for handle in (self.database.read, lambda fn: self.database.write(fn, at=0.0)):
                with self.subTest(sql[:60]), self.assertRaises((sqlite3.Error, sqlite3.Warning)):
                    handle(lambda tx, sql=sql: tx.all(sql))
        self.assertEqual(
            schema, self.database.read(lambda tx: [tuple(row) for row in tx.all("SELECT name, sql FROM sqlite_master ORDER BY name")])
        )
        self.assertEqual(["x.db", "x.db-shm", "x.db-wal"], sorted(os.listdir(self.folder)))

    def test_a_reader_changes_no_row(self) -> None:
        for sql in self.WRITES:
            with self.subTest(sql), self.assertRaises(sqlite3.Error):
                self.database.read(lambda tx, sql=sql: tx.run(sql))  # type: ignore[misc]
            self.database.write(lambda tx, sql=sql: tx.run(sql), at=0.0)  # type: ignore[misc]


class S24LockAliases(Guarded):
    """One file in fourteen spellings is one lock, for a session's tools and for its hook; what looks like it is another."""

    def setUp(self) -> None:
        super().setUp()
        os.makedirs(os.path.join(self.project, "src", "deep"))
        os.symlink(os.path.join(self.project, "src"), os.path.join(self.project, "link"))
        os.symlink(self.file, os.path.join(self.project, "alias.py"))
        os.symlink(self.project, f"{self.project}-link")

    def spellings(self) -> list[str]:
        real, top = self.file, os.path.basename(self.project)
        return [
            "src/app.py", "./src/app.py", "src/./app.py", "src//app.py", "src/deep/../app.py", f"../{top}/src/app.py", real,
            real.replace("/src/", "//src/"), "/" + real, os.path.join(self.project, "src", "..", "src", "app.py"), "link/app.py",
            "alias.py",
            os.path.join(self.project, "link", "deep", "..", "app.py"), f"../{top}-link/link/app.py", f"{self.project}-link/src/app.py",
        ]  # fmt: skip

    def test_every_spelling_of_a_file_is_its_one_lock(self) -> None:
        self.assertGreaterEqual(len(set(self.spellings())), 14)
        for spelling in self.spellings():
            self.lock(spelling)  # alice, who says it in each way, has one lock
        self.assertEqual([(self.file, self.alice.id)], [(one["file_path"], one["peer_id"]) for one in self.alice.get("/locks")["locks"]])
        for spelling in self.spellings():
            with self.subTest(spelling):
                with self.assertRaises(ToolFailed) as refused:
                    self.mine.call("lock_file", file_path=spelling)
                self.assertIn(self.alice.id, refused.exception.text)
                self.refused(self.edit(spelling))

    def test_what_only_looks_like_it_is_another_file(self) -> None:
        self.lock()
        for name in ("src/app.pyc", "src/app", "src/deep/app.py", "src/app.py.orig", "src/\u0430pp.py", "src/app.py\u200b", "src/App.py"):
            self.path(name)
        twins = [f"{self.project}-evil/src/app.py", f"{self.project}-tree/src/app.py", f"{self.project}/../src/app.py"]
        for path in twins:  # a folder that begins with the same letters, a worktree of the same repository
            os.makedirs(os.path.dirname(path), exist_ok=True)
        folded = {"src/App.py"} if os.path.samefile(self.file, os.path.join(self.project, "src/App.py")) else set()
        others = [name for name in ("src/app.pyc", "src/app", "srcapp.py", "src/deep/app.py", "src/app.py.orig", "src/\u0430pp.py",
                                    "src/App.py", *twins) if name not in folded]  # fmt: skip
        for path in others:
            with self.subTest(path):
                self.let_go_on(self.edit(path))
                self.mine.call("lock_file", file_path=path)
        self.assertEqual(1 + len(others), len(self.alice.get("/locks")["locks"]))

    def test_composed_and_decomposed_letters_are_one_file(self) -> None:
        self.lock("src/\u00e9t\u00e9.py")
        self.refused(self.edit(unicodedata.normalize("NFD", "src/\u00e9t\u00e9.py")))

    def test_what_no_lock_may_have_is_refused_by_the_tool(self) -> None:
        for path in ("", " ", "a\nb", "a\x1b[2Jb", "a\x7fb", "x" * 1025, "a\u0085b"):
            with self.subTest(path[:10]), self.assertRaises(ToolFailed):
                self.mine.call("lock_file", file_path=path)


# Each would do something if a shell, tmux's formats, AppleScript or an option parser read it.
HOSTILE = (
    "a'b", 'a"b', "a`touch CANARY`b", "$(touch CANARY)", "${IFS}touch${IFS}CANARY", "; touch CANARY", "&& touch CANARY", "| touch CANARY",
    "a\nb", "a\ntouch CANARY\n", "a\r\nb", "a\tb", "-rf", "--help", "-e", "--", "-", " lead", "trail ", "a  b", "%PATH%", "%s%n", "^&calc",
    "#(touch CANARY)", "#{pane_id}", "##", "#S", "#[fg=red]", "*", "?", "[a-z]", "~", "~root", "{a,b}", "!!", "!touch", "\\", "\\'",
    "'; touch CANARY; '", "\"; touch CANARY; \"", "' & do shell script \"touch CANARY\" & '",
    "\" & (do shell script \"touch CANARY\") & \"",
    "<a", ">CANARY", "a>CANARY", "2>&1", "&", "a;b", "wt;new-tab", "$HOME", "$0", "=ls", "\u202egnp.exe", "\u2066a\u2069", "e\u0301", "é",
    "日本", "\U0001f9ea", "\u200b", "\x1b]0;t\x07", "\x7f", "(a)",
)  # fmt: skip

DUMP = '#!/bin/sh\nprintf \'%s\\0\' "$@" > "$DUMPED/.$$"; mv "$DUMPED/.$$" "$DUMPED/$$"\n'
RUN = '#!/bin/sh\nshift\nexec "$@"\n'
CLIENT = r"""#!/bin/sh
{ pwd -P; printf '\0'; printf '%s\0' "$@"; printf '\0'; env -0; } > "$PEER_DIR/.out"
mv "$PEER_DIR/.out" "$PEER_DIR/out"
"""


@unittest.skipIf(os.name == "nt", "stand-ins are POSIX scripts")
class S25SpawnInjection(unittest.TestCase):
    """Whatever a folder is called, the session runs in it and nothing else runs: a real broker, terminals that tell what they got."""

    def setUp(self) -> None:
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory(prefix="c2s")))
        self.bin, self.dumped = os.path.join(self.folder, "bin"), os.path.join(self.folder, "dumped")
        for path in (self.bin, self.dumped):
            os.mkdir(path)
        self.program("claude", CLIENT)
        self.folders = {}
        for number, name in enumerate(HOSTILE):
            path = os.path.join(self.folder, f"dir{number}", name)
            os.makedirs(path)
            self.folders[f"w{number}"] = path

    def program(self, name: str, text: str) -> None:
        with open(os.path.join(self.bin, name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(file.name, 0o755)

    @contextlib.contextmanager
    def asking(self, **environ: str) -> Any:
        """The architect of a broker that opens what it is asked for."""
        home = os.path.join(self.folder, "home")
        os.makedirs(home, exist_ok=True)
        path = f"{self.bin}:/usr/bin:/bin"
        with Broker(home, C2_LATTICE_SPAWN="allow", PATH=path, DUMPED=self.dumped, **environ) as broker:
            yield broker.enrol("arch", "architect", working_dir=self.folder, beat_ms=60_000)

    def spawn(self, arch: Peer, peer: str, way: str, **more: str) -> None:
        said = arch.post("/spawn", {"peer_id": peer, "working_dir": self.folders[peer], "way": way, **more})
        self.assertEqual("opened", said["status"], said)

    def arguments(self, count: int) -> dict[str, list[str]]:
        """What the stand-in got, by the peer whose ticket it was given."""
        until(lambda: len([name for name in os.listdir(self.dumped) if name[0] != "."]) >= count, f"{count} terminals were opened")
        found = {}
        for name in os.listdir(self.dumped):
            with open(os.path.join(self.dumped, name), "rb") as file:
                argv = os.fsdecode(file.read()).split("\0")[:-1]
            os.unlink(os.path.join(self.dumped, name))
            found[os.path.basename(argv[-1]).split(".")[0]] = argv
        return found

    def canaries(self) -> list[str]:
        return [os.path.join(at, name) for at, _, names in os.walk(self.folder) for name in names if "CANARY" in name]

    def ticket(self, argv: list[str], peer: str) -> None:
        """The words are ours alone, the folder is in a file of this user alone."""
        python, isolated, bare, launcher, path = argv
        self.assertEqual((os.path.realpath(sys.executable), "-I", "-S", spawn.LAUNCHER), (python, isolated, bare, launcher))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="utf-8") as file:
            card = json.load(file)
        self.assertEqual((peer, self.folders[peer]), (card["peer"], card["working_dir"]))

    def test_no_hostile_folder_is_in_what_a_terminal_is_given(self) -> None:
        self.assertGreaterEqual(len(HOSTILE), 60)
        for name, before in terminal.TERMINALS[: figure(2, len(terminal.TERMINALS))]:
            self.program(name, DUMP)
            with self.subTest(name), self.asking(DISPLAY=":0") as arch:
                for peer in self.folders:
                    self.spawn(arch, peer, "terminal")
                for peer, argv in self.arguments(len(self.folders)).items():
                    self.assertEqual(list(before), argv[: len(before)])
                    self.ticket(argv[len(before) :], peer)
            os.unlink(os.path.join(self.bin, name))
            shutil.rmtree(os.path.join(self.folder, "home"))
        self.assertEqual([], self.canaries())

    def test_nor_in_what_tmux_is_given(self) -> None:
        self.program("tmux", DUMP)
        path = os.path.join(self.folder, "s")
        with socket.socket(socket.AF_UNIX) as server, self.asking() as arch:
            server.bind(path)
            for peer in self.folders:
                self.spawn(arch, peer, "auto", tmux=f"{path},12,3")
            for peer, argv in self.arguments(len(self.folders)).items():
                self.assertEqual(["-S", path, "new-window", "-d", "-t", "$3:", "-n", peer, "--"], argv[:9])
                self.ticket(argv[9:], peer)
        self.assertEqual([], self.canaries())

    def test_the_session_runs_in_that_folder_as_who_it_is_and_is_told_no_secret_by_its_arguments(self) -> None:
        self.program("xterm", RUN)
        peers = list(self.folders)[:: figure(6, 1)]
        for way in ("terminal", "headless"):
            with (
                self.subTest(way),
                self.asking(DISPLAY=":0", PEER_ID="boss", CLAUDE_CODE_SESSION_ID="abc", CLAUDECODE="1", MINE="kept") as arch,
            ):
                for peer in peers:
                    self.spawn(arch, peer, way, prompt=f"$(touch CANARY) `x` '{peer}'")
                for peer in peers:
                    folder = self.folders[peer]
                    out = os.path.join(folder, "out")
                    until(lambda out=out: os.path.exists(out), f"{peer} runs in {folder!r}")
                    with open(out, "rb") as file:
                        where, _, rest = os.fsdecode(file.read()).partition("\n\0")
                    os.unlink(out)
                    words, _, variables = rest.partition("\0\0")
                    environ = dict(one.split("=", 1) for one in variables.split("\0") if "=" in one)
                    self.assertEqual(folder, where)
                    self.assertIn(f"$(touch CANARY) `x` '{peer}'", words.split("\0"))
                    self.assertEqual(
                        (peer, "worker", folder, "kept"), tuple(environ[name] for name in ("PEER_ID", "PEER_ROLE", "PEER_DIR", "MINE"))
                    )
                    self.assertEqual(set(), {"CLAUDE_CODE_SESSION_ID", "CLAUDECODE"} & set(environ))
                    self.assertEqual(str(arch.port), environ["C2_LATTICE_PORT"])
                    with open(environ["C2_LATTICE_TICKET"], encoding="utf-8") as file:
                        card = json.load(file)
                    self.assertEqual(peer, card["peer"])
                    self.assertNotIn(card["ticket"], variables + words)
            shutil.rmtree(os.path.join(self.folder, "home"))
        self.assertEqual([], self.canaries())

    def test_an_id_that_could_be_an_option_or_a_path_is_refused_before_anything_is_opened(self) -> None:
        self.program("xterm", DUMP)
        with self.asking(DISPLAY=":0") as arch:
            for peer in ("-rf", "--", "a b", "a/b", "../x", ".x", "a'b", "$(x)", "a;b", "a\nb", "é", "x" * 65, "command-center"):
                status, said = arch.call("POST", "/spawn", {"peer_id": peer, "working_dir": self.folder, "way": "terminal"})
                self.assertIn((status, said["code"]), ((400, "bad_request"), (413, "too_large")), peer)
            for folder in ("relative", os.path.join(self.folder, "none"), "\0", __file__):
                self.assertIn(arch.call("POST", "/spawn", {"working_dir": folder, "way": "terminal"})[0], (400,), folder)
        self.assertEqual([], os.listdir(self.dumped))

    def test_on_macos_the_words_are_arguments_of_a_script_that_is_always_the_same(self) -> None:
        """There is no macOS here: what would be handed to osascript is looked at."""
        handed: list[tuple[list[str], bytes]] = []
        with (
            mock.patch.object(terminal.sys, "platform", "darwin"),
            mock.patch.object(terminal, "_ask", lambda argv, environ, cwd, text=b"": handed.append((argv, text))),
        ):
            for name in HOSTILE:
                terminal.open_session("terminal", argv=["/usr/bin/python3", name], environ={}, cwd="/")
        self.assertEqual({terminal.APPLESCRIPT.encode()}, {script for _, script in handed})
        self.assertEqual([["/usr/bin/osascript", "-", "/usr/bin/python3", name] for name in HOSTILE], [argv for argv, _ in handed])
        self.assertIn("quoted form of (contents of anArgument)", terminal.APPLESCRIPT)


class S25NoShell(unittest.TestCase):
    def test_nothing_of_ours_runs_a_line_of_shell(self) -> None:
        """Argument lists only; the `sh` before a hook is a constant line in the client's settings."""
        package = os.path.dirname(os.path.dirname(os.path.abspath(broker_program.__file__)))
        found = subprocess.run(
            ["grep", "-rnE", r"shell ?= ?True|os\.system|os\.popen|getoutput|check_output\(f?[\"']", package, "--include=*.py"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.assertEqual("", found.stdout)
        self.assertEqual(1, found.returncode, "grep looked, and found none")


class S23EveryOperation(unittest.TestCase):
    def test_no_read_takes_a_text_that_the_table_of_strings_is_not_tried_with(self) -> None:
        """`base` joins a path and `nonce` has a grammar of its own; everything else is in the first table."""
        left_out = {
            (operation.name, param.name)
            for operation in OPERATIONS
            if operation.method == "GET" and "http" in operation.surfaces
            for param in operation.params
            if param.kind == "text" and not param.identity and param.name in ("base", "nonce")
        }
        self.assertEqual({("check_lock", "base"), ("health", "nonce")}, left_out)


if __name__ == "__main__":
    unittest.main()
