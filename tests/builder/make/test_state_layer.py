"""Configuring, on a root of a few programs of this machine and packages that do what real ones do."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import ConfigureError, MakeError
from builder.make import package_layer, records_layer, state_layer
from builder.make.dpkg_status import parse
from builder.make.epoch import EPOCH
from builder.make.upper import DAY
from builder.model.digest import CacheKey
from builder.model.lock import LockedAnswer, LockedGroup, LockedPackage, LockedUser
from builder.model.plan import LeaveOutRules, MadeLayer, RecordsLayerPlan, StateLayerPlan
from builder.tools.process import run
from builder.tools.store import Store
from tests.kit.distribution import ROOT_LINKS, root_files
from tests.kit.programs import programs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for trees with owners"),
]


class Debian:
    """A store with packages that tests write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")

    def package(
        self,
        name: str,
        files: Mapping[str, str | Path] | None = None,
        links: Mapping[str, str] | None = None,
        version: str = "1",
        fields: str = "",
        **members: str,
    ) -> LockedPackage:
        """Make a package and its unpacked tree."""
        root = self.folder / f"{name}-{version}"
        shutil.rmtree(root, ignore_errors=True)
        (root / "DEBIAN").mkdir(parents=True)
        root.chmod(0o755)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\n"
        (root / "DEBIAN/control").write_text(f"{control}{fields}Description: a test\n")
        for member, text in members.items():
            path = root / "DEBIAN" / member
            path.write_text(text)
            path.chmod(0o755 if member in ("preinst", "postinst", "config") else 0o644)
        for path_text, content in (files or {}).items():
            path = root / path_text
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copy(content, path)
            else:
                path.write_text(content)
            os.utime(path, (1000, 1000))
        for path_text, target in (links or {}).items():
            (root / path_text).parent.mkdir(parents=True, exist_ok=True)
            (root / path_text).symlink_to(target)
        file = self.folder / f"{name}.deb"
        run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", root, file])
        data = file.read_bytes()
        digest = self.store.add(data)
        made = LockedPackage(
            name, version, "all", name, version, "test", "test", file.name, len(data), digest.hex, "asked for"
        )
        package_layer.make_tree(made, self.store)
        return made

    def base(self) -> LockedPackage:
        """An essential package of all programs."""
        return self.package("tiny", root_files(), ROOT_LINKS, fields="Essential: yes\n")

    def plan(self, name: str, *packages: LockedPackage, below: StateLayerPlan | None = None) -> StateLayerPlan:
        """A state of these packages."""
        return StateLayerPlan(
            cache_key=CacheKey.of("test", [name, [p.sha256 for p in packages], below.cache_key if below else ""]),
            definition=name,
            architecture="amd64",
            below=below,
            files_below=(),
            packages=tuple(sorted(packages)),
            users=(),
            groups=(),
            create_users=(),
            user_groups=(),
            early_files=(),
            debconf=(),
            statoverrides=(),
            alternatives=(),
            generated=(),
            leave_out=LeaveOutRules(),
            compression="gzip",
        )

    def status(self, made: MadeLayer) -> dict[str, str]:
        """The state of each package."""
        assert made.status is not None
        return {s.package: s.get("Status") for s in parse(self.store.read(made.status).decode())}

    def read(self, made: MadeLayer) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        """A layer's entries and the bytes of its files."""
        with self.store.open(made.layer.digest) as file, tarfile.open(fileobj=file) as archive:
            found = {}
            for info in archive:
                opened = archive.extractfile(info) if info.isreg() else None
                found[info.name] = (info, opened.read() if opened else b"")
            return found


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Debian:
    return Debian(tmp_path_factory.mktemp("debian"))


@pytest.fixture(scope="module")
def base(debian: Debian) -> StateLayerPlan:
    """A configured base, to stand on."""
    plan = debian.plan("base", debian.base())
    state_layer.make(plan, debian.store)
    return plan


