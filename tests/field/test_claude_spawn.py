"""A real Claude Code session that another one asked for: opened, enrolled under the name meant for it, at work on what there is."""

from __future__ import annotations

import os
import subprocess
import unittest
from typing import Any

from tests.field import programs
from tests.field.minds import Shown
from tests.field.scripted_model import Step
from tests.field.workplace import WorkplaceCase
from tests.running import until


class Spawned(WorkplaceCase):
    def setUp(self) -> None:
        super().setUp()
        broker = self.place.broker
        broker.stop()
        # A session gets what its broker has, as it has what its starter had; and this one's model is dora's.
        broker.environ |= {name: value for name, value in self.place.environment_of("dora", {}).items() if name != "PEER_ID"}
        broker.start()
        self.architect = broker.enrol("arch", "architect", "here", working_dir=self.place.project)
        self.addCleanup(broker.beat_all([self.architect]).close)
        self.task = int(self.architect.post("/tasks", {"title": "Write the parser"})["task_id"])
        self.model.minds["dora"] = self.works

    def works(self, shown: Shown) -> str | Step | list[Step]:
        steps = ["list_tasks", "claim_task", "complete_task"]
        arguments: dict[str, dict[str, Any]] = {
            "list_tasks": {},
            "claim_task": {"task_id": self.task},
            "complete_task": {"task_id": self.task, "artifacts": {"summary": "the parser is written"}},
        }
        done = len(self.results(shown))
        return Step(steps[done], arguments[steps[done]]) if done < len(steps) else "All is done."

    def results(self, shown: Shown) -> list[str]:
        """What our tools answered so far in this talk."""
        return [mark for mark in ('"tasks":', '"attempts":', '"newly_unblocked":') if mark in shown.all.replace('\\"', '"')]

    def completed_by(self) -> str:
        task = self.architect.get(f"/tasks/{self.task}")["task"]
        return str(task["assigned_to"]) if task["status"] == "completed" else ""

    def ask(self, **more: object) -> int:
        said = self.architect.post("/spawn", {"peer_id": "dora", "working_dir": self.place.project, **more})
        self.assertEqual("pending", said["status"])
        return int(said["escalation_id"])

    def allow(self, escalation: int) -> None:
        self.person().post(f"/escalations/{escalation}/resolve", {"verdict": "approve"})

    def mail(self) -> list[str]:
        return [one["content"] for one in self.architect.post("/inbox/take", {})["messages"]]

    def test_without_a_terminal_it_works_to_the_end_and_goes(self) -> None:
        self.allow(self.ask(way="headless"))
        until(lambda: self.completed_by() == "dora", "dora has done the task", 60)
        until(lambda: any("session 'dora' opened (headless)" in text for text in self.mail()), "the architect hears of it")
        until(lambda: self.person().get("/peer/dora")["status"] == "away", "it goes when nothing is left", 30)
        self.assertEqual(("worker", "here"), tuple(self.person().get("/peer/dora")[name] for name in ("role", "workspace")))
        self.assertEqual([], os.listdir(os.path.join(self.place.broker.state, "tickets")))

    def test_in_tmux_it_has_a_window_beside_who_asked(self) -> None:
        tmux = programs.on_path("tmux", "tmux")
        socket = os.path.join(self.home, "tmp", "arch.tmux")

        def run(*words: str) -> str:
            done = subprocess.run(
                [tmux, "-S", socket, *words], env=self.place.broker.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=20, check=False,
            )  # fmt: skip
            self.assertEqual(0, done.returncode, done.stderr)
            return done.stdout.strip()

        run("-f", "/dev/null", "new-session", "-d", "-x", "180", "-y", "50", "-s", "arch", "sleep 600")
        self.addCleanup(run, "kill-server")
        self.allow(self.ask(tmux=run("display-message", "-p", "#{socket_path},#{pid},#{session_id}").replace("$", "")))
        try:
            until(lambda: self.completed_by() == "dora", "dora has done the task", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{run('capture-pane', '-p', '-t', 'arch:dora')}") from None
        self.assertIn("dora", run("list-windows", "-t", "arch", "-F", "#{window_name}").split("\n"))
        self.assertEqual(["dora"], [peer["id"] for peer in self.architect.get("/peers")["peers"] if peer["id"] != "arch"])


if __name__ == "__main__":
    unittest.main()
