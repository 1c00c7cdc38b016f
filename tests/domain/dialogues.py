"""Honest dialogues of sessions that work together, with what they do besides talking. Nothing in them may be held back.

One line is one deed, in order:

    ann > bob finding: text        a message; it answers the newest one that ann has from bob, where there is one
    ann >> bob finding: text       a message about something new
    ann > bob ack: text            an acknowledgement without content: it folds into the receipt
    ann task T / claim T / complete T / release T        ann lock F / unlock F        ann remember K = V
    ann blocker text / review T: text                    arch resolve verdict: text   (the newest open one)
    person > ann status_update: text                     ann prompt (a human has typed something into ann's session)
    + text                                               the line before goes on
"""

from __future__ import annotations

import re

TALKS: dict[str, str] = {
    "a review with two rounds of changes": """
        arch task Parser
        ann claim Parser
        ann lock parser.py
        ann >> arch finding: The parser is ready in branch ann/parser; 14 tests, green. Look at two decisions: recursion depth, error texts.
        arch > ann finding: Depth: 512 is too deep for the default stack, take 200. Error texts: name the line and the column.
        ann > arch question: Column in characters or in bytes? The tokenizer counts bytes.
        arch > ann finding: Characters. Convert at the edge, in Error.__str__, so the tokenizer stays as it is.
        ann review Parser: depth is 200 now, errors name line and column in characters
        arch resolve changes: the test for a tab in the line is missing
        ann > arch question: Does a tab count as one character, or up to the next stop?
        arch > ann finding: One character. Editors disagree about stops.
        ann review Parser: the tab test is there; one character
        arch resolve approve: good
        ann complete Parser
        ann > arch ack: Thanks!
    """,
    "a hand-off in the middle of the work": """
        ann task Retry policy
        ann claim Retry policy
        ann lock retry.py
        ann >> bob status_update: I have to stop here. Branch ann/retry; backoff works, jitter does not: test_jitter fails one time in five.
        bob > ann question: Is the seed fixed in the test, or taken from the clock?
        ann > bob finding: From the clock, that is the fault I suspect. Look at tests/test_retry.py line 40.
        ann release Retry policy
        ann unlock retry.py
        bob claim Retry policy
        bob lock retry.py
        bob > ann finding: It was the seed. With a fixed one the jitter test shows that full jitter may be 0, which the policy forbids.
        ann > bob finding: Then clamp at 10 ms; that is what the old client did.
        bob complete Retry policy
        bob > ann status_update: Done: clamped at 10 ms, test_jitter ran 500 times.
        ann > bob ack: Great, thank you!
    """,
    "two who pair on a slow query": """
        ann task Slow query
        ann claim Slow query
        ann >> bob question: The list of orders takes 4 s for big customers. Can you read an EXPLAIN with me?
        bob > ann finding: Send it. Is there an index on (customer_id, created_at)?
        ann > bob finding: Only on customer_id. The plan sorts 90,000 rows in a temporary tree.
        bob > ann finding: Then the sort is the 4 s. Try the compound index on a copy first.
        ann remember orders.index = (customer_id, created_at desc), measured on a copy: 4.1 s to 30 ms
        ann > bob finding: 30 ms on the copy. The index costs 40 MB.
        bob > ann question: And writes? Orders come in at 200 a second at peak.
        ann > bob finding: 3 % slower inserts, measured with the replay of Monday.
        bob > ann finding: Worth it. Add it concurrently, and drop the old one only a day later.
        ann lock migrations/0044.sql
        ann complete Slow query
        ann > bob status_update: Migration 0044 adds it concurrently; dropping the old one is task 45.
        bob > ann ack: Perfect, thanks.
    """,
    "a question that needs five answers": """
        ann task Login
        ann claim Login
        ann >> arch question: Which hash do we use for passwords?
        arch > ann finding: argon2id, memory 64 MiB, three passes.
        ann > arch question: The CI runners have 128 MiB. Smaller there?
        arch > ann finding: Yes: 8 MiB when TESTING is set, and refuse to start with that elsewhere.
        ann remember login.hash = argon2id 64 MiB t=3; 8 MiB only with TESTING
        ann > arch question: Old bcrypt hashes: rehash at login, or force a reset?
        arch > ann finding: Rehash at login, and count how many are left.
        ann > arch question: Where does the count go, metrics or the log?
        arch > ann finding: Metrics: login_old_hashes as a gauge.
        ann lock login.py
        ann complete Login
    """,
    "a yes that is an answer": """
        arch >> ann question: Is the staging database free tonight?
        ann > arch status_update: Yes.
        arch task Load test
        arch > ann status_update: Then the load test runs from 22:00 on. I would drop the old snapshots before, ok?
        ann > arch status_update: ok
        ann claim Load test
        ann complete Load test
        ann > arch finding: 1,400 requests a second at p95 90 ms, without errors.
        arch > ann ack: Noted, thanks.
    """,
    "agreeing to a proposal": """
        ann >> bob finding: I propose UTC in every table and local time only in the page.
        bob > ann status_update: Agreed.
        ann remember time.zone = UTC in tables, local time in the page
        bob >> ann finding: The report service still writes local time; I take that.
        ann > bob status_update: Sounds good.
        bob task Report times
        bob claim Report times
        bob complete Report times
        bob > ann status_update: Done.
        ann > bob ack: Thank you!
    """,
    "two edits of one file, settled": """
        ann lock api/routes.py
        bob >> ann question: I need routes.py for the health route, one line. How long do you hold it?
        ann > bob finding: Twenty minutes, I am moving the v1 routes. Can you wait, or shall I add your line?
        bob > ann finding: Add it, please: GET /healthz -> health.alive, no authentication.
        ann > bob finding: It is in at line 31. alive takes no arguments in my version; is that right?
        bob > ann finding: Right. It reads the module's own counter.
        ann unlock api/routes.py
        ann > bob status_update: Released; v1 is under api/v1/ now.
        bob lock api/routes.py
        bob unlock api/routes.py
        bob > ann ack: Got it, thanks!
    """,
    "a bug that wanders between three": """
        ann task Lost events
        ann claim Lost events
        ann >> bob finding: Events get lost between the queue and the sink, about 1 in 10,000. Your sink acknowledges before it writes?
        bob > ann finding: After the write, but before fsync. Would a lost fsync show as this?
        ann > bob finding: Only at a crash, and there was none. I look at the queue's batching.
        ann >> cid question: When the queue is stopped, what becomes of a half batch?
        cid > ann finding: It is flushed in close(). But close() is not called on SIGTERM, only at a clean end.
        ann remember queue.close = not called on SIGTERM: half batches are lost
        ann > cid question: Can you call it from the signal handler, or is it not safe there?
        cid > ann finding: Not safe. I set a flag and the loop closes at its next turn, within 100 ms.
        cid task Close on SIGTERM
        cid claim Close on SIGTERM
        cid complete Close on SIGTERM
        cid > ann status_update: Fixed in 3f9a2c1, with a test that sends SIGTERM at 50 random points.
        ann complete Lost events
        ann >> bob status_update: It was the queue at SIGTERM, not your sink.
        bob > ann ack: Understood, thanks for letting me know.
    """,
    "a release with a check list": """
        arch task Release 2.4
        arch claim Release 2.4
        arch >> ann question: Change log for 2.4: is everything of yours in it?
        ann > arch finding: The retry policy is missing. I add it now.
        ann lock CHANGELOG.md
        ann unlock CHANGELOG.md
        ann > arch status_update: It is in, under Fixed.
        arch >> bob question: Does 2.4 need a migration?
        bob > arch finding: Yes, 0044. It runs online and takes about two minutes.
        arch > bob question: Can it be taken back?
        bob > arch finding: Yes, 0044_down drops the index; nothing reads it by name.
        arch remember release.2.4 = tag v2.4.0 at 9c1d; migration 0044 first
        arch complete Release 2.4
        arch > bob status_update: Released. Watch the write latency for an hour, please.
        bob > arch status_update: p99 of writes is 11 ms, before it was 10.
        arch > bob ack: Excellent, thank you!
    """,
    "stuck, asked, and going on": """
        ann task Import
        ann claim Import
        ann blocker The sample file has two encodings in one column; which one wins?
        arch resolve answer: UTF-8, and count what had to be replaced
        ann > arch question: Replaced signs: a warning for each, or one at the end?
        arch > ann finding: One at the end, with the first three places.
        ann complete Import
        ann > arch status_update: Import is done; the sample has 12 replaced signs, the first in row 881.
        arch > ann question: Row 881 is the customer with the two accounts, is it not?
        ann > arch finding: It is. The name has a broken apostrophe.
    """,
    "teaching somebody the code base": """
        bob >> ann question: I am new here. Where does a request enter?
        ann > bob finding: web/server.py: answer(). Read the docstring of the module first.
        bob > ann question: And who decides whether it may?
        ann > bob finding: broker/app.py, _permit. Roles are in the contract's table.
        bob task Read the contract
        bob claim Read the contract
        bob > ann question: Is the table generated?
        ann > bob finding: No, by hand; the reference page is generated from it.
        bob complete Read the contract
        bob > ann question: Then a new operation is one line there, one handler, and python -m lattice.contract.reference?
        ann > bob finding: And a test that calls it. The matrix test will tell you what is missing.
        bob remember how.to.add.an.operation = a line in the contract, a handler, the reference, a test
        bob > ann ack: Got it, thank you very much!
    """,
    "a design question with numbers": """
        ann >> bob question: Polling each 2 s or server-sent events for the page?
        bob > ann finding: Events: polling costs 30 requests a minute for each open tab, and the sweep wakes the disk.
        ann > bob finding: But a stream holds a connection for each tab, and there are six for each host in HTTP/1.1.
        bob > ann finding: True. With two tabs and four fetches the seventh waits.
        ann remember page.updates = polling at 2 s while visible, none while hidden
        ann > bob finding: Then polling while visible. I measured 0.4 ms for each request.
        bob > ann finding: At 0.4 ms I agree: 30 a minute are nothing.
        ann task Page polling
        ann claim Page polling
        ann complete Page polling
    """,
    "an interface between two halves": """
        ann task Client half
        ann claim Client half
        bob task Server half
        bob claim Server half
        ann >> bob question: What does POST /orders answer: the order, or its id only?
        bob > ann finding: The whole order with its version, 201.
        ann > bob question: And when the version I show is old?
        bob > ann finding: 409 with the newer order in `current`.
        ann remember orders.api = 201 with the order; 409 with current
        ann > bob question: May I send no version for a new one?
        bob > ann finding: Leave it out. Zero is refused, so that a default does not hide a mistake.
        ann lock client.py
        ann > bob question: The error body: always {error, code}?
        bob > ann finding: Always, and hint where there is one.
        bob complete Server half
        ann complete Client half
        ann > bob status_update: Both halves speak: 22 tests, one of them with a stale version.
        bob > ann ack: Great work, thanks!
    """,
    "the person says a word in between": """
        ann >> bob finding: The page is slow with 1,000 tasks: 300 ms a refresh.
        bob > ann finding: Render only what changed; keep rows by id.
        ann > bob finding: 40 ms now. The rest is layout.
        bob > ann finding: content-visibility on the rows takes layout away below the fold.
        ann > bob question: Does that break find in page?
        bob > ann finding: No, the browser renders what it finds.
        person > ann status_update: 1,000 tasks is more than anybody has. Finish with 40 ms.
        ann > bob finding: We stop at 40 ms, says the person; the rest stays as it is.
        bob > ann finding: Fine with me. I note the numbers in the bench page, then.
        ann > bob finding: Also note the browser's version: 131 has a faster layout.
        bob > ann finding: It is in, with the machine.
    """,
    "prompted by a human each time": """
        ann >> bob question: Which of the two date pickers do we keep?
        bob > ann finding: The native one; the other has no keyboard.
        ann prompt
        ann > bob question: The user asks whether the native one shows weeks.
        bob > ann finding: In Firefox no, elsewhere yes.
        bob prompt
        bob > ann finding: The user here says weeks are not needed.
        ann > bob question: Then may I delete the other one, with its 40 kB of styles?
        bob > ann finding: Delete it; only the report page used it, and I changed that today.
        ann prompt
        ann > bob finding: It is gone. The bundle is 38 kB smaller.
        bob > ann finding: And the report page still works: I looked at it in both browsers.
    """,
    "many status reports to the architect": """
        arch task A
        arch task B
        arch task C
        ann claim A
        ann >> arch status_update: Began A; I expect an hour.
        ann complete A
        ann >> arch status_update: A is done in 40 minutes, 9 tests.
        ann claim B
        ann >> arch status_update: Began B; it needs the lock on store.py.
        ann lock store.py
        ann complete B
        ann >> arch status_update: B is done; store.py has a new index.
        bob claim C
        bob >> arch status_update: Began C.
        bob complete C
        bob >> arch status_update: C is done: two functions removed.
        arch > bob ack: Received.
        arch > ann ack: 👍
    """,
    "a false alarm, cleared": """
        bob >> ann alert: Your last commit breaks the build: test_tokens fails on main.
        ann > bob question: On which Python? Here 3.11 and 3.12 are green.
        bob > ann finding: 3.13. repr of an enum changed.
        ann task Enum repr
        ann claim Enum repr
        ann > bob finding: Right, I compared reprs. Comparing values now.
        ann complete Enum repr
        ann > bob status_update: Fixed in 77ab01e; green on 3.11 to 3.13.
        bob > ann finding: Green here as well. The runner had an old cache, so the first try after your fix failed too; ignore that mail.
        ann > bob ack: ok, thanks
    """,
    "splitting work by files": """
        arch >> ann finding: You take web/, bob takes store/, cid the tests. Say if that does not fit.
        arch >> bob finding: You take store/, ann takes web/, cid the tests.
        ann > arch question: web/client.py is used by store/; who changes it?
        arch > ann finding: You, and tell bob before each change of a signature.
        ann lock web/
        bob lock store/
        ann >> bob finding: Client.call gets a keyword timeout_s; no other change.
        bob > ann finding: Good, I use it in two places and change them after your commit.
        ann unlock web/
        ann > bob status_update: Committed as 5d10.
        bob unlock store/
        bob > ann status_update: Both places changed, 8111.
        ann > bob ack: Cool, thank you!
    """,
    "a decision taken back": """
        ann remember cache.ttl = 60 s
        ann >> bob finding: The cache keeps answers for 60 s.
        bob > ann finding: That is too long for prices: they change each 15 s and a stale one costs money.
        ann > bob question: Is 10 s short enough, or must it be exact?
        bob > ann finding: Exact for the basket, 10 s for lists.
        ann remember cache.ttl = 10 s for lists, none for the basket
        ann > bob finding: Changed so: lists 10 s, the basket is never cached.
        bob > ann question: And the search results, which show prices too?
        ann > bob finding: They count as lists. The price is checked again when it goes into the basket.
        bob > ann finding: Then nothing is open from my side.
    """,
    "finding who owns what": """
        cid >> ann question: Who looks after the mail templates?
        ann > cid finding: Bob did until spring; the text comes from marketing, the code from us.
        cid >> bob question: Are the mail templates still yours?
        bob > cid finding: No, but I know them. What is wrong?
        cid > bob finding: The unsubscribe link has the wrong host in the German one.
        cid task German template
        cid claim German template
        bob > cid finding: templates/de/footer.html, line 12. The host is written out there; use {{ host }} as in the others.
        cid lock templates/de/footer.html
        cid complete German template
        cid > bob status_update: Done, and I looked at the other eleven languages: only German had it.
        bob > cid ack: Nice, thanks for the update!
    """,
}

