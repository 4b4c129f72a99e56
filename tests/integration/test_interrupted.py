"""Ctrl-C and signals at every stage: nothing stays behind, and the next run gives what it would have given."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder import validate
from tests.kit.distribution import Site
from tests.kit.http_server import Fault, HttpServer
from tests.kit.project import Running, mounts_with, running

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
PROGRAM = {"usr/bin/app": "#!/bin/sh\n"}
SLOW = "#!/bin/sh\nsleep 2\n"


def payload() -> dict[str, str]:
    """What takes a while to compress and does not become small."""
    return {"usr/share/app": random.Random(1).randbytes(16 << 20).hex()}


def release(site: Site, files: dict[str, str], postinst: str = "") -> dict[str, str]:
    """Publish a new version of app, and lock and build it with another cache: what the build is to give."""
    site.repo.add("app", "2", files=files, **{"postinst": postinst} if postinst else {})  # type: ignore[arg-type]
    site.repo.publish()
    return site.build(out="expected", cache=site.lock_elsewhere())


def files_of(folder: Path) -> list[Path]:
    """What lies in a folder that may come and go."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def interrupt(site: Site, reached: Callable[[Running], bool], *words: str) -> None:
    """Interrupt a build at a stage by each signal, and see that it leaves nothing behind."""
    for number, code in CODES.items():
        with running("build", "app", *words, cache=site.cache, cwd=site.folder, env=site.env) as run:
            run.until(lambda: reached(run))
            run.signal(number)
            began = time.monotonic()
            ended = run.end()
            assert time.monotonic() - began < 5
            assert run.left_over() == {}
        assert (ended.code, ended.errors.splitlines()[-1]) == (code, {130: "interrupted", 143: "terminated"}[code])
        assert "Traceback" not in ended.errors
        assert mounts_with(str(site.cache)) == []
        require_tidy(site)


def require_tidy(site: Site) -> None:
    """After the next run, whatever it is, the store's temporary folder is empty."""
    site.works("list")
    assert files_of(site.cache / "imgbuild/tmp") == []


def test_while_downloading(site: Site) -> None:
    expected = release(site, payload())
    with HttpServer(site.mirror) as server:
        site.env = {"IMGBUILD_MIRROR": server.uri}
        server.spoil("/pool/", Fault(pause=3600))

        def asked(_: Running) -> bool:
            return bool(server.requests and server.requests.pop())

        interrupt(site, asked)
        server.mend()
        assert site.build() == expected


def test_while_making_a_package_layer(site: Site) -> None:
    expected = release(site, payload())
    folder = site.cache / "imgbuild/tmp"
    # The .deb is copied first, in one go; what follows is the layer and the tree.
    interrupt(site, lambda _: any(path.is_dir() for path in files_of(folder)))
    assert site.build() == expected


def test_while_configuring(site: Site) -> None:
    expected = release(site, PROGRAM, postinst=SLOW)
    interrupt(site, lambda run: run.runs("sleep"))
    assert site.build() == expected


def test_while_writing(site: Site) -> None:
    expected = release(site, payload())
    many = site.folder / "many"
    many.mkdir()
    # One alone may be there before anybody looks.
    ways = [word for number in range(40) for word in ("--to", f"oci-archive:many/{number}.tar")]
    interrupt(site, lambda _: any(many.glob(".*.tar.*")), *ways)
    assert list(many.glob(".*")) == []
    assert not (many / "39.tar").exists()
    assert site.build() == expected


def killed(site: Site, moments: int) -> None:
    expected = release(site, PROGRAM, postinst="#!/bin/sh\necho made > /etc/app\n")
    began = time.monotonic()
    site.works("build", "app", "--to", "oci:timed", cache=site.another_cache())
    whole = time.monotonic() - began
    chance = random.Random(20)
    for number in range(moments):
        cache, out = site.another_cache(), f"out-{number}"
        with running("build", "app", "--to", f"oci:{out}", cache=cache, cwd=site.folder, env=site.env) as run:
            time.sleep(chance.random() * whole)
            run.signal(signal.SIGKILL)
            run.end()
            assert run.left_over() == {}
        assert mounts_with(str(cache)) == []
        if (site.folder / out / "index.json").exists():
            assert not validate.image(site.image(out=out))
        assert site.build(out=out, cache=cache) == expected
        assert not validate.image(site.image(out=out))
        assert files_of(cache / "imgbuild/tmp") == []
        assert list((site.folder / out).rglob(".*")) == []


def test_killed_while_configuring(site: Site, tmp_path: Path) -> None:
    expected = release(site, PROGRAM, postinst=SLOW)
    site.env["TMPDIR"] = str(tmp_path)
    before = set(files_of(tmp_path))
    with running("build", "app", cache=site.cache, cwd=site.folder, env=site.env) as run:
        run.until(lambda: run.runs("sleep"))
        run.signal(signal.SIGKILL)
        run.end()
        assert run.left_over() == {}
    assert set(files_of(tmp_path)) == before
    assert site.build() == expected
    require_tidy(site)


def test_what_a_killed_run_left_in_a_layout_goes(site: Site) -> None:
    site.build()
    for path in (site.folder / "out/.index.json.x", site.folder / "out/blobs/sha256/.00.x"):
        path.touch()
    site.build()
    assert list((site.folder / "out").rglob(".*")) == []


def test_killed_at_any_moment(site: Site) -> None:
    killed(site, 10)


@pytest.mark.full
def test_killed_at_a_hundred_moments(site: Site) -> None:
    killed(site, 100)
