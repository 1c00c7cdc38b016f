"""Hiding: a text is taken out of the columns that hold texts of peers, and a mark stands where it stood.

Each noun says which columns of its table those are (`Texts`), so that whoever adds one adds it there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lattice.store.database import Tx

Key = str | int | tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """The columns of a table that hold texts; those in `json` are JSON, whose strings are meant.

    `whole` names the members of such JSON that are texts, where the rest is not to be lost with them; empty: all are.
    """

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    json: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()


@dataclass(slots=True)
class Hidden:
    """`text`: each occurrence of it becomes `mark`. Without: all texts of one row do. `removed`: what stood there."""

    text: str
    mark: str
    removed: set[str] = field(default_factory=set)

    def spellings(self) -> list[str]:
        """The text as it stands in a column, in JSON, and in JSON inside of JSON."""
        found = {self.text}
        for _ in range(2):
            found |= {json.dumps(one, ensure_ascii=ascii)[1:-1] for one in found for ascii in (False, True)}
        return sorted(found)

    def instead(self, value: str) -> str:
        if not value:
            return value
        new = value.replace(self.text, self.mark) if self.text else self.mark
        if new != value and not self.text:
            self.removed.add(value)
        return new


def hide(tx: Tx, texts: Texts, hidden: Hidden, only: Key | None = None, *, dry_run: bool = False) -> list[Key]:
    """The keys of the rows that were changed: the one row `only`, or those that hold the text."""
    names = (*texts.columns, *texts.json)
    # Every name comes from the module that owns the table.
    select = f"SELECT {', '.join((*texts.key, *names))} FROM {texts.table} WHERE "
    values: list[object] = []
    if only is not None:
        values = list(only) if isinstance(only, tuple) else [only]
        select += " AND ".join(f"{name} = ?" for name in texts.key[: len(values)])
    else:
        spellings = hidden.spellings()
        select += " OR ".join(f"INSTR({name}, ?)" for name in names for _ in spellings)
        values = [*spellings * len(names)]
    found: list[Key] = []
    for row in tx.all(select, values):
        new = {name: hidden.instead(row[name] or "") for name in texts.columns}
        new |= {name: _in_json(texts, hidden, row[name]) for name in texts.json}
        if all(new[name] == (row[name] or "") for name in names):
            continue
        key = tuple(row[name] for name in texts.key)
        if not dry_run:
            assigned, where = ", ".join(f"{name} = ?" for name in names), " AND ".join(f"{name} = ?" for name in texts.key)
            tx.run(f"UPDATE {texts.table} SET {assigned} WHERE {where}", (*(new[name] for name in names), *key))
        found.append(key if len(key) > 1 else key[0])
    return found


def _in_json(texts: Texts, hidden: Hidden, value: str | None) -> str:
    if not value:
        return value or ""
    told = json.loads(value)
    if hidden.text or not texts.whole:
        return json.dumps(_walk(told, hidden.instead), ensure_ascii=False)
    return json.dumps({**told, **{name: _walk(told[name], hidden.instead) for name in texts.whole if name in told}}, ensure_ascii=False)


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_walk(one, change) for one in value]
    if isinstance(value, dict):
        return {name: _walk(one, change) for name, one in value.items()}
    return value
