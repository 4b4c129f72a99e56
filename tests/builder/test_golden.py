"""Digests and keys that are committed: other ones are other rules.

A failure here says that the same lock gives other bytes, or other keys, than it gave before. If that is meant, raise
``RULES`` in ``builder/model/lock.py`` and run

    .venv/bin/python -m tests.builder.test_golden

which writes ``golden.json`` anew (labels and other parts of the config are no rules: where they alone have changed, write
it anew without a new number); if it is not, something let the machine, the time or the order of things in.
Nothing of this machine's programs is in these images: their packages are made here, and nothing is run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.formats.tar import Entry
from builder.make import assemble, files_layer, package_layer, records_layer, wheel_layer
from builder.make.epoch import EPOCH
from builder.model.digest import CacheKey
from builder.model.lock import RULES, Grouping, Lock, LockedAnswer, LockedGroup, LockedPackage, LockedUser
from builder.model.plan import (
    FilesLayerPlan,
    ImagePlan,
    LayerPlan,
    MadeLayer,
    PackageLayerPlan,
    RecordsLayerPlan,
    StateLayerPlan,
    WheelLayerPlan,
)
from builder.pipeline import packages
from builder.plan import planner
from builder.plan.planner import Locked
from builder.tools.store import Store
from dsl import loading, model
from tests.kit.debs import deb
from tests.kit.images import make_layer
from tests.kit.project import project

GOLDEN = Path(__file__).with_name("golden.json")

DEFINITIONS = {
    "imgbuild.yaml": "dsl: 1\nworkspace: site\ndefaults: {architecture: amd64, maintainer: Somebody}\n",
    "layers/base/layer.yaml": """\
dsl: 1
layer: base
version: 1.0.0
summary: what all stand on
distribution: {id: tiny, version: "1", codename: stable}
sources:
  tiny: {debs: ./debs}
