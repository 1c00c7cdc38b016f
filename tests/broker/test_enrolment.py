"""Enrolment: a ticket works once and for one id, a token for one life, and one id is one living process."""

from __future__ import annotations

import unittest

from lattice import VERSION, WIRE
from lattice.guard import tokens
from tests.broker.broking import PERSON, SECRET, BrokerCase


class Tickets(BrokerCase):
    def test_without_a_ticket_nobody_enrols(self) -> None:
        said = self.refused(401, "", "/register", {"id": "w1", "role": "architect"}, code="no_ticket")
        self.assertIn("Ticket", said["hint"])
        self.house.enrol("arch", "architect")
        self.refused(401, "arch", "/register", {"id": "w1"}, code="no_ticket")

    def test_a_ticket_works_once(self) -> None:
        ticket = self.house.ticket("w1")
        self.assertEqual(200, self.house.register("w1", ticket=ticket)[0])
        status, said = self.house.register("w1", ticket=ticket)
        self.assertEqual((409, "ticket_used"), (status, said["code"]))

    def test_a_ticket_that_led_to_a_refusal_is_not_spent(self) -> None:
        self.house.enrol("w1")
        ticket = self.house.ticket("w1")
        self.assertEqual("id_taken", self.house.register("w1", ticket=ticket)[1]["code"])
        self.house.post(PERSON, "/unregister", peer_id="w1")
        self.assertEqual(200, self.house.register("w1", ticket=ticket)[0])

    def test_a_ticket_is_for_one_id(self) -> None:
        status, said = self.house.register("w2", ticket=self.house.ticket("w1"))
        self.assertEqual((403, "wrong_ticket"), (status, said["code"]))

    def test_a_ticket_of_a_worker_does_not_make_an_architect(self) -> None:
        status, said = self.house.register("w1", "architect", ticket=self.house.ticket("w1", "worker"))
        self.assertEqual((403, "wrong_ticket"), (status, said["code"]))
        status, said = self.house.register("w1", ticket=self.house.ticket("w1", "worker"))
        self.assertEqual("worker", said["role"])

    def test_a_ticket_of_the_person_enrols_nobody(self) -> None:
        ticket = self.house.ticket("w1", "system")
        self.assertEqual("wrong_ticket", self.house.register("w1", ticket=ticket)[1]["code"])

    def test_a_ticket_expires(self) -> None:
        ticket = self.house.ticket("w1")
        self.house.clock.advance(61)
        status, said = self.house.register("w1", ticket=ticket)
        self.assertEqual((401, "ticket_expired"), (status, said["code"]))

    def test_a_damaged_ticket_or_one_of_another_secret_is_refused(self) -> None:
        foreign = tokens.mint_ticket(bytes(32), peer="w1", role="worker", workspace="shop", now=self.house.clock.now())
        for ticket in (foreign, self.house.ticket("w1")[:-2], "x", "ü", self.house.tokens[PERSON]):
            status, said = self.house.register("w1", ticket=ticket)
            self.assertEqual((401, "bad_ticket"), (status, said["code"]), ticket)

    def test_reserved_and_malformed_ids_are_never_registrable(self) -> None:
        for id in (
            "command-center",
            "broadcast",
            "system",
            "human",
            "broker",
            "viewer",
            "Broadcast",
            "",
            " ",
            "-rf",
            ".x",
            "a b",
            "a@b",
            "#a",
            "ä",
            "x" * 65,
        ):
            status, said = self.house.register(id, ticket=self.house.ticket(id or "x"))
            self.assertEqual(400, status, f"{id!r}: {said}")

    def test_an_enrolment_names_role_workspace_token_and_who_has_the_seat(self) -> None:
        said = self.house.enrol("arch", "architect")
        self.assertEqual(("arch", "architect", "shop", {"held_by": "arch"}), (said["id"], said["role"], said["workspace"], said["seat"]))
        said = self.house.enrol("w1")
        self.assertEqual(("worker", {"held_by": "arch"}), (said["role"], said["seat"]))
        self.assertEqual((3000, VERSION, WIRE), (said["beat_ms"], said["version"], said["wire"]))

    def test_a_pid_that_is_no_positive_integer_is_refused(self) -> None:
        for pid in ("not_a_number", 0, -1, 1.5, True, [1]):
            self.assertEqual(400, self.house.register("w1", pid=pid)[0], repr(pid))


