"""An ordinary user with subordinate ids gets what root gets, and leaves as little behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder import validate
from builder.model.image import Image, Layer
from builder.transports import oci_layout
from tests.integration.test_interrupted import files_of
from tests.kit.distribution import Site
from tests.kit.project import Run
from tests.kit.users import User, user

pytestmark = pytest.mark.integration

POSTINST = """\
#!/bin/sh
set -e
mkdir -p /var/lib/keeper/secret
echo kept > /var/lib/keeper/secret/file
ln /var/lib/keeper/secret/file /var/lib/keeper/secret/again
chown -R 8001:8000 /var/lib/keeper
chown -h 8001 /usr/share/app/link
chmod 0700 /var/lib/keeper /var/lib/keeper/secret
chmod 4755 /usr/bin/tool
setcap cap_net_bind_service=ep /usr/bin/server
rm /usr/share/app/gone
rm -r /usr/share/app/folder
mkdir /usr/share/app/folder
echo new > /usr/share/app/folder/new
chown 65534:65534 /usr/share/app/folder
"""
FILES = {
    "usr/bin/app": "#!/bin/sh\n",
    "usr/bin/tool": "#!/bin/sh\n",
    "usr/bin/server": "#!/bin/sh\n",
    "usr/share/app/gone": "",
    "usr/share/app/folder/old": "",
}


class Home:
    """A site in the home of a user, with only the packages kept."""

    def __init__(self, somebody: User, site: Site) -> None:
        self.user = somebody
        self.folder, self.cache = somebody.gives(site.folder), somebody.home / "cache"
        shutil.rmtree(self.cache, ignore_errors=True)
        self.env = {
            "IMGBUILD_MIRROR": f"file://{somebody.gives(site.mirror)}",
            "XDG_CACHE_HOME": str(self.cache),
        }

    def run(self, *words: str) -> Run:
        """Run imgbuild."""
        return self.user.run(*self.user.imgbuild, *words, cwd=self.folder, env=self.env)

    def works(self, *words: str) -> Run:
        """Run imgbuild; it must end well."""
        result = self.run(*words)
        assert result.code == 0, result.errors + result.output
        return result


@pytest.fixture(scope="module")
def somebody() -> Iterator[User]:
    """A user with subordinate ids."""
    with user() as made:
        yield made


def release(site: Site, **members: str) -> None:
    """Publish a new app, and forget all locks."""
    site.repo.add("app", "2", files=FILES, links={"usr/share/app/link": "nowhere"}, **members)  # type: ignore[arg-type]
    site.repo.publish()
    for path in site.folder.rglob("lock.yaml"):
        path.unlink()


def foreign(folder: Path, somebody: User) -> list[Path]:
    """What in a folder does not belong to a user."""
    number = min(somebody.ids)
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_uid != number]


def _entries(image: Image, layer: Layer) -> dict[str, tarfile.TarInfo]:
    with image.blobs.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r:*") as archive:
        return {info.name: info for info in archive}


def test_the_same_locks_and_digests_as_root(site: Site, somebody: User) -> None:
    release(site, postinst=POSTINST)
    home = Home(somebody, site)
    site.works("lock", "app")
    expected = site.build()
    locks = {path.relative_to(site.folder): path.read_text() for path in site.folder.rglob("lock.yaml")}
    home.works("lock", "app")
    built = home.works("build", "app", "--json").json["images"]
    assert {one["image"]: one["digest"] for one in built} == expected
    assert {path.relative_to(home.folder): path.read_text() for path in home.folder.rglob("lock.yaml")} == locks
    image = oci_layout.read(home.folder / "out", "app")
    assert not validate.image(image)
    entries = {path: info for layer in image.layers for path, info in _entries(image, layer).items()}
    assert entries["var/lib/keeper/secret/file"].gid == 8000
    capability = entries["usr/bin/server"].pax_headers["SCHILY.xattr.security.capability"]
    assert capability.encode("utf-8", "surrogateescape")[:4] == b"\1\0\0\2", "of version 2, which is of no namespace"
    # What somebody looks at, moves or removes is the user's; in the store, only trees are of many owners.
    assert foreign(home.folder, somebody) == []
    store = home.cache / "imgbuild"
    assert foreign(store / "trees", somebody) != []
    assert [path for folder in store.iterdir() if folder.name != "trees" for path in foreign(folder, somebody)] == []
    assert somebody.left_over() == {}
    again = home.works("build", "app", "--json").json["images"]
    assert [(one["digest"], one["layers_made"]) for one in again] == [(expected["app"], 0)]
    assert home.works("rebuild", "app").output.endswith(f"the same, {expected['app']}\n")
    assert files_of(store / "tmp") == []
    used = json.loads(home.works("cache", "--json").output)["bytes"]
    assert used["trees"] > 0
    home.works("cache", "clean")
    assert {path.name for path in store.iterdir()} == {"locks", "record"}


def test_the_ordinary_way_needs_no_root(site: Site, somebody: User) -> None:
    release(site, postinst=POSTINST)
    home = Home(somebody, site)
    home.works("lock", "app")
    home.works("build", "app")
    result = home.run("compare", "app", "--json")
    (found,) = result.json["images"]
    assert [(one["path"], one["ordinary"], one["image"]) for one in found["unexplained"]] == []
    assert result.code == 0
    assert somebody.left_over() == {}
    assert files_of(home.cache / "imgbuild/tmp") == []
    assert foreign(home.cache / "imgbuild/logs", somebody) == []


def test_a_proposal_needs_no_root(site: Site, somebody: User) -> None:
    home = Home(somebody, site)
    home.works("init", "second", "--package", "app", "--extends", "tiny ^1.0")
    assert foreign(home.folder / "repos/second", somebody) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_nothing_stays_when_it_is_interrupted(number: signal.Signals, code: int, site: Site, somebody: User) -> None:
    release(site, postinst=POSTINST + "sleep 60\n")
    home = Home(somebody, site)
    child = somebody.start(*somebody.imgbuild, "lock", "app", cwd=home.folder, env=home.env)
    deadline = time.monotonic() + 60
    while "sleep" not in somebody.processes().values():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(child.pid, number)
    else:
        os.kill(child.pid, number)
    _, errors = child.communicate(timeout=10)
    assert child.returncode == code, errors
    assert "Traceback" not in errors
    assert somebody.left_over() == {}
    home.works("list")
    assert files_of(home.cache / "imgbuild/tmp") == []


def test_without_subordinate_ids_nothing_is_begun(site: Site) -> None:
    release(site)
    with user(subordinate=()) as poor:
        home = Home(poor, site)
        told = home.run("lock", "app", "--json")
        assert told.code == 1
        assert (told.json["error"], "too few subordinate ids" in told.json["message"]) == ("sandbox", True)
        assert "usermod --add-subuids" in told.json["hint"]
        assert not (home.cache / "imgbuild/blobs").exists()
