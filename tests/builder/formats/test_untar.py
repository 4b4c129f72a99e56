"""Headers that are read by ourselves are read as tarfile reads them."""

from __future__ import annotations

import random
import tarfile
from typing import Literal

import pytest

from builder.formats.untar import Member

FORMATS: tuple[Literal[0], Literal[1], Literal[2]] = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = [
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
    tarfile.CHRTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE,
]  # fmt: skip
FIELDS = ("name", "mode", "uid", "gid", "size", "mtime", "type", "linkname", "chksum")


def told(kind: type[tarfile.TarInfo], header: bytes) -> tuple[object, ...] | type[Exception]:
    """What a header says, or how it is refused."""
    try:
        found = kind.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        return type(error)
    return tuple(getattr(found, field) for field in FIELDS)


def headers(seed: int) -> list[bytes]:
    """Blocks of tars of all formats, with names, ids and sizes that fit and that do not."""
    chance = random.Random(seed)
    made = []
    for form in FORMATS:
        for kind in KINDS:
            info = tarfile.TarInfo(chance.choice(["a", "usr/lib/x", "usr/", "é", "n" * 100, "d/" * 60 + "x"]))
            info.type, info.linkname = kind, chance.choice(["", "../b", "l" * 100])
            info.mode, info.uid = chance.randrange(1 << 12), chance.choice([0, 65535, 1 << 20])
            info.gid, info.size = chance.choice([0, 42436]), chance.choice([0, 1, 1 << 30])
            info.mtime = chance.choice([0, 1_700_000_000])
            data = info.tobuf(form, "utf-8", "surrogateescape")
            made += [data[at : at + tarfile.BLOCKSIZE] for at in range(0, len(data), tarfile.BLOCKSIZE)]
    return made


@pytest.mark.parametrize("seed", range(60))
def test_a_header_says_what_it_says_to_tarfile(seed: int) -> None:
    for header in headers(seed):
        assert told(Member, header) == told(tarfile.TarInfo, header)


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_one_is_refused_as_there(seed: int) -> None:
    chance = random.Random(seed)
    for header in headers(seed):
        damaged = bytearray(header)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        for one in (bytes(damaged), header[: chance.randrange(tarfile.BLOCKSIZE)]):
            assert told(Member, one) == told(tarfile.TarInfo, one)


def test_what_is_plain_is_read_by_ourselves() -> None:
    """Else nothing would be gained, and nobody would notice."""
    header = tarfile.TarInfo("usr/bin/x").tobuf(tarfile.GNU_FORMAT)
    assert Member._plain(header, "utf-8", "surrogateescape") is not None
