"""Releases, and what they hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "workspace",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
    )
    op.create_table(
        "history",
        sa.Column("workspace_id", sa.Integer, sa.ForeignKey("workspace.id"), primary_key=True),
        sa.Column("folder", sa.String, primary_key=True),
        sa.Column("head", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("workspace_id", sa.Integer, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("component", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.UniqueConstraint("workspace_id", "component", "name", name="image_names"),
    )
    op.create_table(
        "release",
        sa.Column("image_id", sa.Integer, sa.ForeignKey("image.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("content_key", sa.LargeBinary),
        sa.Column("lock", sa.LargeBinary),
        sa.Column("commit", sa.LargeBinary),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("config", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "package",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("source_version", sa.String, nullable=False),
        sa.UniqueConstraint("name", "version", "source", "source_version", name="package_versions"),
    )
    op.create_table(
        "place",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("definition", sa.String, nullable=False),
        sa.Column("layer", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.UniqueConstraint("definition", "layer", "why", name="place_names"),
    )
    op.create_table(
        "layer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("digest", "key", name="layer_digests"),
    )
    for name, item, index in (("held", "package", "held_by"), ("laid", "layer", "laid_in")):
        op.create_table(
            name,
            sa.Column(f"{item}_id", sa.Integer, sa.ForeignKey(f"{item}.id"), primary_key=True),
            sa.Column("image_id", sa.Integer, sa.ForeignKey("image.id"), primary_key=True),
            sa.Column("place_id", sa.Integer, sa.ForeignKey("place.id"), primary_key=True),
            sa.Column("first", sa.Integer, primary_key=True),
            sa.Column("last", sa.Integer, nullable=False),
            sqlite_with_rowid=False,
        )
        op.create_index(index, name, ["image_id", "last"])
