"""The events of a coding client, and what we do at each.

    SessionStart       the capsule: what the session must know to go on
    UserPromptSubmit   mail; and from now on what it sends is the person's doing, not an answer to mail (but see `prompt`)
    PreToolUse         may this file be changed, this command be run (guard)
    PostToolUse        mail; proof that a call's result was taken; what a command changed after all (after)
    Stop               urgent mail keeps a finishing session going, once; locks of the turn are given back
    PreCompact         proof only: the capsule comes with the SessionStart that follows
    SessionEnd         its traces go
    PermissionRequest  the person is asked, where that is wanted
    Wake               waits for mail and wakes the idle session (wake)

A hook never stands in the way: it ends within its time-out, with status 0 (Wake: 2 to wake), and writes nothing to
stdout but one JSON object. Without a broker the work goes on, and the person is told so once in the session.
Mail that was handed to a hook which was ended before it could say it is handed in by the next one, with the same id.
"""

from __future__ import annotations

import os
import sys
import time

from lattice import settings as settings_of
from lattice.errors import Refusal
from lattice.hooks import compact_json, session, traces
from lattice.hooks.door import Door, read_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

CALLS_S = 1.0  # all that a hook asks the broker, together
ENROLS_WITHIN_S = 1.5  # an MCP server is a peer 300 ms after its client listed the tools
OF_ONE_PROMPT = 5  # messages handed in at once
OF_ONE_TOOL = 3
OF_ONE_STOP = 5
MAX_CHARS = 9_500  # of one hook's word to the model: Claude Code puts more than 10,000 into a file and shows its beginning
MAX_INPUT_BYTES = 64 * 1024 * 1024
# The notice of the session's own server comes as a prompt too, as does the client's own that a task in the background has
# ended: no word of the person's.
_NOTICE = r"c2-lattice: [^\n]*\[notice \d+\]\s*\Z|<task-notification>"
_WAY_FAILED = ("unreachable", "unknown_outcome", "foreign_program")


class Hook:
    """One run: what the client said, who the session is, the way to the broker."""

    def __init__(self, event: str, said: dict[str, Any], environ: Mapping[str, str]) -> None:
        self.event = event
        self.said = said
        self.environ = environ
        self.settings: Any = settings_of.read(dict(environ))
        self.client = session.client_pid(environ)
        self.traces = traces.Traces(self.settings.home, self.client)
        self.began = time.time()
        self.until = time.monotonic() + CALLS_S
        self.later: list[Callable[[], object]] = []  # once our word is out
        self._door: Door | None = None
        self._session: session.Session | None = None

    @property
    def session(self) -> session.Session | None:
        if self._session is None:
            self._session = session.find(self.settings.home, self.client)
        return self._session

    @property
    def cwd(self) -> str:
        cwd = self.text("cwd")
        return cwd if os.path.isabs(cwd) else os.getcwd()

    def text(self, name: str) -> str:
        value = self.said.get(name)
        return value if isinstance(value, str) else ""

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Ask the broker as the session's peer. Refusal; where nobody is it, that is one too."""
        here = self.session
        if here is None:
            raise Refusal("this session has no peer", code="no_session")
        if self._door is None:
            self._door = Door(here.port, here.token, read_secret(self.settings.home, self.settings.secret), self.until)
        self._door.until = self.until
        return self._door.call(method, path, body)

    def close(self) -> None:
        if self._door is not None:
            self._door.close()

    def forget(self) -> None:
        """The broker, or who we are to it, may have changed: look anew."""
        self.close()
        self._door = self._session = None

    def to_model(self, text: str) -> dict[str, object]:
        return {"hookSpecificOutput": {"hookEventName": self.said.get("hook_event_name") or self.event, "additionalContext": text}}


def main(arguments: list[str]) -> int:
    """The status for the client: 0, or 2 from Wake when there is mail."""
    event = arguments[0] if arguments else ""
    environ = dict(os.environ)
    try:
        return _run(event, environ)
    except Exception as error:  # a hook's door: whatever is wrong with us, the session's work goes on
        _failed(event, environ, error)
        return 0


def _run(event: str, environ: Mapping[str, str]) -> int:
    said = compact_json.loads(_input() or "{}")
    hook = Hook(event, said if isinstance(said, dict) else {}, environ)
    if event == "Wake":
        from lattice.hooks import wake

        return wake.run(hook)
    work = EVENTS.get(event)
    if work is None:
        return 0
    try:
        answer = work(hook)
    except Refusal as refusal:
        answer = _without_broker(hook, refusal)
    if answer:
        say(answer)
    for done in hook.later:
        done()
    hook.close()
    return 0


