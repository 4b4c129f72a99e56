"""What indexes said of locked packages, kept as files for the day on which no index knows them any more."""

from __future__ import annotations

from pathlib import Path

from builder.formats import deb
from builder.model.digest import Digest

_SUM = "X-Imgbuild-Sum"


def text(fields: dict[str, str]) -> bytes:
    """A stanza as it is kept: with a checksum of itself."""
    data = "".join(f"{key}: {value}\n" for key, value in fields.items()).encode("utf-8", "surrogateescape")
    return data + f"{_SUM}: {Digest.of(data).hex}\n".encode()


def read(path: Path) -> dict[str, str] | None:
    """A kept stanza; None if there is none. One that is damaged is removed."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    body, _, checksum = data.rpartition(f"{_SUM}: ".encode())
    if checksum.decode(errors="replace").strip() != Digest.of(body).hex:
        path.unlink(missing_ok=True)
        return None
    return deb.fields(body.decode("utf-8", "surrogateescape"))
