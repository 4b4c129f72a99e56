from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builder.formats import berkeley_db

WRITE = "tie %d, 'DB_File', $ARGV[0], 0x42, 0644, $ARGV[1] ? $DB_BTREE : $DB_HASH; $d{root} = 'admin'; untie %d"
READ = "tie %d, 'DB_File', $ARGV[0], 0, 0644, $ARGV[1] ? $DB_BTREE : $DB_HASH or die $!; print $d{root}"


def perl(script: str, path: Path, kind: str) -> str:
    """Berkeley DB as Debian's perl brings it."""
    words = ["perl", "-MDB_File", "-e", script, str(path), kind]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(
    os.system("perl -MDB_File -e 1 2>/dev/null") != 0,
    reason="needs perl with DB_File",
)
@pytest.mark.parametrize("kind", ["", "btree"])
def test_the_same_entries_give_the_same_bytes(kind: str, tmp_path: Path) -> None:
    files = [tmp_path / "one.db", tmp_path / "two.db"]
    for path in files:
        perl(WRITE, path, kind)
    one, two = (path.read_bytes() for path in files)
    assert one != two
    assert berkeley_db.has_id(one[: berkeley_db.HEAD])
    assert berkeley_db.with_constant_id(one, "etc/a.db") == berkeley_db.with_constant_id(two, "etc/a.db")
    assert berkeley_db.with_constant_id(one, "etc/a.db") != berkeley_db.with_constant_id(one, "etc/b.db")
    files[0].write_bytes(berkeley_db.with_constant_id(one, "etc/a.db"))
    assert perl(READ, files[0], kind) == "admin"


HASH = bytes(12) + b"\x61\x15\x06\x00" + bytes(4) + b"\x00\x10\x00\x00"


@pytest.mark.parametrize("data", [b"", b"text\n" * 200, HASH, HASH + bytes(4096)])
def test_other_files_have_no_id(data: bytes) -> None:
    assert not berkeley_db.has_id(data[: berkeley_db.HEAD])
