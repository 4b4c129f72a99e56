"""Documents of an address that change in place: asked for by ETag, kept, and good for a while where nobody answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import FetchError
from builder.tools import fetch
from builder.tools.carried import Carried
from builder.tools.credentials import Login
from builder.tools.store import Store

_MAX = 1 << 30
"""Debian's tracker is some 70 MB, all of OSV's Debian some 200."""


@dataclass(frozen=True, slots=True)
class Document:
    """What an address or a path gave.

    Attributes:
        warning: why it may be an old one; empty if it is not.
    """

    name: str
    data: bytes
    warning: str = ""


def get(
    place: str, store: Store, logins: tuple[Login, ...] = (), patience: float = 60, *, offline: bool = False,
    there: Carried | None = None,
) -> Iterator[Document]:  # fmt: skip
    """The document of an address, or those of a file or folder.

    Args:
        place: an http(s) address, a file URL or a path.
        offline: take what is kept.
        there: what stands in the place of addresses.

    Raises:
        FetchError: nobody answers and none is kept, or a path cannot be read.
    """
    if not place.startswith(("http://", "https://")):
        yield from _local(Path(place.removeprefix("file://")))
        return
    if there:
        try:
            yield Document(place, there.document(place).read_bytes())
        except FileNotFoundError:
            raise FetchError(f"{place}: no archive has brought it", place, hint="was it to be had outside?") from None
        return
    kept = store.folder("feeds") / hashlib.sha256(place.encode()).hexdigest()
    tag = kept.with_suffix(".etag")
    known = kept.read_bytes() if kept.exists() else None
    warning = ""
    if not offline:
        etag = tag.read_text() if tag.exists() and known is not None else ""
        try:
            found, etag = fetch.document(place, etag, logins, patience, _MAX)
        except FetchError as error:
            if known is None:
                raise
            warning = f"{error.message}; what was fetched before is used"
        else:
            if found is not None:
                # The tag goes first: between the two writes it must not stand for what is not there.
                tag.unlink(missing_ok=True)
                store.write_file(kept, found)
                if etag:
                    store.write_file(tag, etag.encode())
                known = found
    if known is None:
        raise FetchError(f"{place}: never fetched, and not asked for now", place, hint="run it once without --offline")
    yield Document(place, known, warning)


def _local(path: Path) -> Iterator[Document]:
    try:
        if not path.is_dir():
            yield Document(str(path), path.read_bytes())
            return
        for file in sorted(path.iterdir()):
            if file.suffix in (".json", ".zip"):
                yield Document(str(file), file.read_bytes())
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror or error}", "", hint="name a file or a folder of feeds") from None
