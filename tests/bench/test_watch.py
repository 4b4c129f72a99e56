"""What a command takes, seen from outside."""

from __future__ import annotations

import sys

import pytest

from bench import watch

EATER = """
import subprocess, sys, time
held = b"x" * 64_000_000
if len(sys.argv) < 2:
    subprocess.run([sys.executable, "-c", sys.orig_argv[2], "child"])
time.sleep(0.5)
print("done")
"""


def test_memory_is_that_of_the_whole_tree() -> None:
    usage = watch.run([sys.executable, "-c", EATER], memory=True)
    assert 2 * 64_000_000 < usage.rss < 4 * 64_000_000
    assert 64_000_000 < usage.pss <= usage.rss
    assert usage.wall >= 1.0
    assert usage.output == "done\ndone\n"


def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(watch.Failed, match=r"(?s)ended with 3:\nno\n"):
        watch.run(["sh", "-c", "echo no; exit 3"])
