"""Mutants: protections of the product taken away one at a time, as plain data; each must make a test fail.

A mutant is one text of one file replaced by another, and the tests that should notice. `tests/test_mutants.py` holds that each still
fits the code; `tests/nightly/test_mutants.py` runs them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import NamedTuple

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COPIED = ("lattice", "tests", "docs", "broker.py", "mcp_server.py", "install.py", "launch.py", "dashboard.html", "README.md",
          "CONTRIBUTING.md", "LICENSE", "pyproject.toml", ".gitignore")  # fmt: skip


class Mutant(NamedTuple):
    """`old` stands once in `file`. `tests`: selections of the runner, of which one must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _off(name: str, file: str, condition: str, *tests: str, keyword: str = "if") -> Mutant:
    """A check that is never made: its condition is false."""
    return Mutant(name, f"lattice/{file}", f"{keyword} {condition}:", f"{keyword} False:", tests)


def _instead(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, f"lattice/{file}", old, new, tests)


MUTANTS = (
    # -- the gate and the framing of a request
    _off("Host is not looked at", "web/head.py", "host not in self.hosts and host.lower() not in self.hosts", "web.test_gate"),
    _off("a missing Host passes", "web/head.py", "host is None", "web.test_gate"),
    _off("Origin is not looked at", "web/head.py", '"origin" in headers and headers["origin"] not in self.origins', "web.test_gate"),
    _off("Sec-Fetch-Site is not looked at", "web/head.py", 'site is not None and site not in ("same-origin", "none")', "web.test_gate"),
    _off(
        "any content type is taken",
        "web/head.py",
        'head.method == "POST" and not _JSON_TYPE.fullmatch(headers.get("content-type", ""))',
        "web.test_gate",
        "web.test_framing",
    ),
    _off("Transfer-Encoding is ignored", "web/head.py", '"transfer-encoding" in headers', "web.test_framing"),
    _off(
        "Content-Encoding is ignored",
        "web/head.py",
        'headers.get("content-encoding", "identity").lower() != "identity"',
        "web.test_gate",
    ),
    _off("two headers of one name are joined", "web/head.py", "name in _ONCE", "web.test_framing"),
    _instead(
        "a Content-Length with a sign is taken",
        "web/head.py",
        "elif _LENGTH.fullmatch(text):",
        'elif text.strip("+- _").isdigit():',
        "web.test_framing",
    ),
    _off("a body of any size is read", "web/head.py", "length > max_body", "web.test_framing", "web.test_server"),
    _off("a head of any size is read", "web/head.py", "len(raw) > MAX_HEAD_BYTES", "web.test_framing", "web.test_server"),
    _off(
        "what stands behind a body is the next request",
        "web/server.py",
        "link.rest and not heads.begins_a_request(link.rest)",
        "web.test_framing",
    ),
    _off("a stranger's large body is taken in", "web/server.py", "length > LARGE", "web.test_server"),
    _instead(
        "large bodies are read side by side", "web/server.py", "face.large if len(raw) > LARGE else _AT_ONCE", "_AT_ONCE", "web.test_server"
    ),
    _off("nothing overdue is closed", "web/server.py", "link.deadline < now and not link.overdue", "web.test_server"),
    _instead(
        "any number of strangers may connect",
        "web/server.py",
        "or self._unauthenticated >= self.max_unauthenticated",
        "",
        "web.test_server",
    ),
    _off(
        "one peer may have any number of connections", "web/server.py", "self._per_peer.get(who, 0) >= self.max_per_peer", "web.test_server"
    ),
    # -- the body
    _off("nesting is not bounded", "web/body.py", 'raw.count(b"[") + raw.count(b"{") > MAX_DEPTH', "web.test_body"),
    _off("a member may stand twice", "web/body.py", "len(members) != len(pairs)", "web.test_body"),
    _off("half surrogates pass", "web/body.py", 'b"\\\\u" in raw', "web.test_body"),
    _off("integers of any size pass", "web/body.py", "len(text) > 17 or abs(int(text)) > MAX_INTEGER", "web.test_body"),
    # -- who calls, and what they may
    _off(
        "any signature is good",
        "guard/tokens.py",
        'not hmac.compare_digest(_mac(secret, prefix, signed), mac) or not signed.startswith(prefix.encode() + b".")',
        "guard.test_tokens",
    ),
    _instead(
        "tickets and tokens have one key",
        "guard/tokens.py",
        'label = "ticket" if prefix == _TICKET_PREFIX else "token"',
        'label = "token"; prefix = ""',
        "guard.test_tokens",
    ),
    _instead(
        "tokens never expire",
        "guard/tokens.py",
        "    if not expires > now:\n        raise token_expired()",
        "    if False:\n        raise token_expired()",
        "guard.test_tokens",
    ),
    _instead(
        "tickets never expire",
        "guard/tokens.py",
        "    if not expires > now:\n        raise ticket_expired()",
        "    if False:\n        raise ticket_expired()",
        "guard.test_tokens",
    ),
    _off(
        "a ticket opens twice",
        "domain/peers.py",
        'tx.one("SELECT nonce FROM tickets WHERE nonce = ?", (nonce,)) is not None',
        "broker.test_enrolment",
        "threats.test_identity",
    ),
    _off("an old epoch's token is good", "broker/app.py", 'card["epoch"] != token.epoch', "broker.test_enrolment", "broker.test_identity"),
    _instead(
        "who was killed goes on",
        "broker/app.py",
        'if card["status"] == "killed":\n        raise peers.was_killed(token',
        "if False:\n        raise peers.was_killed(token",
        "broker.test_enrolment",
        "broker.test_identity",
        "broker.test_access",
    ),
    _off(
        "roles are not looked at",
        "broker/app.py",
        'not may("ticket" if ticket is not None else caller.role, operation.roles)',
        "broker.test_access",
    ),
    _instead(
        "a pause stops nothing",
        "broker/app.py",
        'and card["paused"]\n',
        "and False\n",
        "broker.test_identity",
        "broker.test_limits",
        "broker.test_access",
    ),
    _instead(
        "stated identity is believed",
        "broker/app.py",
        '            if not caller.is_person:\n                raise Forbidden(\n                    f"{param.name}',
        '            if False:\n                raise Forbidden(\n                    f"{param.name}',
        "broker.test_identity",
        "broker.test_access",
    ),
    _instead(
        "anybody looks into a mailbox",
        "domain/messages.py",
        '    _may_look(tx, caller, peer_id)\n    rows = tx.all(\n        "SELECT m.id, m.sender_id, m.category, m.content, m.created_at',
        '    rows = tx.all(\n        "SELECT m.id, m.sender_id, m.category, m.content, m.created_at',
        "broker.test_access",
        "threats.test_identity",
    ),
    _instead(
        "a resume secret is not asked for",
        "domain/peers.py",
        'return bool(shown) and hmac.compare_digest(_hash(shown).encode(), row["resume_hash"].encode())',
        "return bool(shown)",
        "broker.test_enrolment",
        "stories.test_identity",
    ),
    _off("rates are not kept", "guard/rate.py", "len(times) < self.limit", "guard.test_rate")._replace(new="if True:"),
    _instead("refusals never pause", "domain/peers.py", "AUTO_PAUSE = 20", "AUTO_PAUSE = 20_000", "broker.test_limits"),
    _instead(
        "the filter refuses nothing",
        "broker/app.py",
        "        raise rejected(verdict)",
        "        return call",
        "broker.test_limits",
        "guard.test_content",
        "threats.test_identity",
    ),
    _off(
        "the broker need not prove itself to a session",
        "agent/link.py",
        'not check_proof(self._read_secret(), nonce, client.port, health.get("pid"), health.get("proof"))',
        "agent.test_link",
        "storms.test_squatters",
    ),
    _off(
        "the broker need not prove itself to the command",
        "cli/door.py",
        'not tokens.check_proof(self._secret(), nonce, self.port, answer.get("pid"), answer.get("proof"))',
        "cli",
        "storms.test_squatters",
    ),
    _instead(
        "the broker need not prove itself to a hook",
        "hooks/door.py",
        "return proof == wanted",
        "return True",
        "hooks",
        "storms.test_squatters",
    ),
    _instead(
        "a proof is good for any port",
        "guard/tokens.py",
        'f"{nonce} {port} {pid}".encode(), "sha256").hex()',
        'f"{nonce} {pid}".encode(), "sha256").hex()',
        "guard.test_tokens",
    ),
    _off("a secret that others can read is used", "guard/tokens.py", "found.st_mode & 0o077", "threats.test_identity"),
    # -- what is on disk
    _instead(
        "a failed write is not undone", "store/writer.py", '            connection.execute("ROLLBACK TO one")\n', "", "store.test_writer"
    ),
    _instead(
        "commits are not synced",
        "store/database.py",
        'f"PRAGMA synchronous={synchronous}"',
        '"PRAGMA synchronous=OFF"',
        "store.test_database",
    ),
    _instead(
        "after-effects come before the commit",
        "store/writer.py",
        '        self._commit_began = True\n        self._connection.execute("COMMIT")\n',
        "        self._commit_began = True\n        self._on_commit([effect for write in batch for effect in write.tx.effects])\n"
        '        self._connection.execute("COMMIT")\n',
        "store.test_writer",
    ),
    _off("two brokers have one database", "broker/main.py", "not sole.acquire()", "storms.test_starts", "broker.test_start"),
    _off("a newer database is opened", "store/migrate.py", "version > newest", "store.test_migrate", "broker.test_migration"),
    _instead(
        "a migration and its number are apart",
        "store/migrate.py",
        '        connection.execute(f"PRAGMA user_version={number:d}")\n        connection.execute("COMMIT")',
        '        connection.execute("COMMIT")\n        connection.execute(f"PRAGMA user_version={number:d}")',
        "storms.test_upgrades",
    ),
    _off("a damaged chain verifies", "domain/events.py", "not _is_sound(row, prev)", "domain.test_events"),
    _off("a table that is not as the log says is sound", "domain/soundness.py", "first is not None", "domain.test_soundness"),
    _instead("a connection may change the schema", "store/confined.py", "connection.set_authorizer(judge)", "pass", "threats.test_paths"),
    _instead(
        "a read takes as long as it likes",
        "store/confined.py",
        "connection.set_progress_handler(patience.is_over, STEPS)",
        "pass",
        "store.test_database",
    ),
    _off("who hung up is served, and its repeat refused", "broker/app.py", "self.has_left(call.request)", "broker.test_idempotency"),
    _instead(
        "what is open is forgotten",
        "domain/forgetting.py",
        "_OPEN_TASK = \"('pending', 'in_progress')\"",
        "_OPEN_TASK = \"('pending')\"",
        "domain.test_forgetting",
    ),
    # -- work
    _instead(
        "what waits can be claimed",
        "domain/tasks.py",
        "AND status = 'pending' AND n_open = 0\"\n        \" AND (reserved_for",
        "AND status = 'pending'\"\n        \" AND (reserved_for",
        "domain.test_tasks",
    ),
    _instead(
        "what is held can be claimed",
        "domain/tasks.py",
        "WHERE id = ? AND status = 'pending' AND n_open = 0\"\n        \" AND (reserved_for",
        'WHERE id = ? AND n_open = 0"\n        " AND (reserved_for',
        "domain.test_tasks",
    ),
    _instead("a stale token completes", "domain/tasks.py", 'or token != row["token"] or', "or", "domain.test_tasks"),
    _instead(
        "another's task can be ended",
        "domain/tasks.py",
        'if row["assigned_to"] != caller.id and not caller.is_person:\n        raise Forbidden(\n            f"task not assigned to you: {',
        'if False:\n        raise Forbidden(\n            f"task not assigned to you: {',
        "domain.test_tasks",
    ),
    _instead(
        "tokens do not grow",
        "domain/peers.py",
        "DO UPDATE SET value = value + 1",
        "DO UPDATE SET value = value",
        "domain.test_tasks",
        "domain.test_locks",
    ),
    _off("tasks may wait in a circle", "domain/tasks.py", "needs_id == task_id or _waits_for(tx, needs_id, task_id)", "domain.test_tasks"),
    _instead(
        "no review is needed",
        "domain/tasks.py",
        'if row["needs_review"] and not escalations',
        "if False and not escalations",
        "domain.test_tasks",
        "domain.test_escalations",
    ),
    _instead(
        "what is locked is granted",
        "domain/locks.py",
        "    if against is not None:\n        return _held(against, kind, file_path)\n    first =",
        "    if False:\n        return _held(against, kind, file_path)\n    first =",
        "domain.test_locks",
    ),
    _instead(
        "what is locked may be edited",
        "domain/locks.py",
        "    if against is not None:\n        return _held(against, kind, file_path)\n    lost =",
        "    if False:\n        return _held(against, kind, file_path)\n    lost =",
        "broker.test_hooking",
        "hooks.test_guard",
    ),
    _off(
        "a late edit passes",
        "domain/locks.py",
        "lost is not None and not covered(tx, caller.id, kind, file_path)",
        "broker.test_hooking",
        "domain.test_locks",
        "hooks.test_guard",
    ),
    _off("a stale token unlocks", "domain/locks.py", 'token == row["token"] and row["state"] == "held"', "domain.test_locks")._replace(
        new="if True:"
    ),
    _off("an old version overwrites", "domain/memory.py", "expect_version is not None and expect_version != version", "domain.test_memory"),
    _instead(
        "a departed owner keeps its tasks",
        "domain/departures.py",
        "tasks.let_go(tx, caller, peer_id, reason)",
        "[]",
        "domain.test_departures",
    ),
    _off("who slept is given up", "broker/sweep.py", "now - self._last > TICK_S + LATE_S", "broker.test_sweep"),
    _instead(
        "one job ends the sweep",
        "broker/sweep.py",
        "except Exception as fault:  # one that fails must not",
        "except ZeroDivisionError as fault:  #",
        "broker.test_sweep",
    ),
    # -- mail
    _instead(
        "mail is read when it is taken",
        "domain/messages.py",
        "\"UPDATE deliveries SET state = 'offered', way = ?, process = ?, offered_at = ? WHERE recipient = ? AND message_id = ?\"",
        "\"UPDATE deliveries SET state = 'read', way = ?, process = ?, offered_at = ? WHERE recipient = ? AND message_id = ?\"",
        "domain.test_messages",
    ),
    _instead("an offer is proven at once", "agent/mail.py", "PROOF_AFTER_S = 0.2", "PROOF_AFTER_S = 0.0", "agent.test_mail"),
    _instead("an offer never dies", "domain/messages.py", "MAX_TRIES = 5", "MAX_TRIES = 5_000", "domain.test_messages"),
    _off("a chain has no end", "domain/chains.py", "len(chain) >= MAX_HOPS", "domain.test_chains"),
    _off("a circle of talk has no end", "domain/chains.py", "period", "domain.test_chains"),
    _off("a text may be repeated for ever", "domain/chains.py", "_is_repeated(tx, caller, recipients, text_gist)", "domain.test_chains"),
    _instead(
        "the boundary of a frame is the same for all",
        "agent/mail.py",
        "boundary = names.new_key()[:16]",
        'boundary = "0123456789abcdef"',
        "threats.test_worm",
    ),
    _instead(
        "a body may close its frame",
        "contract/framing.py",
        'body = re.sub(_FRAME_WORD, r"\\\\[", visible(text))',
        "body = visible(text)",
        "contract.test_framing",
    ),
    _instead(
        "a terminal obeys",
        "contract/framing.py",
        "plain = re.sub(_CONTROLS, lambda",
        "plain = re.sub(r'(?!)', lambda",
        "contract.test_framing",
    ),
    _instead(
        "copies spread",
        "domain/strains.py",
        "why = _why_hold(tx, caller, root, to) if to else None",
        "why = None",
        "domain.test_strains",
        "threats.test_worm",
    ),
    # -- beside the session
    _instead(
        "a server outlives its client",
        "agent/main.py",
        "return os.getppid() != self.client_pid",
        "return False",
        "storms.test_orphans",
        "agent",
    ),
    _off(
        "a spawn is not asked about",
        "broker/spawning.py",
        'not (caller.is_person or broker.settings.spawn == "allow")',
        "broker.test_spawning",
    ),
)


