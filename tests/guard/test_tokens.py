"""The secret, tickets, tokens and the broker's proof."""

from __future__ import annotations

import base64
import hmac
import json
import os
import random
import tempfile
import unittest
from collections.abc import Callable

from lattice.errors import BadRequest, Unauthorized
from lattice.guard import tokens
from lattice.guard.tokens import SecretError

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
NOW = 1_700_000_000.0
NONCE = "00112233445566778899aabbccddeeff"
POSIX = os.name != "nt"


def ticket(**changes: object) -> str:
    return tokens.mint_ticket(SECRET, **{"peer": "alice", "role": "worker", "workspace": "w", "now": NOW, **changes})  # type: ignore[arg-type]


def token(**changes: object) -> str:
    return tokens.mint_token(SECRET, **{"subject": "alice", "kind": "peer", "epoch": 1, "now": NOW, **changes})  # type: ignore[arg-type]


def signed(label: str, prefix: str, payload: bytes) -> str:
    """What another holder of the secret might write; spelled out here, so that the format cannot drift unseen."""
    key = hmac.digest(SECRET, b"c2-lattice " + label.encode(), "sha256")
    text = prefix.encode() + b"." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    return (text + b"." + base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")).decode()


class TicketTest(unittest.TestCase):
    def test_a_ticket_says_who_may_enrol_as_what_and_where(self) -> None:
        read = tokens.read_ticket(SECRET, ticket(role="architect", workspace="github.com/ü/𝄞"), NOW + 59)
        self.assertEqual(("alice", "architect", "github.com/ü/𝄞", NOW + 60), (read.peer, read.role, read.workspace, read.expires))
        self.assertRegex(read.nonce, r"\A[0-9a-f]{32}\Z")

    def test_no_role_asked_for_makes_a_worker(self) -> None:
        self.assertEqual("worker", tokens.read_ticket(SECRET, ticket(role=""), NOW).role)

    def test_two_tickets_never_share_a_nonce(self) -> None:
        self.assertEqual(50, len({tokens.read_ticket(SECRET, ticket(), NOW).nonce for _ in range(50)}))

    def test_an_expired_ticket_says_so(self) -> None:
        with self.assertRaises(Unauthorized) as caught:
            tokens.read_ticket(SECRET, ticket(ttl_s=5), NOW + 5)
        self.assertEqual("ticket_expired", caught.exception.code)

    def test_no_such_role_is_refused_where_it_is_minted(self) -> None:
        with self.assertRaises(ValueError):
            ticket(role="root")

    def test_a_workspace_that_is_a_longest_path_fits_and_one_beyond_is_refused(self) -> None:
        self.assertEqual("/" + "ä" * 2000, tokens.read_ticket(SECRET, ticket(workspace="/" + "ä" * 2000), NOW).workspace)
        with self.assertRaises(ValueError):
            ticket(workspace="/" * 8000)

    def test_the_text_can_travel_in_a_url_and_a_header(self) -> None:
        for text in (ticket(workspace="ÿþ?>~" * 20), token(subject="x" * 64)):
            self.assertRegex(text, r"\A[A-Za-z0-9_.-]+\Z")


class TokenTest(unittest.TestCase):
    def test_a_token_says_who_calls(self) -> None:
        for kind, term_s in (("peer", 86_400), ("system", 86_400), ("viewer", 7 * 86_400)):
            self.assertEqual(
                ("alice", kind, 7, NOW + term_s), tuple(tokens.read_token(SECRET, token(kind=kind, epoch=7), NOW + term_s - 1))
            )

    def test_an_expired_token_says_so(self) -> None:
        with self.assertRaises(Unauthorized) as caught:
            tokens.read_token(SECRET, token(), NOW + 86_400)
        self.assertEqual("token_expired", caught.exception.code)

    def test_no_such_kind_is_refused_where_it_is_minted(self) -> None:
        with self.assertRaises(ValueError):
            token(kind="root")


class ForgeryTest(unittest.TestCase):
    def refused(self, text: object, read: Callable[[bytes, str, float], object] | None = None, secret: bytes = SECRET) -> None:
        for one, code in ((tokens.read_token, "bad_token"), (tokens.read_ticket, "bad_ticket")) if read is None else ((read, None),):
            with self.assertRaises(Unauthorized, msg=repr(text)) as caught:
                one(secret, text, NOW)  # type: ignore[arg-type]
            self.assertIn(caught.exception.code, (code,) if code else ("bad_token", "bad_ticket"))

    def test_another_secret_reads_nothing(self) -> None:
        self.refused(ticket(), secret=OTHER)
        self.refused(token(), secret=OTHER)

    def test_a_ticket_is_no_token_and_a_token_is_no_ticket(self) -> None:
        self.refused(ticket(), tokens.read_token)
        self.refused(token(), tokens.read_ticket)
        swapped = "c2t1" + ticket()[4:], "c2i1" + token()[4:]
        self.refused(swapped[0])
        self.refused(swapped[1])

    def test_every_single_changed_character_is_refused(self) -> None:
        for text, read in ((ticket(), tokens.read_ticket), (token(), tokens.read_token)):
            for place in range(len(text)):
                changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
                self.refused(changed, read)

    def test_every_truncation_and_extension_is_refused(self) -> None:
        text = token()
        for cut in range(len(text)):
            self.refused(text[:cut], tokens.read_token)
        for more in ("=", "A", ".", ".A", "\n", " ", "\0"):
            self.refused(text + more, tokens.read_token)
            self.refused(more + text, tokens.read_token)

    def test_hostile_input_of_any_kind_is_refused_and_nothing_else_is_raised(self) -> None:
        header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"../../dev/null"}').decode()
        text: object
        for text in (
            "", ".", "..", "...", "c2t1", "c2t1.", "c2t1..", "c2i1..", f"{header}.e30.", "é", "tökén.a.b", "\ud800", "\0" * 9,
            "c2t1." + "A" * 100_000 + ".x", "c2t1.W10.", "c2t1.%%%.%%%", "Bearer " + token(), None, 7, b"c2t1.W10.x", [], {}, 1e400,
        ):  # fmt: skip
            self.refused(text)

    def test_random_texts_are_refused_and_nothing_else_is_raised(self) -> None:
        chance = random.Random(20)
        signs = "c2ti1.ABCxyz019_-=+/ \n\0é\u202e\U0001f600\ud800"
        for _ in range(2000):
            self.refused("".join(chance.choices(signs, k=chance.randrange(80))), tokens.read_token)

    def test_content_of_another_shape_is_refused_even_when_it_is_signed(self) -> None:
        good = [b'["a","peer",1,1e12]', b'["a","worker","w","' + NONCE.encode() + b'",1e12]']
        self.assertEqual("a", tokens.read_token(SECRET, signed("token", "c2t1", good[0]), NOW).subject)
        self.assertEqual("a", tokens.read_ticket(SECRET, signed("ticket", "c2i1", good[1]), NOW).peer)
        for payload in (
            b"", b"[]", b"{}", b"null", b"nonsense", b"\xff\xfe", b"[" * 3000, b'["a","root",1,1e12]', b'["a","peer","1",1e12]',
            b'["a","peer",1,"1"]', b'["a","peer",1]', b'["a","peer",1,1e12,0]', b'[1,"peer",1,1e12]', b'["a","root","w","x",1e12]',
            b'["a","worker","w","short",1e12]', json.dumps(["a", "worker", "w", "Z" * 32, 1e12]).encode(),
        ):  # fmt: skip
            self.refused(signed("token", "c2t1", payload), tokens.read_token)
            self.refused(signed("ticket", "c2i1", payload), tokens.read_ticket)

    def test_a_time_that_is_no_number_never_lasts(self) -> None:
        with self.assertRaises(Unauthorized):
            tokens.read_token(SECRET, signed("token", "c2t1", b'["a","peer",1,NaN]'), NOW)

    def test_refusals_do_not_repeat_the_text(self) -> None:
        for read, text in (
            (tokens.read_token, token() + "x"), (tokens.read_token, token(ttl_s=-1)), (tokens.read_ticket, ticket(ttl_s=-1)),
        ):  # fmt: skip
            with self.assertRaises(Unauthorized) as caught:
                read(SECRET, text, NOW)
            self.assertNotIn(text[5:20], json.dumps(caught.exception.as_json()))

    def test_no_secret_is_compared_with_the_equals_sign(self) -> None:
        with open(tokens.__file__, encoding="utf-8") as file:
            code = file.read()
        self.assertEqual(2, code.count("compare_digest("))
        for word in ("mac ==", "== mac", "proof ==", "== proof", "mac !=", "proof !="):
            self.assertNotIn(word, code)


