"""The demo's crew: an architect and workers, each on a thread, each with a real MCP server of its own.

They know the plan, and nothing else of each other but what their tools say: no thread here tells another anything
past the broker. What a member does is said to the `Stage`; whatever goes wrong ends the show and is told there.
A worker takes what `list_tasks` calls claimable, whoever gets it first, so each run is cast anew.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lattice.cli.mcp_client import Gone, McpClient, ToolFailed

RUN = "library"
PARTS = 2  # of each task's work, with the middle between them
LOOK_S = 0.3  # between two looks at a list or a mailbox
GATHER_S = 20.0


class Job(NamedTuple):
    """A task of the plan. Its work goes into `file`, by default one that is named after it."""

    word: str
    title: str
    after: tuple[str, ...] = ()
    file: str = ""
    decides: str = ""  # a decision that its worker leaves in memory
    asks: str = ""  # what its worker cannot go on without
    is_reviewed: bool = False
    is_fatal: bool = False  # who takes it first is killed half-way

    @property
    def path(self) -> str:
        return self.file or f"{self.word}.md"

    @property
    def line(self) -> str:
        """What a part of it begins with, in the file."""
        return f"{self.word}, part "


PLAN = (
    Job("model", "data model of the library", decides="ids are whole numbers, never reused"),
    Job("wording", "names of things", decides="a member borrows a copy, not a book"),
    Job("import", "import of the old card index", ("model",), is_fatal=True),
    Job("api", "interface for loans", ("wording",), asks="Due dates: local time or UTC?"),
    Job("search", "search by title", ("model",)),
    Job("page", "page for members", ("api",)),
    Job("loans", "rules for loans", ("api",), is_reviewed=True),
    Job("reminders", "reminders for late copies", ("api",), file="loans.md"),
    Job("guide", "guide for the desk", ("page",)),
    Job("release", "release notes", ("import", "search", "loans", "reminders", "guide")),
)
BY_TITLE = {job.title: job for job in PLAN}
ANSWER = "UTC; the page shows local time."


class Stage:
    """Where the crew plays: the terminal, the folder they work in, and the end.

    Shared by all threads; `_lock` guards the terminal and `faults`.
    """

    def __init__(self, folder: str, pace_s: float, print_line: Callable[[str], None]) -> None:
        self.folder = folder
        self.pace_s = pace_s
        self.begun = time.monotonic()
        self.is_over = threading.Event()
        self.is_done = threading.Event()  # the architect has seen every task completed
        self.faults: list[str] = []
        self.victim = ""
        self.victim_task = 0
        self.killed_at = 0.0
        self.heir = ""
        self._print = print_line
        self._lock = threading.Lock()

    def say(self, who: str, what: str) -> None:
        with self._lock:
            self._print(f"{time.monotonic() - self.begun:5.1f} s  {who:<6} {what}")

    def failed(self, who: str, problem: Exception) -> None:
        kind = "" if isinstance(problem, (Gone, ToolFailed)) else f"{type(problem).__name__}: "
        with self._lock:
            self.faults.append(f"{who}: {kind}{problem}")
        self.is_over.set()

    def rest(self, seconds: float) -> None:
        """Wait, or less when it is over; then the caller's thread ends by `Over`."""
        if self.is_over.wait(seconds):
            raise Over


class Over(Exception):
    """The show is over: whoever hears it goes home."""


