"""Configuring, on a root of a few programs of this machine and packages that do what real ones do."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import ConfigureError, MakeError
from builder.make import package_layer, records_layer, state_layer
from builder.make.dpkg_status import parse
from builder.make.epoch import EPOCH
from builder.model.digest import CacheKey
from builder.model.lock import LockedGroup, LockedPackage, LockedUser
from builder.model.plan import LeaveOutRules, MadeLayer, RecordsLayerPlan, StateLayerPlan
from builder.tools.process import run
from builder.tools.store import Store
from tests.kit.distribution import ROOT_LINKS, root_files

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
            path.chmod(0o755 if member in ("preinst", "postinst") else 0o644)
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


def test_generated_content_stays_out_but_not_its_folder(debian: Debian, base: StateLayerPlan) -> None:
    package = debian.package("db", postinst="#!/bin/sh\nmkdir -p /var/lib/db/a; echo 1 > /var/lib/db/a/x\n")
    plan = replace(debian.plan("db", package, below=base), generated=("/var/lib/db",))
    entries = debian.read(state_layer.make(plan, debian.store))
    assert [path for path in entries if path.startswith("var/lib/db")] == ["var/lib/db"]
