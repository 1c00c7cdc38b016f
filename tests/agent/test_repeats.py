"""Whatever a client of ours may send twice carries a key: each operation, by the session's link and by the command line."""

from __future__ import annotations

import unittest
from typing import Any

from lattice.cli import verbs
from lattice.contract.operations import BY_NAME, IDEMPOTENCY_KEY, OPERATIONS, Operation
from lattice.contract.params import Param
from lattice.web.server import Answer
from tests.agent.test_link import WithLink

# These wait, stop, let somebody in or take away: nothing makes twice of them once, so they are not repeated. (A beat twice is a beat.)
NOT_REPEATED = {"sign_in", "shutdown", "permission", "wait_mail", "redact"}
LOST = Answer(200, b"no json")  # done, and nobody knows


def value(param: Param) -> Any:
    """Any value that fits."""
    if param.kind == "choice":
        return param.choices[0]
    if param.kind == "list":
        return [{field.name: value(field) for field in param.fields if field.required}] if param.fields else [value(Param("", param.of))]
    if param.kind == "object":
        return {field.name: value(field) for field in param.fields if field.required}
    return {"integer": 1, "flag": True, "number": 1.0, "reference": 1}.get(param.kind, "x")


def values(operation: Operation) -> dict[str, Any]:
    return {param.name: value(param) for param in operation.params if param.required or param.name in operation.path_params}


class ByTheLink(WithLink):
    def test_each_operation_whose_answer_was_lost_is_asked_again_with_the_same_key_or_not_at_all(self) -> None:
        broker = self.broker()
        link = self.link(broker.port)
        link.enrol()
        for operation in OPERATIONS:
            if "http" not in operation.surfaces or operation.name in ("health", "register", "page"):
                continue
            with self.subTest(operation.name):
                path = operation.path
                for part in operation.path_params:
                    path = path.replace("{" + part + "}", str(values(operation)[part]))
                broker.script[path] = [LOST, {"ok": True}]
                broker.heard.clear()
                if operation.name in NOT_REPEATED:
                    self.assertEqual("unknown_outcome", self.refusal(link, operation.name, **values(operation)).code)
                    self.assertEqual(1, len(broker.bodies(path)))
                    broker.script.clear()
                    continue
                self.assertEqual({"ok": True}, link.ask(operation.name, values(operation)))
                first, second = broker.bodies(path)
                self.assertEqual(first, second)
                self.assertEqual(IDEMPOTENCY_KEY in operation.params, bool(first.get("idempotency_key")))


class ByTheCommandLine(unittest.TestCase):
    def test_each_verb_that_changes_something_carries_a_key_and_no_other_does(self) -> None:
        for operation in OPERATIONS:
            if "cli" in operation.surfaces:
                call = verbs.call_of(operation, values(operation))
                self.assertEqual(IDEMPOTENCY_KEY in operation.params, bool((call.body or {}).get("idempotency_key")), operation.name)

    def test_two_calls_have_two_keys(self) -> None:
        first, second = (verbs.call_of(BY_NAME["set_memory"], {"key": "k", "value": "v"}).body["idempotency_key"] for _ in range(2))
        self.assertNotEqual(first, second)


if __name__ == "__main__":
    unittest.main()
