"""Berkeley DB files: each has an id made of its inode, its device and chance, in the first page of each database in it.

The id tells files apart that are open in one environment. Made of what is in the file and of its name instead, it does so
still, and the same entries give the same bytes (``DBMETA`` of db_page.h).
"""

from __future__ import annotations

import hashlib
import struct

HEAD = 512
"""How many bytes tell whether a file is one: the least that a page has."""
_MAGIC = {0x053162, 0x061561, 0x042253}  # btree, hash, queue
_CHECKSUMS = 1
_ID_AT, _ID_SIZE = 52, 20


def has_id(head: bytes) -> bool:
    """Whether a file that begins so is one whose id can be another: pages have no checksums and are not encrypted."""
    if len(head) < HEAD or struct.unpack_from("=I", head, 12)[0] not in _MAGIC:
        return False
    size, encryption, _, flags = struct.unpack_from("=IBBB", head, 20)
    return size >= HEAD and not encryption and not flags & _CHECKSUMS and any(head[_ID_AT : _ID_AT + _ID_SIZE])


def with_constant_id(data: bytes, name: str) -> bytes:
    """A file's bytes with an id made of them and its name."""
    # Wherever it stands: each database in the file has a page with it, and other pages have what was in memory there.
    old = data[_ID_AT : _ID_AT + _ID_SIZE]
    blank = data.replace(old, bytes(_ID_SIZE))
    made = hashlib.sha256(name.encode(errors="surrogateescape") + b"\0" + blank).digest()
    return data.replace(old, made[:_ID_SIZE])
