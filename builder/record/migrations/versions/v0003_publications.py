"""Publications; when a fix was first seen; and one word for how grave a flaw is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table and the column, and bring what is there to them."""
    op.create_table(
        "publication",
        sa.Column("image_id", sa.Integer, sa.ForeignKey("image.id"), primary_key=True),
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("repository", sa.String, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("floating", sa.String, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("advisory", sa.Column("mended", sa.BigInteger, nullable=False, server_default="0"))
    # Until now only the flaw itself was dated.
    op.execute("UPDATE advisory SET mended = seen WHERE fixed <> ''")
    op.execute("UPDATE advisory SET severity = 'medium' WHERE severity = 'moderate'")
