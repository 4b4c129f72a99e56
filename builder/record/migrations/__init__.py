"""Changes of the record's schema, oldest first; alembic runs them."""
