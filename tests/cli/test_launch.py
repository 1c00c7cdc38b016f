"""launch.py with the real broker, in homes of its own, on ports that were free."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import threading
import unittest
from urllib.parse import unquote, urlsplit

from lattice import daemon, settings
from lattice.errors import Refusal
from lattice.web.client import Client
from lattice.web.server import Answer, Request, Server
from tests.cli.house import TOP, Launched
from tests.running import free_port, until


class Launching(Launched):
    def sign_in(self, code: str) -> dict[str, object]:
        client = Client(self.port)
        try:
            return client.call("POST", "/sign-in", {"code": code})
        finally:
            client.close()

    def test_it_starts_finds_says_and_stops(self) -> None:
        said = self.good(self.launch("--no-browser"))
        self.assertIn(f"broker: started on 127.0.0.1:{self.port}", said)
        self.assertIn("Claude Code: not registered", said)
        self.assertIn(f"to register it: {shlex.join([sys.executable, os.path.join(TOP, 'install.py')])}\n", said)
        self.assertIn("broker: found on", self.good(self.launch("--no-browser")))
        self.assertIn("running on", self.good(self.launch("--status")))
        first = self.pid()
        self.assertIn("stopped", self.good(self.launch("--restart", "--no-browser")))
        self.assertNotEqual(self.pid(), first)
        self.assertIn("stopped", self.good(self.launch("--stop")))
        self.assertIn("none was running", self.good(self.launch("--stop")))
        self.assertIn("not running", self.good(self.launch("--status"), 3))

    def test_status_says_which_other_brokers_run(self) -> None:
        self.good(self.launch("--no-browser"))
        other = free_port()
        database = os.path.join(self.folder, "other.db")
        self.addCleanup(self.launch, "--stop", "--port", str(other))
        self.good(self.launch("--no-browser", "--port", str(other), "--db", database))
        said = self.good(self.launch("--status"))
        self.assertIn(f"running on http://127.0.0.1:{self.port}/dashboard", said)
        self.assertRegex(said, rf"also running: http://127\.0\.0\.1:{other}/dashboard with {re.escape(database)}, process \d+")
        self.good(self.launch("--stop", "--port", str(other)))
        self.assertNotIn("also running", self.good(self.launch("--status")))

    def test_status_says_where_the_hooks_are(self) -> None:
        self.run_script("install.py")
        self.assertIn(f"  hooks: in {os.path.join(self.folder, '.claude', 'settings.json')}", self.launch("--status").stdout)

    def test_status_and_stop_make_nothing(self) -> None:
        self.launch("--status")
        self.launch("--stop")
        self.assertEqual(self.files(), {})

    def test_the_sign_in_file_is_private_and_signs_in_once(self) -> None:
        self.good(self.launch("--no-browser"))
        path = os.path.join(self.home, "sign-in.html")
        if os.name != "nt":
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="utf-8") as file:
            found = re.search(rf'content="0;url=http://127\.0\.0\.1:{self.port}/dashboard#code=([\w.-]+)"', file.read())
        assert found
        self.assertTrue(self.sign_in(found[1])["token"])
        with self.assertRaises(Refusal):
            self.sign_in(found[1])
        with open(os.path.join(self.home, "broker.log"), encoding="utf-8") as file:
            self.assertNotIn(found[1], file.read())
        self.launch("--stop")
        self.assertFalse(os.path.exists(path))

    @unittest.skipIf(os.name == "nt", "a browser that is a script")
    def test_the_browser_is_given_the_files_path_and_nothing_secret(self) -> None:
        browser = os.path.join(self.folder, "browser")
        with open(browser, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nprintf "%s\\n" "$@" > {self.folder}/opened\n')
        os.chmod(browser, 0o755)
        self.assertIn("opened in your browser", self.good(self.launch(BROWSER=browser)))
        with open(os.path.join(self.folder, "opened"), encoding="utf-8") as file:
            self.assertEqual(file.read(), f"file://{self.home}/sign-in.html\n")

    def test_the_browser_finds_the_file_whatever_its_folder_is_called(self) -> None:
        opened = os.path.join(self.folder, "opened")
        script = os.path.join(self.folder, "browser")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nprintf "%s" "$1" > "{opened}"\n')
        os.chmod(script, 0o755)
        environ = {"BROWSER": f"{script} %s", "C2_LATTICE_HOME": os.path.join(self.folder, "50% of #1?")}
        self.addCleanup(self.launch, "--stop", **environ)
        self.assertIn("opened in your browser", self.good(self.launch(**environ)))
        with open(opened, encoding="utf-8") as file:
            address = urlsplit(file.read())
        self.assertEqual((address.query, address.fragment), ("", ""))
        self.assertTrue(os.path.samefile(unquote(address.path), os.path.join(environ["C2_LATTICE_HOME"], "sign-in.html")))

    def test_without_a_display_it_prints_the_file(self) -> None:
        if sys.platform in ("win32", "darwin"):
            self.skipTest("there is always a display there")
        self.assertIn(os.path.join(self.home, "sign-in.html"), self.good(self.launch()))

    def test_a_fresh_start_keeps_the_whole_old_database(self) -> None:
        self.good(self.launch("--no-browser"))
        self.assertIn("k is at version 1", self.good(self.c2("remember", "k", "v")))
        said = self.good(self.launch("--fresh", "--no-browser"))
        folder = re.search(r"kept in (.*)", said)
        assert folder
        self.assertIn(".c2-lattice.db", os.listdir(folder[1]))
        self.assertEqual(self.good(self.c2("recall")), "nothing is remembered\n")
        self.launch("--stop")
        again = free_port()
        self.environ["C2_LATTICE_PORT"] = str(again)
        self.good(self.launch("--no-browser", "--db", os.path.join(folder[1], ".c2-lattice.db")))
        self.assertIn("│ v", self.good(self.c2("recall", "k")))

    def test_two_fresh_starts_keep_two_databases(self) -> None:
        for _ in range(2):
            self.good(self.launch("--fresh", "--no-browser"))
        self.assertIn("kept in", self.good(self.launch("--fresh", "--no-browser")))
        (folder,) = os.listdir(os.path.join(self.home, "backups"))
        self.assertEqual(len(os.listdir(os.path.join(self.home, "backups", folder))), 2)

    def test_a_database_in_use_elsewhere_is_not_moved(self) -> None:
        self.good(self.launch("--no-browser"))
        other = {"C2_LATTICE_HOME": os.path.join(self.folder, "other"), "C2_LATTICE_PORT": str(free_port())}
        self.assertIn("in use by another broker", self.refused(self.launch("--fresh", "--no-browser", **other), 1))
        self.assertTrue(os.path.exists(os.path.join(self.folder, ".c2-lattice.db")))
        self.assertEqual(self.c2("peers").returncode, 0)

    def test_another_program_on_the_port_is_said_and_left_alone(self) -> None:
        heard: list[dict[str, str]] = []

        def answer(request: Request) -> Answer:
            heard.append(dict(request.headers))
            return Answer(200, {"status": "ok"})

        server = Server(0, answer)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            port = str(server.port)
            self.assertIn("another program", self.refused(self.launch("--no-browser", "--port", port), 1))
            self.assertIn("another program", self.good(self.launch("--stop", "--port", port)))
            self.assertIn("another program", self.good(self.launch("--status", "--port", port), 3))
        finally:
            server.stop()
            thread.join(10)
        self.assertTrue(heard)
        self.assertFalse([one for one in heard if "authorization" in one])

    @unittest.skipIf(os.name == "nt", "signals of POSIX")
    def test_another_program_on_the_port_of_a_broker_that_was_killed_keeps_none_from_being_stopped(self) -> None:
        self.environ.pop("C2_LATTICE_PORT")
        self.good(self.launch("--no-browser", "--port", str(self.port)))
        second = free_port()
        self.addCleanup(self.launch, "--stop", "--port", str(second))
        self.good(self.launch("--no-browser", "--port", str(second), "--db", os.path.join(self.folder, "other.db")))
        os.kill(int(str(self.pid())), signal.SIGKILL)
        until(lambda: daemon.probe(self.port, b"") == "none", "it is gone")
        server = Server(self.port, lambda request: Answer(200, {"status": "ok"}))
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            self.assertEqual(self.good(self.launch("--stop")), f"broker: stopped (127.0.0.1:{second})\n")
        finally:
            server.stop()
            thread.join(10)

    def test_the_person_seats_an_architect(self) -> None:
        self.refused(self.launch("--architect", "carl"), 3)
        self.good(self.launch("--no-browser"))
        self.refused(self.launch("--architect", "nobody"), 1)
        self.good(self.c2("summary", "here", PEER_ID="carl"))
        self.assertIn("carl has the architect's seat", self.good(self.launch("--architect", "carl")))
        self.assertIn("role: architect", self.good(self.c2("get-peer", "carl")))

    def test_a_home_open_to_others_is_one_sentence(self) -> None:
        if os.name == "nt":
            self.skipTest("modes of POSIX")
        os.makedirs(self.home)
        os.chmod(self.home, 0o755)
        for words in (("--no-browser",), ("--restart", "--no-browser")):
            self.assertIn("open to other users", self.launch(*words).stderr)
            self.assertEqual(self.launch(*words).stderr.count("\n"), 1)

    def test_a_wrong_line_is_status_two(self) -> None:
        for words in (("--port", "99999"), ("--port", "x"), ("--stop", "--fresh"), ("--what",)):
            self.assertEqual(self.launch(*words).returncode, 2, words)

    @unittest.skipIf(os.name == "nt", "pseudo terminals are POSIX")
    def test_on_a_terminal_it_offers_to_register(self) -> None:
        ours, theirs = os.openpty()
        argv = [sys.executable, "-I", "-S", os.path.join(TOP, "launch.py"), "--no-browser"]
        process = subprocess.Popen(argv, env=self.environ, stdin=theirs, stdout=theirs, stderr=theirs, cwd=self.folder)
        os.close(theirs)
        seen = b""
        try:
            while b"[Y/n]" not in seen:
                self.assertTrue(select.select([ours], [], [], 30)[0], seen)
                seen += os.read(ours, 4096)
            os.write(ours, b"\n")
            self.assertEqual(process.wait(30), 0)
        finally:
            os.close(ours)
            process.kill()
            process.wait(10)
        self.assertEqual(self.run_script("install.py", "--status").returncode, 0)

    def test_a_broker_that_does_not_start_says_why_in_its_own_words(self) -> None:
        database = os.path.join(self.folder, ".c2-lattice.db")
        with open(database, "wb") as file:
            file.write(b"no database at all\n" * 100)
        said = self.refused(self.launch("--no-browser"), 1)
        self.assertIn(f"{database} is damaged: it is not a SQLite database; nothing was changed", said)
        said = self.refused(self.launch("--no-browser", "--db", os.path.join(self.folder, "none", "x.db")), 1)
        self.assertIn(f"{os.path.join(self.folder, 'none')} is no folder; make it", said)
        self.good(self.launch("--fresh", "--no-browser"))
        said = self.refused(self.launch("--no-browser", "--port", str(free_port())), 1)
        self.assertIn(f"another broker has {database} open", said)

    def test_a_restart_is_where_the_old_one_was_and_a_fresh_start_spares_other_databases(self) -> None:
        self.environ.pop("C2_LATTICE_PORT")
        other, mine = os.path.join(self.folder, "other.db"), os.path.join(self.folder, ".c2-lattice.db")
        self.good(self.launch("--no-browser", "--port", str(self.port), "--db", other))
        self.addCleanup(self.launch, "--stop", "--port", str(self.port))
        self.good(self.launch("--restart", "--no-browser"))
        self.assertEqual([(card["port"], card["database"]) for card in settings.running_brokers(self.home)], [(self.port, other)])
        before, second = self.pid(), free_port()
        self.good(self.launch("--no-browser", "--port", str(second), "--db", mine))
        self.addCleanup(self.launch, "--stop", "--port", str(second))
        said = self.good(self.launch("--restart", "--no-browser"))
        self.assertIn(f"broker: started on 127.0.0.1:{second}", said)
        said = self.good(self.launch("--fresh", "--no-browser"))
        self.assertIn(f"broker: started on 127.0.0.1:{second}", said)
        self.assertEqual(self.pid(), before)

    @unittest.skipIf(os.name == "nt", "signals of POSIX")
    def test_a_frozen_broker_is_not_called_a_stranger(self) -> None:
        self.good(self.launch("--no-browser"))
        pid = int(str(self.pid()))
        os.kill(pid, signal.SIGSTOP)
        try:
            self.assertIn(f"kill -9 {pid}", self.good(self.launch("--status"), 3))
            said = self.refused(self.launch("--restart", "--no-browser"), 1)
            self.assertIn(f"our broker there was process {pid}: stopped, or very busy", said)
        finally:
            os.kill(pid, signal.SIGCONT)

    @unittest.skipIf(os.name == "nt", "signals of POSIX")
    def test_an_interrupt_is_told_by_the_status_alone_whenever_it_comes(self) -> None:
        for script in ("launch.py", "install.py"):
            program = (
                "import os, runpy, signal, sys\n"
                "class Finder:\n"
                "    def find_spec(self, name, *_):\n"
                "        if name == 'lattice.settings': os.kill(os.getpid(), signal.SIGINT)\n"
                "sys.meta_path.insert(0, Finder())\n"
                f"runpy.run_path({os.path.join(TOP, script)!r}, run_name='__main__')\n"
            )
            done = subprocess.run([sys.executable, "-c", program], env=self.environ, capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (130, ""))

    @unittest.skipIf(os.name == "nt", "a shell of POSIX")
    def test_who_reads_no_further_sees_no_fault(self) -> None:
        line = shlex.join([sys.executable, "-I", "-S", os.path.join(TOP, "install.py")])
        done = subprocess.run(
            ["/bin/sh", "-c", f"{{ sleep 0.3; {line} --dry-run; }} | true"], env=self.environ, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.stderr, "")

    def test_a_seat_is_emptied_in_the_workspace_where_one_stands(self) -> None:
        self.good(self.launch("--no-browser"))
        self.good(self.c2("summary", "here", PEER_ID="carl"))
        self.good(self.launch("--architect", "carl"))
        self.assertEqual(self.good(self.launch("--architect", "")), f"the architect's seat of {self.folder} is empty\n")
        self.assertIn("role: worker", self.good(self.c2("get-peer", "carl")))

    def test_what_the_person_adds_is_seen_by_the_sessions_of_that_folder(self) -> None:
        self.good(self.launch("--no-browser"))
        self.assertIn(f", in {self.folder}\n", self.good(self.c2("add", "of the person")))
        self.assertIn(f", in {self.folder}\n", self.good(self.c2("remember", "key", "value")))
        self.good(self.c2("add", "elsewhere", "--workspace", "w"))
        said = self.good(self.c2("tasks", PEER_ID="carl"))
        self.assertIn("of the person", said)
        self.assertNotIn("elsewhere", said)
        self.assertIn("value", self.good(self.c2("recall", "key", PEER_ID="carl")))

    def test_a_session_finds_a_broker_on_another_port_and_database(self) -> None:
        self.environ.pop("C2_LATTICE_PORT")
        self.good(self.launch("--no-browser", "--port", str(self.port), "--db", os.path.join(self.folder, "my.db")))
        self.assertEqual([card["port"] for card in settings.running_brokers(self.home)], [self.port])
        self.assertIn("nobody is here", self.good(self.c2("peers")))
        self.assertIn(f":{self.port})", self.good(self.launch("--stop")))


if __name__ == "__main__":
    unittest.main()
