"""A component and its streams: a vendor's suite with a key of its own, locked, built, revised and compared by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.formats import lockfile
from tests.kit.apt_repo import AptRepo
from tests.kit.distribution import Site

pytestmark = pytest.mark.integration
PROGRAM = {"usr/bin/app": "#!/bin/sh\nexec sleep 60\n"}
CONF = "/etc/app.conf\n"


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[AptRepo]:
    """Another repository, signed by another key."""
    repo = AptRepo(tmp_path / "vendor", label="vendor")
    repo.add("app", "5.0", files={**PROGRAM, "etc/app.conf": "#workers = 8\nmode = fast\n"}, conffiles=CONF)
    repo.publish()
    yield repo
    repo.close()


@pytest.fixture
def streams(site: Site, vendor: AptRepo) -> Site:
    """The site's component, with the vendor's series as a stream."""
    site.repo.add("app", "2", files={**PROGRAM, "etc/app.conf": "#workers = 1\nmode = safe\n"}, conffiles=CONF)
    site.repo.publish()
    text = (site.folder / "repos/app/component.yaml").read_text()
    source = f"{{apt: '{vendor.uri}', suites: [stable], keyring: vendor.gpg, priority: 900}}"
    changes = "images: {app: {run: {env: {SERIES: vendor}}}}"
    site.write(
        {"repos/app/component.yaml": f"{text}streams:\n  vendor:\n    sources: {{vendor: {source}}}\n    {changes}\n"}
    )
    shutil.copy(vendor.keyring, site.folder / "repos/app/vendor.gpg")
    return site


def test_the_life_of_a_stream(streams: Site, vendor: AptRepo) -> None:
    streams.works("lock", "app", "--update")
    assert not (streams.folder / "repos/app/lock.vendor.yaml").exists()
    own = streams.lock()
    streams.works("lock", "app@vendor")
    assert streams.lock() == own
    told = streams.works("build", "app", "app@vendor", "--json").json["images"]
    assert [f"{one['image']}:{one['tag']}" for one in told] == ["app:2-r1", "app:vendor-5.0-r1"]

    # A name without a stream is never one's.
    assert "app:2-r1 " in streams.works("inspect", "app").output
    assert "app:vendor-5.0-r1 " in streams.works("inspect", "app:vendor").output
    assert streams.run("diff", "app").code == 2

    # From one to the other: packages, conffiles, settings, defaults, how it runs.
    diff = streams.run("diff", "app", "app:vendor")
    assert diff.code == 3
    lines = [line.strip() for line in diff.output.splitlines()]
    assert [lines.index(line) for line in (
        "app 2 → 5.0", "/etc/app.conf (conffile of app)", "default of workers: 1 → 8", "mode: safe → fast",
        "how it runs", "+ Env SERIES = vendor",
    )]  # fmt: skip
    data = streams.run("diff", "app", "app:vendor", "--json").json
    assert [one["package"] for one in data["config"]] == ["app"]
    assert [one["name"] for one in data["run"]] == ["Env SERIES"]

    before = [one.digest() for one in lockfile.read(streams.folder / "repos/app/lock.yaml").locks]

    # One moves without the other, and each is followed by its own.
    vendor.add("app", "5.1", files={**PROGRAM, "etc/app.conf": "mode = fast\n"}, conffiles=CONF)
    vendor.publish()
    assert streams.run("outdated", "app").code == 0
    assert "app@vendor" in streams.run("outdated", "app@vendor").output
    streams.works("lock", "app@vendor", "--update")
    # A build writes what layers turned out to be; nothing else has changed.
    assert [one.digest() for one in lockfile.read(streams.folder / "repos/app/lock.yaml").locks] == before
    revisions = lockfile.read(streams.folder / "repos/app/lock.vendor.yaml").revisions
    assert [(one.image, one.version, one.revision) for one in revisions] == [("app", "vendor-5.1", 1)]
    streams.works("build", "app@vendor")
    found = streams.works("find", "app", "--releases", "all", "--json").json["found"]
    assert {one["image"]: one["superseded_by"] for one in found} == {
        "app:2-r1": None, "app:vendor-5.0-r1": "app:vendor-5.1-r1", "app:vendor-5.1-r1": None,
    }  # fmt: skip
    assert streams.run("diff", "app:vendor").code == 3

    # What a stream has built is made again from its own lock.
    again = streams.run("rebuild", "app:vendor", cache=streams.empty_cache())
    assert (again.code, "the same" in again.output) == (0, True), again.errors


def test_a_stream_that_does_not_fit_is_told_by_its_name(streams: Site) -> None:
    streams.works("lock", "--all")
    streams.works("lock", "--all", "--check")
    streams.edit("repos/app/component.yaml", "priority: 900", "priority: 901")
    result = streams.run("lock", "--all", "--check")
    assert result.code == 3
    assert "app@vendor: the definition has changed" in result.errors
    assert "app: " not in result.errors
    refused = streams.run("build", "app@vendor", "--locked")
    assert "imgbuild lock app@vendor" in refused.errors
