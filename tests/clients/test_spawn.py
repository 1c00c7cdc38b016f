"""Spawning: a session of its own, and nothing left behind. Hostile names: tests/threats/test_paths.py, S25."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import unittest
from unittest import mock

from lattice.clients import terminal
from lattice.clients.spawn import spawn, write_ticket
from lattice.errors import BadRequest, Internal, Refusal


@unittest.skipIf(os.name == "nt", "stand-ins are POSIX scripts")
class Spawning(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.bin = os.path.join(self.folder, "bin")
        self.home = os.path.join(self.folder, "home")
        os.makedirs(self.bin)
        os.makedirs(self.home, mode=0o700)
        self.environ = {"HOME": self.folder, "PATH": f"{self.bin}:/usr/bin:/bin"}
        self.program("claude", "#!/bin/sh\n")

    def program(self, name: str, text: str) -> None:
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)

    def spawn(self, way: str, working_dir: str, peer: str = "w1", **more: object) -> dict[str, object]:
        given: dict[str, object] = {"role": "worker", "ticket": "T.secret", "port": 7899, "workspace": "ws", "prompt": "go", "tmux": ""}
        given.update(more)
        return spawn(self.home, peer=peer, working_dir=working_dir, way=way, environ=self.environ, **given)  # type: ignore[arg-type]

    def settle(self) -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("reap-"):
                thread.join(20)
                self.assertFalse(thread.is_alive())

    def canaries(self) -> list[str]:
        return [os.path.join(folder, name) for folder, _, names in os.walk(self.folder) for name in names if "CANARY" in name]

    def test_a_headless_session_writes_a_private_log_and_leaves_no_zombie(self) -> None:
        self.program("claude", "#!/bin/sh\necho said; read line || echo closed\n")
        answers = [self.spawn("auto", self.folder, f"h{number}") for number in range(5)]
        self.settle()
        for answer in answers:
            log = os.path.join(self.home, "logs", f"{answer['peer_id']}.log")
            self.assertEqual(answer["way"], "headless")
            with open(log, encoding="utf-8") as file:
                self.assertEqual(file.read(), "said\nclosed\n")
            self.assertEqual(stat.S_IMODE(os.stat(log).st_mode), 0o600)
            with self.assertRaises(ChildProcessError):
                os.waitpid(answer["pid"], os.WNOHANG)  # type: ignore[arg-type]

    def test_a_hundred_sessions_leave_no_zombie(self) -> None:
        for _ in range(100):
            terminal.open_session("headless", argv=["/bin/true"], environ=self.environ, cwd=self.folder)
        self.settle()
        with self.assertRaises(ChildProcessError):  # not one child is left to be waited for
            os.waitpid(-1, os.WNOHANG)

    def test_a_child_inherits_no_descriptor_of_ours(self) -> None:
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("no /proc: descriptors of another process cannot be listed")
        self.program("claude", '#!/bin/sh\nls -l /proc/$$/fd > "$PEER_DIR/fds"\n')
        kept = open(os.path.join(self.folder, "secret-file"), "w")
        self.addCleanup(kept.close)
        os.set_inheritable(kept.fileno(), True)
        self.spawn("headless", self.folder)
        self.settle()
        with open(os.path.join(self.folder, "fds"), encoding="utf-8") as file:
            self.assertNotIn("secret-file", file.read())

    def test_a_planted_link_is_not_written_through(self) -> None:
        os.makedirs(os.path.join(self.home, "logs"))
        victim = os.path.join(self.folder, "victim")
        os.symlink(victim, os.path.join(self.home, "logs", "w1.log"))
        with self.assertRaises(Refusal):
            self.spawn("headless", self.folder)
        self.assertFalse(os.path.exists(victim))
        self.assertEqual(os.listdir(os.path.join(self.home, "tickets")), [])

    def test_a_folder_that_is_not_there_or_an_odd_id_is_refused_before_anything(self) -> None:
        for folder, peer in (
            ("relative", "w"),
            (os.path.join(self.folder, "none"), "w"),
            ("", "w"),
            (self.folder, "-rf"),
            (self.folder, "a b"),
        ):
            with self.subTest((folder, peer)), self.assertRaises(BadRequest):
                self.spawn("headless", folder, peer)
        self.assertEqual(os.listdir(self.home), [])

    def test_without_the_client_it_is_said(self) -> None:
        os.unlink(os.path.join(self.bin, "claude"))
        self.environ["PATH"] = self.bin
        with self.assertRaises(BadRequest) as caught:
            self.spawn("headless", self.folder)
        self.assertIn("Claude Code is not on PATH", caught.exception.message)

    def test_a_failing_terminal_server_is_said_and_no_ticket_stays(self) -> None:
        self.program("tmux", "#!/bin/sh\necho no such session >&2; exit 1\n")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.join(self.folder, "s"))
            with self.assertRaises(Refusal) as caught:
                self.spawn("tmux", self.folder, tmux=os.path.join(self.folder, "s") + ",1,0")
        self.assertIn("no such session", caught.exception.message)
        self.assertEqual(os.listdir(os.path.join(self.home, "tickets")), [])

    def test_a_state_directory_that_takes_no_ticket_is_said_and_nothing_is_opened(self) -> None:
        for name in ("logs", "tickets"):
            with open(os.path.join(self.home, name), "w", encoding="utf-8"):
                pass
            with self.subTest(name), self.assertRaises(Internal) as caught:
                self.spawn("headless", self.folder)
            self.assertEqual(caught.exception.code, "spawn_failed")
            self.assertIn(name, caught.exception.message)
            os.unlink(os.path.join(self.home, name))
        for _, _, left in os.walk(self.home):
            self.assertEqual(left, [])

    @unittest.skipUnless(os.path.exists("/dev/full"), "no device that is always full here")
    def test_half_a_ticket_does_not_stay_on_a_full_disk(self) -> None:
        def full(path: str, flags: int, mode: int) -> int:
            os.close(opened(path, flags, mode))
            return opened("/dev/full", os.O_WRONLY)

        opened = os.open
        with mock.patch("lattice.clients.spawn.os.open", full), self.assertRaises(OSError):
            write_ticket(self.home, "w1", {"peer": "w1"})
        self.assertEqual(os.listdir(os.path.join(self.home, "tickets")), [])

    def test_an_unusable_tmux_value_is_refused(self) -> None:
        plain = os.path.join(self.folder, "plain")
        with open(plain, "w"):
            pass
        for value in ("", "x", "relative,1,2", f"{plain},1,2", f"{self.folder}/gone,1,2", f"{plain},1", f"{plain},1,2;x", "/a\0b,1,2"):
            with self.subTest(value), self.assertRaises(BadRequest):
                terminal.read_tmux(value)

    def test_two_sessions_at_once_have_two_tickets(self) -> None:
        self.program("claude", "#!/bin/sh\n")
        for peer in ("a", "b"):
            self.spawn("headless", self.folder, peer)
        self.settle()
        self.assertEqual(sorted(name[0] for name in os.listdir(os.path.join(self.home, "tickets"))), ["a", "b"])

    @unittest.skipUnless(shutil.which("tmux"), "tmux is not installed (apt-get install tmux)")
    def test_a_real_tmux_opens_the_window_in_the_callers_session(self) -> None:
        path = os.path.join(self.folder, "s")
        out = os.path.join(self.folder, "w1.out")
        tmux = ["tmux", "-S", path, "-f", "/dev/null"]
        environ = {**self.environ, "TERM": "xterm"}
        subprocess.run([*tmux, "new-session", "-d", "-s", "mine", "-x", "80", "-y", "24", "cat"], env=environ, check=True, timeout=20)
        self.addCleanup(subprocess.run, [*tmux, "kill-server"], env=environ, check=False, timeout=20)
        self.program(
            "claude", f'#!/bin/sh\nprintf "%s|%s" "$PEER_ID" "$1" > {out}.new; mv {out}.new {out}; tmux -S {path} wait-for -S done\n'
        )
        self.spawn("tmux", self.folder, tmux=f"{path},1,0", prompt="#(touch CANARY)")
        subprocess.run([*tmux, "wait-for", "done"], env=environ, check=True, timeout=20)
        with open(out, encoding="utf-8") as file:
            self.assertEqual(file.read(), "w1|#(touch CANARY)")
        self.assertEqual(self.canaries(), [])


if __name__ == "__main__":
    unittest.main()
