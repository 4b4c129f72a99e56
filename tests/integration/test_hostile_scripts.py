"""What a package's scripts try to do to the machine that builds: nothing of it has an effect outside, all is told."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_failures import require_tidy, require_told, small_disk
from tests.integration.test_updates import stack
from tests.kit.distribution import Site
from tests.kit.http_server import HttpServer
from tests.kit.programs import programs
from tests.kit.project import mounts_with, running

pytestmark = [pytest.mark.integration, pytest.mark.sampled(9)]
SWAPPINESS = Path("/proc/sys/vm/swappiness")

ESCAPES = r"""#!/bin/sh
# As root of a machine would: each line is an own attempt.
for place in /proc/1/root /proc/1/cwd /proc/self/root /proc/self/cwd /proc/$PPID/root; do echo evil > "${place}CANARY/safe"; done
for fd in /proc/1/fd/*; do echo evil > $fd/CANARY/safe; done
mount -t proc proc /mnt; echo evil > /mnt/1/rootCANARY/safe
mount --bind / /mnt; mount -o remount,rw /proc/sys; umount /proc/sys; umount -l /proc
perl -e 'mkdir "/jail"; chroot "/jail"; chdir ".." for 1..64; chroot "."; open F, ">", "CANARY/safe" and print F "evil"'
unshare --user --map-root-user --mount --pid --fork sh -c 'umount /proc/sys; mount -t proc proc /proc; echo 61 > SWAPPINESS'
echo 61 > SWAPPINESS
echo h > /proc/sysrq-trigger
mknod /dev/evil b 254 0; mknod /evil c 1 1
chmod 600 /dev/null; chown 8000 /dev/null; rm -f /dev/null
hostname evil
kill -9 1; kill -9 $(cat /host-pid)
# In its own root it may do what it likes.
mkdir -p CANARY; echo evil > CANARY/safe; echo evil > /var/lib/evil
"""
DAEMONS = """#!/bin/sh
(setsid sh -c 'trap "" TERM HUP INT; while true; do sleep 300; done' &) > /dev/null 2>&1
start-stop-daemon --start --background --make-pidfile --pidfile /run/it.pid --exec /usr/bin/sleep -- 300
sleep 300 &
"""


@pytest.fixture
def canary(site: Site) -> Iterator[Path]:
    """A folder outside; afterwards it must be as it was, and with it what else a script could change."""
    folder = site.folder.parent / "canary"
    (folder / "dpkg").mkdir(parents=True)
    files = [folder / name for name in ("safe", "passwd", "group", "shadow", "gshadow", "templates.dat")]
    for file in files:
        file.write_text("safe:x:1:2:3:4:5:6:7\n")
        file.chmod(0o640)
    before = {path: (path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_mtime_ns) for path in _all(folder)}
    machine = _machine(site)
    try:
        yield folder
        assert {
            path: (path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_mtime_ns) for path in _all(folder)
        } == before
        assert {file.read_text() for file in files} == {"safe:x:1:2:3:4:5:6:7\n"}
        assert _machine(site) == machine
    finally:
        if SWAPPINESS.read_text() != machine[0]:
            SWAPPINESS.write_text(machine[0])


def _all(folder: Path) -> list[Path]:
    return sorted([folder, *folder.rglob("*")])


def _machine(site: Site) -> tuple[str, int, str, list[str]]:
    null = os.stat("/dev/null")
    assert stat.S_ISCHR(null.st_mode)
    mounts = [*mounts_with(str(site.cache)), *mounts_with(" /mnt ")]
    return SWAPPINESS.read_text(), null.st_mode + null.st_uid, os.uname().nodename, mounts


def release(
    site: Site, postinst: str = "", *, name: str = "app", preinst: str = "", tools: tuple[str, ...] = ()
) -> None:
    """Publish a package that has some scripts, and programs that these call."""
    scripts = {key: text for key, text in (("postinst", postinst), ("preinst", preinst)) if text}
    files = {"usr/bin/app": "#!/bin/sh\n"} if name == "app" else {}
    site.repo.add(name, "2", files={**files, **programs(tools)}, depends="perl-base", **scripts)  # type: ignore[arg-type]
    site.repo.publish()


@pytest.mark.parametrize("script", ["preinst", "postinst"])
def test_no_way_out_of_the_root(site: Site, canary: Path, script: str) -> None:
    text = ESCAPES.replace("CANARY", str(canary)).replace("SWAPPINESS", str(SWAPPINESS))
    release(site, tools=("mount", "umount", "mknod", "unshare"), **{script: text})
    site.works("lock", "app", "--update")
    site.build()
    assert (site.unpack() / "var/lib/evil").read_text() == "evil\n"
    require_tidy(site)


def test_daemons_end_with_their_script(site: Site, canary: Path) -> None:
    release(site, DAEMONS)
    with running("lock", "app", "--update", cache=site.cache, cwd=site.folder, env=site.env) as run:
        began = time.monotonic()
        ended = run.end(120)
        assert run.left_over() == {}
    assert ended.code == 0, ended.errors
    assert time.monotonic() - began < 100
    site.build()


LINKS = {
    "a file of dpkg's": ("mv /var/lib/dpkg /var/lib/real; ln -s CANARY/dpkg /var/lib/dpkg", 1),
    "dpkg's rules": ("mkdir -p /etc; rm -rf /etc/dpkg; ln -s CANARY /etc/dpkg", 1),
    "users": ("for n in passwd group shadow gshadow; do rm /etc/$n; ln -s CANARY/$n /etc/$n; done", 1),
    "passwords": ("rm /etc/shadow; ln -s CANARY/shadow /etc/shadow", 1),
    "answers": ("rm -f /var/cache/debconf/templates.dat; mkdir -p /var/cache/debconf; ln -s CANARY/templates.dat /var/cache/debconf/templates.dat", 0),
    "an early folder": ("rm -rf /srv; ln -s CANARY /srv", 1),
}  # fmt: skip


@pytest.mark.parametrize(("script", "code"), LINKS.values(), ids=LINKS)
def test_links_that_scripts_make_lead_nowhere(site: Site, canary: Path, script: str, code: int) -> None:
    # What is dpkg's own must be gone before dpkg runs.
    when = "preinst" if "/var/lib/dpkg" in script else "postinst"
    release(site, name="evil", **{when: f"#!/bin/sh\n{script.replace('CANARY', str(canary))}\n"})  # type: ignore[arg-type]
    release(site, preinst="#!/bin/sh\ntrue\n")
    stack(site, "evil")
    site.edit("layers/tiny/layer.yaml", "[docs, man]", "[docs, man, locales]")
    site.edit(
        "repos/app/component.yaml", "    users:", "    files: {/srv/x: {content: x, before: configure}}\n    users:"
    )
    result = site.run("lock", "app", "--update")
    assert "Traceback" not in result.errors
    assert result.code == code, result.errors
    if code:
        require_told(result, "configuring ")
    require_tidy(site)


FAILING = {
    "network": (
        "perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in(PORT, inet_aton(\"127.0.0.1\"))) or die $!'",
        "scripts have no network",
    ),
    "mount": ("mount -t tmpfs none /tmp", "scripts may not mount"),
    "mknod": ("mknod /dev/mine b 8 0", "make devices"),
    "proc": ("echo 1 > /proc/sys/vm/overcommit_memory", "change the kernel's settings"),
    "calls nothing": ("no-such-program --system", "name that program's package"),
    "kills dpkg": ("kill -9 -1", "docs/failures.md"),
    "other": ("exit 3", "docs/failures.md"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "hint"), FAILING.values(), ids=FAILING)
def test_what_a_script_may_not_do_is_told_with_a_way_out(site: Site, canary: Path, script: str, hint: str) -> None:
    before = site.lock()
    with HttpServer(site.mirror) as server:
        text = f"#!/bin/sh\nset -e\nexport LC_ALL=C\n{script.replace('PORT', str(server.port))}\n"
        release(site, text, tools=("mount", "mknod"))
        result = site.run("lock", "app", "--update")
        assert server.requests == []
    require_told(result, "app: its postinst failed", hint)
    assert site.lock() == before
    require_tidy(site)
    site.build()


@pytest.mark.parametrize(("more", "said"), [("", "unpacked"), ("; echo > /var/lib/dpkg/status", "unknown to dpkg")])
def test_a_dpkg_that_does_nothing(site: Site, more: str, said: str) -> None:
    release(site, preinst=f"#!/bin/sh\ncp /usr/bin/true /usr/bin/dpkg{more}\n")
    require_told(site.run("lock", "app", "--update"), f"app is not configured, but {said}")
    require_tidy(site)


@pytest.mark.parametrize("script", ["preinst", "postinst"])
def test_a_script_that_hangs(site: Site, canary: Path, script: str) -> None:
    release(site, **{script: "#!/bin/sh\necho waiting\ntrap '' TERM INT\nwhile true; do sleep 1; done\n"})  # type: ignore[arg-type]
    site.env["IMGBUILD_SCRIPT_TIMEOUT"] = "3"
    result = site.run("lock", "app", "--update")
    require_told(result, f"app: its {script} took too long and was ended after 3 seconds", "IMGBUILD_SCRIPT_TIMEOUT")
    assert "  | waiting" in result.errors
    require_tidy(site)
    site.env["IMGBUILD_SCRIPT_TIMEOUT"] = "soon"
    require_told(
        site.run("lock", "app", "--update"), "IMGBUILD_SCRIPT_TIMEOUT=soon: that is no number of seconds", code=2
    )


def test_a_script_that_says_too_much(site: Site) -> None:
    release(site, "#!/bin/sh\necho first\nfind / > /tmp/all\nwhile cat /tmp/all; do :; done\n")
    site.env["IMGBUILD_SCRIPT_TIMEOUT"] = "4"
    result = site.run("lock", "app", "--update")
    require_told(result, "took too long")
    assert "bytes left out]" in result.errors
    assert len(result.errors) < 4 << 20


def test_a_script_that_fills_the_disk(site: Site, canary: Path, tmp_path: Path) -> None:
    release(site, "#!/bin/sh\nset -e\ncat /dev/zero > /var/zeros\n")
    with small_disk(tmp_path / "disk", 96 << 20) as disk:
        cache = disk / "cache"
        (cache / "imgbuild").mkdir(parents=True)
        result = site.run("lock", "app", "--update", cache=cache)
        require_told(result, "app: its postinst failed", "fills the disk")
        assert list((cache / "imgbuild/tmp").iterdir()) == []
        assert shutil.disk_usage(disk).free > 16 << 20
