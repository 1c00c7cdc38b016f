"""The floors of the house: who may import whom, and who may write which table. Standard library `ast`, nothing is run."""

from __future__ import annotations

import ast
import os
import re
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = os.path.join(TOP, "lattice")

FLOOR = {
    "errors": 0, "clock": 0, "names": 0, "settings": 0, "visible": 0, "exclusive": 0, "lasting": 0, "reach": 0, "typed": 0,
    "contract": 1, "web": 1, "store": 1, "guard": 1, "clients": 1,
    "daemon": 2, "domain": 2,
    "broker": 3, "agent": 3, "hooks": 3, "relay": 3,
    "cli": 4,
}  # fmt: skip
NOUNS = (
    "events", "runs", "peers", "chains", "strains", "escalations", "messages", "rooms", "tasks", "locks", "memory", "conversations",
    "departures", "adoptions", "capsules", "redactions", "forgetting",
)  # fmt: skip
BESIDE_A_SESSION = ("agent", "hooks", "relay")
CLOSED_TO_A_SESSION = ("store", "domain", "broker", "cli")
NO_SUCH_ROOM = {"utils", "helpers", "common", "manager", "misc"}
WRITES = re.compile(r"\b(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM|REPLACE\s+INTO)\s+([a-z_]+)\b")
NOT_TABLES = {"of", "set", "on", "the", "a"}


def modules() -> dict[str, str]:
    """Dotted name below `lattice` → path, for every module of the package."""
    found = {}
    for folder, folders, files in os.walk(PACKAGE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                dotted = os.path.relpath(path, PACKAGE)[:-3].replace(os.sep, ".").removesuffix("__init__").rstrip(".")
                found[dotted] = path
    return found


def imports(path: str) -> list[tuple[int, str]]:
    """(line, dotted name below `lattice`) of every import of ours, wherever it stands; under TYPE_CHECKING it costs nothing."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    found = []
    for node in _live(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.append((node.lineno, "lattice.(relative)"))
            elif node.module == "lattice":
                found += [(node.lineno, f"lattice.{alias.name}") for alias in node.names if not alias.name.isupper()]
            elif node.module:
                found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return [(line, name.removeprefix("lattice.")) for line, name in found if name.startswith("lattice.")]


def _live(tree: ast.AST) -> list[ast.AST]:
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        found.append(node)
        found += _live(node)
    return found


def room(dotted: str) -> str:
    return dotted.split(".")[0]


class TheFloors(unittest.TestCase):
    def test_every_room_stands_on_a_floor_and_has_a_speaking_name(self) -> None:
        for dotted in modules():
            if dotted:
                self.assertIn(room(dotted), FLOOR, f"{dotted}: say in FLOOR where it stands")
                self.assertFalse(set(dotted.split(".")) & NO_SUCH_ROOM, dotted)

    def test_nobody_imports_from_a_higher_floor(self) -> None:
        for dotted, path in modules().items():
            for line, target in imports(path) if dotted else ():
                self.assertIn(room(target), FLOOR, f"{dotted}:{line} imports {target}, which does not exist")
                self.assertLessEqual(FLOOR[room(target)], FLOOR[room(dotted)], f"{dotted}:{line} imports {target} from above")

    def test_on_one_floor_only_what_is_stated(self) -> None:
        for dotted, path in modules().items():
            for line, target in imports(path) if dotted else ():
                here, there = room(dotted), room(target)
                if here == there or FLOOR[here] != FLOOR[there] or FLOOR[here] == 0:
                    continue
                self.assertIn(
                    (here, there),
                    {("hooks", "agent")},
                    f"{dotted}:{line} imports {target} from its own floor",
                )

    def test_a_noun_imports_only_nouns_to_its_left(self) -> None:
        for dotted, path in modules().items():
            if not dotted.startswith("domain."):
                continue
            here = dotted.split(".")[1]
            for line, target in imports(path):
                there = target.split(".")[1] if target.startswith("domain.") else ""
                if there in NOUNS and here in NOUNS and there != here:
                    self.assertLess(NOUNS.index(there), NOUNS.index(here), f"{dotted}:{line} imports {target} from its right")

    def test_what_runs_beside_a_session_knows_nothing_of_the_brokers_inside(self) -> None:
        for dotted, path in modules().items():
            if room(dotted) not in BESIDE_A_SESSION:
                continue
            for line, target in imports(path):
                self.assertNotIn(room(target), CLOSED_TO_A_SESSION, f"{dotted}:{line} imports {target}")
                if room(target) == "guard":
                    self.assertTrue(target.startswith("guard.tokens"), f"{dotted}:{line} imports {target}")

    def test_guard_has_no_sql_no_http_and_no_clock(self) -> None:
        for dotted, path in modules().items():
            if room(dotted) != "guard":
                continue
            with open(path, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            self.assertFalse(named & {"sqlite3", "http", "socket", "time", "datetime", "http.server"}, dotted)

    def test_there_is_no_cycle(self) -> None:
        known = modules()
        graph: dict[str, set[str]] = {}
        for dotted, path in known.items():
            graph[dotted] = set()
            for _, target in imports(path):
                owner = target if target in known else target.rpartition(".")[0]
                if owner in known and owner != dotted:
                    graph[dotted].add(owner)
        state: dict[str, int] = {}

        def visit(node: str, trail: tuple[str, ...]) -> None:
            self.assertNotEqual(state.get(node), 1, " → ".join((*trail, node)))
            if state.get(node) == 2:
                return
            state[node] = 1
            for next_node in sorted(graph[node]):
                visit(next_node, (*trail, node))
            state[node] = 2

        for node in sorted(graph):
            visit(node, ())


class TheTables(unittest.TestCase):
    def test_each_table_is_written_by_one_module_only(self) -> None:
        with_schema = os.path.join(PACKAGE, "store", "schema.sql")
        if not os.path.exists(with_schema):
            self.fail("lattice/store/schema.sql is missing")
        with open(with_schema, encoding="utf-8") as file:
            tables = set(re.findall(r"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", file.read(), re.I))
        self.assertTrue(tables)
        writers: dict[str, set[str]] = {}
        for dotted, path in modules().items():
            for text in _strings(path):
                for table in WRITES.findall(text):
                    if table in tables:
                        writers.setdefault(table, set()).add(dotted)
        for table, owners in sorted(writers.items()):
            self.assertEqual(len(owners), 1, f"{table} is written by {sorted(owners)}")

    def test_sql_stands_in_domain_and_store_alone(self) -> None:
        for dotted, path in modules().items():
            if room(dotted) in ("domain", "store", "") or dotted == "broker.dashboard":
                continue
            for text in _strings(path):
                written = set(WRITES.findall(text)) - NOT_TABLES
                self.assertFalse(written, f"{dotted} writes {written}")


def _strings(path: str) -> list[str]:
    """Every text constant of a module that is no docstring, and the constant parts of f-strings."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


if __name__ == "__main__":
    unittest.main()
