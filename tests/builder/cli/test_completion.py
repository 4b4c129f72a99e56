"""A real bash completes commands, options and names."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.kit.project import ROOT, environment, imgbuild


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, tmp_path: Path) -> None:
    told = imgbuild("completion", shell, cache=tmp_path)
    assert told.code == 0
    assert "_IMGBUILD_COMPLETE" in told.output


def _typed(keys: str, tmp_path: Path, until: str) -> str:
    """What an interactive bash shows when somebody types."""
    (tmp_path / "rc").write_text(
        "PS1='$ '\nsource <(./imgbuild completion bash)\nbind 'set bell-style none'\necho read''y\n"
    )
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--rcfile", tmp_path / "rc", "-i"],
        cwd=ROOT, env=environment(tmp_path, {"TERM": "dumb"}), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = ""

    def wait_for(text: str) -> bool:
        nonlocal shown
        deadline = time.monotonic() + 60
        while text not in shown and time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 4096).decode(errors="replace")
        return text in shown

    try:
        assert wait_for("ready"), shown
        os.write(master, keys.encode())
        assert wait_for(until), shown
    finally:
        shell.kill()
        shell.wait()
        os.close(master)
    return re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|\r", "", shown.partition("ready")[2])


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("./imgbuild bui\t", "./imgbuild build "),
        ("./imgbuild build nova-cond\t", "nova-conductor "),
        ("./imgbuild build nova/nova-sch\t", "nova/nova-scheduler "),
        ("./imgbuild build nova --loc\t", "--locked "),
        ("./imgbuild show python-1\t", "python-13 "),
        ("./imgbuild -C /nowhere build x\t\x01echo \x05y\n", "./imgbuild -C /nowhere build xy"),
    ],
)
def test_bash(keys: str, shown: str, tmp_path: Path) -> None:
    assert shown in _typed(keys, tmp_path, shown)
