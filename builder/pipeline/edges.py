"""The edges of the program, made once by the command line and handed on."""

from __future__ import annotations

from dataclasses import dataclass

from builder.report import Reporter
from builder.tools.store import Store


@dataclass(frozen=True, slots=True)
class Edges:
    """Where a pipeline reads, writes and tells.

    Attributes:
        jobs: how much is done at once.
        offline: whether sources must not be asked for newer indexes.
    """

    store: Store
    reporter: Reporter
    jobs: int = 1
    offline: bool = False
