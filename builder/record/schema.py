"""The tables of the record, as they are after the last migration.

A fleet that is released each night holds nearly the same packages as the night before: what an image holds is written as
spans, from the first of its releases up to the last one that holds it so.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

VERSION = "0003"
"""The last migration."""
OPEN = 2**31 - 1
"""The end of a span that the newest release is in."""


class Hex(TypeDecorator[str]):
    """Hexadecimal digits, stored as half as many bytes; empty ones as nothing."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """To the database."""
        return bytes.fromhex(value) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> str:
        """From the database."""
        return bytes(value).hex() if value is not None else ""


METADATA = MetaData()

workspace = Table(
    "workspace", METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
)  # fmt: skip

history = Table(
    "history", METADATA,
    Column("workspace_id", ForeignKey("workspace.id"), primary_key=True),
    Column("folder", String, primary_key=True),
    Column("head", Hex, nullable=False),
)  # fmt: skip
"""The commit up to which a repository was read; its folder is told from the workspace."""

image = Table(
    "image", METADATA,
    Column("id", Integer, primary_key=True),
    Column("workspace_id", ForeignKey("workspace.id"), nullable=False),
    Column("component", String, nullable=False),
    Column("name", String, nullable=False),
    UniqueConstraint("workspace_id", "component", "name", name="image_names"),
)  # fmt: skip

release = Table(
    "release", METADATA,
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("version", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("content_key", Hex),
    Column("lock", Hex),
    Column("commit", Hex),
    Column("time", BigInteger, nullable=False),
    Column("digest", Hex),
    Column("config", Hex),
    sqlite_with_rowid=False,
)  # fmt: skip
"""The releases of an image, numbered in their order."""

publication = Table(
    "publication", METADATA,
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("version", String, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("repository", String, primary_key=True),
    Column("digest", Hex, nullable=False),
    Column("floating", String, nullable=False),
    Column("time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
"""Where releases lie: repositories with their registries. A release is named as its tag does; the tags that move are those
that name it there."""

package = Table(
    "package", METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("source", String, nullable=False),
    Column("source_version", String, nullable=False),
    UniqueConstraint("name", "version", "source", "source_version", name="package_versions"),
)  # fmt: skip

place = Table(
    "place", METADATA,
    Column("id", Integer, primary_key=True),
    Column("definition", String, nullable=False),
    Column("layer", String, nullable=False),
    Column("why", String, nullable=False),
    UniqueConstraint("definition", "layer", "why", name="place_names"),
)  # fmt: skip
"""Where in an image a package is, and why; without a reason, where a layer is."""


def _spans(name: str, item: str) -> Table:
    """From which up to which of an image's releases something is at a place of it."""
    return Table(
        name, METADATA,
        Column(f"{item}_id", ForeignKey(f"{item}.id"), primary_key=True),
        Column("image_id", ForeignKey("image.id"), primary_key=True),
        Column("place_id", ForeignKey("place.id"), primary_key=True),
        Column("first", Integer, primary_key=True),
        Column("last", Integer, nullable=False),
        sqlite_with_rowid=False,
    )  # fmt: skip


held = _spans("held", "package")
"""From which up to which of an image's releases it holds a package."""
Index("held_by", held.c.image_id, held.c.last)

layer = Table(
    "layer", METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", Hex, nullable=False),
    Column("digest", Hex, nullable=False),
    Column("size", BigInteger, nullable=False),
    UniqueConstraint("digest", "key", name="layer_digests"),
)  # fmt: skip

laid = _spans("laid", "layer")
"""From which up to which of an image's releases a layer is in it, as far as somebody has built them."""
Index("laid_in", laid.c.image_id, laid.c.last)

feed = Table(
    "feed", METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("digest", Hex, nullable=False),
    Column("suites", String, nullable=False),
    Column("broken", String, nullable=False),
)  # fmt: skip
"""Documents of advisories, as they were read last."""

advisory = Table(
    "advisory", METADATA,
    Column("feed_id", ForeignKey("feed.id"), primary_key=True),
    Column("source", String, primary_key=True),
    Column("suite", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("introduced", String, primary_key=True),
    Column("fixed", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("waiting", String, nullable=False),
    Column("aliases", String, nullable=False),
    Column("published", String, nullable=False),
    Column("summary", String, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("mended", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)  # fmt: skip
"""What feeds say, when that was first seen, and when a fix of it was."""