# In these a text is quoted, forwarded, or said to several.
QUOTING: dict[str, str] = {
    "a specification goes to a colleague": """
        arch >> ann finding: Orders are immutable after the checkout. A correction is a new order that names the old one in
          + `replaces`; the list shows only the newest of each chain, unless the query asks for history=1.
        ann task Order corrections
        ann claim Order corrections
        ann >> bob finding: From arch, for your half: Orders are immutable after the checkout. A correction is a new order
          + that names the old one in `replaces`; the list shows only the newest of each chain, unless the query asks for
          + history=1.
        bob > ann question: Does "the newest of each chain" mean by date, or by the chain of `replaces`?
        ann >> arch question: Bob asks about this sentence: "A correction is a new order that names the old one in `replaces`;
          + the list shows only the newest of each chain, unless the query asks for history=1." By date, or by the chain?
        arch > ann finding: By the chain. Dates are equal where an import makes both.
        ann > bob finding: By the chain, says arch; dates may be equal.
        bob >> cid question: For the tests: "Orders are immutable after the checkout. A correction is a new order that names
          + the old one in `replaces`." Do you have a factory for such chains?
        cid > bob finding: order_chain(3) in tests/factories.py makes one of three.
        ann complete Order corrections
    """,
    "a review that quotes what it is about": """
        ann >> bob finding: In store/cache.py I drop the lock while the loader runs, so two callers may load the same key; the
          + second result is thrown away. That costs one load now and then, and no caller ever waits for another one's slow
          + loader.
        bob > ann finding: You write: "I drop the lock while the loader runs, so two callers may load the same key; the second
          + result is thrown away." Thrown away it may still have side effects: the loader of prices counts.
        ann > bob finding: "The loader of prices counts" is true, and it is the only one. "I drop the lock while the loader
          + runs, so two callers may load the same key; the second result is thrown away": I keep that, and let prices take a lock
          + of its own.
        ann task Lock of prices
        ann claim Lock of prices
        ann complete Lock of prices
        bob > ann finding: Then it is fine. I quote it in the module's docstring: drop the lock while the loader runs, so two
          + callers may load the same key; the second result is thrown away.
    """,
    "the same report to the architect from each": """
        arch >> broadcast finding: Each of you: rebase onto main, run the whole suite, and tell me when your branch is green
          + and pushed, so that I can merge them one after the other.
        ann >> arch status_update: My branch is rebased onto main, the whole suite is green, and everything is pushed; nothing
          + of mine is left to be merged later.
        bob >> arch status_update: My branch is rebased onto main, the whole suite is green, and everything is pushed; nothing
          + of mine is left to be merged later.
        cid >> arch status_update: My branch is rebased onto main, the whole suite is green, and everything is pushed; nothing
          + of mine is left to be merged later.
        arch task Merge all
        arch claim Merge all
        arch complete Merge all
    """,
    "the person's word, told on by the architect": """
        person > arch status_update: Freeze main at five today: the customer looks at it from six on, and I do not want to see
          + a single red build between the two.
        arch >> broadcast alert: Freeze main at five today: the customer looks at it from six on, and I do not want to see a
          + single red build between the two.
        ann > arch question: Does "freeze main at five today" hold for the docs as well? They build on their own.
        arch > ann finding: For the docs too; a red build is a red build.
        bob >> cid finding: You were away: "Freeze main at five today: the customer looks at it from six on, and I do not want
          + to see a single red build between the two."
    """,
    "one traceback, three pairs of eyes": """
        ann >> bob question: Does this say anything to you? Traceback (most recent call last): File "store/sink.py", line 88,
          + in flush: self.file.write(batch) ValueError: write to closed file. It comes one time in a hundred, only on the runner
          + with two cores.
        bob > ann finding: close() races with the timer's flush. Cid wrote the timer.
        bob >> cid question: From ann: Traceback (most recent call last): File "store/sink.py", line 88, in flush:
          + self.file.write(batch) ValueError: write to closed file. It comes one time in a hundred, only on the runner with two
          + cores. Does your timer stop before close?
        cid > bob finding: It does not: stop() only asks it to. I join the thread now.
        cid task Timer joins
        cid claim Timer joins
        cid complete Timer joins
        cid >> ann status_update: The timer is joined before the file closes; 2,000 runs on two cores without that ValueError.
        ann > cid ack: Great, thanks!
    """,
    "three ask the same and get the same answer": """
        bob >> ann question: How do I run only the slow tests of the importer?
        cid >> ann question: Which flag runs the importer's slow tests?
        arch >> ann question: How are the slow tests of the importer run alone?
        ann > bob finding: python -m tests importer --storms runs the slow ones; without the flag they use the short figures,
          + and IMPORTER_SAMPLE names another sample file.
        ann > cid finding: python -m tests importer --storms runs the slow ones; without the flag they use the short figures,
          + and IMPORTER_SAMPLE names another sample file.
        ann > arch finding: python -m tests importer --storms runs the slow ones; without the flag they use the short figures,
          + and IMPORTER_SAMPLE names another sample file.
    """,
    "a help that comes back around": """
        ann task Windows paths
        ann claim Windows paths
        ann blocker On Windows the path of the socket is longer than it may be, because the profile folder has the user's full
          + name in it; nothing of ours makes it shorter.
        arch resolve answer: Use a named pipe there; its name has no folder in it.
        arch >> bob finding: Ann was stuck on long socket paths under Windows: the profile folder has the user's full name in
          + it. She takes a named pipe; your launcher has to pass its name on.
        bob > arch question: Is "a named pipe; its name has no folder in it" the same for the sandboxed build?
        arch > bob finding: The same; the sandbox lets names through that begin with ours.
        ann complete Windows paths
    """,
}

