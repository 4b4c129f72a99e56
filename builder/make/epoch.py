"""What is the same for every layer: the time of what has none of its own, and the names that scripts know."""

EPOCH = 1735689600
"""2025-01-01T00:00:00Z; part of the rules."""
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
"""/etc/hosts while configuring."""
