"""The numbers by which rows that never change are named: of workspaces, images, packages, places, layers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, insert, select

from builder.record import schema


class Numbers:
    """The numbers of a table's rows."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection, self._table = connection, table
        self._names = tuple(column.name for column in table.columns if column.name != "id")
        query = select(*(table.c[name] for name in self._names), table.c.id)
        self._known: dict[tuple[Any, ...], int] = {tuple(row[:-1]): row[-1] for row in connection.execute(query)}
        self._next = 1 + max(self._known.values(), default=0)
        self._new: list[dict[str, Any]] = []

    def of(self, values: tuple[Any, ...]) -> int:
        """The number of a row, which is written if it is new."""
        found = self._known.get(values)
        if found is None:
            found = self._known[values] = self._next
            self._next += 1
            self._new.append({**dict(zip(self._names, values, strict=True)), "id": found})
        return found

    def flush(self) -> None:
        """Write new rows: before those that name them."""
        if self._new:
            self._connection.execute(insert(self._table), self._new)
            self._new = []


def workspace(connection: Connection, name: str) -> int:
    """The number of a workspace."""
    names = Numbers(connection, schema.workspace)
    number = names.of((name,))
    names.flush()
    return number
