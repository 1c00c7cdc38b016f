"""What schemathesis sends, put right in four points before it is sent. Loaded by it, by the name of this module.

- A call that waits is let wait no second: a valid `wait_s` is minutes long, and one that is left out half a minute.
- A GET for a path that has only POST is sent without the body it would have had: a GET with a body is refused before its path is
  looked at (`tests/threats/test_http.py`), and what is asked for here is the 405.
- A whole number is written in an address as one: 37475.0 is a whole number of JSON, and as text of an address is refused.
- Where one call goes on from another, the fields that name the caller are left out: the token is the person's, for whom they mean
  acting for somebody else, who is not there. What is named beside the thing itself (the peer it is assigned to, the tasks it waits
  for) is there too: a 404 would else be said of the thing.
"""

from __future__ import annotations

import schemathesis
from schemathesis.core import NOT_SET
from schemathesis.generation.meta import TestPhase

from lattice.contract.operations import BY_NAME

NAMED_BESIDE = {"assign_task": {"peer_id": "worker-fe"}, "depend_task": {"add": [1], "remove": [1]}}
WAITING = ("/heartbeat", "/inbox/wait", "/permission")


@schemathesis.hook
def before_call(context, case, kwargs):  # type: ignore[no-untyped-def]
    if case.method.upper() == "GET":
        case.body = NOT_SET
    elif case.operation.path in WAITING:
        body = {} if case.body is NOT_SET else case.body
        if isinstance(body, dict):
            wait_s = body.get("wait_s")
            if wait_s is None or (isinstance(wait_s, (int, float)) and wait_s > 0):
                case.body = {**body, "wait_s": 0}
    for place in (case.path_parameters, case.query):
        for name, value in (place or {}).items():
            if isinstance(value, float) and value.is_integer():
                place[name] = int(value)
    if case.meta is not None and case.meta.phase.name == TestPhase.STATEFUL and isinstance(case.body, dict):
        operation = BY_NAME[case.operation.definition.raw["operationId"]]
        callers = {param.name for param in operation.params if param.identity}
        beside = NAMED_BESIDE.get(operation.name, {})
        case.body = {name: beside.get(name, value) for name, value in case.body.items() if name not in callers}
