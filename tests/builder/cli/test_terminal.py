"""Progress on a real terminal, and its absence elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.project import ROOT, environment

WORK = """
import sys
from builder.cli import list as module, main, options
def work(*_, **__):
    common = options.Common(__import__("pathlib").Path("."), (), False, VERBOSITY)
    reporter = common.reporter()
    reporter.step("making")
    reporter.detail("a detail")
    reporter.progress("layers", 1, 3)
    reporter.warn("look [here]")
    END
module.command.callback = work
sys.argv = ["imgbuild", "list"]
main.main()
"""


def _shown(end: str, tmp_path: Path, *, verbosity: int = 0, **env: str) -> str:
    """What a terminal gets."""
    master, slave = pty.openpty()
    code = WORK.replace("END", end).replace("VERBOSITY", str(verbosity))
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path, {"TERM": "xterm", **env}),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    process.wait()
    os.close(master)
    return shown.decode()


@pytest.mark.parametrize(
    "end", ["raise KeyboardInterrupt", "raise OSError(2, 'gone', '/x')", "raise ZeroDivisionError"]
)
def test_bars_are_gone_before_an_error_is_told(end: str, tmp_path: Path) -> None:
    shown = _shown(end, tmp_path)
    assert "layers" in shown
    back = shown.rindex("\x1b[?25h")
    assert shown.rindex("\x1b[?25l") < back < max(shown.rfind("error: "), shown.rfind("interrupted"))


def test_quiet_says_nothing(tmp_path: Path) -> None:
    assert _shown("return 0", tmp_path, verbosity=-1) == ""


def test_verbose_says_details_and_brackets_are_text(tmp_path: Path) -> None:
    assert "a detail" not in _shown("return 0", tmp_path)
    shown = _shown("return 0", tmp_path, verbosity=1)
    assert "a detail" in shown
    assert "look [here]" in shown


def test_no_color(tmp_path: Path) -> None:
    assert "\x1b[33m" in _shown("return 0", tmp_path)
    assert "\x1b[33m" not in _shown("return 0", tmp_path, NO_COLOR="1")


def test_a_log_has_no_control_characters(tmp_path: Path) -> None:
    code = WORK.replace("END", "return 0").replace("VERBOSITY", "0")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), capture_output=True, check=True
    )
    assert result.stderr == b"making\nwarning: look [here]\n"
