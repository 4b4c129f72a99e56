"""Folders keep the mode and owner that dpkg leaves them, whatever layer brings something that lies in them."""

from __future__ import annotations

import pytest

from builder.formats import entries
from tests.integration.test_updates import stack
from tests.kit.distribution import Site, inside
from tests.kit.engines import Docker, Engine, Podman

pytestmark = pytest.mark.integration

FOLDERS = ("/etc/keys", "/etc/keys/fernet", "/etc/early", "/etc/plain", "/opt/new", "/srv/shared", "/srv/strict")
EXPECTED = """\
750 42435:42435 /etc/keys
700 8000:8000 /etc/keys/fernet
711 0:0 /etc/early
755 0:0 /etc/plain
755 0:0 /opt/new
2775 0:0 /srv/shared
700 0:0 /srv/strict
"""


@pytest.fixture
def keys(site: Site) -> Site:
    """An image whose files and packages lie in folders of packages below, which are not root's with mode 0755."""
    site.repo.add(
        "keys",
        files={"etc/keys/": "", "srv/shared/a": "a", "etc/plain/a": "a"},
        modes={"etc/keys": 0o750, "srv/shared": 0o2775},
        postinst="#!/bin/sh\nset -e\nchown 42435:42435 /etc/keys\nchmod 0750 /etc/keys\n",
    )
    # What comes later finds these folders there, and leaves them as they are.
    site.repo.add(
        "zkeys",
        files={"etc/keys/z": "z", "srv/shared/z": "z", "srv/strict/z": "z", "etc/early/z": "z"},
        modes={"etc/keys": 0o777, "srv/strict": 0o700, "etc/early": 0o711},
        source="openssl",
    )
    site.repo.add("a-later", depends="zkeys", files={"srv/strict/a": "a"}, source="curl")
    site.repo.add(
        "app", "2", depends="a-later", files={"usr/bin/app": "#!/bin/sh\nexec sleep 60\n", "srv/shared/app": "x"}
    )
    site.repo.publish()
    stack(site, "keys")
    brought = """\
    files:
      /etc/keys/app.conf: {content: hello}
      /etc/early/ca.pem: {content: x, before: configure}
      /opt/new/app.conf: {content: x}
      /srv/strict/app.conf: {content: x}
    folders: {/etc/keys/fernet: {owner: app, mode: "0700"}}
"""
    site.edit("repos/app/component.yaml", "    users:", f"{brought}    users:")
    site.works("lock", "app", "--update")
    site.build()
    return site


def told(site: Site, kind: str, out: str = "out") -> dict[str, int]:
    """The modes of the folders in the topmost layer of a kind."""
    image = site.image(out=out)
    number = max(number for number, layer in enumerate(site.layers(out=out)) if layer.kind == kind)
    return {
        entry.path: entry.mode for entry, _ in entries.of(image.blobs, image.layers[number]) if entry.type == "folder"
    }


def test_each_layer_tells_of_the_folders_that_it_lies_in(keys: Site) -> None:
    assert inside(keys.unpack(), "stat", "-c", "%a %u:%g %n", *FOLDERS) == EXPECTED
    files, state = told(keys, "files"), told(keys, "state")
    assert {name: oct(files[name]) for name in ("etc", "etc/keys", "srv/strict", "opt/new")} == {
        "etc": "0o755", "etc/keys": "0o750", "srv/strict": "0o700", "opt/new": "0o755",
    }  # fmt: skip
    # Where packages say different things the state decides, and nowhere else.
    assert (state["srv/strict"], state["srv/shared"], state["etc/keys"]) == (0o700, 0o2775, 0o750)
    assert "etc/plain" not in state


def test_a_fix_leaves_files_alone(keys: Site) -> None:
    before = {layer.kind: layer.digest for layer in keys.layers()}
    keys.repo.add(
        "keys", "2", files={"etc/keys/": "", "srv/shared/a": "b"}, modes={"etc/keys": 0o750, "srv/shared": 0o2775}
    )
    keys.repo.publish()
    keys.works("lock", "middle", "app", "--update")
    keys.build(out="later")
    after = {layer.kind: layer.digest for layer in keys.layers(out="later")}
    assert after["records"] != before["records"]
    assert inside(keys.unpack(out="later"), "stat", "-c", "%a %u:%g", "/etc/keys") == "750 0:0\n"
    assert told(keys, "files", out="later") == told(keys, "files")
    keys.repo.add(
        "keys", "3", files={"etc/keys/": "", "srv/shared/a": "c"}, modes={"etc/keys": 0o750, "srv/shared": 0o2775}
    )
    keys.repo.publish()
    keys.works("lock", "middle", "app", "--update")
    keys.build(out="latest")
    assert {layer.kind: layer.digest for layer in keys.layers(out="latest")}["files"] == after["files"]


@pytest.mark.e2e
def test_docker_shows_them(keys: Site, docker: Docker) -> None:
    assert keys.run("build", "app", "--to", "docker:", env={"DOCKER_HOST": docker.host}).code == 0
    assert shown(docker) == EXPECTED


@pytest.mark.e2e
def test_podman_shows_them(keys: Site, podman: Podman) -> None:
    assert keys.run("build", "app", "--to", "podman:", env={"CONTAINER_HOST": podman.host}).code == 0
    assert shown(podman) == EXPECTED


def shown(engine: Engine) -> str:
    """The folders, as a container sees them."""
    return engine("run", "--rm", "--network=none", "--user=0", "app:2-r1", "stat", "-c", "%a %u:%g %n", *FOLDERS)
