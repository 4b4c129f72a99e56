from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import SandboxError
from builder.tools import sandbox
from builder.tools.sandbox import Sandbox
from tests.kit.programs import programs

pytestmark = [pytest.mark.integration, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    """A few programs in a root of their own."""
    low = tmp_path / "low"
    for name in ("upper", "own", "low/etc"):
        (tmp_path / name).mkdir(parents=True)
    (low / "etc/old").write_text("old\n")
    for path, source in programs(("sh", "cat", "rm", "sleep")).items():
        (low / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, low / path)
    for name in ("bin", "lib", "lib64"):
        (low / name).symlink_to(f"usr/{name}")
    with sandbox.opened(tmp_path / "own") as opened:
        opened.mount((low,), tmp_path / "upper")
        yield opened


def sh(box: Sandbox, script: str) -> str:
    outcome = box.run(["/bin/sh", "-c", script])
    assert outcome.code == 0, outcome.text
    return outcome.text


def test_what_changes_is_in_the_upper_folder_alone(box: Sandbox, tmp_path: Path) -> None:
    sh(box, "echo new > /etc/old; rm -f /etc/none; echo x > /made")
    assert (tmp_path / "upper/etc/old").read_text() == "new\n"
    assert (tmp_path / "low/etc/old").read_text() == "old\n"
    assert (tmp_path / "upper/made").stat().st_uid == 0
    assert not Path("/made").exists()


def test_no_command_waits_for_the_disk(box: Sandbox) -> None:
    (root,) = [line for line in sh(box, "cat /proc/mounts").splitlines() if line.split()[1] == "/"]
    assert "volatile" in root


def test_another_root_keeps_what_changed_and_begins_with_nothing_in_run_and_tmp(box: Sandbox, tmp_path: Path) -> None:
    sh(box, "echo kept > /made; echo lost > /tmp/lost; echo lost > /run/lost")
    (tmp_path / "top").mkdir()
    (tmp_path / "top/other").write_text("there\n")
    box.mount((tmp_path / "top", tmp_path / "low"), tmp_path / "upper")
    assert sh(box, "cat /made /other; echo x > /dev/null; echo /tmp/* /run/l*") == ("kept\nthere\n/tmp/* /run/lock\n")


def test_a_store_behind_a_link_is_written_to_where_commands_see_it(tmp_path: Path) -> None:
    for name in ("real/own", "real/upper", "low/etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with sandbox.opened(tmp_path / "link/own") as box:
        box.mount((tmp_path / "low",), tmp_path / "link/upper")
        (box.root / "etc/new").write_text("seen\n")
    assert (tmp_path / "real/upper/etc/new").read_text() == "seen\n"


def test_there_is_no_network_but_the_own_address_and_a_fixed_host_name(box: Sandbox) -> None:
    assert sh(box, "cat /proc/sys/kernel/hostname") == "localhost\n"
    assert [line.split(":")[0].strip() for line in sh(box, "cat /proc/net/dev").splitlines()[2:]] == ["lo"]
    assert "127.0.0.1\n" in sh(box, "cat /proc/net/fib_trie")


def test_what_a_command_leaves_running_is_ended(box: Sandbox) -> None:
    started = time.monotonic()
    sh(box, "sleep 300 &")
    assert time.monotonic() - started < 60
    assert "sleep" not in sh(box, "cat /proc/[0-9]*/comm")


def test_a_command_that_takes_too_long_is_ended(box: Sandbox) -> None:
    outcome = box.run(["/bin/sh", "-c", "echo begun; sleep 300"], seconds=1)
    assert (outcome.over, outcome.text) == (True, "begun\n")


def test_a_command_that_is_not_there_is_told(box: Sandbox) -> None:
    outcome = box.run(["/no/such"])
    assert outcome.code == 127
    assert "/no/such" in outcome.text


def test_ids_are_mapped_one_to_one(box: Sandbox) -> None:
    assert sh(box, "cat /proc/self/uid_map").split() == ["0", "0", "65536"]


def test_nothing_is_left_when_the_block_ends(tmp_path: Path) -> None:
    with sandbox.opened(tmp_path) as box:
        upper, lower = tmp_path / "upper", tmp_path / "lower"
        upper.mkdir()
        lower.mkdir()
        box.mount((lower,), upper)
        process = int(str(box.root).split("/")[2])
    assert not Path(f"/proc/{process}").exists()
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_a_mount_that_cannot_be_is_told(tmp_path: Path) -> None:
    with sandbox.opened(tmp_path) as box, pytest.raises(SandboxError, match="overlay"):
        box.mount((tmp_path / "missing",), tmp_path / "upper")