class Member:
    """One of the crew. `play` runs on a thread of its own, from the handshake to the end."""

    line = ""

    def __init__(self, name: str, client: McpClient, stage: Stage) -> None:
        self.name = name
        self.client = client
        self.stage = stage

    def play(self) -> None:
        try:
            tools = self.client.initialize()
            self.client.call("set_summary", summary=self.line)
            self.say(f"is here: process {self.client.pid}, {len(tools)} tools")
            self.part()
        except Over:
            pass  # it ended as it should
        except Exception as problem:  # the thread's door: the show ends, and says why
            if not self.stage.is_over.is_set():
                self.stage.failed(self.name, problem)

    def part(self) -> None:
        raise NotImplementedError

    def say(self, what: str) -> None:
        self.stage.say(self.name, what)

    def mail(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.call("check_messages")["messages"]
        return found

    def tasks(self, **which: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.call("list_tasks", **which)["tasks"]
        return found


class Architect(Member):
    line = "leads: plans, answers, reviews"

    def __init__(self, name: str, client: McpClient, stage: Stage, workers: int) -> None:
        super().__init__(name, client, stage)
        self._workers = workers

    def part(self) -> None:
        self._gather()
        self.client.call("set_memory", key="goal", value="a lending library, simple enough for two at the desk", type="decision")
        self.say("remembers the decision `goal` for all")
        numbers = {job.word: index + 1 for index, job in enumerate(PLAN)}
        made = self.client.call("create_task", run_id=RUN, tasks=[
            {"title": job.title, "blocked_by": [-numbers[word] for word in job.after], "needs_review": job.is_reviewed,
             "priority": "high" if job.is_fatal else "medium"}
            for job in PLAN
        ])["task_ids"]  # fmt: skip
        self.say(f"creates {len(made)} tasks at once (#{made[0]} to #{made[-1]}), in the run `{RUN}`; a task waits for those it needs")
        self.client.call("broadcast", category="status_update", content="The plan is there: take what is claimable.")
        self.say("tells everyone")
        while True:
            for letter in self.mail():
                self._answer(letter)
            if all(task["status"] == "completed" for task in self.tasks()):
                self.say("sees every task completed")
                self.stage.is_done.set()
                return
            self.stage.rest(LOOK_S)

    def _gather(self) -> None:
        give_up = time.monotonic() + GATHER_S
        while len(here := self.client.call("list_peers")["peers"]) < self._workers:
            if time.monotonic() > give_up:
                raise Gone(f"only {len(here)} of {self._workers} workers came within {GATHER_S:g} s")
            self.stage.rest(LOOK_S / 3)
        self.say(f"sees {', '.join(sorted(peer['id'] for peer in here))}")

    def _answer(self, letter: dict[str, Any]) -> None:
        sender = letter["from"]
        if letter["category"] == "blocker":
            self._reply(letter, ANSWER, "answer")
            self.client.call("set_memory", key="dates", value=ANSWER, type="decision")
            self.say(f"answers {sender}: {ANSWER} It is remembered as `dates`")
        elif letter["category"] == "review_request":
            self._reply(letter, "Read it; good.", "approve")
            self.say(f"approves the work of {sender}")
        elif letter["category"] == "alert":
            self.say(f"hears from the broker: {letter['content']}")

    def _reply(self, letter: dict[str, Any], content: str, verdict: str) -> None:
        self.stage.rest(self.stage.pace_s)
        self.client.call(
            "send_message", recipient_id=letter["from"], category="finding", content=content, reply_to=letter["id"], verdict=verdict
        )


class Worker(Member):
    line = "works on what is claimable"

    def part(self) -> None:
        while True:
            if not self._take_one():
                self.stage.rest(LOOK_S)

    def _take_one(self) -> bool:
        for task in self.tasks(status="pending"):
            if not task["claimable"]:
                continue
            try:
                claim = self.client.call("claim_task", task_id=task["id"])
            except ToolFailed as refusal:
                if refusal.code != "conflict":
                    raise
                continue  # another was faster
            self._work(BY_TITLE[task["title"]], task["id"], claim["attempts"])
            return True
        return False

    def _work(self, job: Job, task_id: int, attempt: int) -> None:
        self.say(f"claims #{task_id}, {job.title}")
        if attempt > 1:
            self._take_over(job, task_id)
        self._lock(job.path)
        done = self._parts_there(job)
        if done:
            self.say(f"finds that in {job.path}, and goes on with part {done + 1}")
        for part in range(done + 1, PARTS + 1):
            self.stage.rest(self.stage.pace_s)
            self._write(job, part)
            if part == 1 and self._middle(job, task_id, attempt):
                self._fall(task_id, job)
        self.stage.rest(self.stage.pace_s)
        self.client.call("unlock_file", file_path=job.path)
        if job.is_reviewed:
            self._ask("request_review", task_id=task_id, summary=f"{job.title}: both parts are in {job.path}")
        said = self.client.call("complete_task", task_id=task_id, artifacts={
            "summary": f"{job.title}: done", "files_touched": [job.path]})  # fmt: skip
        freed = ", ".join(f"#{one['id']}" for one in said["newly_unblocked"])
        self.say(f"completes #{task_id}" + (f"; that unblocks {freed}" if freed else ""))

    def _middle(self, job: Job, task_id: int, attempt: int) -> bool:
        """What comes up half-way. Whether it is the end of this worker."""
        if job.decides:
            self.client.call("set_memory", key=job.word, value=job.decides, type="decision")
            self.say(f"remembers the decision `{job.word}`: {job.decides}")
        if job.asks:
            self._ask("raise_blocker", description=job.asks, task_id=task_id)
        return job.is_fatal and attempt == 1

    def _ask(self, tool: str, **arguments: Any) -> None:
        """Ask for help or a review, and wait for the verdict."""
        self.client.call(tool, **arguments)
        if tool == "raise_blocker":
            self.say(f"is stuck in #{arguments['task_id']} and raises a blocker: {arguments['description']}")
        else:
            self.say(f"asks for a review of #{arguments['task_id']}")
        while True:
            for letter in self.mail():
                if letter.get("reply_to"):
                    self.say(f"reads the answer of {letter['from']}")
                    return
            self.stage.rest(LOOK_S)

    def _fall(self, task_id: int, job: Job) -> None:
        stage = self.stage
        self.client.call("set_memory", key=job.word, value=f"part 1 of {PARTS} is in {job.path}", type="fact")
        stage.victim, stage.victim_task, stage.killed_at = self.name, task_id, time.monotonic()
        self.client.kill()
        self.say(f"is killed half-way through #{task_id}: process {self.client.pid} is gone, with the task and {job.path} in its hands")
        raise Over

    def _take_over(self, job: Job, task_id: int) -> None:
        self.stage.heir = self.name
        note = self.client.call("get_task", task_id=task_id)["task"]["note"]
        left = self.client.call("get_memory", key=job.word)
        self.say(f"takes #{task_id} over ({note}); memory says, from {left['peer_id']}: {left['value']}")

    def _lock(self, path: str) -> None:
        was_told = False
        while True:
            try:
                self.client.call("lock_file", file_path=path)
            except ToolFailed as refusal:
                if refusal.code not in ("locked", "lock_closed"):
                    raise
                if not was_told:
                    self.say(f"waits for {path}: {refusal}")
                    was_told = True
                self.stage.rest(LOOK_S)
                continue
            self.say(f"locks {path}")
            return

    def _write(self, job: Job, part: int) -> None:
        with open(os.path.join(self.stage.folder, job.path), "a", encoding="utf-8") as file:
            file.write(f"{job.line}{part} of {PARTS}, by {self.name}\n")

    def _parts_there(self, job: Job) -> int:
        return sum(1 for line in written(self.stage.folder, job.path) if line.startswith(job.line))


def written(folder: str, path: str) -> Iterator[str]:
    """The lines of a file of the project; none where it is not there."""
    try:
        with open(os.path.join(folder, path), encoding="utf-8") as file:
            yield from file.read().splitlines()
    except FileNotFoundError:
        return