class ProofTest(unittest.TestCase):
    def test_only_the_same_secret_nonce_port_and_pid_prove(self) -> None:
        proof = tokens.prove(SECRET, NONCE, 7899, 42)
        self.assertRegex(proof, r"\A[0-9a-f]{64}\Z")
        self.assertTrue(tokens.check_proof(SECRET, NONCE, 7899, 42, proof))
        for secret, nonce, port, pid in (
            (OTHER, NONCE, 7899, 42), (SECRET, NONCE[::-1], 7899, 42), (SECRET, NONCE, 7900, 42), (SECRET, NONCE, 7899, 43),
        ):  # fmt: skip
            self.assertFalse(tokens.check_proof(secret, nonce, port, pid, proof))

    def test_a_proof_of_any_kind_from_a_stranger_is_merely_false(self) -> None:
        proof: object
        for proof in (None, "", "é", "\ud800", 7, b"x", [], "0" * 64, "0" * 100_000):
            self.assertFalse(tokens.check_proof(SECRET, NONCE, 7899, 42, proof))
        pid: object
        for pid in (None, "42", 0, -1, 10**5000, 4.2, [], True):
            self.assertFalse(tokens.check_proof(SECRET, NONCE, 7899, pid, "0" * 64))

    def test_the_broker_signs_no_other_text_than_a_nonce(self) -> None:
        for nonce in ("", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "٣" * 32, " " * 32, NONCE + "\n"):
            with self.assertRaises(BadRequest):
                tokens.prove(SECRET, nonce, 7899, 42)