def test_a_postinst_leaves_its_files_in_the_layer(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package(
        "hello",
        {"etc/hello.conf": "shipped\n"},
        conffiles="/etc/hello.conf\n",
        postinst="#!/bin/sh\nset -e\ncat /etc/hello.conf > /etc/made\ntouch /run/gone /tmp/gone\necho x > /etc/machine-id\n",
    )
    plan = debian.plan("hello", package, below=base)
    made = state_layer.make(plan, debian.store)
    entries = debian.read(made)
    assert entries["etc/made"][1] == b"shipped\n"
    assert entries["etc/made"][0].mtime == EPOCH
    assert "etc/hello.conf" not in entries
    assert not [path for path in entries if path.startswith(("run", "tmp")) or path == "etc/machine-id"]
    assert "var/lib/dpkg/status" not in entries
    assert debian.status(made) == {"hello": "install ok installed", "tiny": "install ok installed"}
    records = records_layer.make(RecordsLayerPlan(CacheKey.of("r", plan.cache_key), plan, "gzip"), debian.store)
    assert made.status is not None
    assert debian.read(records)["var/lib/dpkg/status"][1] == debian.store.read(made.status)


def test_the_same_plan_gives_the_same_layer(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("again", postinst="#!/bin/sh\nmkdir -p /var/lib/again; echo 1 > /var/lib/again/x\n")
    plan = debian.plan("again", package, below=base)
    first = state_layer.make(plan, debian.store)
    second = state_layer.make(replace(plan, cache_key=CacheKey.of("other", 1)), debian.store)
    assert (first.layer, first.status) == (second.layer, second.status)


def test_a_preinst_that_diverts_does_not_see_its_own_payload(debian: Debian, base: StateLayerPlan) -> None:
    victim = debian.package("victim", {"usr/bin/halt": "real\n"})
    diverting = debian.package(
        "guard",
        {"usr/bin/halt": "guarded\n"},
        preinst="#!/bin/sh\nset -e\ndpkg-divert --package guard --quiet --add --rename --divert /usr/bin/halt.real /usr/bin/halt\n",
    )
    entries = debian.read(state_layer.make(debian.plan("guarded", victim, diverting, below=base), debian.store))
    assert entries["usr/bin/halt.real"][1] == b"real\n"
    assert entries["usr/bin/halt"][1] == b"guarded\n"
    assert "usr/bin/.wh.halt" not in entries


def test_what_is_pre_depended_on_is_configured_before_a_preinst(debian: Debian, base: StateLayerPlan) -> None:
    library = debian.package("library", postinst="#!/bin/sh\ntouch /etc/library-ready\n")
    tool = debian.package(
        "tool",
        fields="Depends: library\nProvides: virtual-tool\n",
        preinst="#!/bin/sh\ntest ! -e /etc/library-ready\n",
        postinst="#!/bin/sh\nset -e\ntest -e /etc/library-ready\ntest ! -e /etc/tool-ready\ntouch /etc/tool-ready\n",
    )
    late = debian.package("late", postinst="#!/bin/sh\ntouch /etc/late-ready\n")
    user = debian.package(
        "user",
        fields="Pre-Depends: virtual-tool\nDepends: late\n",
        preinst="#!/bin/sh\nset -e\ntest -e /etc/tool-ready\ntest ! -e /etc/late-ready\ntest ! -e /usr/bin/user\n",
        files={"usr/bin/user": "x"},
    )
    made = state_layer.make(debian.plan("user", user, tool, library, late, below=base), debian.store)
    assert set(debian.status(made).values()) == {"install ok installed"}


def test_a_circle_of_pre_dependencies_is_left_to_dpkg(debian: Debian, base: StateLayerPlan) -> None:
    one = debian.package("one", fields="Pre-Depends: other\n", preinst="#!/bin/sh\ntrue\n")
    other = debian.package("other", fields="Depends: one\n", postinst="#!/bin/sh\ntrue\n")
    made = state_layer.make(debian.plan("circle", one, other, below=base), debian.store)
    assert set(debian.status(made).values()) == {"install ok installed"}


def test_conffiles_and_alternatives_that_are_left_out_are_recorded_as_dpkg_does(
    debian: Debian, base: StateLayerPlan
) -> None:
    package = debian.package(
        "pager",
        {
            "etc/bash_completion.d/pager": "x",
            "etc/init.d/pager": "x",
            "etc/pager.conf": "y",
            "usr/share/man/man1/pager.1": "z",
            "usr/bin/pager": "w",
        },
        conffiles="/etc/bash_completion.d/pager\n/etc/init.d/pager\n/etc/pager.conf\nremove-on-upgrade /etc/pager.old\n",
        postinst="#!/bin/sh\nset -e\n"
        "update-alternatives --install /usr/share/man/man1/more.1 more.1 /usr/share/man/man1/pager.1 5\n"
        "update-alternatives --install /usr/bin/more more /usr/bin/pager 5\n",
    )
    plan = replace(
        debian.plan("pager", package, below=base), leave_out=LeaveOutRules(("bash-completion", "init-scripts", "man"))
    )
    made = state_layer.make(plan, debian.store)
    assert made.status is not None
    (stanza,) = [s for s in parse(debian.store.read(made.status).decode()) if s.package == "pager"]
    assert sorted(stanza.get("Conffiles").splitlines()) == [
        "",
        " /etc/bash_completion.d/pager newconffile",
        " /etc/init.d/pager 9dd4e461268c8034f5c8564e155c67a6",
        " /etc/pager.conf 415290769594460e2e485922904f345d",
        " /etc/pager.old newconffile remove-on-upgrade",
    ]
    alternatives = {path for path in debian.read(made) if path.startswith("var/lib/dpkg/alternatives/")}
    assert alternatives == {"var/lib/dpkg/alternatives/more"}


def test_a_package_below_is_told_of_new_paths(debian: Debian, base: StateLayerPlan) -> None:
    watcher = debian.package(
        "watcher",
        {"usr/share/watched/own": ""},
        triggers="interest-noawait /usr/share/watched\n",
        postinst='#!/bin/sh\nif [ "$1" = triggered ]; then ls /usr/share/watched > /etc/watched; fi\n',
    )
    lower = debian.plan("watching", watcher, below=base)
    state_layer.make(lower, debian.store)
    arriving = debian.package("arriving", {"usr/share/watched/new": ""})
    made = state_layer.make(debian.plan("arrived", arriving, below=lower), debian.store)
    assert debian.read(made)["etc/watched"][1] == b"new\nown\n"
    assert set(debian.status(made).values()) == {"install ok installed"}


def test_a_mode_copies_a_file_up_with_its_time(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("modes", {"usr/bin/agent": "x\n"}, postinst="#!/bin/sh\nchmod 2755 /usr/bin/agent\n")
    info, data = debian.read(state_layer.make(debian.plan("modes", package, below=base), debian.store))["usr/bin/agent"]
    assert (info.mode, info.mtime, data) == (0o2755, 1000, b"x\n")


def test_a_further_name_that_a_script_gives_a_file_is_one(debian: Debian, base: StateLayerPlan) -> None:
    script = "#!/bin/sh\nln /etc/linked /etc/name\nln /etc/other /etc/other-name\nrm /etc/other-name\n"
    package = debian.package("linked", {"etc/linked": "x", "etc/other": "y"}, postinst=script)
    entries = debian.read(state_layer.make(debian.plan("linked", package, below=base), debian.store))
    assert entries["etc/linked"][0].isreg()
    assert (entries["etc/name"][0].islnk(), entries["etc/name"][0].linkname) == (True, "etc/linked")
    assert "etc/other" not in entries, "it is as it was"


def test_a_file_capability_is_stored_without_a_namespace(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package(
        "ping", {"usr/bin/pinger": "x\n"}, postinst="#!/bin/sh\nset -e\nsetcap cap_net_raw+ep /usr/bin/pinger\n"
    )
    info, _ = debian.read(state_layer.make(debian.plan("ping", package, below=base), debian.store))["usr/bin/pinger"]
    value = info.pax_headers["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape")
    assert len(value) == 20
    assert int.from_bytes(value[:4], "little") >> 24 == 2


def test_what_is_deleted_below_is_a_whiteout(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("deleting", {"etc/victim": ""}, postinst="#!/bin/sh\nrm /etc/victim\n")
    entries = debian.read(state_layer.make(debian.plan("deleting", package, below=base), debian.store))
    assert entries["etc/.wh.victim"][0].size == 0


def test_a_failing_script_is_told_with_its_output(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("broken", postinst="#!/bin/sh\necho the reason >&2\nexit 3\n")
    with pytest.raises(ConfigureError) as caught:
        state_layer.make(debian.plan("broken", package, below=base), debian.store)
    assert (caught.value.package, caught.value.script) == ("broken", "postinst")
    assert "the reason" in caught.value.output


def test_a_failing_preinst_is_told_with_its_output(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("refusing", preinst="#!/bin/sh\necho not here\nexit 1\n")
    with pytest.raises(ConfigureError) as caught:
        state_layer.make(debian.plan("refusing", package, below=base), debian.store)
    assert (caught.value.package, caught.value.script, caught.value.output) == ("refusing", "preinst", "not here\n")


def test_a_new_user_without_a_number_is_an_error(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("daemon", postinst="#!/bin/sh\necho 'd:x:100:100::/:/bin/sh' >> /etc/passwd\n")
    plan = debian.plan("daemon", package, below=base)
    with pytest.raises(MakeError, match="user d got number 100"):
        state_layer.make(plan, debian.store)
    made = state_layer.make(replace(plan, learn=True), debian.store)
    assert "d" in {user.name for user in made.users}


def test_users_of_sysusers_d_have_the_numbers_of_the_lock(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package(
        "sys",
        {"usr/lib/sysusers.d/sys.conf": "u svc - -\n"},
        postinst="#!/bin/sh\nid -u svc > /etc/number || id -u 0\n",
    )
    plan = replace(
        debian.plan("sys", package, below=base),
        users=(LockedUser("made", 4711, 4711, "/", "/bin/sh"), LockedUser("svc", 42000, 42001, "/", "/bin/sh")),
        groups=(LockedGroup("made", 4711), LockedGroup("svc", 42001)),
        create_users=("made",),
    )
    made = state_layer.make(plan, debian.store)
    assert {(user.name, user.uid, user.gid) for user in made.users} == {
        ("made", 4711, 4711), ("root", 0, 0), ("svc", 42000, 42001),
    }  # fmt: skip
    assert LockedGroup("svc", 42001) in made.groups


@pytest.mark.parametrize(
    ("program", "password", "expires"), [({"usr/bin/systemd-sysusers": "#!/bin/sh\n"}, "!*", "1"), ({}, "!", "")]
)
def test_shadow_is_as_sysusers_makes_it(program: dict[str, str], password: str, expires: str, debian: Debian) -> None:
    """Without the package passwd there is none before: only root may read it, and the accounts have no password at all.

    If nothing brings sysusers, scripts that look for it call adduser.
    """
    package = debian.package("sys", {"usr/lib/sysusers.d/sys.conf": "u svc - -\nu! fixed - -\n", **program})
    files = {path: what for path, what in root_files().items() if not path.endswith("shadow")}
    bare = debian.package("bare", files, ROOT_LINKS, fields="Essential: yes\n")
    plan = replace(
        debian.plan("bare", bare, package),
        users=(LockedUser("fixed", 42002, 42002, "/", "/bin/sh"), LockedUser("svc", 42000, 42001, "/", "/bin/sh")),
        groups=(LockedGroup("fixed", 42002), LockedGroup("svc", 42001)),
    )
    entries = debian.read(state_layer.make(plan, debian.store))
    assert [entries[f"etc/{name}"][0].mode for name in ("shadow", "gshadow")] == [0, 0]
    assert entries["etc/shadow"][1].decode() == f"fixed:{password}:{DAY}:::::{expires}:\nsvc:{password}:{DAY}::::::\n"
    assert entries["etc/gshadow"][1].decode() == f"fixed:{password}::\nsvc:{password}::\n"


def test_generated_content_stays_out_but_not_its_folder(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("db", postinst="#!/bin/sh\nmkdir -p /var/lib/db/a; echo 1 > /var/lib/db/a/x\n")
    plan = replace(debian.plan("db", package, below=base), generated=("/var/lib/db",))
    entries = debian.read(state_layer.make(plan, debian.store))
    assert [path for path in entries if path.startswith("var/lib/db")] == ["var/lib/db"]


@pytest.mark.parametrize("below_wins", [False, True])
def test_the_package_that_replaces_has_the_path_across_layers(
    debian: Debian, base: StateLayerPlan, below_wins: bool
) -> None:
    names = ("zz-below", "aa-above") if below_wins else ("aa-below", "zz-above")
    fields = [f"Replaces: {names[1]}\n", ""] if below_wins else ["", f"Replaces: {names[0]}\n"]
    packages = [
        debian.package(name, {"usr/bin/both": f"{name}\n", f"usr/bin/{name}": ""}, fields=field)
        for name, field in zip(names, fields, strict=True)
    ]
    lower = debian.plan(names[0], packages[0], below=base)
    state_layer.make(lower, debian.store)
    entries = debian.read(state_layer.make(debian.plan(names[1], packages[1], below=lower), debian.store))
    winner, loser = names if below_wins else names[::-1]
    info, data = entries["usr/bin/both"]
    assert (data.decode(), info.mtime) == (f"{winner}\n", 1000)
    listed = entries[f"var/lib/dpkg/info/{loser}.list"][1].decode().splitlines()
    assert f"/usr/bin/{loser}" in listed
    assert "/usr/bin/both" not in listed
    assert f"var/lib/dpkg/info/{winner}.list" not in entries


def test_a_path_across_layers_that_nothing_decides_is_an_error(debian: Debian, base: StateLayerPlan) -> None:
    lower = debian.plan("first", debian.package("first", {"usr/bin/undecided": "1"}), below=base)
    state_layer.make(lower, debian.store)
    second = debian.package("second", {"usr/bin/undecided": "2"}, fields="Replaces: first (<< 1)\n")
    with pytest.raises(MakeError, match="/usr/bin/undecided is brought by first and second"):
        state_layer.make(debian.plan("second", second, below=lower), debian.store)


def test_a_folder_and_a_link_across_layers_is_an_error(debian: Debian, base: StateLayerPlan) -> None:
    lower = debian.plan("real", debian.package("real", {"srv/both/x": ""}), below=base)
    state_layer.make(lower, debian.store)
    linking = debian.package("linking", links={"srv/both": "elsewhere"}, fields="Replaces: real\n")
    with pytest.raises(MakeError, match="/srv/both of real and linking is a folder"):
        state_layer.make(debian.plan("linking", linking, below=lower), debian.store)


def python() -> dict[str, str | Path]:
    """This machine's Python, as much of it as starts."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    files: dict[str, str | Path] = dict(programs([version]))
    library = Path(sysconfig.get_path("stdlib"))
    for pattern in ("*.py", "encodings/*.py", "importlib/*.py", "collections/*.py", "re/*.py"):
        files |= {f"usr/lib/{version}/{path.relative_to(library)}": path for path in library.glob(pattern)}
    return files


def test_the_byte_code_is_that_of_the_module_that_won(debian: Debian, base: StateLayerPlan) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    interpreter = debian.package("python", python(), {"usr/bin/python3": f"python{version}"})
    module = "usr/lib/python3/dist-packages/both.py"
    loser = debian.package("python3-loser", {module: "x = 1\n"})
    lower = debian.plan("python", interpreter, loser, below=base)
    state_layer.make(lower, debian.store)
    winner = debian.package("python3-winner", {module: "x = 22\n"}, fields="Replaces: python3-loser\n")
    entries = debian.read(state_layer.make(debian.plan("winner", winner, below=lower), debian.store))
    cached = f"usr/lib/python3/dist-packages/__pycache__/both.cpython-{version.replace('.', '')}.pyc"
    assert entries[module][1] == b"x = 22\n"
    assert struct.unpack("<II", entries[cached][1][8:16]) == (1000, len("x = 22\n"))


def clock(debian: Debian) -> tuple[LockedPackage, ...]:
    """libfaketime of this machine as a package."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        pytest.skip("needs faketime")
    return (debian.package("libfaketime", {str(found).lstrip("/"): found}),)


def test_scripts_see_one_time(debian: Debian, base: StateLayerPlan) -> None:
    tools = debian.package("date", dict(programs(["date"])))
    package = debian.package(
        "dated",
        preinst="#!/bin/sh\ndate +%s.%N > /etc/date-preinst\n",
        postinst="#!/bin/sh\ndate +%s.%N > /etc/date; sleep 1.1; date >> /etc/date\n",
    )
    lower = debian.plan("date", tools, below=base)
    state_layer.make(lower, debian.store)
    plan = replace(debian.plan("dated", package, below=lower), clock=clock(debian))
    first = state_layer.make(plan, debian.store)
    time.sleep(1.1)
    second = state_layer.make(replace(plan, cache_key=CacheKey.of("dated", 2)), debian.store)
    entries = debian.read(first)
    assert entries["etc/date"][1].decode() == f"{EPOCH}.000000000\nWed Jan  1 00:00:00 UTC 2025\n"
    assert entries["etc/date-preinst"][1].decode() == f"{EPOCH}.000000000\n"
    assert first.layer == second.layer
    assert not [path for path in entries if "clock" in path or "faketime" in path]


def test_a_fixed_binary_that_a_state_copied_up_is_the_new_one(debian: Debian, base: StateLayerPlan) -> None:
    postinst = "#!/bin/sh\nchmod 2755 /usr/bin/agent\necho made > /etc/agent\n"
    old = debian.package("agent", {"usr/bin/agent": "old\n"}, postinst=postinst)
    state_layer.make(debian.plan("agent", old, below=base), debian.store)
    new = debian.package("agent", {"usr/bin/agent": "new\n"}, version="2", postinst=postinst)
    entries = debian.read(state_layer.make(debian.plan("agent", new, below=base), debian.store))
    assert entries["usr/bin/agent"][1] == b"new\n"
    assert entries["usr/bin/agent"][0].mode == 0o2755


def test_a_fix_leaves_a_state_as_it_is_where_scripts_do_the_same(debian: Debian, base: StateLayerPlan) -> None:
    postinst = "#!/bin/sh\necho made > /etc/fixed\n"
    made = [
        state_layer.make(
            debian.plan(
                "fixed",
                debian.package("fixed", {"usr/bin/fixed": version}, version=version, postinst=postinst),
                below=base,
            ),
            debian.store,
        )
        for version in ("1", "2")
    ]
    assert made[0].cache_key != made[1].cache_key
    assert made[0].layer == made[1].layer
    assert made[0].status != made[1].status


def test_a_trigger_that_nobody_ends_is_told(debian: Debian, base: StateLayerPlan) -> None:
    # Each waits for the other: dpkg finds the cycle.
    packages = [
        debian.package(
            one,
            triggers=f"interest-await {one}-said\n",
            postinst=f"#!/bin/sh\ndpkg-trigger --await {other}-said\n",
        )
        for one, other in (("ping", "pong"), ("pong", "ping"))
    ]
    with pytest.raises(ConfigureError, match=r"p[io]ng"):
        state_layer.make(debian.plan("cycle", *packages, below=base), debian.store)


def test_a_socket_is_left_behind(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("leaving", postinst="#!/bin/sh\nmkfifo /var/lib/pipe; cp -a /dev/null /x || true\n")
    tools = debian.package("mkfifo", dict(programs(["mkfifo"])))
    entries = debian.read(state_layer.make(debian.plan("leaving", tools, package, below=base), debian.store))
    assert entries["var/lib/pipe"][0].isfifo()
    assert "x" not in entries


def test_translations_of_questions_go_with_the_locales(debian: Debian, base: StateLayerPlan) -> None:
    text = "Name: a/b\nChoices: x, y\nChoices-c: 1, 2\nDescription: One\nDescription-de.utf-8: Eins\nType: select\n\n"
    package = debian.package(
        "asking",
        postinst=f"#!/bin/sh\nmkdir -p /var/cache/debconf\ncat > /var/cache/debconf/templates.dat <<E\n{text}E\n",
    )
    plan = debian.plan("asking", package, below=base)
    path = "var/cache/debconf/templates.dat"
    assert debian.read(state_layer.make(plan, debian.store))[path][1].decode() == text
    lean = replace(plan, cache_key=CacheKey.of("lean", 1), leave_out=LeaveOutRules(("locales",)))
    assert debian.read(state_layer.make(lean, debian.store))[path][1].decode() == text.replace(
        "Description-de.utf-8: Eins\n", ""
    )


TEMPLATES = """\
Template: asker/name
Type: string
Default: nobody
Description: Who?

Template: asker/way
Type: select
Choices: left, right
Description: Which way?

Template: asker/really
Type: boolean
Description: Really?
"""
ASKS = """\
#!/bin/sh
set -e
. /usr/share/debconf/confmodule
for question in name way really; do db_input critical asker/$question || true; done
db_go
"""
TELLS = """\
#!/bin/sh
set -e
. /usr/share/debconf/confmodule
for question in name way really; do db_get asker/$question; echo "$question=$RET" >> /etc/answers; done
"""


@pytest.fixture(scope="module")
def debconf(debian: Debian, base: StateLayerPlan) -> StateLayerPlan:
    """debconf of this machine, with its perl."""
    files: dict[str, str | Path] = dict(programs(["perl", "debconf-set-selections"]))
    for path in run(["dpkg", "-L", "perl-base", "debconf"]).text.splitlines():
        if Path(path).is_file() and not path.startswith(("/usr/share/doc", "/usr/share/man", "/usr/bin/", "/etc/apt")):
            files[path.lstrip("/").replace("usr/sbin/", "usr/bin/")] = Path(path).resolve()
    files["var/cache/debconf/.keep"] = ""
    plan = debian.plan("debconf", debian.package("debconf", files), below=base)
    state_layer.make(plan, debian.store)
    return plan


def asking(debian: Debian, below: StateLayerPlan, case: str, /, **answers: str) -> StateLayerPlan:
    """A package that asks, with answers."""
    asker = debian.package("asker", templates=TEMPLATES, config=ASKS, postinst=TELLS)
    given = tuple(LockedAnswer("asker", f"asker/{question}", "string", answer) for question, answer in answers.items())
    plan = debian.plan(f"asker-{case}", asker, below=below)
    return replace(plan, debconf=given)


def test_questions_have_the_definitions_answers(debian: Debian, debconf: StateLayerPlan) -> None:
    plan = asking(debian, debconf, "answered", name="a name", way="right", really="true")
    first = state_layer.make(plan, debian.store)
    assert debian.read(first)["etc/answers"][1] == b"name=a name\nway=right\nreally=true\n"
    assert first.layer == state_layer.make(replace(plan, cache_key=CacheKey.of("answered", 2)), debian.store).layer


def test_questions_without_an_answer_have_their_defaults(debian: Debian, debconf: StateLayerPlan) -> None:
    made = state_layer.make(asking(debian, debconf, "silent"), debian.store)
    assert debian.read(made)["etc/answers"][1] == b"name=nobody\nway=left\nreally=\n"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"way": "up"}, "asker/way: 'up' is no answer"),
        ({"really": "maybe"}, "asker/really: 'maybe' is no answer"),
        ({"nam": "x"}, "asker/nam: no package asks this"),
    ],
)
def test_an_answer_that_no_question_takes_is_an_error(
    debian: Debian, debconf: StateLayerPlan, answers: dict[str, str], reason: str
) -> None:
    with pytest.raises(MakeError, match=reason):
        state_layer.make(asking(debian, debconf, reason, **answers), debian.store)


def test_a_state_made_twice_at_once_is_whole(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package(
        "twice", postinst="#!/bin/sh\nsleep 0.3; mkdir -p /var/lib/twice; echo 1 > /var/lib/twice/x\n"
    )
    plan = debian.plan("twice", package, below=base)
    with ProcessPoolExecutor(2) as pool:
        made = list(pool.map(state_layer.make, [plan, plan], [debian.store, debian.store]))
    assert made[0] == made[1]
    tree = debian.store.tree(f"state-{plan.cache_key}")
    assert tree
    assert (tree / "var/lib/twice/x").read_text() == "1\n"


def test_a_state_that_is_interrupted_leaves_nothing(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("slow", postinst="#!/bin/sh\nsleep 61.25\n")
    plan = debian.plan("slow", package, below=base)
    script = (
        "import pickle, sys; from builder.make import state_layer\n"
        "plan, store = pickle.load(sys.stdin.buffer)\n"
        "print('begun', flush=True); state_layer.make(plan, store)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(pickle.dumps((plan, debian.store)))
        child.stdin.close()
        child.stdout.readline()
        deadline = time.monotonic() + 30
        while not _running("sleep 61.25") and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) != 0
    assert not list((debian.store.root / "tmp").iterdir())
    assert debian.store.tree(f"state-{plan.cache_key}") is None
    assert debian.store.made(plan.cache_key) is None
    deadline = time.monotonic() + 10
    while _running("sleep 61.25") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _running("sleep 61.25")


def _running(command: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() == command:
                return True
        except OSError:
            continue
    return False
