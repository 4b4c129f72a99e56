"""Images held against the same packages installed the ordinary way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from builder.formats import oci
from builder.formats.tar import Entry
from builder.model.digest import Digest
from builder.model.image import Image
from builder.tools.store import Store
from builder.transports import oci_layout
from tests.kit.distribution import Distribution, Site
from tests.kit.images import make_layer

pytestmark = pytest.mark.integration

PREINST = """#!/bin/sh
set -e
dpkg-divert --package rich --quiet --add --rename --divert /usr/bin/app.real /usr/bin/app
"""
POSTINST = """#!/bin/sh
set -e
update-alternatives --install /usr/bin/more more /usr/bin/rich 5
setcap cap_net_raw+ep /usr/bin/rich
adduser --system --group --home /var/lib/rich rich
mkdir -p /var/lib/rich/inner
chown rich:rich /var/lib/rich /var/lib/rich/inner
chmod 2750 /var/lib/rich
dpkg-statoverride --update --add root rich 4750 /usr/bin/rich2
ln -f /etc/rich.conf /etc/rich.link
"""


@pytest.fixture(scope="module")
def built(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with an image of a package that does all that packages do."""
    site = Site(tmp_path_factory.mktemp("compare") / "site", distribution, like=distribution.site)
    site.repo.add("library", files={"usr/lib/library": "x"}, postinst="#!/bin/sh\ntouch /etc/library-ready\n")
    site.repo.add(
        "rich",
        files={
            "usr/bin/rich": "#!/bin/sh\n", "usr/bin/rich2": "#!/bin/sh\n", "usr/bin/app": "#!/bin/sh\n",
            "etc/rich.conf": "a=1\n", "usr/share/doc/rich/README": "x", "usr/share/doc/rich/copyright": "y",
            "usr/share/man/man1/rich.1": "z",
        },
        depends="app, adduser", pre_depends="library", conffiles="/etc/rich.conf\n", preinst=PREINST, postinst=POSTINST,
        triggers="interest-noawait /usr/share/rich\n",
    )  # fmt: skip
    site.repo.publish()
    site.edit("repos/app/component.yaml", "packages: {apt: [app]}", "packages: {apt: [app, rich]}")
    more = (
        '    users: {app: {uid: 8000}, rich: {uid: 8001}}\n    files:\n      /srv/app/x: {content: "x", mode: "0640"}\n'
    )
    site.edit("repos/app/component.yaml", "    users: {app: {uid: 8000}}\n", more)
    site.works("lock", "app")
    site.build()
    return site


def doctored(site: Site, name: str, entries: Iterable[tuple[Entry, bytes | None]]) -> None:
    """The image with one layer more, as a release ``NAME`` of the layout."""
    image = site.image()
    store = Store(site.folder.parent / "doctored")
    layer = make_layer(store, sorted(entries, key=lambda pair: pair[0].path))
    layers = (*image.layers, layer)
    known: dict[str, Any] = image.configuration
    rootfs = {**known["rootfs"], "diff_ids": [*known["rootfs"]["diff_ids"], layer.diff_id]}
    config = oci.dump({**known, "rootfs": rootfs, "history": [*known["history"], {"comment": "doctored"}]})
    made = Image(oci.manifest(config, layers), config, layers, image.blobs)
    blobs = oci_layout.LayoutBlobs(site.folder / "out")
    for data in (made.config, made.manifest, store.read(layer.digest)):
        blobs.path(Digest.of(data)).write_bytes(data)
    path = site.folder / "out/index.json"
    index = json.loads(path.read_text())
    (one,) = [x for x in index["manifests"] if x["digest"] == image.digest]
    notes = {**one["annotations"], "org.opencontainers.image.ref.name": name}
    index["manifests"].append({**one, "digest": made.digest, "size": len(made.manifest), "annotations": notes})
    path.write_text(json.dumps(index))


