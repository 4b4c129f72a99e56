"""What mmdebstrap is told."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from builder.compare import ordinary
from builder.errors import CompareError
from builder.model.lock import LockedAnswer, LockedGroup, LockedUser
from builder.model.plan import LeaveOutRules, StatOverrideEntry
from builder.pipeline import comparing
from tests.builder.compare.test_own import state


def test_users_of_the_definition_are_added_where_no_package_made_them(tmp_path: Path) -> None:
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text("web:made by a package\n")
    users = tuple(LockedUser(name, 42, 42, "/srv", "/bin/sh", "it's") for name in ("app", "learnt", "web"))
    groups = tuple(LockedGroup(name, number) for name, number in (("app", 42), ("learnt", 43)))
    script = ordinary.customize_hook([state(users=users, groups=groups, create_users=("app", "web"))])
    subprocess.run(["sh", "-c", script, "sh", str(tmp_path)], check=True)
    assert {name: (tmp_path / "etc" / name).read_text().splitlines() for name in ("passwd", "group", "shadow")} == {
        "passwd": ["web:made by a package", "app:x:42:42:it's:/srv:/bin/sh"],
        "group": ["web:made by a package", "app:x:42:"],
        "shadow": ["web:made by a package", "app:!:20089::::::"],
    }


def test_dpkg_s_tools_are_told_what_the_definition_says() -> None:
    one = state(
        user_groups=(("web", "adm"),),
        statoverrides=(StatOverrideEntry("/srv/a b", "web", "adm", "2750"),),
        alternatives=(("editor", "/usr/bin/x"),),
    )
    script = ordinary.customize_hook([one])
    assert 'chroot "$1" usermod -a -G adm web\n' in script
    assert "--update --add web adm 2750 '/srv/a b'\n" in script
    assert "update-alternatives --quiet --set editor /usr/bin/x\n" in script


def test_answers() -> None:
    assert ordinary.answers_hook([state()]) == ""
    answer = LockedAnswer("a", "a/q", "string", "it's 5")
    printed = subprocess.run(
        ["sh", "-c", ordinary.answers_hook([state(debconf=(answer,))]).partition(" | ")[0]],
        capture_output=True,
        check=True,
    )
    assert printed.stdout == b"a a/q string it's 5\n"


def test_dpkg_leaves_out_what_all_definitions_do_and_no_tests() -> None:
    told = ordinary.options(replace(state(), below=state(), leave_out=LeaveOutRules(("docs", "headers", "tests"))))
    assert "path-exclude=/usr/share/doc/*" in told
    assert not [line for line in told if "include/" in line or "tests" in line or line.startswith("#")]


def test_a_machine_without_mmdebstrap_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "PROGRAM", "mmdebstrap-that-is-not-there")
    with pytest.raises(CompareError) as caught:
        comparing.require()
    assert "mmdebstrap-that-is-not-there is not installed" in caught.value.message
    assert caught.value.hint == "as root, apt-get install mmdebstrap"


@pytest.mark.parametrize(
    ("packages", "links"), [(["base-files"], []), (["base-files", "usr-is-merged"], ["bin", "lib", "lib64", "sbin"])]
)
def test_a_root_begins_without_this_machine(packages: list[str], links: list[str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    script = tmp_path / "hook"
    script.write_text(ordinary.setup_hook(packages, man=bool(links)))
    subprocess.run(["sh", str(script), str(root)], check=True)
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["hosts"]
    assert sorted(path.name for path in root.iterdir() if path.is_symlink()) == links
    assert (root / "usr/share/man/man1").is_dir() is not bool(links)