def apply(mutant: Mutant, top: str) -> str:
    """The mutated text of the file below `top`. ValueError where the mutant no longer fits, or is no Python."""
    with open(os.path.join(top, mutant.file), encoding="utf-8") as file:
        text = file.read()
    if text.count(mutant.old) != 1:
        raise ValueError(f"'{mutant.name}' does not fit {mutant.file}: its text stands there {text.count(mutant.old)} times")
    mutated = text.replace(mutant.old, mutant.new)
    compile(mutated, mutant.file, "exec")
    return mutated


def run(mutant: Mutant | None, folder: str, selection: tuple[str, ...], seed: int) -> subprocess.CompletedProcess[str]:
    """The tests of this selection over a copy of the tree in `folder`, with the mutant in it (None: as it is)."""
    os.mkdir(folder)
    for name in COPIED:
        source, target = os.path.join(TOP, name), os.path.join(folder, name)
        if os.path.isdir(source):
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    if mutant is not None:
        mutated = apply(mutant, folder)
        with open(os.path.join(folder, mutant.file), "w", encoding="utf-8") as file:
            file.write(mutated)
    # Not in the scratch folder of the run that this is part of, which no other user can enter: some tests are another user.
    environ = {name: value for name, value in os.environ.items() if name not in ("TMPDIR", "TMP", "TEMP")}
    return subprocess.run(
        [sys.executable, "-m", "tests", *selection, "-j", "1", "--replay", str(seed)], cwd=folder, stdin=subprocess.DEVNULL, env=environ,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
