"""Advisories, and when each was first seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "feed",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("suites", sa.String, nullable=False),
        sa.Column("broken", sa.String, nullable=False),
    )
    op.create_table(
        "advisory",
        sa.Column("feed_id", sa.Integer, sa.ForeignKey("feed.id"), primary_key=True),
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("suite", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("introduced", sa.String, primary_key=True),
        sa.Column("fixed", sa.String, nullable=False),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("waiting", sa.String, nullable=False),
        sa.Column("aliases", sa.String, nullable=False),
        sa.Column("published", sa.String, nullable=False),
        sa.Column("summary", sa.String, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
