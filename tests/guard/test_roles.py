"""Who may call what."""

from __future__ import annotations

import unittest

from lattice.contract import operations
from lattice.guard.roles import PRINCIPALS, may


class RolesTest(unittest.TestCase):
    def test_a_principal_may_exactly_what_names_it(self) -> None:
        for principal in PRINCIPALS:
            for other in PRINCIPALS:
                self.assertEqual(other in (principal, "anyone"), may(principal, (other,)), (principal, other))

    def test_everyone_known_or_not_may_what_anyone_may(self) -> None:
        for principal in (*PRINCIPALS, "", "nobody", "Anyone"):
            self.assertTrue(may(principal, ("anyone",)))

    def test_a_principal_that_does_not_exist_may_nothing_else(self) -> None:
        for principal in ("", "root", "System", "system ", "dead", "worker,system"):
            self.assertFalse(may(principal, ("worker", "architect", "system", "viewer", "ticket", principal)))
        self.assertFalse(may("system", ()))

    def test_the_page_changes_nothing_and_a_ticket_only_enrols_or_stops_the_broker(self) -> None:
        for operation in operations.OPERATIONS:
            if may("viewer", operation.roles):
                self.assertEqual("read", operation.effect, operation.name)
            if may("ticket", operation.roles) and "anyone" not in operation.roles:
                self.assertIn(operation.name, ("register", "sign_in", "shutdown"))

    def test_only_reads_are_open_to_anyone(self) -> None:
        open_to_all = {operation.name for operation in operations.OPERATIONS if may("anyone", operation.roles)}
        self.assertEqual({"health", "ready", "page"}, open_to_all & {"health", "ready", "page"})
        self.assertEqual({"read"}, {operations.BY_NAME[name].effect for name in open_to_all})

    def test_whoever_leads_may_what_a_worker_may(self) -> None:
        for operation in operations.OPERATIONS:
            if may("worker", operation.roles):
                self.assertTrue(may("architect", operation.roles) and may("system", operation.roles), operation.name)


if __name__ == "__main__":
    unittest.main()
