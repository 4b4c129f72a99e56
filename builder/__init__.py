"""Everything that a definition asks for: locks, plans, layers, images."""

__version__ = "0.1.0"