class SecretTest(unittest.TestCase):
    """What may lie in its place, and races for it: tests/threats/test_identity.py, S19."""

    def setUp(self) -> None:
        self.home = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "home")
        self.path = os.path.join(self.home, "secret")

    def planted(self, content: bytes = b"s" * 40, mode: int = 0o600) -> None:
        os.makedirs(self.home, mode=0o700, exist_ok=True)
        with open(self.path, "wb") as file:
            file.write(content)
        os.chmod(self.path, mode)

    def refused(self, word: str) -> None:
        with self.assertRaises(SecretError) as caught:
            tokens.load_secret(self.home)
        self.assertIn(word, str(caught.exception))

    def test_the_first_use_makes_it_and_every_later_one_reads_it(self) -> None:
        secret = tokens.load_secret(self.home)
        self.assertEqual(secret, tokens.load_secret(self.home))
        self.assertGreaterEqual(len(secret), 32)
        self.assertEqual(["secret"], os.listdir(self.home))

    @unittest.skipUnless(POSIX, "file modes are POSIX")
    def test_it_is_closed_to_others_whatever_the_umask(self) -> None:
        before = os.umask(0)
        try:
            tokens.load_secret(self.home)
        finally:
            os.umask(before)
        self.assertEqual((0o700, 0o600), (os.stat(self.home).st_mode & 0o777, os.stat(self.path).st_mode & 0o777))

    def test_the_environment_gives_it_without_touching_the_directory(self) -> None:
        self.assertEqual(b"e" * 32, tokens.load_secret(self.home, "e" * 32))
        self.assertFalse(os.path.exists(self.home))
        with self.assertRaises(SecretError):
            tokens.load_secret(self.home, "e" * 31)

    def test_a_maker_killed_before_it_took_its_draft_away_harms_nobody(self) -> None:
        self.planted()
        os.link(self.path, os.path.join(self.home, "secret.new-0000"))
        self.assertEqual(b"s" * 40, tokens.load_secret(self.home))
        self.assertEqual(["secret"], os.listdir(self.home))

    @unittest.skipUnless(POSIX, "file modes are POSIX")
    def test_a_directory_that_others_can_enter_is_refused(self) -> None:
        self.planted()
        os.chmod(self.home, 0o755)
        self.refused("chmod 700")


if __name__ == "__main__":
    unittest.main()