DIALOGUES = TALKS | QUOTING


def deeds(dialogue: str) -> list[str]:
    """The lines of a dialogue, each whole."""
    return re.sub(r"\s*\n\s*\+ ", " ", dialogue).strip().splitlines()


# Whole texts that say only "I have it", to a message that asked for nothing.
EMPTY = (
    "Thanks!", "thank you", "Got it.", "Got it, thanks!", "ok", "OK!", "Okay, great.", "Noted.", "Noted, thank you very much!",
    "Understood.", "Acknowledged.", "Received, thanks for letting me know.", "👍", "🎉🎉", "Roger that.", "Copy that", "Will do.",
    "On it!", "Great work, thanks!", "Perfect, thank you so much!", "Much appreciated!", "Cheers", "You're welcome!", "No problem",
    "thx", "Awesome, thanks again!", "Standing by.", "Excellent.", "Nice!", "Thanks for the update, much appreciated.",
    "Happy to help!", "Have a great day!", "Understood, standing by.",
)  # fmt: skip

# Texts that look alike and say something: never folded.
SAYING = (
    "Thanks, but the second test still fails.", "ok, use port 8080", "Got it: the lock is mine until noon.", "Done: 3 tests.",
    "Done.", "Noted. Bob has it too.", "Thanks! Where is the branch?", "No.", "Will do after lunch.",
    "Great, then I take parser.py", "OK?", "Understood, except for the cache", "Received 12 of 14 files", "thanks, merged",
    "Perfect on Linux, broken on Windows", "on it, expect an hour", "I agree with the second point", "Copy it to store/", "not ok",
    "Thanks, that was wrong", "ok I stop", "acknowledged, but I need the token", "+1 to the index", "7", "see #12",
)  # fmt: skip
