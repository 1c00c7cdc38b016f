"""Who may: a principal against the roles that an operation names.

A principal is what the broker's own record says of the caller, never what the request says: the role
of a peer (worker, architect), the person (system), the page (viewer), an enrolment ticket (ticket),
or nobody known (anyone). No principal includes another: an operation names all who may.
On whose things somebody may do it is the operation's own question.
"""

from __future__ import annotations

PRINCIPALS = ("worker", "architect", "system", "viewer", "ticket", "anyone")


def may(principal: str, roles: tuple[str, ...]) -> bool:
    """Whether `principal` may call an operation open to `roles`. Nobody unknown may more than anyone may."""
    return "anyone" in roles or (principal in PRINCIPALS and principal in roles)
