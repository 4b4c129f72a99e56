"""What a definition brings, laid over the ordinary way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builder import file_differences
from builder.compare import own
from builder.compare.own import Expected
from builder.compare.view import View
from builder.file_differences import FileDifference
from builder.model.digest import CacheKey
from builder.model.lock import LockedGroup, LockedUser
from builder.model.plan import FileEntry, FilesLayerPlan, ImagePlan, LeaveOutRules, StateLayerPlan
from builder.tools.store import Store
from tests.kit.debs import deb

KEY = CacheKey("k")
NAMES = ({0: "root", 42: "web"}, {0: "root", 42: "web"})
USER = {"number": "101", "group": "web", "comment": "", "home": "/nonexistent", "shell": "/usr/sbin/nologin"}


def state(**more: Any) -> StateLayerPlan:
    """A state of nothing."""
    told: dict[str, Any] = dict.fromkeys(
        ("files_below", "packages", "users", "groups", "create_users", "user_groups", "early_files", "debconf",
         "statoverrides", "alternatives", "generated"), (),
    )  # fmt: skip
    return StateLayerPlan(
        cache_key=KEY, definition="x", architecture="amd64", compression="gzip",
        **{"below": None, "leave_out": LeaveOutRules(("docs",)), **told, **more},
    )  # fmt: skip


def expected(store: Store, ordinary: View, image: View, *files: FileEntry, **more: Any) -> Expected:
    """What an image of some files must be."""
    layers = (state(**more), FilesLayerPlan(KEY, "x", files, "gzip"))
    plan = ImagePlan("c", "x", "1", 1, KEY, "amd64", layers, "{}")
    return own.expected(ordinary, image, plan, NAMES, store)


def test_files_are_as_the_definition_says_and_their_folders_root_s(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = FileEntry("/srv/www/x", "file", 42, 0, 0o640, store.add(b"hello"))
    found = expected(store, {"srv": {"type": "folder", "owner": "root:root", "mode": "0700"}}, {}, entry)
    assert found.view["srv"]["mode"] == "0700", "the package's folder stays as it is"
    assert found.view["srv/www"] == {"type": "folder", "owner": "root:root", "mode": "0755"}
    assert found.view["srv/www/x"] == {
        "type": "file", "owner": "web:root", "mode": "0640", "size": "5",
        "content": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    }  # fmt: skip
    assert found.counts == {"files": 1, "rules of what is left out": 1}
    image = {**found.view, "srv/www/x": {**found.view["srv/www/x"], "mode": "0644"}}
    (difference,) = file_differences.compared(found.view, image)
    assert (difference.path, difference.new) == ("srv/www/x", {"mode": "0644"})


def test_numbers_are_the_locks(tmp_path: Path) -> None:
    users = {"users": (LockedUser("web", 42, 42, "/srv", "/bin/sh"),), "groups": (LockedGroup("web", 42),)}
    ordinary = {"user:web": USER, "group:web": {"number": "102"}}
    found = expected(Store(tmp_path), ordinary, {}, **users).view
    assert (found["user:web"], found["group:web"]) == ({**USER, "number": "42"}, {"number": "42"})


def test_a_user_that_is_asked_for_is_the_definition_s_or_the_package_s(tmp_path: Path) -> None:
    asked = {"users": (LockedUser("web", 42, 42, "/srv", "/bin/sh"),), "create_users": ("web",)}
    said = {**USER, "number": "42", "home": "/srv", "shell": "/bin/sh"}
    for image, wanted in (
        (said, said),
        ({**USER, "number": "42"}, {**USER, "number": "42"}),
        ({**said, "home": "/else"}, {**USER, "number": "42"}),
    ):
        found = expected(Store(tmp_path), {"user:web": USER}, {"user:web": image}, **asked)
        assert found.view["user:web"] == wanted
        assert found.counts["users"] == 1


def test_what_the_definition_leaves_out(tmp_path: Path) -> None:
    found = expected(Store(tmp_path), {}, {}, generated=("/var/lib/data",))
    reasons = {
        path: found.reason(FileDifference(path, {"type": "file"}, {}))
        for path in ("var/lib/data/x", "var/lib/data", "usr/share/doc/x/y", "usr/share/doc/x/copyright", "etc/x")
    }
    assert reasons == {
        "var/lib/data/x": own.GENERATED,
        "var/lib/data": "",
        "usr/share/doc/x/y": own.LEFT_OUT,
        "usr/share/doc/x/copyright": "",
        "etc/x": "",
    }
    assert found.reason(FileDifference("var/lib/data/x", {}, {"type": "file"})) == "", "it alone has it"


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    links = {
        "lib": "usr/lib", "usr/share/a": "b", "usr/share/b": "../lib/x", "usr/share/c": "/lib/gone", "usr/share/d": "d",
        "usr/share/e": "c", "doc": "/usr/share", "usr/share/f": "/doc/../lib/x", "usr/share/g": "/proc/self/fd",
    }  # fmt: skip
    ordinary = {path: {"type": "link", "target": target} for path, target in links.items()} | {
        "usr": {"type": "folder"}, "usr/share": {"type": "folder"}, "usr/lib": {"type": "folder"}, "usr/lib/x": {"type": "file"},
    }  # fmt: skip
    found = expected(Store(tmp_path), ordinary, {})
    assert {path for path in ordinary if found.dangling(path)} == {
        "usr/share/c",
        "usr/share/d",
        "usr/share/e",
        "usr/share/g",
    }


def test_checksums_that_only_dpkg_makes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    packages = []
    for name, members in (("with", {"md5sums": ""}), ("without", {})):
        package, data = deb(name, {"usr/x": ""}, members=members)
        store.add(data)
        packages.append(package)
    found = expected(store, {}, {}, packages=tuple(packages))
    lacking = [
        FileDifference(f"var/lib/dpkg/info/{name}.md5sums", {"type": "file"}, {}) for name in ("with", "without")
    ]
    assert [found.reason(one) for one in lacking] == ["", own.CHECKSUMS]


def test_what_a_definition_keeps_those_below_it_may_have_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    packages = []
    for name in ("base", "upper"):
        package, data = deb(name, {}, members={"md5sums": f"{'0' * 32}  lib/systemd/system/{name}.service\n"})
        store.add(data)
        packages.append((package,))
    units, kept = (LeaveOutRules(("units",), keep) for keep in ((), ("/usr/lib/systemd/system/*",)))
    base = state(packages=packages[0], leave_out=units)
    upper = state(packages=packages[1], leave_out=kept, below=base)
    plan = ImagePlan("c", "x", "1", 1, KEY, "amd64", (base, upper), "{}")
    found = own.expected({}, {}, plan, NAMES, store)
    lacking = [
        FileDifference(f"usr/lib/systemd/system/{name}.service", {"type": "file"}, {}) for name in ("base", "upper")
    ]
    assert [found.reason(one) for one in lacking] == [own.LEFT_OUT, ""]