class WhichWorkspace(BrokerCase):
    def test_the_tickets_workspace_wins_over_the_stated_one(self) -> None:
        for of_ticket, stated, workspace in (("shop", "bank", "shop"), ("", "bank", "bank"), ("shop", "", "shop")):
            id = f"of-{of_ticket}-{stated}"
            said = self.house.ask(
                "",
                "POST",
                "/register",
                {"id": id, "workspace": stated},
                authorization=f"Ticket {self.house.ticket(id, workspace=of_ticket)}",
            )[1]
            self.assertEqual(workspace, said["workspace"])

    def test_a_caller_that_names_none_gets_that_of_a_known_peer_in_its_folder_else_none(self) -> None:
        self.house.enrol("w1", working_dir="/src/shop")
        for folder, workspace in (("/src/shop", "shop"), ("/src", ""), ("", "")):
            id = f"plain-{len(folder)}"
            said = self.house.register(id, ticket=self.house.ticket(id, workspace=""), working_dir=folder)[1]
            self.assertEqual(workspace, said["workspace"], folder)


class Tokens(BrokerCase):
    def test_a_token_counts_until_another_process_takes_the_id_over(self) -> None:
        self.house.enrol("w1", process="first")
        old = self.house.tokens["w1"]
        self.house.pass_time(4, "w1")
        self.house.clock.advance(5)  # one beat is missed
        self.house.enrol("w1", process="second")
        self.house.get("w1", "/peers")
        said = self.refused(401, "", "/peers", method="GET", code="token_expired", authorization=f"Bearer {old}")
        self.assertIn("w1", said["error"])

    def test_the_same_process_that_enrols_again_keeps_its_token(self) -> None:
        self.house.enrol("w1", process="first")
        old = self.house.tokens["w1"]
        self.house.enrol("w1", process="first")
        self.assertEqual(200, self.house.ask("", "GET", "/peers", authorization=f"Bearer {old}")[0])

    def test_a_killed_peers_token_is_401_killed_and_says_by_whom_and_who_can_lift_it(self) -> None:
        self.house.crew("w1")
        self.house.post("arch", "/kill-peer", peer_id="w1")
        for method, path in (("GET", "/peers"), ("POST", "/heartbeat"), ("POST", "/inbox/take"), ("GET", "/no-such-path")):
            said = self.refused(401, "w1", path, method=method, code="killed")
            self.assertEqual("arch", said["ended_by"])
            self.assertIn("resume", said["hint"])

    def test_a_ticket_for_a_killed_id_is_refused_until_it_is_resumed(self) -> None:
        self.house.crew("w1")
        self.house.post(PERSON, "/kill-peer", peer_id="w1")
        for more in ({}, {"fallback": True}, {"resume": self.house.resumes["w1"]}):
            status, said = self.house.register("w1", **more)
            self.assertEqual((401, "killed", PERSON), (status, said["code"], said["ended_by"]))
        self.house.post(PERSON, "/resume", peer_id="w1")
        self.refused(401, "w1", "/heartbeat", code="token_expired")  # the old token stays dead: enrol again
        self.house.enrol("w1")
        self.assertTrue(self.house.beat("w1")["ok"])

    def test_a_kill_outlives_the_broker(self) -> None:
        self.house.crew("w1")
        self.house.post(PERSON, "/kill-peer", peer_id="w1")
        self.house.restart()
        self.refused(401, "w1", "/heartbeat", code="killed")
        self.assertEqual("killed", self.house.register("w1")[1]["code"])

    def test_an_unknown_peers_token_is_404_not_registered(self) -> None:
        self.house.tokens["ghost"] = tokens.mint_token(SECRET, subject="ghost", kind="peer", epoch=1, now=self.house.clock.now())
        self.refused(404, "ghost", "/heartbeat", code="not_registered")
        self.house.enrol("w1")
        self.house.post(PERSON, "/unregister", peer_id="w1")
        self.refused(404, "w1", "/peers", method="GET", code="not_registered")

    def test_a_token_ends_after_a_day_and_the_beat_renews_it_in_its_last_hour(self) -> None:
        self.house.enrol("w1")
        self.assertNotIn("token", self.house.beat("w1"))
        self.house.clock.advance(82_700)
        self.assertNotIn("token", self.house.beat("w1"))
        self.house.clock.advance(200)
        renewed = self.house.beat("w1")["token"]
        self.house.clock.advance(3_600)
        self.refused(401, "w1", "/peers", method="GET", code="token_expired")
        self.house.tokens["w1"] = renewed
        self.house.get("w1", "/peers")

    def test_whatever_stands_in_the_header_is_401_and_nothing_worse(self) -> None:
        self.house.enrol("w1")
        good = self.house.tokens["w1"]
        for text in (
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Basic x",
            f"Bearer {good}x",
            f"Bearer {good[:-1]}",
            "Bearer \xff\xfe",
            "Bearer " + "a" * 9000,
            f"Ticket {good}",
            good,
        ):
            status, said = self.house.ask("", "GET", "/peers", authorization=text)
            self.assertEqual(401, status, f"{text[:40]!r}: {said}")

    def test_the_secrets_never_show_in_what_is_said_of_a_peer(self) -> None:
        self.house.enrol("w1", process="life-of-w1")
        said = str(
            [self.house.get(PERSON, path) for path in ("/peer/w1", "/peers", "/state", "/events?follow=0&limit=1000", "/dashboard/data")]
        )
        for secret in ("resume_hash", "life-of-w1", self.house.resumes["w1"], self.house.tokens["w1"]):
            self.assertNotIn(secret, said)