def say(answer: dict[str, object]) -> None:
    """The one JSON object, whole, before anything that depends on its having been said."""
    data = (compact_json.dumps(answer) + "\n").encode("ascii")
    while data:
        data = data[os.write(1, data) :]


def _failed(event: str, environ: Mapping[str, str], error: Exception) -> None:
    from lattice.agent import log

    home = environ.get("C2_LATTICE_HOME") or os.path.expanduser("~/.c2-lattice")
    log.write(home, f"hook {event}", error)
    if traces.Traces(home, session.client_pid(environ)).once("failed"):
        more = os.path.join(home, "session.log")
        say({"systemMessage": f"c2-lattice: a hook failed ({error}); work goes on. {more} says more. (Said once.)"})


def _input() -> str:
    """What the client says on stdin: JSON, and nothing from a person's terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    return sys.stdin.buffer.read(MAX_INPUT_BYTES).decode("utf-8", "replace")


def _without_broker(hook: Hook, refusal: Refusal) -> dict[str, object]:
    """The work goes on. Why locks are not looked at is said to the person, once; not where the session never was a peer."""
    if refusal.code == "no_session" or not hook.traces.once("without"):
        return {}
    what = refusal.message.rstrip(".")
    return {"systemMessage": f"c2-lattice: {what}. Work goes on; others' locks are not looked at and mail waits. (Said once.)"}


# -- the events -------------------------------------------------------------------------------------


def session_start(hook: Hook) -> dict[str, object]:
    if hook.text("source") in ("startup", ""):
        hook.traces.begin()
    give_up = time.monotonic() + ENROLS_WITHIN_S
    while (hook.session is None or not hook.session.runs) and time.monotonic() < give_up:
        hook.forget()
        time.sleep(0.05)
    if hook.session is None or not hook.session.runs:
        return hook.to_model("c2-lattice: you have no peer id yet; it comes with your first call of a c2-lattice tool.")
    hook.until = time.monotonic() + CALLS_S
    answer = ask(hook, 0, source=hook.text("source")[:40])
    capsule = answer.get("capsule") or hook.call("GET", "/capsule").get("capsule")
    return hook.to_model("\n\n".join(part for part in (str(capsule or ""), mail(hook, answer)) if part))


def prompt(hook: Hook) -> dict[str, object]:
    import re  # here: an edit does without

    is_notice = re.match(_NOTICE, hook.text("prompt")) is not None
    text = mail(hook, ask(hook, OF_ONE_PROMPT, **({"source": "notice"} if is_notice else {})))
    return hook.to_model(text) if text else {}


def before_tool(hook: Hook) -> dict[str, object]:
    from lattice.hooks import guard

    try:
        return guard.bash(hook) if hook.text("tool_name") == "Bash" else guard.edit(hook)
    except Refusal as refusal:
        if refusal.code == "killed" or refusal.details.get("taken_over"):
            return guard.deny_who_was_replaced(hook, refusal)
        raise


def after_tool(hook: Hook) -> dict[str, object]:
    if hook.text("tool_name") == "Bash":
        from lattice.hooks import after

        after.compare(hook)
    took_mail = hook.text("tool_name").endswith("c2-lattice__check_messages")
    text = mail(hook, ask(hook, 0 if took_mail else OF_ONE_TOOL, tool_use_id=hook.text("tool_use_id")[:200]))
    return hook.to_model(text) if text else {}


def stop(hook: Hook) -> dict[str, object]:
    """Blocked once in a row: a session that was already kept going may finish."""
    is_kept_going = hook.said.get("stop_hook_active") is True
    text = mail(hook, ask(hook, 0 if is_kept_going else OF_ONE_STOP, urgent_only=True))
    return {"decision": "block", "reason": text} if text else {}


def pre_compact(hook: Hook) -> dict[str, object]:
    ask(hook, 0)
    return {}


def session_end(hook: Hook) -> dict[str, object]:
    try:
        ask(hook, 0)
    except Refusal:
        pass  # nobody is left to be told
    hook.traces.clear()
    return {}


def permission(hook: Hook) -> dict[str, object]:
    wait_s = min(hook.settings.permissions, 600)
    if not wait_s:
        return {}
    asked = hook.said.get("tool_input")
    wanted = asked if isinstance(asked, dict) else {}
    named = [value for name in ("command", "file_path", "url") if isinstance(value := wanted.get(name), str) and value]
    text = named[0] if named else compact_json.dumps(wanted)
    if len(text) > 4000:
        text = f"{text[:4000]}… ({len(text) - 4000} characters more)"
    hook.until = time.monotonic() + wait_s + CALLS_S
    answer = hook.call("POST", "/permission", {"tool": hook.text("tool_name")[:200] or "?", "text": text or "?", "wait_s": wait_s})
    decision: dict[str, object] = {"behavior": answer.get("decided")}
    if decision["behavior"] not in ("allow", "deny"):
        return {}  # nobody answered in time: the client asks its own user
    if decision["behavior"] == "deny":
        decision["message"] = f"{answer.get('by') or 'the person'} said no" + (f": {answer['answer']}" if answer.get("answer") else "")
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}


EVENTS: dict[str, Callable[[Hook], dict[str, object]]] = {
    "SessionStart": session_start,
    "UserPromptSubmit": prompt,
    "PreToolUse": before_tool,
    "PostToolUse": after_tool,
    "Stop": stop,
    "PreCompact": pre_compact,
    "SessionEnd": session_end,
    "PermissionRequest": permission,
}


# -- mail -------------------------------------------------------------------------------------------


def ask(hook: Hook, max: int, **said: object) -> dict[str, Any]:
    """Tell the broker that this hook ran, and take up to `max` messages. Refusal.

    Until they are said, the call stands in the traces with its key. A call that an ended hook left there is made again
    instead: it answers the same mail, and this hook says it. That this hook ran is then told afterwards, since it
    proves that what was handed in before was seen. Beside a hook that says mail just now (tools run side by side) it
    would prove what nobody has seen yet: then nothing is asked, and the next hook does.
    """
    if hook.event == "PostToolUse" and hook.traces.is_beside_another(hook.began):
        return {}
    body: dict[str, object] = {"event": hook.event, "session": hook.text("session_id")[:100], "max": max}
    body |= {"idempotency_key": os.urandom(16).hex(), "began_ms": int(hook.began * 1000), **said}
    left = hook.traces.abandoned()
    if left is not None:
        path, unsaid = left
        answer = _call_standing(hook, path, unsaid, answers_refusal=True)
        if answer.get("messages"):
            hook.later.append(lambda: _quietly(hook, "/hook", {**body, "max": 0}))
            return answer
    path = hook.traces.keep("call", str(os.getpid()), body) if max else ""
    return _call_standing(hook, path, body)


def _call_standing(hook: Hook, path: str, body: dict[str, object], *, answers_refusal: bool = False) -> dict[str, Any]:
    """The call, which stands in the traces at `path` for as long as its outcome is unknown or unsaid."""
    try:
        answer = hook.call("POST", "/hook", body)
    except Refusal as refusal:
        if refusal.code == "unknown_outcome":
            raise
        traces.remove(path)
        if answers_refusal and refusal.code not in _WAY_FAILED:
            return {}
        raise
    if answer.get("messages"):
        hook.later.append(lambda: hook.traces.handed(path))
    elif path:
        traces.remove(path)
    return answer


def mail(hook: Hook, answer: dict[str, Any]) -> str:
    """The messages as the model reads them, whole; those that are too much for one hook are given back. "" for none."""
    messages = answer.get("messages") or []
    if not messages:
        return ""
    from lattice.agent.mail import shape

    frames: list[str] = []
    for message in messages:
        framed = str(shape({"messages": [message]})["framed"])
        if frames and sum(map(len, frames)) + len(framed) > MAX_CHARS - 300:
            break
        frames.append(framed)
    back = [str(message["receipt"]) for message in messages[len(frames) :]]
    if back:
        hook.later.append(lambda: _quietly(hook, "/inbox/return", {"receipts": back, "reason": "more than one hook may say"}))
    more = int(answer.get("more") or 0) + len(back)
    head = f"c2-lattice: {len(frames)} message{'s' if len(frames) > 1 else ''} for you"
    head += f", {more} more: check_messages." if more else "."
    long = " Should you see only a part of it, read the rest from the file that is named." if len(frames[0]) > MAX_CHARS else ""
    can_answer = any(message.get("from") != "broker" for message in messages[: len(frames)])
    return "\n\n".join([f"{head}{long}" + (" To answer: send_message with reply_to." if can_answer else ""), *frames])


def _quietly(hook: Hook, path: str, body: dict[str, object]) -> None:
    """What the session need not wait for nor hear of."""
    try:
        hook.call("POST", path, body)
    except Refusal:
        pass  # what is not told now is proven by the next hook, or comes back when the process ends
