"""Another machine, another day, another user's habits: the same digests."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_failures import small_disk
from tests.integration.test_updates import by_adduser, by_useradd, stack
from tests.kit.distribution import Site

pytestmark = pytest.mark.integration

_BUILT = re.compile(r"^  built:\n(  - .*\n)*", re.MULTILINE)
ELSEWHERE = (
    "unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh", "taskset", "1", "faketime", "2031-02-03 04:05:06",
)  # fmt: skip
"""Another host name, one processor alone, another clock."""


def everything(site: Site) -> None:
    """An application whose scripts do what would show where and when they ran."""
    site.repo.add("alpha", source="openssl", postinst=by_adduser("alpha"))
    site.repo.add("delta", source="curl", postinst=by_useradd("delta"))
    site.repo.add(
        "nosy",
        files={f"usr/share/nosy/{number}": f"{number}\n" for number in range(40)},
        modes={"usr/share/nosy/7": 0o4711},
        postinst="#!/bin/sh\nset -e\n"
        "{ hostname; umask; pwd; echo $LANG $LC_ALL $TZ; id; stat -c %Y /etc/passwd; } > /etc/nosy\n"
        "for name in z y x a b; do echo $name > /etc/nosy.$name; done; find /usr/share/nosy | sort > /etc/nosy.found\n"
        "mkdir -p /var/lib/nosy; ln /etc/nosy.a /etc/nosy.hard; chown alpha /var/lib/nosy; touch /run/nosy /tmp/nosy\n",
        depends="alpha",
    )
    site.repo.add("app", "2", depends="nosy", files={"usr/bin/app": "#!/bin/sh\n"}, postinst=by_adduser("appd"))
    site.repo.publish()
    stack(site, "alpha", "delta", below=["adduser"])
    brought = "    files:\n      /etc/app.conf: {content: hello}\n      /etc/ca.pem: {content: x, before: configure}\n"
    site.edit(
        "repos/app/component.yaml", "    users:", f"{brought}    folders: {{/srv/app: {{owner: app}}}}\n    users:"
    )
    site.works("lock", "app", "--update")


def test_other_caches_and_another_world_give_the_same(site: Site, tmp_path: Path) -> None:
    everything(site)
    first = site.build()
    assert site.build(out="second", cache=site.empty_cache()) == first
    # Another file system lists folders in another order.
    with small_disk(tmp_path / "disk", 1 << 30) as disk:
        result = site.run(
            "build", "app", "-C", str(site.folder), "--to", "oci:third", "--json", "-j1",
            cache=disk / "cache", cwd=disk, under=ELSEWHERE, umask=0o077,
            env={"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7", "HOME": "/nowhere"},
        )  # fmt: skip
        assert result.code == 0, result.errors
        assert {one["image"]: one["digest"] for one in result.json["images"]} == first
        layout = next(place for place in (disk / "third", site.folder / "third") if place.exists())
        again = {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}
        assert again == {path.name: path.read_bytes() for path in (site.folder / "out/blobs/sha256").iterdir()}
    nosy = (site.unpack() / "etc/nosy").read_text()
    assert os.uname().nodename not in nosy or os.uname().nodename == "localhost"


def test_locks_do_not_depend_on_where_they_are_made(site: Site, tmp_path: Path) -> None:
    everything(site)
    locks = {path: path.read_text() for path in site.folder.rglob("lock.yaml")}
    for path in locks:
        path.unlink()
    result = site.run(
        "lock", "app", "-j1", cache=site.empty_cache(), umask=0o077, under=ELSEWHERE,
        env={"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert result.code == 0, result.errors
    for path, text in locks.items():
        # Groups of the tiny layer were locked when it had but one package, and its version is that text's. What layers turned
        # out to be is a note of what was built, not of what is locked.
        wanted, found = (
            [
                line
                for line in _BUILT.sub("", one).splitlines()
                if not line.startswith(("  bins:", "  alone:", "  stands_on:", "  text:"))
            ]
            for one in (text, path.read_text())
        )
        if "tiny" in path.parts:
            assert found == wanted


def test_skopeo_copies_what_was_built(site: Site) -> None:
    digest = site.build()["app"]
    where = f"oci:{site.folder}/out:app:1-r1"
    told = subprocess.run(
        ["skopeo", "inspect", where, "--format", "{{.Digest}}"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == digest
