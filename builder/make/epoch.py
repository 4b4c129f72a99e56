"""The time that layers give to what has none of its own."""

EPOCH = 1735689600
"""2025-01-01T00:00:00Z; part of the rules."""