def test_an_image_is_what_its_packages_are_when_installed(built: Site) -> None:
    result = built.run("compare", "app", "--json")
    (found,) = result.json["images"]
    assert [(one["path"], one["ordinary"], one["image"]) for one in found["unexplained"]] == []
    assert (result.code, found["same"], found["image"]) == (0, True, "app:1-r2")
    assert found["definition"] == {"files": 1, "rules of what is left out": 1, "users": 2}
    assert found["packages"] > 5
    assert found["records"] > 10
    assert "backups of dpkg, debconf, ucf, catalogs and the lists of users" in found["explained"]
    assert list((built.cache / "imgbuild/tmp").iterdir()) == [], "nothing is left behind"


def test_what_was_changed_is_found(built: Site) -> None:
    rich = "#!/bin/sh\n"
    alternative = "auto\n/usr/bin/more\n\n/usr/bin/rich\n7\n\n"
    doctored(
        built,
        "bad:1",
        [
            (Entry("etc/library-ready", "file", 0o600, size=0), b""),
            (Entry("etc/rich.conf", "file", 0o644, size=4), b"a=2\n"),
            (Entry("usr/bin/rich", "file", 0o755, size=len(rich)), rich.encode()),
            (Entry("usr/share/doc/rich/.wh.copyright", "file", 0o644), b""),
            (Entry("usr/bin/new", "link", 0o777, target="rich"), None),
            (Entry("var/lib/dpkg/alternatives/more", "file", 0o644, size=len(alternative)), alternative.encode()),
            (Entry("var/lib/rich", "folder", 0o755), None),
            (Entry("srv/app/x", "file", 0o644, size=1), b"x"),
        ],
    )
    keep = built.folder / "kept"
    result = built.run("compare", "oci:out:bad:1", "--json", "--keep", str(keep))
    assert result.code == 3
    found = {one["path"]: one for one in result.json["images"][0]["unexplained"]}
    assert found.keys() == {
        "alternative:more", "etc/library-ready", "etc/rich.conf", "etc/rich.link", "srv/app/x", "usr/bin/new", "usr/bin/rich",
        "usr/share/doc/rich/copyright", "var/lib/rich",
    }  # fmt: skip
    assert found["etc/library-ready"]["image"] == {"mode": "0600"}
    assert found["etc/rich.conf"]["diff"].splitlines()[-2:] == ["-a=1", "+a=2"]
    assert found["usr/bin/rich"]["ordinary"].keys() == {"xattrs"}, "the capability"
    assert found["usr/share/doc/rich/copyright"]["image"] == {}
    assert found["alternative:more"]["image"] == {"choice /usr/bin/rich": "7"}
    assert found["var/lib/rich"]["ordinary"] == {"mode": "2750", "owner": "rich:rich"}
    assert found["srv/app/x"]["ordinary"] == {"mode": "0640"}, "the definition says so"
    assert {side: (keep / side / "etc/rich.conf").read_text() for side in ("ordinary", "image")} == {
        "ordinary": "a=1\n",
        "image": "a=2\n",
    }
    told = built.run("compare", "oci:out:bad:1").output
    assert "9 differences without a reason" in told
    assert "etc/library-ready: mode 0644 → 0600" in told


def test_packages_that_cannot_be_installed_are_told_with_what_they_said(site: Site) -> None:
    site.repo.add(
        "odd", files={"usr/bin/odd": "x"}, postinst="#!/bin/sh\n[ -e /var/lib/dpkg/arch ] || exit 0\necho no\nexit 1\n"
    )
    site.repo.publish()
    site.edit("repos/app/component.yaml", "packages: {apt: [app]}", "packages: {apt: [app, odd]}")
    site.works("lock", "app")
    site.build()
    result = site.run("compare", "app")
    assert result.code == 1
    assert "the packages cannot be installed the ordinary way" in result.errors
    assert "\nno\n" in result.errors
    assert "compare-app-1-r2.log" in result.errors
