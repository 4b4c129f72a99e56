"""One component on Debian 12 and on Debian 13: both work, and what differs between them is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.test_services import memcached
from tests.kit.engines import Docker, Engine
from tests.kit.fleet import Fleet
from tests.kit.project import imgbuild
from tests.kit.running import Site

pytestmark = pytest.mark.e2e


def test_both_series_work_and_their_difference_is_told(
    fleet: Fleet, docker: Docker, sites: Callable[[Engine], Site]
) -> None:
    site, where = sites(docker), "examples/streams"
    begins = {"cache": "cache:1.", "cache@bookworm": "cache:bookworm-1."}
    for number, (target, begin) in enumerate(begins.items()):
        reference = fleet.load(docker, target, where=where)["cache"]
        assert reference.startswith(begin)
        running = site.start(reference, f"cache-{number}")
        running.healthy()
        memcached(running)
        version = reference.partition(":")[2].removeprefix("bookworm-").rpartition("-r")[0]
        assert version in running.exec("memcached", "--version")
        assert running.stop() == 0
    out = f"oci:{fleet.cache / 'streams'}"
    folder = fleet.site / where
    built = imgbuild("build", "cache", "cache@bookworm", "--to", out, cache=fleet.cache, cwd=folder)
    assert built.code == 0, built.errors
    found = imgbuild("diff", f"{out}:cache:bookworm", f"{out}:cache", cache=fleet.cache, cwd=folder)
    assert found.code == 3
    assert "\n+ libevent-2.1-7t64 " in found.output
    assert "/etc/adduser.conf (conffile of adduser)" in found.output
    assert "default of SYS_NAME_REGEX: " in found.output