class OneIdOneProcess(BrokerCase):
    """`settle_id`, branch by branch."""

    def test_a_live_id_is_not_registered_again_by_a_stranger_and_its_token_stays_good(self) -> None:
        self.house.enrol("w1", process="first")
        for more in ({}, {"process": "second"}, {"resume": "wrong"}, {"resume": "wrong." + self.house.tokens["w1"]}, {"process": ""}):
            status, said = self.house.register("w1", **more)
            self.assertEqual((409, "id_taken", "w1"), (status, said["code"], said["holder"]), more)
        self.assertTrue(self.house.beat("w1")["ok"])

    def test_the_same_process_may_enrol_again(self) -> None:
        self.house.enrol("w1", process="first")
        self.assertEqual((200, "w1"), _got(self.house.register("w1", process="first")))

    def test_a_new_process_with_the_resume_secret_waits_for_one_missed_beat(self) -> None:
        self.house.enrol("w1", process="first")
        secret = self.house.resumes["w1"]
        status, said = self.house.register("w1", process="second", resume=secret)
        self.assertEqual((409, "id_taken"), (status, said["code"]))
        self.house.clock.advance(4.1)
        self.assertEqual((200, "w1"), _got(self.house.register("w1", process="second", resume=secret)))

    def test_a_new_process_takes_over_at_once_when_the_old_connection_is_closed(self) -> None:
        self.house.enrol("w1", process="first")
        seen = self.house.beat("w1")["stamp"]
        self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": seen}, connection=77)
        self.house.broker.presence.hung_up("w1", 76)  # another connection of it
        self.assertEqual(409, self.house.register("w1", process="second", resume=self.house.resumes["w1"])[0])
        self.house.broker.presence.hung_up("w1", 77)
        self.assertEqual((200, "w1"), _got(self.house.register("w1", process="second", resume=self.house.resumes["w1"])))

    def test_an_old_token_is_as_good_as_the_secret_while_it_counts(self) -> None:
        self.house.enrol("w1", process="first")
        old = self.house.tokens["w1"]
        self.house.clock.advance(5)
        self.assertEqual((200, "w1"), _got(self.house.register("w1", process="second", resume=old)))
        self.house.clock.advance(5)
        self.assertEqual(409, self.house.register("w1", process="third", resume=old)[0])  # its epoch is over

    def test_a_token_of_another_peer_is_no_proof(self) -> None:
        self.house.crew("w1", "w2")
        self.house.clock.advance(5)
        self.assertEqual(409, self.house.register("w1", process="x", resume=self.house.tokens["w2"])[0])
        self.assertEqual(409, self.house.register("w1", process="x", resume=self.house.tokens[PERSON])[0])

    def test_a_plain_client_without_a_process_goes_on_with_its_secret_at_once(self) -> None:
        self.house.enrol("w1")
        self.assertEqual((200, "w1"), _got(self.house.register("w1", resume=self.house.resumes["w1"])))

    def test_with_fallback_a_second_process_becomes_the_next_number_and_is_told(self) -> None:
        self.house.enrol("alice", process="first")
        said = self.house.register("alice", process="second", fallback=True)[1]
        self.assertEqual("alice-2", said["id"])
        self.assertIn("alice", said["note"])
        self.assertEqual("alice-3", self.house.register("alice", process="third", fallback=True)[1]["id"])
        self.assertEqual("alice-2", self.house.register("alice", process="second", fallback=True)[1]["id"])  # the same life

    def test_a_numbered_id_was_not_chosen_so_its_mailbox_ends_with_it(self) -> None:
        self.house.enrol("alice", process="first")
        self.house.enrol("alice", process="second", fallback=True, named=True)
        self.assertEqual(
            [("alice", 1), ("alice-2", 0)],
            [(row["id"], row["named"]) for row in self.house.rows("SELECT id, named FROM peers WHERE role = 'worker' ORDER BY id")],
        )

    def test_a_numbered_id_never_grows_too_long(self) -> None:
        long = "x" * 64
        self.house.enrol(long, process="first")
        id = self.house.register(long, process="second", fallback=True)[1]["id"]
        self.assertLessEqual(len(id), 64)
        self.assertTrue(id.endswith("-2"))

    def test_an_id_that_was_left_or_is_dead_is_free_for_its_next_process(self) -> None:
        self.house.enrol("w1", process="first")
        self.house.post("w1", "/leave")
        self.assertEqual((200, "w1"), _got(self.house.register("w1", process="second")))
        self.house.pass_time(20)
        self.assertEqual("dead", self.house.status("w1"))
        self.assertEqual((200, "w1"), _got(self.house.register("w1", process="third")))

    def test_the_same_id_in_two_repositories_is_one_peer_and_the_second_is_numbered(self) -> None:
        self.house.enrol("arch", "architect", "shop", process="first")
        said = self.house.register("arch", "architect", "bank", process="second", fallback=True)[1]
        self.assertEqual(("arch-2", "architect", "bank"), (said["id"], said["role"], said["workspace"]))

    def test_who_takes_an_id_over_has_its_task_and_its_locks(self) -> None:
        self.house.enrol("w1", process="first")
        task = self.house.task("w1")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.clock.advance(5)
        self.house.enrol("w1", process="second")
        self.assertEqual("w1", self.house.get("w1", f"/tasks/{task}")["task"]["assigned_to"])
        self.assertTrue(self.house.get("w1", "/locks/check?file_path=/src/a.py")["yours"])
        self.house.complete("w1", task)

    def test_the_old_processes_end_is_not_the_new_ones(self) -> None:
        self.house.enrol("w1", process="first")
        self.house.clock.advance(5)
        self.house.enrol("w1", process="second")
        self.assertEqual("taken over", self.house.post("w1", "/leave", process="first")["status"])
        self.assertEqual("active", self.house.status("w1"))

    def test_a_beat_of_another_process_of_the_id_must_enrol_again(self) -> None:
        self.house.enrol("w1", process="first")
        self.refused(404, "w1", "/heartbeat", {"process": "second"}, code="not_registered")

    def test_an_id_that_was_forgotten_is_new_for_whoever_takes_it(self) -> None:
        self.house.crew("w1")
        self.house.beat("w1", git_branch="secret-branch", git_dirty_files=["a.py"], tokens_used=900, activity="typing")
        self.house.post("w1", "/summary", summary="old life")
        self.house.post(PERSON, "/pause", peer_id="w1")
        self.house.post(PERSON, "/budget", peer_id="w1", token_budget=10)
        old = self.house.tokens["w1"]
        self.house.post(PERSON, "/unregister", peer_id="w1")
        self.house.resumes.clear()
        self.house.enrol("w1")
        peer = self.house.get("w1", "/peer/w1")
        for name, fresh in {
            "paused": False,
            "token_budget": None,
            "tokens_used": 0,
            "git_branch": "",
            "dirty_files": [],
            "summary": "",
            "activity": "",
        }.items():
            self.assertEqual(fresh, peer[name], name)
        self.refused(401, "", "/peers", method="GET", code="token_expired", authorization=f"Bearer {old}")
        self.assertFalse(self.house.beat("w1")["paused"])


