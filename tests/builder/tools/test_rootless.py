"""Who is not root gets a user namespace for what needs owners, or is told what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.tools import machine, rootless
from tests.kit.users import User, alone, user

pytestmark = [pytest.mark.integration, pytest.mark.skipif(os.geteuid() != 0, reason="makes users")]

SCRIPT = """\
import os, sys
from builder.errors import SandboxError
from builder.tools import rootless

class Told:
    def note(self, message):
        print("told", message)

def work(folder, reporter):
    reporter.note("hello")
    os.mkdir(folder)
    os.chown(folder, 1, 65535)
    os.mkdir(folder + "/inner", 0o700)
    os.chown(folder + "/inner", 8000, 8000)
    return os.getuid(), os.getgid()

def fails(reporter):
    raise SandboxError("no", "do")

def dies(reporter):
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    try:
        print(rootless.call(globals()[sys.argv[1]], *sys.argv[2:], reporter=Told()))
    except SandboxError as error:
        print(error.message, "|", error.hint)
"""


def says(somebody: User, *words: str) -> str:
    (somebody.home / "script.py").write_text(SCRIPT)
    result = somebody.run(somebody.python, "script.py", *words)
    assert result.code == 0, result.errors
    return result.output


def owners(folder: Path) -> tuple[tuple[int, int], ...]:
    return tuple((found.st_uid, found.st_gid) for found in (folder.stat(), (folder / "inner").stat()))


@pytest.mark.parametrize("by_number", [False, True])
def test_owners_are_subordinate_ids(by_number: bool) -> None:
    with user(by_number=by_number) as somebody:
        assert says(somebody, "work", "made") == "told hello\n(0, 0)\n"
        first = min(somebody.ids - {min(somebody.ids)})
        assert owners(somebody.home / "made") == ((first, first + 65534), (first + 7999, first + 7999))


def test_several_ranges_together_are_enough() -> None:
    with user(subordinate=((0, 100), (1000, 60000), (100000, 65536))) as somebody:
        assert says(somebody, "work", "made") == "told hello\n(0, 0)\n"
        first = min(somebody.ids - {min(somebody.ids)})
        assert owners(somebody.home / "made") == ((first, first + 100_000 + 5434), (first + 8899, first + 8899))


def test_an_error_comes_out_as_it_was_raised() -> None:
    with user() as somebody:
        assert says(somebody, "fails") == "no | do\n"
        assert says(somebody, "dies").startswith("the process that makes layers has died | ")
        assert somebody.left_over() == {}


@pytest.mark.parametrize(("ranges", "there"), [((), "none"), (((0, 65534),), "65534")])
def test_too_few_ids_are_told_with_the_command_that_adds_them(ranges: tuple[tuple[int, int], ...], there: str) -> None:
    with user(subordinate=ranges) as somebody:
        said = says(somebody, "work", "made")
        assert f"{somebody.name} has too few subordinate ids: 65535 are needed in /etc/subuid ({there} there)" in said
        with alone():
            subprocess.run(said.partition("as root, ")[2].partition(";")[0].split(), check=True)
        assert says(somebody, "work", "made") == "told hello\n(0, 0)\n"


def test_no_new_rights_are_told() -> None:
    with user() as somebody:
        (somebody.home / "script.py").write_text(SCRIPT)
        words = ("setpriv", "--no-new-privs", somebody.python, "script.py", "work", "made")
        assert "gains no rights here (no_new_privs)" in somebody.run(*words).output


def test_root_needs_no_namespace() -> None:
    assert rootless.call(os.getpid) == os.getpid()


def test_a_kernel_without_namespaces_is_told(tmp_path: Path) -> None:
    # The limit holds for the namespace in which it is set, and all below.
    code = "import sys; from pathlib import Path; from builder.tools import sandbox\n"
    code += "try:\n  with sandbox.opened(Path(sys.argv[1])): pass\n"
    code += "except Exception as error: print(error.message, '|', error.hint)"
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh", sys.executable, "-c", code]
    said = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert "No space left" in said
    assert "sysctl -w user.max_user_namespaces=" in said


def test_a_root_with_few_ids_is_told(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from builder.tools import sandbox\n"
    code += "try:\n  with sandbox.opened(Path(sys.argv[1])): pass\n"
    code += "except Exception as error: print(error.message)"
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, str(tmp_path)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said == "there are 1 user and group ids here, and 65536 are needed\n"


def test_root_has_all_ids() -> None:
    rootless.require()
    assert machine.ids("uid_map") == ((0, 65536),)
