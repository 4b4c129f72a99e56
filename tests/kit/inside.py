"""What lies in an image, and what a started one may write to: what holds for every image."""

from __future__ import annotations

import posixpath
import re
from fnmatch import translate

from tests.kit.engines import Engine
from tests.kit.running import Running

MADE_BY_PLATFORMS = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/run/.containerenv")
"""What engines mount into every container."""
REAPERS = ("/sbin/docker-init", "/dev/init", "/run/podman-init", "catatonit")

LOOK = r"""
echo '%% scripts'; find / -xdev -name '*.sh' -type f
echo '%% packaged'; cat /var/lib/dpkg/info/*.list
echo '%% wrong'; dpkg -V
echo '%% rules'; cat /etc/dpkg/dpkg.cfg.d/*
echo '%% installed'; dpkg -l | grep ^ii
echo '%% owner'; dpkg -S "$(readlink -f "$(command -v "$1")")"
echo '%% release'; cat /etc/os-release /etc/debian_version
echo '%% left'
for path in /etc/machine-id /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /etc/ssl/private/* /root/.bash_history \
    /etc/nova/nova-compute.id; do [ -s "$path" ] && echo "$path"; done
[ "$(stat -c %d /etc/hostname 2>/dev/null)" = "$(stat -c %d /etc)" ] && [ -s /etc/hostname ] && echo /etc/hostname
find /var/log /var/lib/apt/lists /var/cache/apt /tmp /var/tmp -xdev -type f
find / -xdev \( -name '*.dpkg-*' -o -name '.erlang.cookie' \) -type f
find /etc/sudoers.d -type f ! -name README
exit 0
"""


def check_contents(engine: Engine, reference: str, command: str) -> None:
    """See that an image holds its packages, what dpkg knows of them, and nothing of a machine."""
    told = engine(
        "run", "--rm", "--user=0:0", "--network=none", "--read-only", reference, "sh", "-c", LOOK, "sh", command
    )
    found = {part.split("\n", 1)[0]: part.splitlines()[1:] for part in ("\n" + told).split("\n%% ")[1:]}
    packaged = {_canonical(path) for path in found["packaged"]}
    assert [path for path in found["scripts"] if path not in packaged] == []
    assert found["left"] == []
    assert len(found["installed"]) > 50
    if command.startswith("/opt/"):
        assert found["owner"] == [], "what a wheel brings, dpkg does not know"
    else:
        assert re.match(r"[a-z0-9.+:-]+: /", found["owner"][0]), found["owner"]
    assert "VERSION_CODENAME=trixie" in found["release"]
    excluded = re.compile("|".join(translate(x.split("=", 1)[1]) for x in found["rules"] if "path-exclude=" in x))
    assert found["wrong"], "images leave documentation out"
    strange = [line for line in found["wrong"] if not _left_out(line, excluded)]
    assert strange == []


def _left_out(line: str, excluded: re.Pattern[str]) -> bool:
    said, _, path = line.partition("/")
    return said.split()[0] == "missing" and bool(excluded.match(f"/{path}"))


def _canonical(path: str) -> str:
    return re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", path)


def check_confinement(running: Running, becomes: str = "") -> None:
    """See that a service runs as its user, with its own command, and can write only where it declares.

    Args:
        becomes: the user and group by number that it makes itself, if it begins as another.
    """
    declared = running.declared
    uid, gid = declared.user.split(":")
    platform = declared.run.get("platform", {})
    reaped = bool(platform.get("reaper"))
    if "pid" not in platform.get("host", ()):
        status = dict(line.split(":", 1) for line in running.exec("cat", "/proc/1/status").splitlines())
        assert f"{status['Uid'].split()[1]}:{status['Gid'].split()[1]}" == (becomes or f"{uid}:{gid}")
        first = running.exec("cat", "/proc/1/cmdline").split("\0")
        assert posixpath.basename(first[0]) not in ("init", "systemd", "tini", "dumb-init") or reaped, first
    else:
        assert running.exec("id", "-u").strip() == uid
    places = [*declared.run.get("volumes", {}).values(), *declared.run.get("writable", ())]
    places += [{"path": path} for kind in ("mounts", "shared") for path in platform.get(kind, ())]
    allowed = {_canonical(place["path"]) for place in places}
    mounts = [line.split()[1:4] for line in running.exec("cat", "/proc/mounts").splitlines()]
    writable = {
        path
        for path, _, options in mounts
        if "rw" in options.split(",") and not any(path == x or path.startswith(f"{x}/") for x in MADE_BY_PLATFORMS)
    }
    assert writable <= {path for path in writable if any(path == x or path.startswith(f"{x}/") for x in allowed)}
    for place in places:
        if "uid" in place:
            owner = running.exec("stat", "-c", "%u:%g", place["path"]).strip()
            assert owner == f"{place['uid']}:{place['gid']}", place
    assert running.exec_code("touch", "/usr/written") != 0
