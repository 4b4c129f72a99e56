"""django-compressor's manifest: JSON whose rows stand as the threads that found them ended, each time in another order.

Nothing reads the order (``write_offline_manifest`` of its cache.py), so sorted rows are the same manifest.
"""

from __future__ import annotations

import re

NAME = "manifest.json"
_MANIFEST = re.compile(rb'\{\n(?:  "[0-9a-f]{64}": "(?:[^"\\\n]|\\.)*",\n)*  "[0-9a-f]{64}": "(?:[^"\\\n]|\\.)*"\n\}')


def in_order(data: bytes) -> bytes:
    """A manifest's bytes with its rows sorted; any other bytes as they are."""
    if not _MANIFEST.fullmatch(data):
        return data
    # No text of JSON has a line break in it.
    return b"{\n%s\n}" % b",\n".join(sorted(data[2:-2].split(b",\n")))