packages: {apt: [base-files, openssl]}
leave_out: [docs, man, locales]
keep: [/usr/share/doc/kept/*]
""",
    "repos/web/component.yaml": """\
dsl: 1
component: web
summary: A server
homepage: https://example.org
license: Apache-2.0
version: {from: apt/web}
images:
  web:
    summary: it serves pages
    extends: base ^1.0
    packages: {apt: [web]}
    users: {web: {uid: 8000, home: /var/lib/web}}
    files:
      /etc/web/site.conf: {content: "listen 80\\n", owner: web, mode: "0640"}
      /srv/ünïcode: {link: /etc/web}
    folders:
      /var/lib/web: {owner: web, mode: "0700"}
    run:
      command: [web, --serve]
      user: web
      ports: {http: 8080}
      volumes: {data: /data}
      writable: [/run/web]
      env: {LANG: C.UTF-8}
    steps:
      init: {command: [web, --init]}
""",
}
LONG = "/".join(["a-folder-with-quite-a-long-name"] * 9)


def debs() -> Iterator[tuple[LockedPackage, bytes]]:
    """Packages with what layers must get right."""
    doc = "usr/share/doc"
    yield deb(
        "base-files",
        {
            "bin/tool": "+ #!/bin/sh\n",
            "lib/x.so.1": "-> x.so.1.2",
            "lib/x.so.1.2": "library",
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
            f"{doc}/base-files/copyright": "free",
            f"{doc}/base-files/README": "left out",
            f"{doc}/kept/README": "kept",
            "usr/share/man/man1/tool.1": "left out",
            "usr/share/locale/de/LC_MESSAGES/tool.mo": "left out",
            f"usr/share/{LONG}/ü": "long",
            "usr/share/twin": "the same",
            "usr/share/twin-2": "== usr/share/twin",
        },
        members={"conffiles": "/etc/passwd\n", "postinst": "#!/bin/sh\n", "md5sums": ""},
    )
    yield deb("openssl", {"usr/bin/openssl": "+ ssl" * 5000, f"{doc}/openssl/copyright": "free"}, "3.5.1-1+deb13u2")
    yield deb("web", {"usr/sbin/web": "+ #!/bin/sh\n", "lib/systemd/system/web.service": "[Unit]\n"}, "1:2.4~rc1-1")


STATE: tuple[tuple[Entry, bytes | None], ...] = (
    (Entry("etc", "folder", 0o755, mtime=EPOCH), None),
    (Entry("etc/.wh.gone", "file", 0o644, mtime=EPOCH), b""),
    (Entry("etc/passwd", "file", 0o644, mtime=EPOCH, size=5), b"users"),
    (Entry("etc/shadow", "file", 0o640, 0, 42, EPOCH, 6), b"secret"),
    (Entry("usr/bin/ping", "file", 0o4755, mtime=7, size=1, xattrs=(("security.capability", b"\1\0\0\2\xff"),)), b"x"),
    (Entry("usr/bin/ping4", "hardlink", 0o4755, mtime=7, target="usr/bin/ping"), None),
    (Entry("var/run", "link", 0o777, mtime=EPOCH, target="/run"), None),
)
"""What a state may have: states themselves come from programs of distributions, which are not alike everywhere."""


def plans(folder: Path, store: Store, compression: str) -> tuple[ImagePlan, ...]:
    """The images, planned as a build plans them."""
    catalog = loading.load(loading.find(project(folder, DEFINITIONS)))
    (component,) = catalog.components
    (image,) = component.images
    base, web = image.chain()
    found = []
    for package, data in debs():
        store.add(data)
        found.append(package)
    users = (LockedUser("root", 0, 0, "/root", "/bin/sh"),), (LockedGroup("root", 0),)
    lower = Lock(
        "base", "amd64", RULES, "f", None, (), tuple(found[:2]), *users, Grouping(1, ("openssl",)),
        answers=(LockedAnswer("base-files", "base/ask", "boolean", "true"),),
    )  # fmt: skip
    upper = Lock(
        "web", "amd64", RULES, "g", lower.digest(), (), tuple(found[2:]),
        (LockedUser("web", 8000, 8000, "/var/lib/web", "/usr/sbin/nologin"),), (LockedGroup("web", 8000),), Grouping(1, ()),
    )  # fmt: skip
    contents = packages.contents((image,), store)
    defaults = model.Defaults(architecture="amd64", maintainer="Somebody", compression=compression)  # type: ignore[arg-type]
    chain = (component, (Locked(base, lower), Locked(web, upper)))
    (plan,) = planner.images([chain], contents, defaults)
    return (plan, planner.at_revision(plan, 3))


def made(plan: LayerPlan, store: Store) -> MadeLayer:
    """A layer; a state is given."""
    match plan:
        case PackageLayerPlan():
            return package_layer.make(plan, store, False)
        case WheelLayerPlan():
            return wheel_layer.make(plan, store)
        case FilesLayerPlan():
            return files_layer.make(plan, store)
        case RecordsLayerPlan():
            return records_layer.make(plan, store)
        case StateLayerPlan():
            status = store.add(f"Package: {plan.definition}\nStatus: install ok installed\n".encode())
            state = MadeLayer(plan.cache_key, make_layer(store, STATE, plan.compression), status)
            store.keep(state)
            return state


def values(folder: Path) -> dict[str, Any]:
    """What is committed."""
    found: dict[str, Any] = {"rules": RULES, "images": {}}
    for compression in ("gzip", "zstd"):
        store = Store(folder / compression)
        for plan in plans(folder, store, compression):
            layers: dict[CacheKey, MadeLayer] = {}
            for layer in plan.layers:
                layers[layer.cache_key] = made(layer, store)
            image = assemble.image(plan, layers, store)
            rows = [
                {"what": assemble.sentence(layer), "key": layer.cache_key, "digest": one.digest, "diff_id": one.diff_id}
                for layer, one in zip(plan.layers, image.layers, strict=True)
            ]
            found["images"][f"{plan.image}:{plan.tag} {compression}"] = {
                "digest": image.digest,
                "config": image.config_digest,
                "content_key": plan.content_key,
                "layers": rows,
            }
    return found


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files layers have trees with owners")


@needs_root
def test_the_same_lock_gives_the_same_bytes_as_ever(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert golden["rules"] == RULES, "the rules were raised: write golden.json anew, as the head of this file says"
    found = json.loads(json.dumps(values(tmp_path)))
    wrong = [
        f"{name}: {row['what']}: {fact} was {old[fact]}, is {row[fact]}"
        for name, image in found["images"].items()
        for old, row in zip(golden["images"][name]["layers"], image["layers"], strict=True)
        for fact in row
        if row[fact] != old[fact]
    ]
    assert wrong == [], "other bytes are other rules: see the head of this file"
    assert found == golden


@needs_root
def test_time_umask_and_folder_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr("time.time", lambda: 1.0)
    before = os.umask(0o077)
    try:
        assert json.loads(json.dumps(values(tmp_path / "elsewhere"))) == json.loads(GOLDEN.read_text())
    finally:
        os.umask(before)


@needs_root
def test_a_package_of_other_bytes_changes_its_layer_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (plan, _) = plans(tmp_path, store, "gzip")
    first = next(layer for layer in plan.layers if isinstance(layer, PackageLayerPlan) and layer.group == "openssl")
    package, data = deb("openssl", {"usr/bin/openssl": "+ fixed"}, "3.5.1-1+deb13u2")
    store.add(data)
    fixed = replace(first, packages=(package,), cache_key=CacheKey.of("packages", "other"))
    assert made(fixed, store).layer.digest != made(first, store).layer.digest


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        GOLDEN.write_text(json.dumps(values(Path(name)), indent=1, ensure_ascii=False) + "\n")
