"""What differs in /etc, setting by setting, and how two images run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from builder import config_differences
from builder.config_differences import ConfigDifference, Setting
from builder.formats import oci
from builder.formats.tar import Entry
from builder.model.image import Image, Layer
from builder.tools.store import Store
from tests.kit.images import make_layer

OLD = b"""\
# Number of workers
#workers = 1
; timeout = 30
[database]
connection = sqlite://
pool = 5
[api]
# prose that says = = nothing
listen 80
"""
NEW = b"""\
# How many workers
# workers = 2
; timeout = 30
[ database ]
connection = mysql://
#pool = 5
[api]
listen 8080
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def layer(store: Store, kind: str, files: Mapping[str, bytes]) -> Layer:
    """A layer of files."""
    entries = [(Entry(path, "file", 0o644, size=len(data)), data) for path, data in sorted(files.items())]
    made = make_layer(store, tuple(entries), "gzip")
    return Layer(made.digest, made.diff_id, made.size, made.media_type, (("org.imgbuild.kind", kind),))


def image(store: Store, *layers: Layer, **config: object) -> Image:
    """An image of some layers."""
    made = oci.config("amd64", "2025-01-01T00:00:00Z", dict(config), layers, ["" for _ in layers])
    return Image(oci.manifest(made, layers), made, layers, store)


def test_settings_by_name_defaults_by_comments_the_rest_by_lines() -> None:
    assert config_differences.settings(OLD, NEW) == (
        Setting("workers", "1", "2", default=True),
        Setting("database/connection", "sqlite://", "mysql://"),
        Setting("database/pool", "5", None),
        Setting("api/listen 80", "", None),
        Setting("database/pool", None, "5", default=True),
        Setting("api/listen 8080", None, ""),
    )
    assert config_differences.settings(b"# one\na = 1\n", b"# two\na=1") == ()


def test_files_of_etc_with_their_packages(store: Store) -> None:
    status = (
        b"Package: web\nStatus: install ok installed\nConffiles:\n /etc/web.conf 0\n /etc/gone.conf 0\nVersion: 1\n"
    )
    both = layer(store, "package", {"etc/same.conf": b"a = 1\n"})
    records = layer(store, "records", {"var/lib/dpkg/status": status})
    old = image(
        store, both, layer(store, "package", {"etc/web.conf": OLD, "etc/gone.conf": b"", "usr/x": b"1"}), records
    )
    made = {"etc/web.conf": OLD, "etc/made.conf": b"b = 1\n", "etc/passwd": b"x", "etc/ssl/certs/x.pem": b""}
    state = layer(store, "state", {"etc/web.conf": OLD.replace(b"5", b"6")})
    new = image(store, both, layer(store, "package", made), state, records)
    assert config_differences.files(old, new) == (
        ConfigDifference("etc/gone.conf", "web", "old"),
        ConfigDifference("etc/made.conf", "", "new"),
        ConfigDifference("etc/web.conf", "web", "both", (Setting("database/pool", "5", "6"),)),
    )
    assert config_differences.files(old, old) == ()


def test_what_a_layer_above_takes_away_is_gone(store: Store) -> None:
    below = layer(store, "package", {"etc/web/a": b"1", "etc/web/b": b"1", "etc/c": b"1"})
    old = image(store, below)
    new = image(store, layer(store, "package", {"etc/web/a": b"1", "etc/web/b": b"1", "etc/c": b"1", "usr/x": b""}),
                layer(store, "state", {"etc/.wh.web": b""}))  # fmt: skip
    assert [one.path for one in config_differences.files(old, new)] == ["etc/web/a", "etc/web/b"]


def test_what_both_have_above_hides_what_differs(store: Store) -> None:
    top = layer(store, "files", {"etc/web.conf": b"ours = 1\n"})
    old = image(store, layer(store, "package", {"etc/web.conf": OLD}), top)
    new = image(store, layer(store, "package", {"etc/web.conf": NEW}), top)
    assert config_differences.files(old, new) == ()


def test_how_they_run(store: Store) -> None:
    top = layer(store, "files", {"x": b""})
    labels = {"org.imgbuild.step.init": "{}", "org.opencontainers.image.version": "1"}
    old = image(store, top, Cmd=["web", "-v"], User="1:1", Env=["PATH=/bin", "A=1"], Labels=labels)
    new = image(store, top, Cmd=["web"], User="1:1", Env=["PATH=/bin", "B=2"], ExposedPorts={"80/tcp": {}}, Labels={})
    assert config_differences.run(old, new) == (
        Setting("Cmd", "web -v", "web"),
        Setting("Env A", "1", None),
        Setting("Env B", None, "2"),
        Setting("ExposedPorts", None, "80/tcp"),
        Setting("step.init", "{}", None),
    )