class SigningIn(BrokerCase):
    def test_a_ticket_of_the_person_signs_in_once(self) -> None:
        ticket = self.house.ticket(PERSON, "system", "")
        said = self.house.ask("", "POST", "/sign-in", {"code": ticket})[1]
        for name, who in (("token", "in"), ("viewer", "sees")):
            self.house.tokens[who] = said[name]
        self.house.get("sees", "/dashboard/data")
        self.refused(403, "sees", "/pause", {"peer_id": "x"}, code="role")
        self.assertEqual({"ok": True, "paused_count": 0}, self.house.post("in", "/pause-all"))
        self.refused(409, "", "/sign-in", {"code": ticket}, code="ticket_used")

    def test_a_ticket_of_a_session_signs_nobody_in(self) -> None:
        self.refused(403, "", "/sign-in", {"code": self.house.ticket("w1")})
        self.refused(403, "", "/sign-in", {"code": self.house.ticket("w1", "system")})
        self.refused(401, "", "/sign-in", {"code": "x"}, code="bad_ticket")
        self.refused(401, "", "/sign-in", {}, code="no_ticket")

    def test_an_expired_code_is_refused(self) -> None:
        ticket = self.house.ticket(PERSON, "system", "")
        self.house.clock.advance(61)
        self.refused(401, "", "/sign-in", {"code": ticket}, code="ticket_expired")


def _got(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    return answer[0], answer[1].get("id", answer[1])


if __name__ == "__main__":
    unittest.main()
