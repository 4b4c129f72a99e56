"""What an image holds from which of its releases up to which: written when it changes, not with each release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from builder.record.schema import OPEN

Item = tuple[int, ...]


class Spans:
    """The spans of one image, in one of the tables ``held`` and ``laid``."""

    def __init__(self, connection: Connection, table: Table, image: int) -> None:
        self._connection, self._table, self._image = connection, table, image
        self._names = tuple(c.name for c in table.columns if c.name not in ("image_id", "first", "last"))
        self._open: dict[Item, int] = {}
        self._written: set[tuple[Item, int]] = set()
        self._ended: list[tuple[Item, int, int]] = []
        self._read()

    def _read(self) -> None:
        table = self._table
        query = select(*(table.c[name] for name in self._names), table.c.first)
        found = self._connection.execute(query.where(table.c.image_id == self._image, table.c.last == OPEN))
        self._open = {tuple(row[:-1]): row[-1] for row in found}
        self._written = set(self._open.items())

    def append(self, number: int, items: frozenset[Item]) -> None:
        """What a further release holds, the newest one."""
        for item in self._open.keys() - items:
            self._ended.append((item, self._open.pop(item), number - 1))
        for item in items - self._open.keys():
            self._open[item] = number

    def at(self, number: int) -> frozenset[Item]:
        """What a release holds."""
        self.flush()
        table = self._table
        query = select(*(table.c[name] for name in self._names)).where(
            table.c.image_id == self._image, table.c.first <= number, table.c.last >= number
        )
        return frozenset(tuple(row) for row in self._connection.execute(query))

    def cut(self, number: int) -> None:
        """Take a release away, and all after it."""
        self.flush()
        table, mine = self._table, self._table.c.image_id == self._image
        self._connection.execute(delete(table).where(mine, table.c.first >= number))
        reopened = update(table).where(mine, table.c.last >= number - 1, table.c.last < OPEN)
        self._connection.execute(reopened.values(last=OPEN))
        self._read()

    def flush(self) -> None:
        """Write what has changed."""
        table = self._table
        new = [row for row in self._ended if row[:2] not in self._written]
        ended = [row for row in self._ended if row[:2] in self._written]
        begun = [(item, first, OPEN) for item, first in self._open.items() if (item, first) not in self._written]
        if ended:
            keys = [table.c[name] == bindparam(f"a_{name}") for name in (*self._names, "first")]
            query = update(table).where(table.c.image_id == self._image, *keys).values(last=bindparam("a_last"))
            self._connection.execute(query, [self._row(row, "a_") for row in ended])
        if new or begun:
            self._connection.execute(insert(table), [{**self._row(r), "image_id": self._image} for r in (*new, *begun)])
        self._written = set(self._open.items())
        self._ended = []

    def _row(self, row: tuple[Item, int, int], prefix: str = "") -> dict[str, Any]:
        item, first, last = row
        values: Sequence[int] = (*item, first, last)
        return {f"{prefix}{name}": value for name, value in zip((*self._names, "first", "last"), values, strict=True)}
