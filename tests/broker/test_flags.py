"""Flags: the file that a hook looks at is up before the grant that makes it true is answered, and down when there is nothing to ask."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import unittest
from unittest import mock

from lattice.broker.flags import Flags
from tests.broker.broking import PERSON, BrokerCase

PIDS = {"ann": 1001, "bob": 1002, "cleo": 1003}


class FlagCase(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.enrol("arch", "architect")
        for id, pid in PIDS.items():
            self.enrol(id, pid)

    def enrol(self, id: str, pid: int, **more: object) -> None:
        self.house.enrol(id, client_pid=pid, process=f"{id}-1", **more)

    def path(self, pid: int, kind: str = "") -> str:
        return os.path.join(self.house.config.home, "flags", f"{pid}{kind}")  # type: ignore[attr-defined]

    def why(self, id: str) -> str:
        """What the first line says after the peer, "" when the flag is down."""
        with contextlib.suppress(FileNotFoundError), open(self.path(PIDS[id]), encoding="utf-8") as file:
            peer, _, why = file.readline().strip().partition(": ")
            self.assertEqual(id, peer)
            return why
        return ""

    def cause(self, id: str) -> bool:
        return os.path.exists(self.path(PIDS[id], ".cause"))

    def all_up(self) -> list[str]:
        return sorted(os.listdir(os.path.dirname(self.path(0))))

    def lock(self, who: str, path: str) -> None:
        self.house.post(who, "/lock", file_path=path)


class UpAndDown(FlagCase):
    def test_none_goes_up_once_the_broker_stops(self) -> None:
        flags = self.house.broker.flags
        self.lock("ann", "/r/a")
        flags.lower_all()
        self.lock("bob", "/r/b")  # one that was under way
        self.assertEqual([], self.all_up())

    def test_it_is_up_for_others_while_somebody_holds_a_lock(self) -> None:
        self.assertEqual([], self.all_up())
        self.lock("ann", "/r/a")
        self.assertEqual(["", "locks", "locks"], [self.why(id) for id in PIDS])
        self.lock("bob", "/r/b")
        self.assertEqual(["locks", "locks", "locks"], [self.why(id) for id in PIDS])
        self.house.post("ann", "/unlock", file_path="/r/a")
        self.assertEqual(["locks", "", "locks"], [self.why(id) for id in PIDS])
        self.house.post("bob", "/unlock", file_path="/r/b")
        self.assertEqual([], self.all_up())

    def test_it_is_up_while_there_is_mail_and_an_offer_that_a_hook_will_prove(self) -> None:
        self.house.send("ann", "bob")
        self.assertEqual("mail", self.why("bob"))
        self.house.post("bob", "/hook", event="PostToolUse", max=3)
        self.assertEqual(("proof", True), (self.why("bob"), self.cause("bob")))
        self.house.post("bob", "/hook", event="PreToolUse")
        self.assertEqual(("", True), (self.why("bob"), self.cause("bob")))
        self.house.post("bob", "/hook", event="UserPromptSubmit")
        self.assertEqual([], self.all_up())

    def test_held_mail_is_no_reason_to_ask(self) -> None:
        for _ in range(4):
            self.house.send("ann", "bob", "again")
        self.house.post("bob", "/inbox/ack", receipts=[one["receipt"] for one in self.house.take("bob")])
        self.assertEqual("", self.why("bob"))
        self.house.post(PERSON, "/messages/4/release")
        self.assertEqual("mail", self.why("bob"))

    def test_all_reasons_stand_in_one_order(self) -> None:
        self.lock("ann", "/r/x")
        self.house.post("arch", "/unlock", file_path="/r/x")
        self.lock("bob", "/r/b")
        self.house.send("bob", "ann")
        self.house.post("ann", "/hook", event="PostToolUse", max=1)
        self.house.send("cleo", "ann")
        self.assertEqual("mail proof locks lost", self.why("ann"))

    def test_the_persons_locks_count_everywhere_and_another_workspaces_nowhere(self) -> None:
        self.house.enrol("far", workspace="other", client_pid=1009)
        self.lock("far", "/elsewhere/x")
        self.assertEqual([], self.all_up())
        self.lock(PERSON, "/r/a")
        self.assertEqual(["1001", "1002", "1003", "1009"], self.all_up())
        self.house.post(PERSON, "/unlock", file_path="/r/a")
        self.assertEqual([], self.all_up())

    def test_one_folder_under_two_names_is_one_folder(self) -> None:
        self.enrol("ann", 1001, working_dir="/w/shop")
        for id, folder in (("far", "/w/shop"), ("nested", "/w/shop/docs"), ("beside", "/w/shop2"), ("nowhere", "")):
            self.house.enrol(id, workspace="other", client_pid=1009 + len(folder), working_dir=folder)
        self.lock("ann", "/w/shop/a")
        self.assertEqual(["1002", "1003", str(1009 + len("/w/shop")), str(1009 + len("/w/shop/docs"))], self.all_up())
        held = [[one["file_path"] for one in self.house.get(id, "/locks/held")["held"]] for id in ("far", "nested", "beside")]
        self.assertEqual([["/w/shop/a"], ["/w/shop/a"], []], held)
        self.house.post("ann", "/unlock", file_path="/w/shop/a")
        self.assertEqual([], self.all_up())

    def test_a_loss_keeps_it_up_until_the_peer_asks_again_also_while_it_is_frozen(self) -> None:
        self.lock("ann", "/r/a")
        self.house.pass_time(17, "bob", "arch")
        self.assertEqual("dead", self.house.status("ann"))
        self.assertEqual("lost", self.why("ann"), "when it thaws its hook must ask")
        self.house.send("bob", "ann")
        self.assertEqual("lost", self.why("ann"))
        self.house.beat("ann")
        self.assertEqual("mail lost", self.why("ann"))
        self.lock("ann", "/r/a")
        self.assertEqual("mail", self.why("ann"))

    def test_one_whose_server_has_left_lowers_it_too_when_it_asks_again(self) -> None:
        self.lock("ann", "/r/a")
        self.house.post("arch", "/unlock", file_path="/r/a")
        self.house.post("ann", "/leave", process="ann-1")
        self.assertEqual(("away", "lost"), (self.house.status("ann"), self.why("ann")))
        self.lock("ann", "/r/a")
        self.assertEqual("", self.why("ann"))

    def test_one_that_was_ended_or_adopted_still_has_to_ask_and_one_that_is_forgotten_has_nothing(self) -> None:
        self.lock("ann", "/r/a")
        self.house.post("arch", "/kill-peer", peer_id="ann")
        self.assertEqual("lost ended", self.why("ann"))
        self.house.post("arch", "/adopt", peer_id="ann")
        self.assertEqual("lost ended", self.why("ann"))
        self.house.post("arch", "/unlock", file_path="/r/a")
        self.house.post("arch", "/unregister", peer_id="ann")
        self.assertEqual([], self.all_up())

    def test_a_loss_that_is_old_news_lowers_it(self) -> None:
        self.lock("ann", "/r/a")
        self.house.post("arch", "/unlock", file_path="/r/a")
        self.house.change("UPDATE lost_locks SET lost_at = lost_at - 86401")
        self.house.pass_time(61, "ann", "bob", "cleo", "arch")
        self.assertEqual([], self.all_up())

    def test_who_has_no_client_has_no_flag(self) -> None:
        self.house.enrol("plain")
        self.lock("ann", "/r/a")
        self.assertEqual(["1002", "1003"], self.all_up())


class BeforeTheAnswer(FlagCase):
    def test_the_file_is_there_when_the_grant_is_answered_and_gone_when_the_release_is(self) -> None:
        wrong: list[str] = []
        barrier = threading.Barrier(3)

        def take_turns(who: str, others: list[str], rounds: int) -> None:
            barrier.wait()
            for number in range(rounds):
                self.lock(who, f"/r/{who}{number}")
                wrong.extend(f"{who} holds {number}, and {one} is not told" for one in others if not os.path.exists(self.path(PIDS[one])))
                self.house.post(who, "/unlock", file_path=f"/r/{who}{number}")

        threads = [threading.Thread(target=take_turns, args=(who, [one for one in PIDS if one != who], 50)) for who in PIDS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)
        self.assertEqual([], self.all_up())

    def test_when_it_cannot_be_known_it_is_up_and_who_waits_is_woken(self) -> None:
        self.house.woken.clear()
        with mock.patch("lattice.broker.hooking.why_flag", side_effect=RuntimeError("planted")), self.assertLogs("lattice.broker", "ERROR"):
            self.house.send("ann", "bob")
        self.assertEqual("unknown", self.why("bob"))
        self.assertIn("beat:bob", self.house.woken)
        self.house.texts("bob")
        self.assertEqual("", self.why("bob"))


class WhoseFlag(FlagCase):
    def test_it_moves_with_the_client(self) -> None:
        self.house.send("ann", "bob")
        self.house.post("bob", "/hook", event="PostToolUse", max=1)
        self.assertEqual(["1002", "1002.cause"], self.all_up())
        self.house.pass_time(6, "ann", "cleo", "arch")
        self.house.enrol("bob", client_pid=2002, process="bob-2")
        self.assertEqual(["2002", "2002.cause"], self.all_up())

    def test_two_peers_of_one_client_share_it_and_neither_lowers_the_others(self) -> None:
        self.house.enrol("bobby", client_pid=PIDS["bob"])
        self.house.send("ann", "bob")
        self.lock("bobby", "/r/x")
        self.assertEqual("mail locks", self.why("bob"))
        self.house.texts("bob")
        self.house.send("ann", "bobby")
        self.house.texts("bobby")
        self.assertTrue(os.path.exists(self.path(PIDS["bob"])), "bob is not to write to /r/x")
        self.house.post("bobby", "/unlock", file_path="/r/x")
        self.house.post("bob", "/hook", event="UserPromptSubmit")
        self.assertEqual(["1002.cause"], self.all_up())
        self.house.post("bobby", "/hook", event="UserPromptSubmit")
        self.assertEqual([], self.all_up())

    def test_a_broker_that_starts_clears_what_is_stale_and_puts_up_what_is_true(self) -> None:
        self.house.send("ann", "bob")
        self.house.post("bob", "/hook", event="PostToolUse", max=1)
        self.lock("cleo", "/r/x")
        before = self.all_up()
        self.assertEqual(["1001", "1002", "1002.cause"], before)
        self.house.broker.close()
        self.assertEqual([], self.all_up(), "a broker that stops leaves nothing to ask")
        for name in ("99", "1002.cause", "1003", "odd name"):
            with open(os.path.join(os.path.dirname(self.path(0)), name), "w", encoding="utf-8") as file:
                file.write("x: mail\n")
        self.house.start()
        self.assertEqual(before, self.all_up())

    def test_another_brokers_flags_of_this_home_stay_while_it_runs(self) -> None:
        home = self.house.config.home  # type: ignore[attr-defined]
        other = Flags(home, 7900)
        other.belongs("zoe", 1010)
        other.set("zoe", "mail")
        card = os.path.join(home, "broker-7900.json")
        with open(card, "w", encoding="utf-8") as file:
            json.dump({"port": 7900, "pid": os.getpid(), "started_at": 1.0}, file)
        self.house.send("ann", "bob")
        self.house.restart()
        self.assertEqual(["1002", "1010"], self.all_up())
        with open(card, "w", encoding="utf-8") as file:
            json.dump({"port": 7900, "pid": 2**31 - 1, "started_at": 1.0}, file)
        self.house.restart()
        self.assertEqual(["1002"], self.all_up())

    def test_a_flag_that_cannot_be_written_stops_nothing(self) -> None:
        folder = os.path.dirname(self.path(0))
        os.mkdir(self.path(PIDS["bob"]))
        with self.assertLogs("lattice.broker", "ERROR"):
            self.house.send("ann", "bob")
        os.rmdir(self.path(PIDS["bob"]))
        self.house.send("ann", "bob", "more")
        self.assertEqual("mail", self.why("bob"))
        self.assertEqual(0o600, os.stat(self.path(PIDS["bob"])).st_mode & 0o777)
        self.assertEqual(0o700, os.stat(folder).st_mode & 0o777)


if __name__ == "__main__":
    unittest.main()
